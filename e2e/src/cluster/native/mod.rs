//! A real one-node Kubernetes in a network namespace of its own, with no way out.

mod addons;
mod cgroups;
mod config;
pub mod control;
mod forwards;
mod images;
mod kernel;
mod layout;
mod netns;
mod parts;
pub mod supervisor;
mod teardown;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use self::{
    control::{Answer, Request, Target},
    images::SystemImages,
};
use super::{
    Cluster, Forward, ImageArchive,
    control_plane::{AuditEvent, audit},
    program,
};
use crate::{
    host::{
        files,
        process::{self, Process},
        progress::step,
        wait::{Look, Wait},
    },
    toolchain::{self, Module, NATIVE_CLUSTER},
};

pub use self::{images::program_image, layout::Layout};

/// Folders that parts expect.
const FOLDERS: [&str; 9] =
    ["bin", "config", "cni", "logs", "volumes", "pod-logs", "kubelet", "containerd/root", "containerd/state"];

/// A cluster on this machine.
#[derive(Clone, Debug)]
pub struct Native {
    layout: Layout,
    kubeconfig: PathBuf,
}

impl Native {
    /// The cluster of this name, whether it runs or not.
    pub fn new(name: &str) -> Result<Self> {
        let layout = Layout::new(name)?;
        let kubeconfig = layout.kubeconfig();
        Ok(Self { layout, kubeconfig })
    }

    /// Names and paths of the cluster.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The process of one of the node's parts, which are those that `status` names.
    ///
    /// # Errors
    /// When the part does not run.
    pub async fn process_of(&self, part: &str) -> Result<Process> {
        let answer = control::ask(&self.layout.control_socket(), &Request::Status).await?;
        let Answer::Parts(parts) = answer else {
            bail!("the supervisor answered something else: {answer:?}")
        };
        let state = parts.into_iter().find(|state| state.name == part);
        let state = state.with_context(|| format!("the node has no part {part}"))?;
        let process = state.pid.and_then(|pid| process::read(pid.try_into().ok()?));
        process.with_context(|| format!("{part} does not run: {}", state.state))
    }

    /// All requests of these users that the audit log still has, the oldest first.
    pub fn audit_events(&self, users: &[&str]) -> Result<Vec<AuditEvent>> {
        let mut events = Vec::new();
        for log in self.audit_logs() {
            let of_theirs = |line: &str| users.iter().any(|user| line.contains(user));
            events.extend(audit::read_lines(&log, of_theirs)?);
        }
        // A name may stand in a request of somebody else.
        events.retain(|event| users.contains(&event.user.username.as_str()));
        Ok(events)
    }

    /// The files of the audit log, the oldest first: full ones carry the time of their end in their names.
    pub fn audit_logs(&self) -> Vec<PathBuf> {
        let (current, full): (Vec<String>, Vec<String>) = self
            .layout
            .logs()
            .into_iter()
            .filter(|log| log.starts_with("audit"))
            .partition(|log| log == "audit");
        full.into_iter().chain(current).map(|log| self.layout.log(&log)).collect()
    }

    /// What is still there of the cluster, in words; empty after `down`.
    pub fn leftovers(&self) -> Vec<String> {
        teardown::leftovers(&self.layout)
    }

    /// Makes what has to be there before any part starts, and the list of parts.
    async fn prepare(&self, images: &SystemImages) -> Result<()> {
        let layout = &self.layout;
        for folder in FOLDERS {
            let path = layout.path(folder);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        let api_port = forwards::api_port(&layout.forwards()).await?;
        parts::create_keys(layout, api_port)?;
        config::write(layout, images)?;
        kernel::remember()?;
        cgroups::create(layout)?;
        netns::create(layout).await
    }

    /// Starts the supervisor, unless one runs that has the same program and plan.
    async fn supervise(&self) -> Result<()> {
        let layout = &self.layout;
        let plan = serde_json::to_vec_pretty(&parts::all(layout).await?)?;
        let new_plan = !fs::read(layout.plan()).is_ok_and(|present| present == plan);
        let new_program = program::install(&layout.supervisor())?;
        let answers = control::ask(&layout.control_socket(), &Request::Status).await.is_ok();
        if answers && !new_plan && !new_program {
            return Ok(());
        }
        supervisor::end(layout).await?;
        files::write_atomically(&layout.plan(), &plan)?;
        supervisor::start(layout)?;
        wait(layout, "the supervisor", 10, "supervisor")
            .until(async || Ok(Look::Done(control::ask(&layout.control_socket(), &Request::Status).await?)))
            .await
            .map(|_| ())
    }

    async fn load_system_images(&self, images: &SystemImages) -> Result<()> {
        wait(&self.layout, "containerd", 30, "containerd")
            .until(async || {
                tokio::net::UnixStream::connect(self.layout.containerd_socket()).await?;
                Ok(Look::Done(()))
            })
            .await?;
        images.load(&self.layout).await
    }
}

/// Waits for something whose failure a part's log explains.
fn wait(layout: &Layout, what: &str, seconds: u64, log: &str) -> Wait {
    Wait::new(what, Duration::from_secs(seconds)).explained_by(&layout.log(log))
}

impl Cluster for Native {
    async fn up(&self) -> Result<()> {
        if !rustix::process::geteuid().is_root() {
            bail!("the native cluster needs root: run as root, or use `--provider kind` or `--context`");
        }
        toolchain::debian_packages(NATIVE_CLUSTER).await?;
        toolchain::ensure(&[
            Module::Etcd,
            Module::Kubernetes,
            Module::CoreDns,
            Module::VolumeProvisioner,
            Module::Pause,
        ])
        .await?;
        let images = SystemImages::ensure().await?;
        let _lock = files::lock(&self.layout.lock(), "starts or stops this cluster").await?;
        self.prepare(&images).await?;
        let start = async {
            self.supervise().await?;
            tokio::try_join!(self.load_system_images(&images), addons::apply(&self.layout, &images))?;
            addons::wait_until_ready(&self.layout).await
        };
        step(&format!("starting cluster {}", self.layout.name()), start).await
    }

    async fn down(&self) -> Result<()> {
        let _lock = files::lock(&self.layout.lock(), "starts or stops this cluster").await?;
        step(&format!("stopping cluster {}", self.layout.name()), teardown::remove(&self.layout)).await
    }

    async fn status(&self) -> Result<Vec<(String, String)>> {
        let answer = control::ask(&self.layout.control_socket(), &Request::Status).await;
        let Ok(Answer::Parts(parts)) = answer else {
            let state = if self.layout.root().exists() { "not running; `up` resumes" } else { "down" };
            return Ok(vec![("supervisor".to_owned(), state.to_owned())]);
        };
        let lines = parts.into_iter().map(|part| {
            let pid = part.pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
            let restarts =
                if part.restarts == 0 { String::new() } else { format!(", {} restarts", part.restarts) };
            (part.name, format!("{}{pid}{restarts}", part.state))
        });
        Ok(lines.collect())
    }

    fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    async fn load_images(&self, images: &[ImageArchive]) -> Result<()> {
        images::load(&self.layout, images).await
    }

    async fn forward(&self, forward: &Forward) -> Result<SocketAddr> {
        let target = Target::Service {
            namespace: forward.namespace.clone(),
            name: forward.service.clone(),
            port: forward.port,
        };
        let request = Request::Forward { target, local_port: forward.local_port };
        match control::ask(&self.layout.control_socket(), &request).await? {
            Answer::Port(port) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            answer => bail!("the supervisor answered something else: {answer:?}"),
        }
    }
}
