//! Loopback ports into clusters that we reach only through their API server: `kubectl port-forward`, started again whenever
//! it ends, in a background process for each forward.
//!
//! The process's own command line says what it does, so nothing has to be remembered to find it again.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::{
    net::{TcpListener, TcpStream},
    process::Command,
    time::sleep,
};

use super::{Forward, program};
use crate::{
    host::{
        process::{self, Process},
        wait::{Look, Wait},
    },
    toolchain::{self, Tool},
};

/// `kubectl port-forward` ends with the pod it leads to; the next pod is there soon.
const PAUSE: Duration = Duration::from_millis(500);
/// A pod may still have to start.
const DEADLINE: Duration = Duration::from_mins(1);
/// Name of the hidden command.
const COMMAND: &str = "port-forward";

/// `e2e port-forward`.
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// Kubeconfig of the cluster
    #[arg(long)]
    kubeconfig: PathBuf,
    /// Namespace of the Service
    #[arg(long)]
    namespace: String,
    /// Name of the Service
    #[arg(long)]
    service: String,
    /// Port of the Service
    #[arg(long)]
    port: u16,
    /// Port on 127.0.0.1
    #[arg(long)]
    local_port: u16,
}

/// Holds a forward until killed.
pub async fn hold(args: HoldArgs) -> Result<()> {
    // A session of its own: the end of the terminal is not the end of the forward.
    let _ = rustix::process::setsid();
    let kubectl = toolchain::binary(Tool::Kubectl).await?;
    // kubectl is to end with this process, however that ends; the kernel sees to it, and asks that this thread starts it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig", "KILL"]).arg(&kubectl).arg("--kubeconfig").arg(&args.kubeconfig);
                command.args(["--namespace", &args.namespace, "port-forward", "--address=127.0.0.1"]);
                command
                    .arg(format!("service/{}", args.service))
                    .arg(format!("{}:{}", args.local_port, args.port));
                match command.stdin(Stdio::null()).status().await {
                    Ok(status) => tracing::info!("kubectl port-forward ended: {status}"),
                    Err(error) => tracing::warn!("cannot start kubectl port-forward: {error}"),
                }
                sleep(PAUSE).await;
            }
        });
    });
    tokio::task::spawn_blocking(|| thread.join()).await?.ok().context("the thread that forwards ended")
}

/// The loopback address of a forward, which is started when it is not there. `state` is the folder of the cluster.
pub(super) async fn ensure(state: &Path, kubeconfig: &Path, forward: &Forward) -> Result<SocketAddr> {
    let copy = copy(state);
    if !copy.exists() {
        program::install(&copy)?;
    }
    let wanted = arguments(kubeconfig, forward);
    let running =
        process::all().into_iter().find(|process| process.program == copy && holds(process, &wanted));
    let port = match running.as_ref().and_then(local_port) {
        Some(port) if forward.local_port == 0 || forward.local_port == port => port,
        Some(port) => bail!("{}/{} is reached on port {port} already", forward.namespace, forward.service),
        None => start(state, &copy, &wanted, forward.local_port).await?,
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let log = log(state);
    Wait::new(format!("{}/{} on {address}", forward.namespace, forward.service), DEADLINE)
        .explained_by(&log)
        .until(async || Ok(Look::Done(TcpStream::connect(address).await?)))
        .await?;
    Ok(address)
}

/// Ends all forwards of a cluster.
pub(super) async fn end_all(state: &Path) -> Result<()> {
    let copy = copy(state);
    process::kill_all("the forwards", |process| process.program == copy).await
}

async fn start(state: &Path, program: &Path, wanted: &[String], local_port: u16) -> Result<u16> {
    // Held until it is known, then left to kubectl.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, local_port))
        .await
        .with_context(|| format!("port {local_port} of 127.0.0.1 is taken"))?
        .local_addr()?
        .port();
    let log = fs::OpenOptions::new().create(true).append(true).open(log(state))?;
    std::process::Command::new(program)
        .arg(COMMAND)
        .args(wanted)
        .arg(format!("--local-port={port}"))
        .current_dir(state)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start a forward")?;
    Ok(port)
}

fn arguments(kubeconfig: &Path, forward: &Forward) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--namespace={}", forward.namespace),
        format!("--service={}", forward.service),
        format!("--port={}", forward.port),
    ]
}

fn holds(process: &Process, wanted: &[String]) -> bool {
    wanted.iter().all(|argument| process.arguments.contains(argument))
}

fn local_port(process: &Process) -> Option<u16> {
    process.arguments.iter().find_map(|argument| argument.strip_prefix("--local-port=")?.parse().ok())
}

/// The copy of this program that forwards.
fn copy(state: &Path) -> PathBuf {
    state.join("bin/e2e")
}

fn log(state: &Path) -> PathBuf {
    state.join("forwards.log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forward_is_known_by_its_command_line() {
        let forward = Forward { namespace: "a".into(), service: "b".into(), port: 80, local_port: 0 };
        let wanted = arguments(Path::new("/k"), &forward);
        let mut words = vec!["e2e".to_owned(), COMMAND.to_owned()];
        words.extend(wanted.clone());
        words.push("--local-port=4711".to_owned());
        let process = Process { pid: 1, program: PathBuf::from("/e2e"), arguments: words, network: 1 };
        assert!(holds(&process, &wanted));
        assert_eq!(local_port(&process), Some(4711));
        let other = Forward { port: 443, ..forward };
        assert!(!holds(&process, &arguments(Path::new("/k"), &other)));
    }
}
