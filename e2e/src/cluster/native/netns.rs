//! The network namespace of the node: made and removed, and reached from this process through one thread inside it.

use std::{
    fs::File,
    net::{SocketAddr, TcpStream as StdTcpStream},
    os::fd::AsFd,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::{
    io::copy_bidirectional,
    net::TcpStream,
    process::Command,
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::layout::{Layout, NODE_ADDRESS, SERVICES};
use crate::host::{command::run, process};

/// No network command takes longer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Everything in the namespace is on this machine: an answer takes microseconds or does not come.
const CONNECT: Duration = Duration::from_secs(2);
/// The link that holds the node's address.
const LINK: &str = "node0";

/// Makes the namespace with the node's address and no way out; what is there already stays.
pub(super) async fn create(layout: &Layout) -> Result<()> {
    if identity(layout).is_none() {
        // A file without a mounted namespace is left over from before a reboot.
        if layout.netns().exists() {
            std::fs::remove_file(layout.netns())?;
        }
        run(Command::new("ip").args(["netns", "add", &layout.machine_name()]), DEADLINE).await?;
    }
    // One batch, each line harmless when it is repeated. A bridge without ports stands for the link type `dummy`, which not
    // every kernel has. The route is for processes on the node itself, so that they reach cluster addresses.
    let setup = format!(
        "ip link set lo up
         ip link show {LINK} >/dev/null 2>&1 || ip link add {LINK} type bridge
         ip address replace {NODE_ADDRESS}/32 dev {LINK}
         ip link set {LINK} up
         ip route replace {SERVICES} dev {LINK}
         echo 1 > /proc/sys/net/ipv4/ip_forward"
    );
    let [nsenter, net] = wrapper(layout);
    run(Command::new(nsenter).arg(net).args(["sh", "-euc", &setup]), DEADLINE).await.map(|_| ())
}

/// Removes the namespace.
pub(super) async fn remove(layout: &Layout) -> Result<()> {
    if layout.netns().exists() {
        run(Command::new("ip").args(["netns", "delete", &layout.machine_name()]), DEADLINE).await?;
    }
    Ok(())
}

/// The words before a command that make it run in the namespace and nowhere else: `ip netns exec` would also mount a new
/// `/sys`, in which the kubelet finds no cgroups.
pub(super) fn wrapper(layout: &Layout) -> [String; 2] {
    ["nsenter".to_owned(), format!("--net={}", layout.netns().display())]
}

/// Inode of the namespace, which tells whether a process is in it.
pub(super) fn identity(layout: &Layout) -> Option<u64> {
    let (here, there) = (process::inode(Path::new("/proc/self/ns/net"))?, process::inode(&layout.netns())?);
    // A namespace file that is not mounted lies on /run; namespaces have a file system of their own.
    let mounted = rustix::fs::statfs(layout.netns()).is_ok_and(|stat| stat.f_type == NSFS_MAGIC);
    (mounted && there != here).then_some(there)
}

/// Type of the file system of namespaces (linux/magic.h).
#[expect(clippy::unreadable_literal, reason = "as the kernel writes it")]
const NSFS_MAGIC: rustix::fs::FsWord = 0x6e736673;

/// A thread inside the namespace. Sockets belong to the namespace in which they were made, whoever uses them.
#[derive(Clone, Debug)]
pub(super) struct Inside {
    jobs: mpsc::UnboundedSender<Job>,
}

#[derive(Debug)]
enum Job {
    /// Connects a client's stream with an address inside. The answer says whether the address accepted, or gives the
    /// stream back.
    Join { client: StdTcpStream, to: SocketAddr, answer: oneshot::Sender<Result<(), StdTcpStream>> },
    /// Tells whether an address accepts connections.
    Probe { to: SocketAddr, answer: oneshot::Sender<bool> },
}

impl Inside {
    /// Starts the thread.
    pub(super) async fn enter(netns: PathBuf) -> Result<Self> {
        let (jobs, inbox) = mpsc::unbounded_channel();
        let (ready, entered) = oneshot::channel();
        thread::Builder::new().name("netns".to_owned()).spawn(move || {
            let runtime = enter(&netns);
            match runtime {
                Err(error) => drop(ready.send(Err(error))),
                Ok(runtime) => {
                    // Nobody waits any more when this fails.
                    let _ = ready.send(Ok(()));
                    runtime.block_on(serve(inbox));
                }
            }
        })?;
        entered.await.context("the thread in the network namespace ended")??;
        Ok(Self { jobs })
    }

    /// Joins a client's stream with an address inside, and returns when the address has accepted. Gives the stream back when
    /// nothing answered there, so that another address can be tried.
    pub(super) async fn join(
        &self,
        client: StdTcpStream,
        to: SocketAddr,
    ) -> Result<Result<(), StdTcpStream>> {
        let (answer, result) = oneshot::channel();
        self.send(Job::Join { client, to, answer })?;
        result.await.context("the thread in the network namespace ended")
    }

    /// Whether an address inside accepts connections.
    pub(super) async fn accepts(&self, to: SocketAddr) -> Result<bool> {
        let (answer, result) = oneshot::channel();
        self.send(Job::Probe { to, answer })?;
        result.await.context("the thread in the network namespace ended")
    }

    fn send(&self, job: Job) -> Result<()> {
        self.jobs.send(job).ok().context("the thread in the network namespace ended")
    }
}

fn enter(netns: &Path) -> Result<tokio::runtime::Runtime> {
    let file = File::open(netns).with_context(|| format!("cannot open {}", netns.display()))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("cannot enter {}", netns.display()))?;
    // All on this thread: another one would be outside.
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

async fn serve(mut inbox: mpsc::UnboundedReceiver<Job>) {
    while let Some(job) = inbox.recv().await {
        match job {
            Job::Probe { to, answer } => {
                tokio::spawn(async move {
                    let _ = answer.send(connect(to).await.is_some());
                });
            }
            Job::Join { client, to, answer } => {
                tokio::spawn(async move {
                    match connect(to).await {
                        None => drop(answer.send(Err(client))),
                        Some(server) => {
                            let _ = answer.send(Ok(()));
                            carry(client, server).await;
                        }
                    }
                });
            }
        }
    }
}

async fn connect(to: SocketAddr) -> Option<TcpStream> {
    let stream = timeout(CONNECT, TcpStream::connect(to)).await.ok()?.ok()?;
    // A request that waits for Nagle's algorithm would be measured as slowness of what is tested.
    stream.set_nodelay(true).ok()?;
    Some(stream)
}

/// Carries bytes both ways until both sides have ended; a side that breaks off is no error of ours.
async fn carry(client: StdTcpStream, mut server: TcpStream) {
    let Ok(mut client) = TcpStream::from_std(client) else { return };
    let _ = client.set_nodelay(true);
    let _ = copy_bidirectional(&mut client, &mut server).await;
}
