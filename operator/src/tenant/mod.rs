//! The tenant controller: observe → validate → build → apply → status, one file a step.
//!
//! Only observing, applying and writing the status touch the cluster; everything that decides is pure.

pub mod attempt;
pub mod bootstrap;
pub mod build;
pub mod closing;
pub mod course;
pub mod databases;
pub mod entitlement;
pub mod error;
pub mod first_look;
pub mod hosts;
pub mod newest;
pub mod observe;
pub mod pods;
pub mod report;
pub mod requests;
pub mod status;
pub mod unwatched;
pub mod upgrade;
pub mod validate;
pub mod vitals;

mod apply;
mod cleanup;
mod diagnose;
mod leaving;
mod rights;
mod telling;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::channel::mpsc::UnboundedSender;
use jiff::Timestamp;
use kube::{
    ResourceExt,
    runtime::{controller::Action, reflector::Store},
};

use crate::{
    api::{BackupStore, Channel, FinalBackup, Plan, Release, Tenant, TenantTombstone},
    args::{Routing, RunArgs},
    cluster::{
        Cluster,
        cache::{self, Snapshot},
        facts::Kind,
        write::Applied,
    },
    malformed,
    names::{CONFIRM_DELETE, Host, TENANT_FINALIZER, child},
    process::{backoff::Backoff, metrics::Metrics, queue::Queue},
    tenant::{
        course::Course,
        first_look::{Look, Looked, Whole},
        hosts::{Ledger, Settlement},
        newest::Newest,
        observe::{NamespaceState, Observed},
        pods::{Moment, PodSettings},
        requests::Requests,
        telling::{Told, write_status},
        upgrade::Upgrade,
        validate::ValidTenant,
        vitals::Ask,
    },
};

pub use error::Error;

/// Children that cannot be watched (Secrets, ConfigMaps) are looked at this often even when nothing happens.
const RESYNC: Duration = Duration::from_mins(5);
/// While a tenant is not ready, messages that depend on time are renewed this often.
const RECHECK: Duration = Duration::from_secs(10);
/// What is known to have changed is looked at again after this, should no news of it come.
const NEWS_LAG: Duration = Duration::from_secs(1);

/// Everything that a reconcile needs from outside.
pub struct Context {
    /// The door to the cluster.
    pub cluster: Cluster,
    /// How the operator runs.
    pub settings: RunArgs,
    /// All tenants.
    pub tenants: Store<Tenant>,
    /// All plans.
    pub plans: Store<Plan>,
    /// All releases.
    pub releases: Store<Release>,
    /// All channels.
    pub channels: Store<Channel>,
    /// All backup stores.
    pub stores: Store<BackupStore>,
    /// All requests.
    pub requests: Requests,
    /// What is left of tenants that were deleted.
    pub tombstones: Store<TenantTombstone>,
    /// Objects of these kinds that cannot be read.
    pub malformed: Arc<malformed::Registry>,
    /// Who has which host; the lock makes one writer of many reconciles.
    pub hosts: Mutex<Ledger>,
    /// Names tenants that should be looked at.
    pub wake: UnboundedSender<String>,
    /// Waiting times after failures.
    pub backoff: Backoff,
    /// What waits and since when.
    pub queue: Arc<Queue>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The clock.
    pub now: fn() -> Timestamp,
    /// A source of randomness that nobody can guess.
    pub random: fn() -> [u8; 32],
    /// The number of the pod templates that this operator makes.
    pub template_revision: u32,
    /// How pods are asked for their metrics.
    pub ask: Box<dyn Ask>,
    /// Statuses that we wrote and the watch has not brought back yet.
    pub written: Mutex<HashMap<String, Arc<Tenant>>>,
    /// Tenants that were looked at since the start.
    pub looked: Looked,
}

