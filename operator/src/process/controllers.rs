//! Builds the watches and starts the controllers.

use std::{future::Future, net::SocketAddr, sync::Arc};

use futures::{FutureExt, StreamExt, channel::mpsc, future};
use kube::{
    Client, ResourceExt,
    runtime::{
        controller,
        reflector::{ObjectRef, Store},
    },
};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    api::Tenant,
    args::RunArgs,
    cluster::Cluster,
    malformed,
    names::Host,
    process::{
        backoff::{Backoff, random_jitter},
        health::{self, Vitals},
        metrics::Metrics,
        queue::Queue,
        settle,
        watches::{Bell, Ours, follow_children, follow_ours},
    },
    references, routes,
    tenant::{self, Context, hosts::Ledger},
};

/// Why the operator could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address for probes and metrics is not free.
    #[error("failed to listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// A metric could not be registered.
    #[error("failed to set up metrics")]
    Metrics(#[source] prometheus::Error),
    /// A watch ended, which it never should.
    #[error("a watch ended before its first complete list")]
    WatchEnded,
}

/// The clock of the process.
#[expect(clippy::disallowed_methods, reason = "the one place where the clock is read")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// Randomness for secrets.
fn random() -> [u8; 32] {
    rand::random()
}

/// Keeps the cluster as the Tenant objects say, until `shutdown` resolves; reconciles under way are finished.
pub async fn run(
    client: Client,
    settings: RunArgs,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let metrics = Arc::new(Metrics::new().map_err(Error::Metrics)?);
    let listener =
        health::bind(settings.listen).await.map_err(|error| Error::Listen(settings.listen, error))?;
    let cluster = Cluster::new(client, metrics.clone());
    let (wake, woken) = mpsc::unbounded();
    let bell = Bell::new(wake);

    // Dropping the set at the end stops all of it.
    let mut tasks = JoinSet::new();
    let children = follow_children(&cluster, &bell, &mut tasks);
    let ours = follow_ours(&cluster, &metrics, &bell, &mut tasks);
    let (ready, is_ready) = watch::channel(false);
    let vitals = OperatorVitals {
        ready: is_ready,
        tenants: ours.tenants.clone(),
        queue: bell.queue.clone(),
        metrics: metrics.clone(),
    };
    tasks.spawn(health::serve(listener, Arc::new(vitals)));
    let mut shutdown = std::pin::pin!(shutdown.shared());
    tokio::select! {
        complete = wait_for_caches(children, &ours) => complete?,
        () = &mut shutdown => return Ok(()),
    }
    tracing::info!(tenants = ours.tenants.len(), "caches are complete");

    let tenants = ours.tenants.clone();
    let fleet = malformed::fleet(&ours.tenants, &ours.malformed);
    let ctx = Arc::new(Context {
        hosts: Ledger::new(&settings.base_domain, granted_hosts(fleet)).into(),
        cluster,
        tenants: ours.tenants,
        plans: ours.plans,
        releases: ours.releases,
        malformed: ours.malformed,
        wake: bell.wake.clone(),
        backoff: Backoff::new(random_jitter),
        queue: bell.queue.clone(),
        metrics,
        now,
        random,
        written: std::sync::Mutex::default(),
        settings: settings.clone(),
    });
    spawn_fleet_work(&mut tasks, &ctx, &bell);
    ready.send_replace(true);

    let woken = woken.map(|name: String| Ok::<_, std::convert::Infallible>(ObjectRef::new(&name)));
    controller::applier(
        |tenant, ctx| tenant::reconcile(tenant, ctx).boxed(),
        tenant::error_policy,
        ctx,
        tenants,
        // When nothing comes any more, the reconciles under way are finished and the stream ends.
        woken.take_until(shutdown),
        controller::Config::default().concurrency(settings.concurrency),
    )
    .for_each(|result| {
        log_outcome(&result, &bell.queue);
        future::ready(())
    })
    .await;
    tracing::info!("stopped");
    Ok(())
}

async fn wait_for_caches(children: Vec<watch::Receiver<bool>>, ours: &Ours) -> Result<(), Error> {
    for mut complete in children {
        complete.wait_for(|complete| *complete).await.map_err(|_| Error::WatchEnded)?;
    }
    ours.tenants.wait_until_ready().await.map_err(|_| Error::WatchEnded)?;
    ours.plans.wait_until_ready().await.map_err(|_| Error::WatchEnded)?;
    ours.releases.wait_until_ready().await.map_err(|_| Error::WatchEnded)
}

/// What the statuses say, the oldest tenants first.
fn granted_hosts(mut tenants: Vec<Arc<Tenant>>) -> Vec<(String, Host)> {
    tenants.sort_by_key(|tenant| (tenant.creation_timestamp().map(|time| time.0), tenant.name_any()));
    tenants
        .iter()
        .flat_map(|tenant| {
            let hosts = tenant.status.as_ref().map(|status| status.hosts.clone()).unwrap_or_default();
            let hosts = hosts.into_iter().filter_map(|host| Host::parse(&host.name).ok());
            hosts.map(|host| (tenant.name_any(), host))
        })
        .collect()
}

/// The route table, the finalizers on Plans and Releases, and the news of malformed objects, each kept by one task.
fn spawn_fleet_work(tasks: &mut JoinSet<()>, ctx: &Arc<Context>, bell: &Bell) {
    let (this, changed) = (ctx.clone(), bell.fleet.clone());
    tasks.spawn(settle::keep("routes", changed, random_jitter, move || {
        let ctx = this.clone();
        async move {
            let fleet = malformed::fleet(&ctx.tenants, &ctx.malformed);
            ctx.forget_all_but(&fleet.iter().map(|tenant| tenant.name_any()).collect());
            routes::write(&ctx.cluster, &ctx.settings, &fleet, &ctx.metrics).await
        }
    }));
    let (this, changed) = (ctx.clone(), bell.references.clone());
    tasks.spawn(settle::keep("references", changed, random_jitter, move || {
        let ctx = this.clone();
        async move {
            references::settle(&ctx.cluster, &ctx.tenants, &ctx.plans, &ctx.releases, &ctx.malformed).await
        }
    }));
    let (this, changed) = (ctx.clone(), bell.malformed.clone());
    tasks.spawn(settle::keep("malformed objects", changed, random_jitter, move || {
        let ctx = this.clone();
        async move { malformed::report(&ctx).await }
    }));
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

struct OperatorVitals {
    ready: watch::Receiver<bool>,
    tenants: Store<Tenant>,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
}

impl Vitals for OperatorVitals {
    fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    fn metrics(&self) -> Result<String, prometheus::Error> {
        let tenants = self.tenants.state();
        self.metrics.render(tenants.iter().map(AsRef::as_ref), self.queue.len())
    }
}
