//! The management ports of the CRM's pods: each pod has an address of its own in 127.0.0.0/8, on which it can be scraped as on a
//! node.
//!
//! The port is the same for all, as it is in a cluster, so each pod needs an address and a listener of its own. One listener on
//! 0.0.0.0 would do for all of them, but be open to other machines; the whole of 127.0.0.0/8 is the loopback of this one, and its
//! addresses need not be set up. A pod that does not work has an address, and nobody listens on it.

use std::{
    collections::HashMap,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddrV4, TcpListener as Bound},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use anyhow::{Context as _, Result};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinSet};

use super::traffic::{Traffic, page};

/// Where the CRM is scraped.
const PORT: u16 = 9090;

/// The ports of all pods.
#[derive(Debug, Default)]
pub(super) struct Ports(Mutex<HashMap<Owner, HashMap<String, Port>>>);

/// Namespace and name of a Deployment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// What a pod says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) traffic: Traffic,
    pub(super) read_only: bool,
}

#[derive(Debug)]
struct Port {
    address: Ipv4Addr,
    /// While the pod works. Dropping it closes the port.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    told: Arc<Mutex<Told>>,
    _task: JoinSet<()>,
}

impl Ports {
    /// The address of a pod that works and says this of itself.
    pub(super) fn open(&self, owner: &Owner, pod: &str, told: Told) -> Result<Ipv4Addr> {
        let mut ports = self.lock();
        let pods = ports.entry(owner.clone()).or_default();
        match pods.get_mut(pod) {
            Some(Port { address, open: Some(open) }) => {
                *open.told.lock().unwrap_or_else(PoisonError::into_inner) = told;
                return Ok(*address);
            }
            Some(Port { address, open }) => {
                let bound = bind(*address).with_context(|| format!("cannot listen on {address}"))?;
                *open = Some(Open::new(bound, told)?);
                return Ok(*address);
            }
            None => (),
        }
        let (address, bound) = bind_another()?;
        pods.insert(pod.to_owned(), Port { address, open: Some(Open::new(bound, told)?) });
        Ok(address)
    }

    /// The address of a pod that does not work.
    pub(super) fn close(&self, owner: &Owner, pod: &str) -> Ipv4Addr {
        let mut ports = self.lock();
        let pods = ports.entry(owner.clone()).or_default();
        let port = pods.entry(pod.to_owned()).or_insert_with(|| Port { address: next_address(), open: None });
        port.open = None;
        port.address
    }

    /// Only these pods of a Deployment are left.
    pub(super) fn retain(&self, owner: &Owner, is_left: impl Fn(&str) -> bool) {
        let mut ports = self.lock();
        if let Some(pods) = ports.get_mut(owner) {
            pods.retain(|pod, _| is_left(pod));
        }
        ports.retain(|_, pods| !pods.is_empty());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Owner, HashMap<String, Port>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn new(bound: Bound, told: Told) -> Result<Self> {
        let listener = TcpListener::from_std(bound)?;
        let told = Arc::new(Mutex::new(told));
        let mut task = JoinSet::new();
        task.spawn(accept(listener, told.clone(), Instant::now()));
        Ok(Self { told, _task: task })
    }
}

/// Addresses of which no two are alike in this process. Where two processes begin differs, and whoever comes second takes the next.
fn next_address() -> Ipv4Addr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    // 127.64.0.0/10
    const FIRST: u32 = 0x7f40_0000;
    const HOSTS: u32 = 1 << 22;
    // Far enough from each other for the pods of a long test.
    const OF_A_PROCESS: u32 = 1 << 12;
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Ipv4Addr::from_bits(FIRST + std::process::id().wrapping_mul(OF_A_PROCESS).wrapping_add(count) % HOSTS)
}

/// An address that nobody has, and a listener on it.
fn bind_another() -> Result<(Ipv4Addr, Bound)> {
    // Somebody who listens on all addresses leaves none.
    const TRIES: usize = 64;
    let mut tries = std::iter::repeat_with(next_address).take(TRIES).map(|address| (address, bind(address)));
    let is_free = |(_, bound): &(Ipv4Addr, std::io::Result<Bound>)| {
        !bound.as_ref().is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
    };
    let (address, bound) = tries.find(is_free).with_context(|| format!("port {PORT} is taken"))?;
    Ok((address, bound.with_context(|| format!("cannot listen on {address}"))?))
}

fn bind(address: Ipv4Addr) -> std::io::Result<Bound> {
    let bound = Bound::bind(SocketAddrV4::new(address, PORT))?;
    bound.set_nonblocking(true)?;
    Ok(bound)
}

async fn accept(listener: TcpListener, told: Arc<Mutex<Told>>, since: Instant) {
    // Dropping the set ends the connections.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let told = told.clone();
                    let service = service_fn(move |request| {
                        let told = *told.lock().unwrap_or_else(PoisonError::into_inner);
                        async move { answer(&request, told, since) }
                    });
                    connections.spawn(async move {
                        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                        if let Err(error) = connection.await {
                            tracing::debug!("a connection to a pod's management port ended: {error}");
                        }
                    });
                }
                Err(error) => tracing::warn!("a pod's management port cannot accept a connection: {error}"),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

fn answer(
    request: &Request<Incoming>,
    told: Told,
    since: Instant,
) -> Result<Response<Full<Bytes>>, http::Error> {
    let (status, body) = match request.uri().path() {
        "/metrics" => (StatusCode::OK, page(&told.traffic, since.elapsed(), told.read_only)),
        _ => (StatusCode::NOT_FOUND, String::new()),
    };
    Response::builder()
        .status(status)
        .header("content-type", "text/plain; version=0.0.4")
        .body(Full::from(body))
}
