//! `operator store`, the door: the one process that holds the credentials of the backup stores.
//!
//! Jobs of the tenants stream backups through it, each beneath its own prefix. It puts what is not there and gets what is; it
//! never overwrites, and nobody can ask it to delete. Behind it, what a Plan does not want kept any longer is removed.
//!
//! In reading order: `path` (what a request is about), `caller` (who asks, and for what), `request` (what becomes of it),
//! `body`, `places` and `problem` (how much, how many at once, and what is said when it does not work), `manifest` (what
//! describes a backup), `backend` (a bucket or a volume), `stores` and `keeper` (which stores there are, and whether they
//! work), `tenants`, `retention` and `sweep` (whose backups there are, which need not be kept, and their removal), `burial` (those
//! of deleted tenants), `server` and `metrics` (connections, and what is seen from outside). `inventory` is a command of its own.
//!
//! # Rights
//!
//! What its service account needs, and no more. The chart's roles are this table.
//!
//! | where | group | resources | verbs |
//! |---|---|---|---|
//! | cluster-wide | `tenantry.dev` | `backupstores` | list, watch |
//! | cluster-wide | `tenantry.dev` | `backupstores/status` | patch |
//! | cluster-wide | `tenantry.dev` | `tenants`, `plans` | get, list |
//! | cluster-wide | `tenantry.dev` | `tenanttombstones` | list, watch |
//! | cluster-wide | `tenantry.dev` | `tenanttombstones/status` | patch |
//! | cluster-wide | `authentication.k8s.io` | `tokenreviews` | create |
//! | cluster-wide | (core) | `namespaces` | get |
//! | its own namespace | (core) | `secrets` that the chart's value `store.credentialsSecrets` names | get |

mod backend;
mod body;
mod burial;
mod caller;
mod inventory;
mod keeper;
mod manifest;
mod metrics;
mod path;
mod places;
mod problem;
mod request;
mod retention;
mod server;
mod stores;
mod sweep;
mod tenants;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::Config;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{caller::Callers, metrics::Metrics, places::Places, stores::Stores};
use crate::{cluster, gateway::limits::duration};

pub use caller::{ACCOUNT, AUDIENCE};
pub use inventory::{Args as InventoryArgs, list};

/// What `operator store` is told.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The namespace of the door, of its Secrets, and of the operator.
    #[arg(long, env = "TENANTRY_NAMESPACE", default_value = "tenantry-system")]
    pub namespace: String,
    /// Where Jobs and the operator come in.
    #[arg(long, env = "TENANTRY_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Where probes and Prometheus come in.
    #[arg(long, env = "TENANTRY_MANAGEMENT", default_value = "0.0.0.0:9090")]
    pub management: SocketAddr,
    /// Where claims are mounted, each in a folder of its name.
    #[arg(long, env = "TENANTRY_CLAIMS", default_value = "/var/lib/tenantry/claims")]
    pub claims: PathBuf,
    /// What clients and stores may take.
    #[command(flatten)]
    pub limits: Limits,
}

/// Every bound that the door keeps.
#[derive(clap::Args, Clone, Debug)]
pub struct Limits {
    /// Open connections. More wait in the kernel's queue instead of taking memory.
    #[arg(long, env = "TENANTRY_MAX_CONNECTIONS", default_value_t = 256)]
    pub max_connections: usize,
    /// Uploads at the same time, each of which holds up to 24 MiB. More wait.
    #[arg(long, env = "TENANTRY_MAX_UPLOADS", default_value_t = 4)]
    pub max_uploads: usize,
    /// How long an upload waits for its turn.
    #[arg(long, env = "TENANTRY_UPLOAD_WAIT", default_value = "30s", value_parser = duration)]
    pub upload_wait: Duration,
    /// How long one upload may take.
    #[arg(long, env = "TENANTRY_UPLOAD_TIMEOUT", default_value = "1h", value_parser = duration)]
    pub upload_timeout: Duration,
    /// Longest silence of a client that sends a body, and longest time in which it takes nothing of an answer.
    #[arg(long, env = "TENANTRY_BODY_TIMEOUT", default_value = "60s", value_parser = duration)]
    pub body_timeout: Duration,
    /// Longest silence of a store.
    #[arg(long, env = "TENANTRY_STORE_TIMEOUT", default_value = "60s", value_parser = duration)]
    pub store_timeout: Duration,
    /// How often each store is looked at, besides when its object changes and when something fails.
    #[arg(long, env = "TENANTRY_PROBE_INTERVAL", default_value = "10m", value_parser = duration)]
    pub probe_interval: Duration,
    /// How often each store is gone through for what need not be kept, besides a tenant's part of it after each of its backups.
    #[arg(long, env = "TENANTRY_SWEEP_INTERVAL", default_value = "1h", value_parser = duration)]
    pub sweep_interval: Duration,
    /// After SIGTERM, how long open requests may take to finish.
    #[arg(long, env = "TENANTRY_DRAIN_TIMEOUT", default_value = "20s", value_parser = duration)]
    pub drain_timeout: Duration,
}

