//! The watches: of the children, and of our own kinds.

use std::{fmt::Debug, pin::pin, sync::Arc};

use futures::{StreamExt, channel::mpsc::UnboundedSender};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    batch::v1::{CronJob, Job},
    core::v1::{LimitRange, Namespace, PersistentVolumeClaim, Pod, ResourceQuota, Service, ServiceAccount},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
    rbac::v1::RoleBinding,
};
use kube::{
    Api, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::{
    api::{
        BackupStore, Channel, Plan, Release, Tenant, TenantBackup, TenantExport, TenantRestore,
        TenantTombstone,
    },
    args::{Routing, RoutingArgs},
    cluster::{
        Cluster,
        facts::ChildKind,
        http_route::HttpRoute,
        watch::{PAGE, follow},
    },
    malformed::{Guarded, Registry},
    process::{keeper::Keeper, metrics::Metrics, queue::Queue},
    tenant::requests::{Request, tenant_named_by},
};

/// Who is told of changes.
#[derive(Clone)]
pub(super) struct Bell {
    pub(super) wake: UnboundedSender<String>,
    pub(super) queue: Arc<Queue>,
    pub(super) fleet: Arc<Notify>,
    pub(super) references: Arc<Notify>,
    pub(super) requests: Arc<Notify>,
    pub(super) channels: Arc<Notify>,
    pub(super) tombstones: Arc<Notify>,
    pub(super) malformed: Arc<Notify>,
}

impl Bell {
    pub(super) fn new(wake: UnboundedSender<String>) -> Self {
        Self {
            wake,
            queue: Arc::default(),
            fleet: Arc::default(),
            references: Arc::default(),
            requests: Arc::default(),
            channels: Arc::default(),
            tombstones: Arc::default(),
            malformed: Arc::default(),
        }
    }

    /// One tenant should be looked at.
    fn tenant(&self, name: String) {
        self.queue.changed(&name);
        // A closed channel means that the process is ending.
        let _ = self.wake.unbounded_send(name);
    }
}

/// What we know of our own kinds.
#[derive(Clone)]
pub(super) struct Ours {
    pub(super) tenants: Store<Tenant>,
    pub(super) plans: Store<Plan>,
    pub(super) releases: Store<Release>,
    pub(super) channels: Store<Channel>,
    pub(super) stores: Store<BackupStore>,
    pub(super) backups: Store<TenantBackup>,
    pub(super) restores: Store<TenantRestore>,
    pub(super) exports: Store<TenantExport>,
    pub(super) tombstones: Store<TenantTombstone>,
    pub(super) malformed: Arc<Registry>,
}

/// Starts a watch for every kind of child; each receiver turns true when its first list is complete.
pub(super) fn follow_children(
    cluster: &Cluster,
    routing: &RoutingArgs,
    bell: &Bell,
    tasks: &mut JoinSet<()>,
) -> Vec<watch::Receiver<bool>> {
    fn start<K: ChildKind>(cluster: &Cluster, bell: &Bell, tasks: &mut JoinSet<()>) -> watch::Receiver<bool> {
        let (synced, complete) = watch::channel(false);
        let bell = bell.clone();
        tasks.spawn(follow::<K>(cluster.clone(), move |tenant| bell.tenant(tenant), synced));
        complete
    }
    let mut complete = vec![
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
        start::<CronJob>(cluster, bell, tasks),
        start::<Pod>(cluster, bell, tasks),
    ];
    // The operator has rights to these only when they are asked for.
    if routing.concerns(Routing::Ingress) {
        complete.push(start::<Ingress>(cluster, bell, tasks));
    }
    if routing.concerns(Routing::HttpRoute) {
        complete.push(start::<HttpRoute>(cluster, bell, tasks));
    }
    complete
}

/// Starts the watches of our own kinds.
pub(super) fn follow_ours(
    cluster: &Cluster,
    metrics: &Arc<Metrics>,
    bell: &Bell,
    tasks: &mut JoinSet<()>,
) -> Ours {
    let malformed = Arc::new(Registry::default());
    let to = bell.clone();
    let keeper = Keeper::<Tenant>::new(&malformed);
    let tenants = keeper.writer.as_reader();
    tasks.spawn(keep(cluster.clone(), keeper, metrics.clone(), bell.clone(), move |name| {
        to.tenant(name);
        to.fleet.notify_one();
        to.references.notify_one();
        to.requests.notify_one();
        to.channels.notify_one();
    }));
    let keeper = Keeper::<Plan>::new(&malformed);
    let plans = keeper.writer.as_reader();
    let (to, fleet, known) = (bell.clone(), tenants.clone(), plans.clone());
    tasks.spawn(keep(cluster.clone(), keeper, metrics.clone(), bell.clone(), move |name| {
        wake_users(&to, &fleet, |tenant| tenant.spec.plan == name || is_absent(&known, &tenant.spec.plan));
    }));
    let keeper = Keeper::<Release>::new(&malformed);
    let releases = keeper.writer.as_reader();
    let (to, fleet, known) = (bell.clone(), tenants.clone(), releases.clone());
    tasks.spawn(keep(cluster.clone(), keeper, metrics.clone(), bell.clone(), move |name| {
        let name = Some(name);
        wake_users(&to, &fleet, |tenant| {
            let told = tenant.status.as_ref().and_then(|status| status.target_release.as_ref());
            tenant.spec.release == name
                || told == name.as_ref()
                || tenant.status.as_ref().is_some_and(|status| status.release == name)
                || tenant.spec.release.as_ref().or(told).is_some_and(|wanted| is_absent(&known, wanted))
        });
        to.channels.notify_one();
    }));
    let keeper = Keeper::<Channel>::new(&malformed);
    let channels = keeper.writer.as_reader();
    let (to, fleet) = (bell.clone(), tenants.clone());
    tasks.spawn(keep(cluster.clone(), keeper, metrics.clone(), bell.clone(), move |name| {
        let name = Some(name);
        wake_users(&to, &fleet, |tenant| tenant.spec.channel == name);
        to.channels.notify_one();
    }));
    let keeper = Keeper::<BackupStore>::new(&malformed);
    let stores = keeper.writer.as_reader();
    let (to, fleet, plans_known) = (bell.clone(), tenants.clone(), plans.clone());
    tasks.spawn(keep(cluster.clone(), keeper, metrics.clone(), bell.clone(), move |name| {
        let plans = plans_known
            .state_filter(|plan| plan.spec.backup.as_ref().is_some_and(|backup| backup.store == name));
        wake_users(&to, &fleet, |tenant| plans.iter().any(|plan| plan.name_any() == tenant.spec.plan));
    }));
    let keeper = Keeper::<TenantTombstone>::new(&malformed);
    let tombstones = keeper.writer.as_reader();
    let (to, fleet) = (bell.clone(), tenants.clone());
    tasks.spawn(keep(cluster.clone(), keeper, metrics.clone(), bell.clone(), move |name| {
        // A tenant that waits for a tombstone to go has a part of its name.
        wake_users(&to, &fleet, |tenant| name.starts_with(&tenant.name_any()));
        to.tombstones.notify_one();
    }));
    let backups = follow_requests(cluster, metrics, bell, &malformed, tasks);
    let restores = follow_requests(cluster, metrics, bell, &malformed, tasks);
    let exports = follow_requests(cluster, metrics, bell, &malformed, tasks);
    Ours { tenants, plans, releases, channels, stores, backups, restores, exports, tombstones, malformed }
}

/// Starts the watch of a kind of request: its news are news of the tenant that it names.
fn follow_requests<K: Request>(
    cluster: &Cluster,
    metrics: &Arc<Metrics>,
    bell: &Bell,
    malformed: &Arc<Registry>,
    tasks: &mut JoinSet<()>,
) -> Store<K> {
    let keeper = Keeper::about(malformed, tenant_named_by::<K>);
    let (requests, to) = (keeper.writer.as_reader(), bell.clone());
    tasks.spawn(keep(cluster.clone(), keeper, metrics.clone(), bell.clone(), move |tenant| {
        to.requests.notify_one();
        to.tenant(tenant);
    }));
    requests
}

fn wake_users(bell: &Bell, tenants: &Store<Tenant>, uses: impl Fn(&Tenant) -> bool) {
    for tenant in tenants.state_filter(|tenant| uses(tenant)) {
        bell.tenant(tenant.name_any());
    }
    bell.references.notify_one();
}

/// Then the tenant's condition names those that there are, and they have changed.
fn is_absent<K>(known: &Store<K>, name: &str) -> bool
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    known.get(&ObjectRef::new(name)).is_none()
}

/// Keeps what we know of one kind of ours true, and tells of every object that changed or went. Ends never.
async fn keep<K>(
    cluster: Cluster,
    mut keeper: Keeper<K>,
    metrics: Arc<Metrics>,
    bell: Bell,
    changed: impl Fn(String),
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let kind = K::kind(&());
    let api: Api<Guarded<K>> = Api::all(cluster.client().clone());
    let events =
        watcher(api, watcher::Config::default().page_size(PAGE)).default_backoff().modify(|object| {
            object.managed_fields_mut().clear();
        });
    let mut events = pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                let news = keeper.take(event);
                metrics.malformed_objects(&kind, keeper.malformed.of_kind::<K>().len());
                if !keeper.malformed.untold().is_empty() {
                    bell.malformed.notify_one();
                }
                news.into_iter().for_each(&changed);
            }
            Err(error) => {
                metrics.watch_failed(&kind);
                tracing::warn!(%kind, error = %error, "watch failed; it starts again by itself");
            }
        }
    }
}
