//! The way in: a small edge that knows tenants by their host.
//!
//! It reads one ConfigMap, the route table, and the TLS Secrets that the table names; nothing else. What it has read
//! stays in use whatever becomes of the Kubernetes API.
//!
//! In reading order: [`routes`] and [`host`] (which tenant a request is for), `admission` (whether it may pass),
//! `proxy`, `upstream`, `body`, `headers`, `tunnel` (how it passes), [`answer`] and `pages` (what is said when it does
//! not), `connection`, `activity` and [`limits`] (what clients may take), [`certificates`] and [`watch`] (what changes
//! meanwhile), `exchange`, `tenants`, `metrics`, `management` (what is seen from outside).

mod activity;
mod admission;
pub mod answer;
mod body;
pub mod certificates;
mod connection;
mod exchange;
mod headers;
pub mod host;
pub mod limits;
mod management;
mod metrics;
mod pages;
mod proxy;
pub mod routes;
mod tenants;
mod tunnel;
mod upstream;
pub mod watch;

use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::sign::CertifiedKey;
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    activity::Quota,
    certificates::Certificates,
    host::{Host, InvalidHost},
    limits::Limits,
    metrics::Metrics,
    routes::RouteTable,
    tenants::Tenants,
    upstream::Upstreams,
    watch::WILDCARD_SECRET,
};

/// What `operator gateway` is told.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The namespace of the route table and of the certificates.
    #[arg(long, env = "TENANTRY_NAMESPACE", default_value = "tenantry-gateway")]
    pub namespace: String,
    /// The ConfigMap that holds the route table.
    #[arg(long, env = "TENANTRY_ROUTES", default_value = "routes")]
    pub routes: String,
    /// Where clients come in without TLS.
    #[arg(long, env = "TENANTRY_HTTP", default_value = "0.0.0.0:8080")]
    pub http: SocketAddr,
    /// Where clients come in with TLS.
    #[arg(long, env = "TENANTRY_HTTPS", default_value = "0.0.0.0:8443")]
    pub https: SocketAddr,
    /// Where probes and Prometheus come in.
    #[arg(long, env = "TENANTRY_MANAGEMENT", default_value = "0.0.0.0:9090")]
    pub management: SocketAddr,
    /// The domain under which every tenant has a name; the wildcard certificate is for names directly under it.
    #[arg(long, env = "TENANTRY_BASE_DOMAIN")]
    pub base_domain: String,
    /// The port of TLS addresses as clients see it, for redirects.
    #[arg(long, env = "TENANTRY_PUBLIC_HTTPS_PORT", default_value_t = 443)]
    pub public_https_port: u16,
    /// What clients and tenants may take.
    #[command(flatten)]
    pub limits: Limits,
}

