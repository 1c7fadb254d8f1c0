//! What the status says about backups: the newest that a Job reported, and whether that is young enough.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

use crate::{
    api::{
        LastBackup, State, Tenant,
        conditions::{Verdict, reasons},
    },
    cluster::cache::Snapshot,
    names::Component,
    schedule::Schedule,
    tenant::{
        report::{self, Backup},
        validate::{ValidBackup, ValidTenant},
    },
};

/// A backup takes its time, and one that failed is tried again: so much later than the schedule says is still in time, as a
/// part of the time between two.
const GRACE: i32 = 4;
/// The schedule could ask for a backup a minute.
const LEAST_GRACE: SignedDuration = SignedDuration::from_mins(15);
/// The clocks of two nodes may differ by so much.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(5);

/// The newest backup: one that was known, or one that a pod reports which was made after `born`. One from the future would hide
/// all that fail until then.
pub(in crate::tenant) fn newest(
    known: impl IntoIterator<Item = Option<LastBackup>>,
    seen: &Snapshot,
    born: Option<Timestamp>,
    now: Timestamp,
) -> Option<LastBackup> {
    let pods = seen.all_pods(Component::Backup).filter(|(_, child, _)| born <= child.created);
    let reported = pods.filter_map(|(_, _, pod)| match report::backup(pod) {
        Backup::Done(done) => Some(LastBackup::from(done)),
        Backup::Pending | Backup::Failed { .. } => None,
    });
    let credible = reported.filter(|backup| backup.created_at.0 <= now + CLOCKS_DIFFER);
    credible.chain(known.into_iter().flatten()).max_by(|a, b| a.created_at.0.cmp(&b.created_at.0))
}

/// Whether the newest backup is young enough. `None` when that cannot be told now: what was said before stands.
pub(super) fn recent(
    tenant: &Tenant,
    valid: Option<&ValidTenant>,
    last: Option<&LastBackup>,
    seen: &Snapshot,
    now: Timestamp,
) -> Option<Verdict> {
    let Some(backup) = &valid?.backup else {
        return Some(Verdict::unknown(
            reasons::NO_BACKUPS,
            "the tenant's plan makes no backups: set spec.backup in the Plan",
        ));
    };
    if backup.recovery.is_none() {
        return Some(Verdict::no(reasons::STORE_NOT_FOUND, store_not_found(&backup.store)));
    }
    if tenant.spec.state == State::Suspended && last.is_some() {
        return Some(Verdict::yes(reasons::SUSPENDED, "nothing runs, so no backups are made"));
    }
    let since = last.map(|last| last.created_at.0);
    let begun = since.or_else(|| tenant.creation_timestamp().map(|time| time.0)).unwrap_or(now);
    let allowed = allowed_age(&backup.schedule, now)?;
    let why =
        last_failure(seen, since).map(|what| format!(". The last try failed: {what}")).unwrap_or_default();
    Some(match (since, now.duration_since(begun) <= allowed) {
        (Some(_), true) => Verdict::yes(reasons::BACKED_UP, why.trim_start_matches(". ")),
        (None, true) => Verdict::unknown(reasons::FIRST_BACKUP_DUE, format!("there is no backup yet{why}")),
        (since, false) => Verdict::no(reasons::BACKUP_OVERDUE, overdue(tenant, backup, since, &why)),
    })
}

fn store_not_found(store: &str) -> String {
    format!(
        "BackupStore {store:?} of the tenant's plan does not exist or cannot be read, so backups stay as they are: make it, or set spec.backup.store in the Plan to one that exists (kubectl get backupstores)"
    )
}

fn overdue(tenant: &Tenant, backup: &ValidBackup, since: Option<Timestamp>, why: &str) -> String {
    let since = since.map_or_else(|| "there is none".to_owned(), |at| format!("the newest is of {at:.0}"));
    format!(
        "a backup is overdue: {since}, and the schedule is {:?} ({}){why}. See the pods of CronJob backup in namespace {}, and kubectl get backupstore {}",
        backup.schedule.as_str(),
        tenant.spec.time_zone,
        crate::names::namespace_of(&tenant.name_any()),
        backup.store,
    )
}

/// How old the newest may be that a schedule makes. `None` for a schedule that never runs: then none is ever too old.
pub(super) fn allowed_age(schedule: &Schedule, now: Timestamp) -> Option<SignedDuration> {
    let gap = schedule.longest_gap(now)?;
    Some(gap + (gap / GRACE).max(LEAST_GRACE))
}

/// What the newest pod that failed said, if it failed after that moment.
fn last_failure(seen: &Snapshot, after: Option<Timestamp>) -> Option<String> {
    let failed = seen.all_pods(Component::Backup).filter_map(|(_, child, pod)| match report::backup(pod) {
        Backup::Failed { what } => Some((child.created?, what)),
        Backup::Pending | Backup::Done(_) => None,
    });
    let failed = failed.filter(|(created, _)| after.is_none_or(|after| after < *created));
    failed.max_by_key(|(created, _)| *created).map(|(_, what)| what)
}

/// From what a Job reports.
impl From<report::BackedUp> for LastBackup {
    fn from(report: report::BackedUp) -> Self {
        Self {
            backup: report.backup,
            // The API keeps whole seconds, and what is read back must be what was written.
            created_at: Time(
                Timestamp::from_second(report.created_at.as_second()).unwrap_or(report.created_at),
            ),
            size: report.size,
            schema_version: report.schema_version,
        }
    }
}

#[cfg(test)]
mod tests;
