//! Builds the watches and starts the controllers.

use std::{collections::BTreeSet, future::Future, net::SocketAddr, sync::Arc};

use futures::{
    FutureExt, StreamExt,
    channel::mpsc::{self, UnboundedSender},
    future,
};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    batch::v1::Job,
    core::v1::{LimitRange, Namespace, PersistentVolumeClaim, Pod, ResourceQuota, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::RoleBinding,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        WatchStreamExt, controller,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::{
    api::{Plan, Release, Tenant},
    args::RunArgs,
    cluster::{Cluster, facts::ChildKind, watch::follow},
    names::Host,
    process::{
        backoff::{Backoff, random_jitter},
        health::{self, Vitals},
        metrics::Metrics,
        queue::Queue,
        settle,
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

/// Who is told of changes.
#[derive(Clone)]
struct Bell {
    wake: UnboundedSender<String>,
    queue: Arc<Queue>,
    fleet: Arc<Notify>,
    references: Arc<Notify>,
}

impl Bell {
    /// One tenant should be looked at.
    fn tenant(&self, name: String) {
        self.queue.changed(&name);
        // A closed channel means that the process is ending.
        let _ = self.wake.unbounded_send(name);
    }
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
    let cluster = Cluster::new(client.clone(), metrics.clone());
    let (wake, woken) = mpsc::unbounded();
    let bell = Bell { wake, queue: Arc::default(), fleet: Arc::default(), references: Arc::default() };

    // Dropping the set at the end stops all of it.
    let mut tasks = JoinSet::new();
    let children = follow_children(&cluster, &bell, &mut tasks);
    let (tenants, plans, releases) = follow_ours(&client, &bell, &mut tasks);
    let (ready, is_ready) = watch::channel(false);
    let vitals = OperatorVitals {
        ready: is_ready,
        tenants: tenants.clone(),
        queue: bell.queue.clone(),
        metrics: metrics.clone(),
    };
    tasks.spawn(health::serve(listener, Arc::new(vitals)));
    let mut shutdown = std::pin::pin!(shutdown.shared());
    tokio::select! {
        complete = wait_for_caches(children, &tenants, &plans, &releases) => complete?,
        () = &mut shutdown => return Ok(()),
    }
    tracing::info!(tenants = tenants.len(), "caches are complete");

    let ctx = Arc::new(Context {
        hosts: Ledger::new(&settings.base_domain, granted_hosts(&tenants)).into(),
        cluster,
        tenants: tenants.clone(),
        plans,
        releases,
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
        log_outcome(&result);
        future::ready(())
    })
    .await;
    tracing::info!("stopped");
    Ok(())
}

/// Starts a watch for every kind of child; each receiver turns true when its first list is complete.
fn follow_children(cluster: &Cluster, bell: &Bell, tasks: &mut JoinSet<()>) -> Vec<watch::Receiver<bool>> {
    fn start<K: ChildKind>(cluster: &Cluster, bell: &Bell, tasks: &mut JoinSet<()>) -> watch::Receiver<bool> {
        let (synced, complete) = watch::channel(false);
        let bell = bell.clone();
        tasks.spawn(follow::<K>(cluster.clone(), move |tenant| bell.tenant(tenant), synced));
        complete
    }
    vec![
        start::<Namespace>(cluster, bell, tasks),
        start::<RoleBinding>(cluster, bell, tasks),
        start::<ServiceAccount>(cluster, bell, tasks),
        start::<ResourceQuota>(cluster, bell, tasks),
        start::<LimitRange>(cluster, bell, tasks),
        start::<NetworkPolicy>(cluster, bell, tasks),
        start::<PersistentVolumeClaim>(cluster, bell, tasks),
        start::<Service>(cluster, bell, tasks),
        start::<PodDisruptionBudget>(cluster, bell, tasks),
        start::<StatefulSet>(cluster, bell, tasks),
        start::<Deployment>(cluster, bell, tasks),
        start::<Job>(cluster, bell, tasks),
        start::<Pod>(cluster, bell, tasks),
    ]
}

/// Starts the watches of our own kinds.
fn follow_ours(
    client: &Client,
    bell: &Bell,
    tasks: &mut JoinSet<()>,
) -> (Store<Tenant>, Store<Plan>, Store<Release>) {
    let (tenants, writer) = reflector::store();
    let to = bell.clone();
    tasks.spawn(keep_store(Api::<Tenant>::all(client.clone()), writer, move |tenant: &Tenant| {
        to.tenant(tenant.name_any());
        to.fleet.notify_one();
        to.references.notify_one();
    }));
    let (plans, writer) = reflector::store();
    let (to, fleet) = (bell.clone(), tenants.clone());
    tasks.spawn(keep_store(Api::<Plan>::all(client.clone()), writer, move |plan: &Plan| {
        let name = plan.name_any();
        wake_users(&to, &fleet, |tenant| tenant.spec.plan == name);
    }));
    let (releases, writer) = reflector::store();
    let (to, fleet) = (bell.clone(), tenants.clone());
    tasks.spawn(keep_store(Api::<Release>::all(client.clone()), writer, move |release: &Release| {
        let name = Some(release.name_any());
        wake_users(&to, &fleet, |tenant| {
            tenant.spec.release == name || tenant.status.as_ref().is_some_and(|status| status.release == name)
        });
    }));
    (tenants, plans, releases)
}

fn wake_users(bell: &Bell, tenants: &Store<Tenant>, uses: impl Fn(&Tenant) -> bool) {
    for tenant in tenants.state_filter(|tenant| uses(tenant)) {
        bell.tenant(tenant.name_any());
    }
    bell.references.notify_one();
}

/// Keeps a store of one kind of ours true, and tells of every object that changed or went.
async fn keep_store<K>(api: Api<K>, writer: reflector::store::Writer<K>, changed: impl Fn(&K))
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    let events = watcher(api, watcher::Config::default()).default_backoff().modify(|object| {
        object.managed_fields_mut().clear();
    });
    let events = reflector::reflector(writer, events);
    events
        .for_each(|event| {
            match event {
                Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object) | watcher::Event::Delete(object)) => {
                    changed(&object);
                }
                Ok(watcher::Event::Init | watcher::Event::InitDone) => (),
                Err(error) => {
                    tracing::warn!(kind = %K::kind(&()), error = %error, "watch failed; it starts again by itself");
                }
            }
            future::ready(())
        })
        .await;
}

