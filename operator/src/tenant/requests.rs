//! Requests: what somebody asks once to be done to a tenant. They are carried out by the reconcile of the tenant that they
//! name, so that whatever happens in a tenant's namespace has one writer.
//!
//! What is known of a request is in the API: its status, and the Job that is named after its uid. A result is final: it is
//! written before the Job goes, and only onto the version of the request that it was found for, so that an operator with an
//! older view of the world can neither take it back nor begin anew.

mod backup;
mod drop_old;
mod export;
mod orphans;
mod restore;
mod restoring;
mod work;

use std::fmt::Debug;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Resource, ResourceExt,
    core::object::HasStatus,
    runtime::reflector::{ObjectRef, Store},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    api::{
        State, Tenant, TenantBackup, TenantBackupStatus, TenantExport, TenantExportStatus, TenantRestore,
        TenantRestoreStatus,
        conditions::{self, Verdict, Word, reasons, set_condition},
    },
    cluster::{Severity, cache::Snapshot},
    malformed::Guarded,
    names,
    tenant::{
        Context, Error, Progress,
        course::{self, Course},
        is_confirmed, is_deleting,
        observe::Observed,
        requests::restore::{Restoring, Scene},
        validate::{ValidBackup, ValidRelease, ValidTenant},
    },
};

pub use orphans::settle as settle_orphans;

/// All requests, as the watches tell them.
pub struct Requests {
    /// Backups that somebody asked for.
    pub backups: Store<TenantBackup>,
    /// Restores that somebody asked for.
    pub restores: Store<TenantRestore>,
    /// Exit bundles that somebody asked for.
    pub exports: Store<TenantExport>,
}

/// What the requests of a tenant ask of the rest of its reconcile.
#[derive(Debug, Default)]
pub struct Plan {
    restoring: Option<Restoring>,
    /// The export for which the database of a suspended tenant runs.
    exporting: Option<String>,
}

/// A kind of request.
pub trait Request:
    Resource<DynamicType = ()>
    + HasStatus<Status: RequestStatus>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// Name of the tenant that it is about.
    fn tenant(&self) -> &str;

    /// Whether it has come to its end.
    fn is_finished(&self) -> bool {
        let complete = self.complete().map(|complete| complete.status.as_str());
        complete.is_some_and(|word| word != Word::Unknown.as_str())
    }

    /// What was said of it last.
    fn complete(&self) -> Option<&Condition> {
        conditions::find(self.status()?.conditions(), conditions::COMPLETE)
    }
}

/// The status of a request.
pub trait RequestStatus: Serialize + Clone + Debug + Default + PartialEq + Send + Sync {
    /// Its conditions.
    fn conditions(&self) -> &[Condition];
    /// The generation that it speaks of, and its conditions.
    fn parts(&mut self) -> (&mut Option<i64>, &mut Vec<Condition>);
}

macro_rules! requests {
    ($($kind:ident: $status:ident),+ $(,)?) => {$(
        impl Request for $kind {
            fn tenant(&self) -> &str {
                &self.spec.tenant
            }
        }

        impl RequestStatus for $status {
            fn conditions(&self) -> &[Condition] {
                &self.conditions
            }

            fn parts(&mut self) -> (&mut Option<i64>, &mut Vec<Condition>) {
                (&mut self.observed_generation, &mut self.conditions)
            }
        }
    )+};
}
requests!(
    TenantBackup: TenantBackupStatus,
    TenantRestore: TenantRestoreStatus,
    TenantExport: TenantExportStatus,
);

impl Plan {
    /// What is said of a suspended tenant while its database runs for an export.
    pub fn exporting_message(&self) -> Option<String> {
        let export = self.exporting.as_ref()?;
        Some(format!("no CRM runs; the database runs for TenantExport {export}, and stops after it"))
    }

    /// What is said of a tenant while a backup takes the place of its data.
    pub fn restoring_message(&self) -> Option<String> {
        let restoring = self.restoring.as_ref()?;
        let step = restoring.step.message()?;
        Some(format!("TenantRestore {}: {step}", restoring.request.name_any()))
    }
}