/// How far one reconcile came; the status is made from it whatever the outcome.
#[derive(Debug, Default)]
pub struct Progress {
    /// The tenant, if it passed validation.
    pub valid: Option<ValidTenant>,
    /// Release and migration.
    pub course: Option<Course>,
    /// What its requests ask of it.
    pub requests: requests::Plan,
    /// Its hosts.
    pub hosts: Option<Settlement>,
    /// Its storage class does not exist.
    pub storage_class_missing: bool,
    /// It should have HTTPRoutes, and the cluster does not know them.
    pub routes_not_supported: bool,
    /// Confirmed deletion: what is being removed now.
    pub removing: Option<&'static str>,
    /// Nothing is left of it.
    pub removed: bool,
    /// How much was read.
    pub look: Look,
}

/// Brings one tenant a step nearer to what it should be, and says in its status how far it is.
pub async fn reconcile(tenant: Arc<Tenant>, ctx: Arc<Context>) -> Result<Action, Error> {
    let name = tenant.name_any();
    if let Some(rest) = ctx.backoff.rest(&name) {
        return Ok(Action::requeue(rest));
    }
    let _timer = ctx.metrics.reconcile_started(ctx.queue.started(&name));
    #[cfg(feature = "mutants")]
    if crate::mutants::believes(tenant.clone(), &ctx).await? {
        return Ok(Action::await_change());
    }
    let tenant = ctx.freshest(tenant);
    let mut progress = Progress::default();
    let outcome = Box::pin(converge(&tenant, &ctx, &mut progress)).await;
    if progress.removed {
        ctx.backoff.reset(&name);
        tracing::info!(tenant = name, outcome = "Removed", "tenant is removed");
        return Ok(Action::await_change());
    }
    if rights::lag(&tenant, &ctx, &outcome) {
        return Ok(Action::requeue(rights::RETRY));
    }
    let told = write_status(&tenant, &ctx, &progress, &outcome).await?;
    let asked = requests::attend(&tenant, &ctx, &progress, &outcome).await;
    outcome?;
    let is_asked = asked?;
    ctx.backoff.reset(&name);
    Ok(Action::requeue(match told {
        Told::Nothing => ctx.backoff.spread(NEWS_LAG),
        told => next_look(&ctx, &progress, told == Told::Ready && !is_asked),
    }))
}

/// What to do after a failure: wait for a change, or try again after a while.
#[expect(clippy::needless_pass_by_value, reason = "the runtime calls it so")]
pub fn error_policy(tenant: Arc<Tenant>, error: &Error, ctx: Arc<Context>) -> Action {
    ctx.metrics.reconcile_failed(error.reason());
    let wait = ctx.backoff.next(&tenant.name_any());
    Action::requeue(if error.is_terminal() { ctx.backoff.spread(RESYNC) } else { wait })
}

