//! Whether a restore may begin. Pure.

use jiff::SignedDuration;
use kube::ResourceExt;

use super::{Scene, Step};
use crate::{
    api::{
        State, TenantRestore,
        conditions::{Verdict, reasons},
    },
    cluster::{cache::Snapshot, facts::Kind},
    names::{Component, child},
    tenant::databases::{Databases, EndedRestore},
};

/// A restore is a command, not a wish: what was meant an hour ago may destroy what was done since.
const BEGIN_WITHIN: SignedDuration = SignedDuration::from_hours(1);
/// What keeps a restore from beginning.
pub(super) fn admit(request: &TenantRestore, scene: Scene<'_>, databases: &Databases) -> Option<Step> {
    let Scene { tenant, now, .. } = scene;
    let refuse = |reason, message: String| Some(Step::End(Verdict::no(reason, message)));
    let name = request.name_any();
    let again = |ended: &EndedRestore| ended.name == name && ended.generation.is_some();
    if databases.ended.iter().any(again) {
        return refuse(
            "AlreadyCarriedOut",
            format!(
                "a TenantRestore of the name {name:?} was carried out before, and this may be a copy of it: if you mean it, make one of another name"
            ),
        );
    }
    let made = request.creation_timestamp().map(|at| at.0);
    if made < tenant.creation_timestamp().map(|at| at.0) {
        return refuse(
            "MadeForAnother",
            "it was made before this Tenant was, so it means another one: make a new TenantRestore"
                .to_owned(),
        );
    }
    if made.is_some_and(|made| made + BEGIN_WITHIN < now) {
        return refuse("Expired", "it could not begin within an hour, and much may have been written since: make a new TenantRestore if it is still wanted".to_owned());
    }
    wait(scene).map(Step::Wait)
}

/// What a restore has to wait for. The first that holds says it.
fn wait(scene: Scene<'_>) -> Option<Verdict> {
    let Scene { valid, course, seen, .. } = scene;
    if let Some(lacking) = lacks(scene) {
        return Some(lacking);
    }
    let wait = |reason, message: &str| Some(Verdict::unknown(reason, message));
    if valid.state == State::Suspended {
        return wait(
            reasons::SUSPENDED,
            "the tenant is suspended and its database is stopped: set spec.state to Active",
        );
    }
    if course.migration.is_some() {
        return wait(reasons::MIGRATING, "it waits until the tenant runs the release that it should");
    }
    let database = seen.workload(Kind::StatefulSet, child::DATABASE);
    if database.is_none_or(|database| database.ready < 1) {
        return wait(
            "DatabaseNotReady",
            "the database does not answer, so what is in it could not be backed up first (kubectl get tenants -o wide)",
        );
    }
    is_busy(seen)
        .then(|| Verdict::unknown(reasons::QUEUED, "it waits for another backup or restore of this tenant"))
}

/// What the Jobs of a restore need and do not have.
pub(super) fn lacks(scene: Scene<'_>) -> Option<Verdict> {
    let Scene { valid, course, seen, .. } = scene;
    let lacking = |reason, message: &str| Some(Verdict::unknown(reason, message));
    let Some(backup) = &valid.backup else {
        return lacking(
            reasons::NO_BACKUPS,
            "the tenant's plan makes no backups: set spec.backup in the Plan",
        );
    };
    if backup.recovery.is_none() {
        return lacking(
            reasons::STORE_NOT_FOUND,
            "the BackupStore of the tenant's plan does not exist or cannot be read (kubectl get backupstores)",
        );
    }
    let key = seen.namespace().and_then(|(_, facts)| facts.backup_recipient.as_ref());
    if key.is_none() || course.schema_version.is_none() {
        return lacking(reasons::PROVISIONING, "it waits for the tenant's first start");
    }
    if course.app.is_none() {
        return lacking(reasons::TENANT_NOT_READY, "the Release that the tenant runs is gone: make it again");
    }
    None
}

/// Whether some other Job has to do with the database or with the tenant's place at the backup door.
fn is_busy(seen: &Snapshot) -> bool {
    let ours = [child::BACKUP, child::RESTORE, child::DROP, child::EXPORT];
    let is_one = |name: &str| ours.iter().any(|prefix| name.starts_with(&format!("{prefix}-")));
    let open = |name: &str| seen.job(name).is_some_and(|job| job.finished.is_none());
    let pods = |component| seen.all_pods(component).any(|(_, _, pod)| !pod.ended);
    seen.of_kind(Kind::Job).any(|(key, _)| is_one(&key.name) && open(&key.name))
        || pods(Component::Backup)
        || pods(Component::Restore)
        || pods(Component::Export)
}