/// Decides what the requests of a tenant ask of the rest of its reconcile, and says so in the tenant: which database serves,
/// whether the CRM may run, and whether the database has to although the tenant is suspended.
pub(super) fn plan(
    tenant: &Tenant,
    ctx: &Context,
    valid: &mut ValidTenant,
    course: &mut Course,
    observed: &Observed,
) -> Plan {
    let (seen, now) = (&observed.seen, (ctx.now)());
    let requests = of_tenant(&ctx.requests.restores, valid.name.as_str());
    let mut databases = valid.databases.clone();
    drop_old::note(&mut databases, &valid.uid, seen);
    let scene = Scene { tenant, valid, course, seen, now };
    let restoring = restore::next(&requests, scene, &mut databases);
    let has_switched = databases.current != valid.databases.current;
    valid.is_restoring = course.lacks_backup()
        || course.stops_for_upgrade()
        || restoring.as_ref().is_some_and(Restoring::stops_the_crm);
    valid.databases = databases;
    if has_switched || valid.is_restoring {
        let upgrade = course.upgrade.take();
        *course = course::decide(valid, seen, observed.running_release.as_ref(), now);
        course.upgrade = upgrade;
    }
    let restored = restoring.as_ref().and_then(|restoring| restoring.restored.as_ref());
    if let Some(restored) = restored.filter(|_| has_switched) {
        course.schema_version = Some(restored.schema_version);
    }
    let exports = of_tenant(&ctx.requests.exports, valid.name.as_str());
    let exporting = export::needs_database(&exports, valid, course);
    valid.is_exporting = exporting.is_some();
    Plan { restoring, exporting }
}

/// Whether there is a request of that tenant that is not at its end.
pub(super) fn are_open(ctx: &Context, tenant: &str) -> bool {
    fn any<K: Request>(store: &Store<K>, tenant: &str) -> bool {
        store.find(|request| request.tenant() == tenant && !request.is_finished()).is_some()
    }
    let Requests { backups, restores, exports } = &ctx.requests;
    any(backups, tenant) || any(restores, tenant) || any(exports, tenant)
}

/// The tenant that a request names, also when the rest of it cannot be read.
pub fn tenant_named_by<K: Request>(request: &Guarded<K>) -> String {
    match &request.0 {
        Ok(request) => request.tenant().to_owned(),
        Err(malformed) => malformed.raw["spec"]["tenant"].as_str().unwrap_or_default().to_owned(),
    }
}

/// Does what is to be done next for the requests of a tenant, and says whether there is one that is not at its end.
pub(super) async fn attend(
    tenant: &Tenant,
    ctx: &Context,
    progress: &Progress,
    outcome: &Result<(), Error>,
) -> Result<bool, Error> {
    let name = tenant.name_any();
    let backups = of_tenant(&ctx.requests.backups, &name);
    let restores = of_tenant(&ctx.requests.restores, &name);
    let exports = of_tenant(&ctx.requests.exports, &name);
    let seen = ctx.cluster.cache().snapshot(&names::namespace_of(&name));
    let means = means(tenant, progress, outcome, &seen);
    let (means, means_of_exports) = (means.clone().and_then(awake), means);
    let restoring = progress.requests.restoring.as_ref().filter(|_| outcome.is_ok());
    let is_restoring = restoring::attend(ctx, &restores, restoring, means.as_ref(), &seen).await?;
    let [means, means_of_exports] =
        [means, means_of_exports].map(|means| match (progress.requests.restoring_message(), means) {
            (Some(message), Ok(_)) => Err(Verdict::unknown(reasons::RESTORING, message)),
            (_, means) => means,
        });
    if let Ok(means) = &means {
        drop_old::attend(ctx, means, &seen).await?;
    }
    let is_backing_up = backup::attend(ctx, &backups, means.as_ref(), &seen).await?;
    let uid = tenant.uid().unwrap_or_default();
    let is_exporting = export::attend(ctx, &uid, &exports, means_of_exports.as_ref(), &seen).await?;
    Ok(is_restoring || is_backing_up || is_exporting)
}

/// What asks for more than the data of a tenant waits while the tenant is suspended.
fn awake(means: Means<'_>) -> Result<Means<'_>, Verdict> {
    if means.tenant.state != State::Suspended {
        return Ok(means);
    }
    Err(Verdict::unknown(
        reasons::SUSPENDED,
        "the tenant is suspended and its database is stopped: it goes on when spec.state is another",
    ))
}

/// The requests of a tenant, in the order in which they were made.
fn of_tenant<K: Request>(store: &Store<K>, tenant: &str) -> Vec<std::sync::Arc<K>> {
    let mut all = store.state_filter(|request| request.tenant() == tenant);
    all.sort_by_key(|request| (request.creation_timestamp().map(|at| at.0), request.name_any()));
    all
}

/// All that a Job needs which makes a backup or an exit bundle.
#[derive(Clone, Debug)]
struct Means<'a> {
    tenant: &'a ValidTenant,
    backup: &'a ValidBackup,
    release: &'a ValidRelease,
    recipient: String,
}

