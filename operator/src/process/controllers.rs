//! Builds the watches and starts the controllers.

use std::{
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, channel::mpsc, future};
use kube::{
    Client, ResourceExt,
    runtime::{controller, reflector::ObjectRef},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::Tenant,
    args::{Routing, RunArgs},
    cluster::Cluster,
    malformed,
    names::Host,
    process::{
        backoff::{Backoff, random_jitter},
        health,
        lease::{Candidate, Leadership, Lost},
        metrics::Metrics,
        queue::Queue,
        settle,
        vitals::{OperatorVitals, Work},
        watches::{Bell, Ours, follow_children, follow_ours},
    },
    references, rollout,
    routes::{self, RouteTable},
    tenant::{
        self, Context,
        first_look::Looked,
        hosts::Ledger,
        pods::TEMPLATE_REVISION,
        requests::{self, Requests},
        vitals::Http,
    },
    tombstones,
};

/// Why the operator could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address for probes and metrics is not free.
    #[error("failed to listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// A metric could not be registered.
    #[error("failed to set up metrics")]
    Metrics(#[source] prometheus::Error),
    /// The client that asks pods for their metrics could not be set up.
    #[error("failed to set up the client for the metrics of the CRMs")]
    Client(#[source] reqwest::Error),
    /// A watch ended, which it never should.
    #[error("a watch ended before its first complete list")]
    WatchEnded,
    /// Some work did not come to an end, so the lease was not let go of.
    #[error("work on the fleet was not finished within {} s", FINISH.as_secs())]
    Unfinished,
}

/// What is under way on the fleet as a whole is a few requests.
const FINISH: Duration = Duration::from_secs(10);

/// Tells the time.
pub type Clock = fn() -> jiff::Timestamp;

/// The clock of the process.
#[expect(clippy::disallowed_methods, reason = "the one place where the clock is read")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// Randomness for secrets.
fn random() -> [u8; 32] {
    rand::random()
}

/// Keeps the cluster as the Tenant objects say, until `shutdown` resolves; what is under way is finished.
///
/// With leader election it first waits for its turn. When it loses the lease it drops everything that is under way and all
/// that it knows, and stands by again: an API server that is away for a while is no reason to start the container again.
pub async fn run(
    client: Client,
    settings: RunArgs,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    run_by(now, client, settings, shutdown).await
}

/// The same by another clock, for tests of what happens at a certain time.
pub async fn run_by(
    now: Clock,
    client: Client,
    settings: RunArgs,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let metrics = Arc::new(Metrics::new().map_err(Error::Metrics)?);
    let listener =
        health::bind(settings.listen).await.map_err(|error| Error::Listen(settings.listen, error))?;
    let vitals = Arc::new(OperatorVitals::new(metrics));
    // Dropping the set at the end stops all of it.
    let mut tasks = JoinSet::new();
    tasks.spawn(health::serve(listener, vitals.clone()));
    let shutdown = shutdown.shared();
    // One name for the life of the process: a lease that was lost for want of an answer is taken up again at once.
    let random_name = || format!("operator-{}", hex::encode(rand::random::<[u8; 8]>()));
    let me = settings.identity.clone().unwrap_or_else(random_name);
    loop {
        let leadership = tokio::select! {
            leadership = elected(now, &client, &settings, &me, &vitals) => leadership,
            () = shutdown.clone() => break,
        };
        match serve_term(now, &client, &settings, &vitals, leadership, shutdown.clone()).await? {
            TermEnd::Shutdown => break,
            TermEnd::Lost(lost) => tracing::warn!(error = %lost, "lost the lease, standing by"),
        }
        vitals.stand_by();
    }
    tracing::info!("stopped");
    Ok(())
}

/// How a stretch of work ended.
enum TermEnd {
    /// The process was told to end.
    Shutdown,
    /// Another replica may be at work.
    Lost(Lost),
}

/// Works for as long as the lease is held, or until `shutdown` resolves.
async fn serve_term(
    now: Clock,
    client: &Client,
    settings: &RunArgs,
    vitals: &OperatorVitals,
    mut leadership: Option<Leadership>,
    shutdown: impl Future<Output = ()> + Clone,
) -> Result<TermEnd, Error> {
    vitals.metrics.leads(true);
    let term = leadership.as_ref().map(Leadership::term);
    let cluster = Cluster::new(client.clone(), vitals.metrics.clone()).during(term);
    tokio::select! {
        done = work(now, cluster, settings.clone(), vitals, shutdown) => done?,
        // Dropping the work stops its watches and reconciles, and nobody waits for what they had asked for.
        lost = lost(leadership.as_mut()) => return Ok(TermEnd::Lost(lost)),
    }
    if let Some(leadership) = leadership {
        leadership.release().await;
    }
    Ok(TermEnd::Shutdown)
}

/// Waits for the lease, if there is to be one. A standby is ready: it can take over.
async fn elected(
    now: Clock,
    client: &Client,
    settings: &RunArgs,
    me: &str,
    vitals: &OperatorVitals,
) -> Option<Leadership> {
    if !settings.leader_election {
        return None;
    }
    let candidate = Candidate::new(client.clone(), &settings.namespace, me.to_owned(), now);
    Some(candidate.elected(|| vitals.be_ready()).await)
}

async fn lost(leadership: Option<&mut Leadership>) -> Lost {
    match leadership {
        Some(leadership) => leadership.hold().await,
        None => future::pending().await,
    }
}

/// Watches and reconciles until `shutdown` resolves; then nothing of it is under way any more.
async fn work(
    now: Clock,
    cluster: Cluster,
    settings: RunArgs,
    vitals: &OperatorVitals,
    shutdown: impl Future<Output = ()> + Clone,
) -> Result<(), Error> {
    let (wake, woken) = mpsc::unbounded();
    let bell = Bell::new(wake);
    let mut watches = JoinSet::new();
    let children = follow_children(&cluster, &settings.routing, &bell, &mut watches);
    let ours = follow_ours(&cluster, &vitals.metrics, &bell, &mut watches);
    let tenants = ours.tenants.clone();
    vitals.show(Work { tenants: tenants.clone(), queue: bell.queue.clone() });
    tokio::select! {
        complete = wait_for_caches(children, &ours) => complete?,
        () = shutdown.clone() => return Ok(()),
    }
    tracing::info!(tenants = tenants.len(), "caches are complete");
    let recorded = tokio::select! {
        recorded = recorded_routes(&cluster, &settings) => recorded,
        () = shutdown.clone() => return Ok(()),
    };
    let concurrency = settings.concurrency;
    let ctx = Arc::new(context(now, cluster, settings, &bell, ours, &recorded, vitals.metrics.clone())?);
    let finish = CancellationToken::new();
    let mut fleet_work = spawn_fleet_work(&ctx, &bell, &finish);
    vitals.be_ready();

    let woken = woken.map(|name: String| Ok::<_, std::convert::Infallible>(ObjectRef::new(&name)));
    controller::applier(
        |tenant, ctx| tenant::reconcile(tenant, ctx).boxed(),
        tenant::error_policy,
        ctx,
        tenants,
        // When nothing comes any more, the reconciles under way are finished and the stream ends.
        woken.take_until(shutdown),
        controller::Config::default().concurrency(concurrency),
    )
    .for_each(|result| {
        log_outcome(&result, &bell.queue);
        future::ready(())
    })
    .await;
    finish.cancel();
    let finished = async { while fleet_work.join_next().await.is_some() {} };
    timeout(FINISH, finished).await.map_err(|_| Error::Unfinished)
}

fn context(
    now: Clock,
    cluster: Cluster,
    settings: RunArgs,
    bell: &Bell,
    ours: Ours,
    recorded: &RouteTable,
    metrics: Arc<Metrics>,
) -> Result<Context, Error> {
    let fleet = malformed::fleet(&ours.tenants, &ours.malformed);
    Ok(Context {
        hosts: Ledger::new(&settings.base_domain, granted_hosts(fleet, recorded)).into(),
        cluster,
        tenants: ours.tenants,
        plans: ours.plans,
        releases: ours.releases,
        channels: ours.channels,
        stores: ours.stores,
        requests: Requests { backups: ours.backups, restores: ours.restores, exports: ours.exports },
        tombstones: ours.tombstones,
        malformed: ours.malformed,
        wake: bell.wake.clone(),
        backoff: Backoff::new(random_jitter),
        queue: bell.queue.clone(),
        metrics,
        now,
        random,
        template_revision: TEMPLATE_REVISION,
        ask: Box::new(Http::new().map_err(Error::Client)?),
        written: std::sync::Mutex::default(),
        looked: Looked::default(),
        settings,
    })
}

async fn wait_for_caches(children: Vec<watch::Receiver<bool>>, ours: &Ours) -> Result<(), Error> {
    for mut complete in children {
        complete.wait_for(|complete| *complete).await.map_err(|_| Error::WatchEnded)?;
    }
    ours.tenants.wait_until_ready().await.map_err(|_| Error::WatchEnded)?;
    ours.plans.wait_until_ready().await.map_err(|_| Error::WatchEnded)?;
    ours.releases.wait_until_ready().await.map_err(|_| Error::WatchEnded)?;
    ours.channels.wait_until_ready().await.map_err(|_| Error::WatchEnded)?;
    ours.stores.wait_until_ready().await.map_err(|_| Error::WatchEnded)?;
    ours.backups.wait_until_ready().await.map_err(|_| Error::WatchEnded)?;
    ours.restores.wait_until_ready().await.map_err(|_| Error::WatchEnded)?;
    ours.exports.wait_until_ready().await.map_err(|_| Error::WatchEnded)?;
    ours.tombstones.wait_until_ready().await.map_err(|_| Error::WatchEnded)
}

/// The route table that is there, asked for until it is known: who has which host may stand nowhere else. Without our gateway
/// there is none.
async fn recorded_routes(cluster: &Cluster, settings: &RunArgs) -> RouteTable {
    const RETRY: Duration = Duration::from_secs(1);
    if settings.routing.kind != Routing::Builtin {
        return RouteTable::default();
    }
    loop {
        match routes::present(cluster, settings).await {
            Ok(table) => return table,
            Err(error) => tracing::warn!(error = %error, "the route table cannot be read yet"),
        }
        sleep(RETRY).await;
    }
}

/// Who has which host: what the statuses say, the oldest tenants first; for tenants without a status, the route table.
fn granted_hosts(mut tenants: Vec<Arc<Tenant>>, recorded: &RouteTable) -> Vec<(String, Host)> {
    tenants.sort_by_key(|tenant| (tenant.creation_timestamp().map(|time| time.0), tenant.name_any()));
    let told = tenants.iter().flat_map(|tenant| {
        let hosts = tenant.status.as_ref().map(|status| status.hosts.clone()).unwrap_or_default();
        hosts.into_iter().map(|host| (tenant.name_any(), host.name))
    });
    let kept = recorded.of_unseen(&tenants).map(|route| (route.tenant.clone(), route.host.clone()));
    told.chain(kept).filter_map(|(tenant, host)| Some((tenant, Host::parse(&host).ok()?))).collect()
}

/// The route table, the finalizers on Plans and Releases, requests without a tenant, the tombstones, and the news of malformed
/// objects, each kept by one task.
fn spawn_fleet_work(ctx: &Arc<Context>, bell: &Bell, finish: &CancellationToken) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let (this, changed, table) = (ctx.clone(), bell.fleet.clone(), Arc::new(routes::Writer::default()));
    tasks.spawn(settle::keep("routes", changed, finish.clone(), random_jitter, move || {
        let (ctx, table) = (this.clone(), table.clone());
        async move {
            let fleet = malformed::fleet(&ctx.tenants, &ctx.malformed);
            ctx.forget_all_but(&fleet.iter().map(|tenant| tenant.name_any()).collect());
            if ctx.settings.routing.kind == Routing::Builtin {
                table.write(&ctx.cluster, &ctx.settings, &fleet, &ctx.metrics, Instant::now()).await?;
            }
            Ok::<_, routes::Error>(None)
        }
    }));
    let (this, changed) = (ctx.clone(), bell.references.clone());
    tasks.spawn(settle::keep("references", changed, finish.clone(), random_jitter, move || {
        let ctx = this.clone();
        async move { references::settle(&ctx).await.map(|()| None) }
    }));
    let (this, changed) = (ctx.clone(), bell.channels.clone());
    tasks.spawn(settle::keep("channels", changed, finish.clone(), random_jitter, move || {
        let ctx = this.clone();
        async move { rollout::settle(&ctx).await }
    }));
    let (this, changed) = (ctx.clone(), bell.requests.clone());
    tasks.spawn(settle::keep("requests", changed, finish.clone(), random_jitter, move || {
        let ctx = this.clone();
        async move { requests::settle_orphans(&ctx).await.map(|()| None) }
    }));
    let (this, changed) = (ctx.clone(), bell.tombstones.clone());
    tasks.spawn(settle::keep("tombstones", changed, finish.clone(), random_jitter, move || {
        let ctx = this.clone();
        async move {
            let keys = &ctx.settings.keys_namespace;
            tombstones::settle(&ctx.cluster, &ctx.tombstones, keys, (ctx.now)()).await.map(|()| None)
        }
    }));
    let (this, changed) = (ctx.clone(), bell.malformed.clone());
    tasks.spawn(settle::keep("malformed objects", changed, finish.clone(), random_jitter, move || {
        let ctx = this.clone();
        async move { malformed::report(&ctx).await.map(|()| None) }
    }));
    tasks
}

type Outcome = Result<
    (ObjectRef<Tenant>, controller::Action),
    controller::Error<tenant::Error, std::convert::Infallible>,
>;

/// One line for each failure; successes are told when the status changes.
fn log_outcome(outcome: &Outcome, queue: &Queue) {
    match outcome {
        Ok((tenant, action)) => tracing::debug!(tenant = tenant.name, next = ?action, "reconciled"),
        Err(controller::Error::ReconcilerFailed(error, tenant)) => {
            tracing::warn!(
                tenant = tenant.name,
                reason = error.reason(),
                error = error.message(),
                "reconcile failed"
            );
        }
        // A tenant that is gone or malformed, or a child of one, has changed: there is nothing that could be done.
        Err(controller::Error::ObjectNotFound(tenant)) => {
            queue.started(&tenant.name);
        }
        Err(error) => tracing::error!(error = %error, "controller failed"),
    }
}
