//! The process that keeps a native cluster's parts running, holds its loopback ports and answers `status`.
//!
//! It stands outside the node's network namespace, where the loopback ports have to be, and starts the parts inside.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use kube::Client;
use tokio::{
    io::BufReader,
    net::{UnixListener, UnixStream},
    time::sleep,
};
use tracing::{info, warn};

use super::{
    control::{self, Answer, PartState, Request},
    forwards::Forwards,
    layout::Layout,
    netns::{self, Inside},
    teardown,
};
use crate::{
    cluster::{
        kubeconfig,
        part::{Gate, Part},
    },
    host::process,
};

/// How often a gate is looked at.
const GATE_INTERVAL: Duration = Duration::from_millis(100);
/// Pause before a part is started again; doubled as long as it does not live.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A part that ran this long was healthy: what ended it is new.
const HEALTHY: Duration = Duration::from_secs(20);

struct Supervisor {
    layout: Layout,
    inside: Inside,
    client: Client,
    forwards: Arc<Forwards>,
    states: Mutex<Vec<PartState>>,
    /// When the API server was last seen ready; locked while it is asked, so that parts that wait ask together.
    ready: tokio::sync::Mutex<Option<Instant>>,
}

/// Supervises the cluster of this name until killed.
pub async fn run(name: &str) -> Result<()> {
    // A session of its own: the end of the terminal is not the end of the cluster.
    let _ = rustix::process::setsid();
    let layout = Layout::new(name)?;
    let plan = fs::read(layout.plan()).context("cannot read the plan")?;
    let parts: Vec<Part> = serde_json::from_slice(&plan).context("the plan is damaged")?;
    end_leftovers(&layout, &parts).await?;
    teardown::remove_dead_shim_sockets(&layout);
    let inside = Inside::enter(layout.netns()).await?;
    let client = kubeconfig::client(&layout.kubeconfig()).await?;
    let forwards = Forwards::open(layout.forwards(), inside.clone(), client.clone()).await?;
    let states = parts.iter().map(|part| PartState {
        name: part.name.clone(),
        pid: None,
        restarts: 0,
        state: "starting".to_owned(),
    });
    let supervisor = Arc::new(Supervisor {
        states: Mutex::new(states.collect()),
        ready: tokio::sync::Mutex::new(None),
        layout,
        inside,
        client,
        forwards,
    });
    for part in parts {
        let supervisor = supervisor.clone();
        tokio::spawn(async move { supervisor.keep_running(&part).await });
    }
    supervisor.answer().await
}

/// Ends the parts of a supervisor that was killed. Pods go on: their parents are containerd's shims.
async fn end_leftovers(layout: &Layout, parts: &[Part]) -> Result<()> {
    let network = netns::identity(layout).context("the network namespace is not there")?;
    let programs: BTreeSet<PathBuf> =
        parts.iter().filter_map(|part| fs::canonicalize(&part.program).ok()).collect();
    process::kill_all("the parts of an earlier supervisor", |process| {
        process.network == network && programs.contains(&process.program)
    })
    .await
}

impl Supervisor {
    /// Starts a part and starts it again whenever it ends.
    async fn keep_running(&self, part: &Part) {
        let mut pause = FIRST_PAUSE;
        loop {
            self.pass_gates(part).await;
            let start = Instant::now();
            let end = match self.run_once(part).await {
                Ok(status) => format!("ended with {status}"),
                Err(error) => format!("{error:#}"),
            };
            pause = if start.elapsed() < HEALTHY { (pause * 2).min(LONGEST_PAUSE) } else { FIRST_PAUSE };
            warn!("{} {end}; starting it again in {} ms", part.name, pause.as_millis());
            self.note(part, |state| {
                state.pid = None;
                state.restarts += 1;
                state.state = format!("{end}, waiting to start again");
            });
            sleep(pause).await;
        }
    }

    async fn run_once(&self, part: &Part) -> Result<std::process::ExitStatus> {
        let mut command = part.command(&netns::wrapper(&self.layout), &self.layout.log(&part.name))?;
        let mut child = command.current_dir(self.layout.root()).spawn().context("cannot be started")?;
        info!("{} started", part.name);
        self.note(part, |state| {
            state.pid = child.id();
            "running".clone_into(&mut state.state);
        });
        Ok(child.wait().await?)
    }

    async fn pass_gates(&self, part: &Part) {
        for gate in &part.after {
            while !self.is_open(gate).await {
                self.note(part, |state| state.state = format!("waiting for {gate}"));
                sleep(GATE_INTERVAL).await;
            }
        }
    }

    async fn is_open(&self, gate: &Gate) -> bool {
        match gate {
            Gate::Tcp(address) => self.inside.accepts(*address).await.unwrap_or(false),
            Gate::Unix(path) => UnixStream::connect(path).await.is_ok(),
            Gate::ApiServer => self.api_server_is_ready().await,
        }
    }

    async fn api_server_is_ready(&self) -> bool {
        let mut seen = self.ready.lock().await;
        if seen.is_some_and(|at| at.elapsed() < GATE_INTERVAL) {
            return true;
        }
        // By the status code: a body that lists a failed check also says "ok".
        let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else { return false };
        *seen = self.client.request_text(request).await.is_ok().then(Instant::now);
        seen.is_some()
    }

    fn note(&self, part: &Part, change: impl FnOnce(&mut PartState)) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = states.iter_mut().find(|state| state.name == part.name) {
            change(state);
        }
    }

    /// Answers the command line.
    async fn answer(self: Arc<Self>) -> Result<()> {
        let socket = self.layout.control_socket();
        if socket.exists() {
            fs::remove_file(&socket)?;
        }
        let listener =
            UnixListener::bind(&socket).with_context(|| format!("cannot listen on {}", socket.display()))?;
        loop {
            let (stream, _) = listener.accept().await?;
            let supervisor = self.clone();
            tokio::spawn(async move {
                if let Err(error) = supervisor.converse(BufReader::new(stream)).await {
                    warn!("a request failed: {error:#}");
                }
            });
        }
    }

    async fn converse(&self, mut stream: BufReader<UnixStream>) -> Result<()> {
        let answer = match control::receive(&mut stream).await? {
            Request::Status => {
                Answer::Parts(self.states.lock().unwrap_or_else(PoisonError::into_inner).clone())
            }
            Request::Forward { target, local_port } => match self.forwards.ensure(target, local_port).await {
                Ok(port) => Answer::Port(port),
                Err(error) => Answer::Error(format!("{error:#}")),
            },
        };
        control::send(&mut stream, &answer).await
    }
}

/// Starts the supervisor of a cluster in the background, from a copy of this program.
pub fn start(layout: &Layout) -> Result<()> {
    let program = layout.supervisor();
    let log = fs::OpenOptions::new().create(true).append(true).open(layout.log("supervisor"))?;
    let mut command = std::process::Command::new(&program);
    command
        .args(["supervise", "--name", layout.name()])
        .current_dir(layout.root())
        .stdin(std::process::Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    if let Ok(Some(status)) = child.try_wait() {
        bail!("the supervisor ended with {status}");
    }
    Ok(())
}

/// Ends the supervisor of a cluster, if one runs. Its parts go on until the next one starts or `down` ends them.
pub async fn end(layout: &Layout) -> Result<()> {
    let program = layout.supervisor();
    process::kill_all("the supervisor", |process| {
        process.program == program && process.subcommand() == Some("supervise")
    })
    .await
}