async fn wait_for_caches(
    children: Vec<watch::Receiver<bool>>,
    tenants: &Store<Tenant>,
    plans: &Store<Plan>,
    releases: &Store<Release>,
) -> Result<(), Error> {
    for mut complete in children {
        complete.wait_for(|complete| *complete).await.map_err(|_| Error::WatchEnded)?;
    }
    tenants.wait_until_ready().await.map_err(|_| Error::WatchEnded)?;
    plans.wait_until_ready().await.map_err(|_| Error::WatchEnded)?;
    releases.wait_until_ready().await.map_err(|_| Error::WatchEnded)
}

/// What the statuses say, the oldest tenants first.
fn granted_hosts(tenants: &Store<Tenant>) -> Vec<(String, Host)> {
    let mut tenants = tenants.state();
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

/// The route table and the finalizers on Plans and Releases, each kept by one task.
fn spawn_fleet_work(tasks: &mut JoinSet<()>, ctx: &Arc<Context>, bell: &Bell) {
    let (this, changed) = (ctx.clone(), bell.fleet.clone());
    tasks.spawn(settle::keep("routes", changed, random_jitter, move || {
        let ctx = this.clone();
        async move {
            let present: BTreeSet<String> =
                ctx.tenants.state().iter().map(|tenant| tenant.name_any()).collect();
            ctx.forget_all_but(&present);
            routes::write(&ctx.cluster, &ctx.settings, &ctx.tenants, &ctx.metrics).await
        }
    }));
    let (this, changed) = (ctx.clone(), bell.references.clone());
    tasks.spawn(settle::keep("references", changed, random_jitter, move || {
        let ctx = this.clone();
        async move { references::settle(&ctx.cluster, &ctx.tenants, &ctx.plans, &ctx.releases).await }
    }));
}

type Outcome = Result<
    (ObjectRef<Tenant>, controller::Action),
    controller::Error<tenant::Error, std::convert::Infallible>,
>;

/// One line for each failure; successes are told when the status changes.
fn log_outcome(outcome: &Outcome) {
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
        // A child of a tenant that is gone has changed.
        Err(controller::Error::ObjectNotFound(_)) => (),
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