async fn converge(tenant: &Tenant, ctx: &Context, progress: &mut Progress) -> Result<(), Error> {
    if tenant.spec.paused {
        return Ok(());
    }
    let before = first_look::begin(tenant, ctx);
    let rights = rights::restore(tenant, ctx).await?;
    let leaves = is_deleting(tenant) && is_confirmed(tenant);
    if leaves && leaving::is_over(tenant, ctx, &snapshot(tenant, ctx)) {
        return cleanup::remove(tenant, ctx, progress).await;
    }
    let observed = observe::observe(tenant, ctx).await?;
    if leaves && leaving::skips_final_backup(tenant) {
        let unwatched = unwatched::read(tenant, ctx, &observed).await?;
        leaving::bury(tenant, ctx, &observed, &unwatched, FinalBackup::Skipped).await?;
        return cleanup::remove(tenant, ctx, progress).await;
    }
    if observed.namespace == NamespaceState::Absent && !is_there(tenant, ctx).await? {
        progress.removed = true;
        return Ok(());
    }
    leaving::refuse_name_of_deleted(tenant, ctx, &observed)?;
    let tenant = &ensure_finalizer(tenant, ctx).await?;
    progress.storage_class_missing = observed.storage_class_missing;
    let mut valid = validated(tenant, ctx, &observed)?;
    let upgrade = upgrade::plan(tenant, ctx, &mut valid, &observed)?;
    let hosts = ctx.settle_hosts(&valid.name.to_string(), &valid.hosts);
    progress.hosts = Some(hosts.clone());
    progress.routes_not_supported =
        ctx.settings.routing.kind == Routing::HttpRoute && !observed.seen.serves(Kind::HttpRoute);
    let running = observed.running_release.as_ref();
    let mut course = course::decide(&valid, &observed.seen, running, (ctx.now)());
    course.upgrade = upgrade;
    let mut valid = with_pods_in_force(tenant, ctx, valid, &course, &observed)?;
    progress.requests = requests::plan(tenant, ctx, &mut valid, &mut course, &observed);
    progress.course = Some(course.clone());
    progress.valid = Some(valid.clone());
    let may_be_brief = rights == Applied::Unchanged;
    if may_be_brief && before.is_first && first_look::finds_all_well(tenant, ctx, progress, &observed)? {
        progress.look = Look::Brief;
        return Ok(());
    }
    if let Some(whole) = before.whole.filter(|_| may_be_brief)
        && first_look::finds_nothing_to_do(tenant, ctx, progress, &observed)?
    {
        ctx.looked.note(tenant, whole);
        progress.look = Look::SoonAfter(whole.at);
        return Ok(());
    }
    let unwatched = unwatched::read(tenant, ctx, &observed).await?;
    // What is to be applied is large; it lives on the heap.
    Box::pin(apply::apply(ctx, &valid, &course, &hosts.granted, &observed, &unwatched)).await?;
    if let Some(final_backup) = leaving::outcome(course.closing.as_ref()).filter(|_| leaves) {
        leaving::bury(tenant, ctx, &observed, &unwatched, final_backup).await?;
        return cleanup::remove(tenant, ctx, progress).await;
    }
    ctx.looked.note(tenant, Whole::now(tenant, ctx));
    Ok(())
}

/// The watched children, as they are known now.
fn snapshot(tenant: &Tenant, ctx: &Context) -> Snapshot {
    ctx.cluster.cache().snapshot(&crate::names::namespace_of(&tenant.name_any()))
}

/// Nobody would ever remove a namespace that is made for a Tenant that is gone, and watches may not have told yet.
async fn is_there(tenant: &Tenant, ctx: &Context) -> Result<bool, Error> {
    let uid = tenant.uid().unwrap_or_default();
    ctx.cluster.is_there::<Tenant>(&tenant.name_any(), &uid).await.map_err(Error::Cluster)
}

fn validated(tenant: &Tenant, ctx: &Context, observed: &Observed) -> Result<ValidTenant, Error> {
    let (plan, release) = observed.references(tenant)?;
    observed.namespace.check(tenant)?;
    let storage =
        observed.seen.claim(crate::names::child::DATABASE).and_then(|claim| claim.requested.as_deref());
    let databases = observed.databases(tenant)?;
    let (bootstrap, restored_from) = match bootstrap::outstanding(tenant, &observed.recorded, &databases) {
        Ok(bootstrap) => (Some(bootstrap), None),
        Err(recorded) => (None, recorded),
    };
    let valid = validate::validate(tenant, plan, release, observed.store.as_deref(), storage, &ctx.settings);
    let newest = Newest::of(tenant, &observed.seen, (ctx.now)());
    Ok(ValidTenant { databases, newest, bootstrap, restored_from, ..valid.map_err(Error::Invalid)? })
}

/// The tenant with those settings of its pods that are in force now.
fn with_pods_in_force(
    tenant: &Tenant,
    ctx: &Context,
    valid: ValidTenant,
    course: &Course,
    observed: &Observed,
) -> Result<ValidTenant, Error> {
    let recorded = observed.recorded.pod_settings.as_deref().and_then(PodSettings::read);
    let wanted = PodSettings { template: ctx.template_revision, ..valid.pods.clone() };
    let has_pods =
        |kind, name| observed.seen.workload(kind, name).is_some_and(|workload| 0 < workload.replicas);
    let moment = if !has_pods(Kind::StatefulSet, child::DATABASE) && !has_pods(Kind::Deployment, child::CRM) {
        Moment::Stopped
    } else if observed.recorded.release.as_ref() != Some(&course.running) {
        Moment::Rolling
    } else if course.upgrade.as_ref().is_some_and(Upgrade::is_under_way) {
        Moment::Upgrading
    } else {
        Moment::Calm
    };
    let pods = pods::in_force(&pods::Scene {
        recorded: recorded.as_ref(),
        wanted: &wanted,
        told: pods::told(tenant),
        follows: tenant.spec.channel.is_some(),
        moment,
    });
    valid.with_pods(pods).map_err(Error::Invalid)
}