/// Why the gateway does not start, or stops.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The base domain is no host name.
    #[error("base domain {name:?}")]
    BaseDomain {
        /// The name as given.
        name: String,
        /// What is wrong with it.
        source: InvalidHost,
    },
    /// A port is taken, or needs rights that the process does not have.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address in question.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The TLS library refuses its settings.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// Two metrics of one name.
    #[error("metrics cannot be set up")]
    Metrics(#[from] prometheus::Error),
    /// No way to the Kubernetes API is configured.
    #[error("the Kubernetes API is not configured")]
    Kubernetes(#[from] kube::Error),
    /// The signal to stop cannot be waited for.
    #[error("cannot wait for signals")]
    Signal(#[source] io::Error),
}

/// The ports of a gateway.
#[derive(Debug)]
pub struct Listeners {
    /// Clients without TLS.
    pub http: TcpListener,
    /// Clients with TLS.
    pub https: TcpListener,
    /// Probes and Prometheus.
    pub management: TcpListener,
}

/// Everything that requests share.
#[derive(Debug)]
pub struct Gateway {
    limits: Limits,
    base_domain: Host,
    https_port: u16,
    routes: RwLock<Option<Arc<RouteTable>>>,
    certificates: Certificates,
    tenants: Tenants,
    upstreams: Upstreams,
    metrics: Metrics,
    faults: Quota,
    started: Instant,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    /// Asked to stop: no longer ready, still serving.
    stop: CancellationToken,
    /// No new connections; the open ones finish what they have.
    close: CancellationToken,
    /// Whatever is still open ends now.
    abort: CancellationToken,
}

/// Runs a gateway until SIGTERM or SIGINT, then until its open requests are done.
pub async fn run(args: Args) -> Result<(), Error> {
    let Args { namespace, routes, http, https, management, base_domain, public_https_port, limits } = args;
    let gateway = Gateway::new(&base_domain, public_https_port, limits)?;
    let listeners = Listeners {
        http: listen(http).await?,
        https: listen(https).await?,
        management: listen(management).await?,
    };
    let client = kube::Client::try_default().await?;
    let mut terminate = signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut interrupt = signal(tokio::signal::unix::SignalKind::interrupt())?;
    tracing::info!(%http, %https, %management, base_domain, "the gateway is listening");

    let stopping = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
    };
    tokio::select! {
        result = Arc::clone(&gateway).serve(listeners, stopping) => result,
        () = watch::follow(client, &namespace, &routes, gateway) => Ok(()),
    }
}

impl Gateway {
    /// A gateway that knows no routes yet.
    pub fn new(base_domain: &str, https_port: u16, limits: Limits) -> Result<Arc<Self>, Error> {
        let base_domain = Host::from_config(base_domain)
            .map_err(|source| Error::BaseDomain { name: base_domain.to_owned(), source })?;
        let metrics = Metrics::new()?;
        Ok(Arc::new(Self {
            base_domain,
            https_port,
            routes: RwLock::new(None),
            certificates: Certificates::default(),
            tenants: Tenants::new(limits.max_requests_per_tenant, metrics.requests.clone()),
            upstreams: Upstreams::new(&limits, metrics.connect_retries.clone()),
            metrics,
            faults: Quota::default(),
            started: Instant::now(),
            places: Arc::new(Semaphore::new(limits.max_connections)),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            close: CancellationToken::new(),
            abort: CancellationToken::new(),
            limits,
        }))
    }

    /// Serves until `stopping` is done, then until open requests are done or the time for that is over.
    pub async fn serve(
        self: Arc<Self>,
        listeners: Listeners,
        stopping: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let Listeners { http, https, management } = listeners;
        let tls = TlsAcceptor::from(Arc::new(certificates::server_config(&self)?));
        let clients = async {
            tokio::join!(
                connection::accept(Arc::clone(&self), http, None),
                connection::accept(Arc::clone(&self), https, Some(tls)),
            );
            self.tasks.close();
            if timeout(self.limits.drain_timeout, self.tasks.wait()).await.is_err() {
                tracing::warn!(open = self.tasks.len(), "ending connections that did not finish in time");
                self.abort.cancel();
                self.tasks.wait().await;
            }
        };
        let closing = async {
            stopping.await;
            self.stop.cancel();
            sleep(self.limits.shutdown_delay).await;
            self.close.cancel();
            // From here on the end is the clients'.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = clients => Ok(()),
            () = closing => Ok(()),
            () = management::serve(Arc::clone(&self), management) => Ok(()),
        }
    }

    /// Puts a new route table in use. Requests that are under way keep the one they began with.
    pub fn set_routes(&self, table: RouteTable) {
        self.tenants.keep(&table.tenants());
        self.metrics.routes.set(i64::try_from(table.len()).unwrap_or(i64::MAX));
        *self.routes.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(table));
    }

    /// Puts a new certificate in use for connections to come.
    pub fn set_certificate(&self, secret: &str, certificate: CertifiedKey) {
        self.certificates.put(secret, certificate);
        self.count_certificates();
    }

    /// Forgets all certificates but these.
    fn keep_certificates(&self, secrets: &BTreeSet<&str>) {
        self.certificates.keep(secrets);
        self.count_certificates();
    }

    fn count_certificates(&self) {
        self.metrics.certificates.set(i64::try_from(self.certificates.len()).unwrap_or(i64::MAX));
    }

    fn routes(&self) -> Option<Arc<RouteTable>> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The certificate for a host and the Secret that it comes from: the host's own, else the wildcard for names under
    /// the base domain, whether they are routed or not.
    fn certificate_for(&self, host: &Host) -> Option<(String, Arc<CertifiedKey>)> {
        let routes = self.routes();
        let own = routes.as_ref().and_then(|table| table.get(host)?.tls_secret.as_deref());
        let load = |secret: &str| Some((secret.to_owned(), self.certificates.get(secret)?));
        own.and_then(load)
            .or_else(|| if host.is_directly_under(&self.base_domain) { load(WILDCARD_SECRET) } else { None })
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

fn signal(kind: tokio::signal::unix::SignalKind) -> Result<tokio::signal::unix::Signal, Error> {
    tokio::signal::unix::signal(kind).map_err(Error::Signal)
}
