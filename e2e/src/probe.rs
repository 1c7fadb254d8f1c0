//! Real connections from inside a pod, without a program in its image: a thread enters the pod's network namespace.

use std::{
    fs::{self, File},
    io,
    net::{SocketAddr, TcpStream},
    os::fd::AsFd,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::host::process::{self, Process};

/// The network namespace of a pod on this machine.
#[derive(Clone, Debug)]
pub struct PodNetwork {
    namespace: Arc<File>,
}

impl From<File> for PodNetwork {
    /// A network namespace by its open file.
    fn from(namespace: File) -> Self {
        Self { namespace: Arc::new(namespace) }
    }
}

/// What became of an attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The connection was opened.
    Connected,
    /// The receiver's machine answered that nothing listens there.
    Refused,
    /// There was no answer within the deadline, as when packets are dropped.
    TimedOut,
    /// No way leads there.
    Unreachable,
}

impl PodNetwork {
    /// Finds the network namespace of a running pod of the native cluster by the pod's UID.
    pub fn of_pod(uid: &str) -> Result<Self> {
        let member = processes_of_pod(uid).into_iter().next();
        let member =
            member.with_context(|| format!("no process of a pod with UID {uid} runs on this machine"))?;
        let path = format!("/proc/{}/ns/net", member.pid);
        let namespace = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        Ok(namespace.into())
    }

    /// Opens a TCP connection from the pod and closes it again.
    pub async fn connect(&self, to: SocketAddr, deadline: Duration) -> Result<Reach> {
        self.run(move || TcpStream::connect_timeout(&to, deadline))
            .await?
            .map_or_else(|error| reach(&error), |_| Ok(Reach::Connected))
    }

    /// Opens a TCP connection from the pod and keeps it.
    pub async fn open(&self, to: SocketAddr, deadline: Duration) -> Result<TcpStream> {
        self.run(move || TcpStream::connect_timeout(&to, deadline))
            .await?
            .with_context(|| format!("cannot connect to {to}"))
    }

    /// Does something on a thread whose sockets belong to the pod.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let namespace = self.namespace.clone();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        // A thread of its own, which ends here: one of a pool would carry the namespace on to other work.
        std::thread::Builder::new().name("pod-network".to_owned()).spawn(move || {
            let entered = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
            // Nobody may wait any more.
            let _ = sender.send(entered.map(|()| work()));
        })?;
        receiver
            .await
            .context("the thread in the pod's network ended early")?
            .context("cannot enter the pod's network")
    }
}

fn reach(error: &io::Error) -> Result<Reach> {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Ok(Reach::Refused),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Ok(Reach::TimedOut),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Ok(Reach::Unreachable),
        _ => Err(anyhow::anyhow!("cannot connect: {error}")),
    }
}

/// The processes of a pod that runs on this machine, by the pod's UID.
pub fn processes_of_pod(uid: &str) -> Vec<Process> {
    process::all().into_iter().filter(|process| is_in_pod(process.pid, uid)).collect()
}

/// The kubelet names a pod's cgroup by its UID; the systemd driver writes it with underscores.
fn is_in_pod(pid: i32, uid: &str) -> bool {
    let Ok(groups) = fs::read_to_string(format!("/proc/{pid}/cgroup")) else { return false };
    groups.contains(&format!("pod{uid}")) || groups.contains(&format!("pod{}", uid.replace('-', "_")))
}