/// Nothing is made before the finalizer is there, or a deletion in between would leave it behind.
async fn ensure_finalizer(tenant: &Tenant, ctx: &Context) -> Result<Tenant, Error> {
    if is_deleting(tenant) || tenant.finalizers().iter().any(|finalizer| finalizer == TENANT_FINALIZER) {
        return Ok(tenant.clone());
    }
    let mut finalizers = tenant.finalizers().to_vec();
    finalizers.push(TENANT_FINALIZER.to_owned());
    let tenant = ctx.cluster.set_finalizers(tenant, &finalizers).await.map_err(Error::Cluster)?;
    ctx.remember(tenant.clone());
    Ok(tenant)
}

fn next_look(ctx: &Context, progress: &Progress, ready: bool) -> Duration {
    if let Some(until) = progress.course.as_ref().and_then(Course::rests_until) {
        let wait = Duration::try_from(until.duration_since((ctx.now)())).unwrap_or(RECHECK);
        return wait.min(RESYNC) + Duration::from_secs(1);
    }
    match progress.look {
        _ if !ready => RECHECK,
        Look::Brief => ctx.backoff.scattered(RESYNC),
        Look::SoonAfter(whole) => RESYNC.saturating_sub((ctx.now)().duration_since(whole).unsigned_abs()),
        Look::Whole => ctx.backoff.spread(RESYNC),
    }
}

/// The API server has been told to delete the object.
pub fn is_deleting(tenant: &Tenant) -> bool {
    tenant.metadata.deletion_timestamp.is_some()
}

/// Somebody wrote the tenant's own name into the confirming annotation.
pub fn is_confirmed(tenant: &Tenant) -> bool {
    tenant.annotations().get(CONFIRM_DELETE) == tenant.metadata.name.as_ref()
}

impl Context {
    /// The newest version of a tenant that we know: from the watch, or from our own last write.
    pub(crate) fn freshest(&self, tenant: Arc<Tenant>) -> Arc<Tenant> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        match written.get(&tenant.name_any()) {
            Some(own)
                if own.uid() == tenant.uid() && cache::version_of(&*tenant) < cache::version_of(&**own) =>
            {
                own.clone()
            }
            Some(_) => {
                written.remove(&tenant.name_any());
                tenant
            }
            None => tenant,
        }
    }

    /// Two tasks write to a Tenant, so the answers may come in another order than the writes.
    pub(crate) fn remember(&self, tenant: Tenant) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let known = written.get(&tenant.name_any()).filter(|known| known.uid() == tenant.uid());
        if known.is_none_or(|known| cache::version_of(&**known) < cache::version_of(&tenant)) {
            written.insert(tenant.name_any(), Arc::new(tenant));
        }
    }

    /// Drops what is remembered of tenants that are gone; their hosts are free for others.
    pub fn forget_all_but(&self, present: &BTreeSet<String>) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| present.contains(name));
        self.looked.retain(present);
        let wake = self.hosts.lock().unwrap_or_else(PoisonError::into_inner).retain(present);
        self.wake_all(wake);
    }

    fn settle_hosts(&self, tenant: &str, wanted: &[Host]) -> Settlement {
        let settlement = self.hosts.lock().unwrap_or_else(PoisonError::into_inner).settle(tenant, wanted);
        self.wake_all(settlement.wake.clone());
        settlement
    }

    fn wake_all(&self, tenants: Vec<String>) {
        for tenant in tenants {
            // A closed channel means that the process is ending.
            let _ = self.wake.unbounded_send(tenant);
        }
    }
}

#[cfg(test)]
mod tests;