/// Why the door does not open, or closes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port is taken, or needs rights that the process does not have.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address in question.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// What an earlier process left unfinished cannot be cleared away.
    #[error("cannot clear away unfinished uploads beneath {folder}")]
    Clear {
        /// Where the claims are.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Two metrics of one name.
    #[error("metrics cannot be set up")]
    Metrics(#[from] prometheus::Error),
    /// No way to the Kubernetes API is configured.
    #[error("the Kubernetes API is not configured")]
    Config(#[from] kube::config::InferConfigError),
    /// The way to the Kubernetes API cannot be used.
    #[error("no client for the Kubernetes API can be made")]
    Client(#[from] kube::Error),
    /// The signal to stop cannot be waited for.
    #[error("cannot wait for signals")]
    Signal(#[source] io::Error),
}

/// Everything that requests share.
struct Door {
    namespace: String,
    claims: PathBuf,
    limits: Limits,
    now: fn() -> Timestamp,
    callers: Callers,
    stores: Stores,
    places: Places,
    metrics: Metrics,
    connections: Arc<Semaphore>,
    tasks: TaskTracker,
    /// No new connections; the open ones finish what they have.
    close: CancellationToken,
    /// Whatever is still open ends now.
    abort: CancellationToken,
}

/// Runs a door until SIGTERM or SIGINT, then until its open requests are done.
pub async fn run(args: Args) -> Result<(), Error> {
    let Args { namespace, listen, management, claims, limits } = args;
    backend::clear_unfinished(&claims).map_err(|source| Error::Clear { folder: claims.clone(), source })?;
    let clients = bind(listen).await?;
    let managers = bind(management).await?;
    let client = cluster::client(Config::infer().await?)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let door = Arc::new(Door {
        callers: Callers::new(client.clone(), &namespace, now),
        stores: Stores::default(),
        places: Places::new(limits.max_uploads, limits.upload_wait),
        metrics: Metrics::new()?,
        connections: Arc::new(Semaphore::new(limits.max_connections)),
        tasks: TaskTracker::new(),
        close: CancellationToken::new(),
        abort: CancellationToken::new(),
        namespace,
        claims,
        limits,
        now,
    });
    tracing::info!(%listen, %management, "the door is open");

    let serving = async {
        let stopping = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping");
            door.close.cancel();
        };
        tokio::join!(server::accept(door.clone(), clients), stopping);
        finish(&door).await;
    };
    tokio::select! {
        () = serving => {}
        () = server::manage(door.clone(), managers) => {}
        () = stores::follow(door.clone(), client.clone()) => {}
        () = burial::follow(door.clone(), client) => {}
    }
    Ok(())
}

/// Lets open requests finish, and ends those that do not: what they were putting goes.
async fn finish(door: &Door) {
    door.tasks.close();
    if timeout(door.limits.drain_timeout, door.tasks.wait()).await.is_err() {
        tracing::warn!(open = door.tasks.len(), "ending requests that did not finish in time");
        door.abort.cancel();
        door.tasks.wait().await;
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

fn signal(kind: SignalKind) -> Result<Signal, Error> {
    tokio::signal::unix::signal(kind).map_err(Error::Signal)
}

/// The clock of the process.
#[expect(clippy::disallowed_methods, reason = "the one place where the clock is read")]
fn now() -> Timestamp {
    Timestamp::now()
}