/// What is needed to carry out a request, or what it has to wait for. The first that holds says it.
fn means<'a>(
    tenant: &Tenant,
    progress: &'a Progress,
    outcome: &Result<(), Error>,
    seen: &Snapshot,
) -> Result<Means<'a>, Verdict> {
    let wait = |reason, message: &str| Err(Verdict::unknown(reason, message));
    if is_deleting(tenant) && is_confirmed(tenant) {
        return wait(reasons::DELETING, "the tenant is being removed");
    }
    if tenant.spec.paused {
        return wait(reasons::PAUSED, "the tenant's spec.paused is set: it goes on when that is false");
    }
    if let Err(error) = outcome {
        let message = format!("it waits until the tenant is in order: {}", error.message());
        return Err(Verdict::unknown(reasons::TENANT_NOT_READY, message));
    }
    let (Some(valid), Some(course)) = (&progress.valid, &progress.course) else {
        return wait(reasons::TENANT_NOT_READY, "it waits for the first look at the tenant");
    };
    let Some(backup) = &valid.backup else {
        return wait(reasons::NO_BACKUPS, "the tenant's plan makes no backups: set spec.backup in the Plan");
    };
    if backup.recovery.is_none() {
        let message = format!(
            "BackupStore {:?} of the tenant's plan does not exist or cannot be read: make it (kubectl get backupstores)",
            backup.store
        );
        return Err(Verdict::unknown(reasons::STORE_NOT_FOUND, message));
    }
    let Some(release) = &course.app else {
        return wait(reasons::TENANT_NOT_READY, "the Release that the tenant runs is gone: make it again");
    };
    let facts = seen.namespace().map(|(_, facts)| facts);
    let recipient = facts.and_then(|facts| facts.backup_recipient.clone());
    let has_schema = course.schema_version.is_some();
    match recipient.filter(|_| has_schema) {
        Some(recipient) => Ok(Means { tenant: valid, backup, release, recipient }),
        None => wait(reasons::PROVISIONING, "it waits for the tenant's first start"),
    }
}

/// The status that says this of a request, and else what it said before.
fn saying<K: Request>(request: &K, verdict: Verdict, now: Timestamp) -> K::Status {
    let mut status = request.status().cloned().unwrap_or_default();
    let (generation, conditions) = status.parts();
    *generation = request.meta().generation;
    set_condition(conditions, conditions::COMPLETE, verdict, request.meta().generation, now);
    status
}

/// Writes a status if it differs from what the request says. Of a request that has changed or gone since there will be news.
async fn write<K: Request>(ctx: &Context, request: &K, status: &K::Status) -> Result<(), Error> {
    if request.status() == Some(status) {
        return Ok(());
    }
    match ctx.cluster.apply_request_status(request, status).await {
        Ok(()) => (),
        Err(error) if error.is_conflict() || error.is_not_found() => return Ok(()),
        Err(error) => return Err(Error::Cluster(error)),
    }
    let Some(now) = conditions::find(status.conditions(), conditions::COMPLETE) else { return Ok(()) };
    let known = request.complete().is_some_and(|before| before.reason == now.reason);
    if known {
        return Ok(());
    }
    let (kind, name) = (K::kind(&()), request.name_any());
    tracing::info!(%kind, name, tenant = request.tenant(), complete = now.status, reason = now.reason, "request");
    let severity = if now.status == Word::False.as_str() { Severity::Warning } else { Severity::Normal };
    let note = if now.message.is_empty() { "it is done" } else { now.message.as_str() };
    ctx.cluster.event_about(&request.object_ref(&()), severity, "Request", &now.reason, note).await;
    Ok(())
}

/// Whether the request is still as we know it and not at its end. The API server is asked, not what the watches told: nothing
/// is begun because of old news.
async fn is_current<K: Request>(ctx: &Context, request: &K) -> Result<bool, Error> {
    let live = ctx.cluster.get_global::<K>(&request.name_any()).await.map_err(Error::Cluster)?;
    Ok(live.is_some_and(|live| {
        live.uid() == request.uid()
            && live.resource_version() == request.resource_version()
            && live.meta().deletion_timestamp.is_none()
            && !live.is_finished()
    }))
}

/// Whether a Tenant of that name is known, in whatever form.
fn is_known(ctx: &Context, tenant: &str) -> bool {
    ctx.tenants.get(&ObjectRef::new(tenant)).is_some() || ctx.malformed.get::<Tenant>(tenant).is_some()
}

#[cfg(test)]
mod tests;
