//! What the status says about drills: the newest that ended, and whether it proves what it should.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

use super::backup::allowed_age;
use crate::{
    api::{
        LastDrill, State, Tenant,
        conditions::{Verdict, reasons},
    },
    cluster::cache::Snapshot,
    names::{self, Component, child},
    tenant::{
        report::{self, Drill, Drilled},
        validate::{ValidBackup, ValidTenant},
    },
};

/// The result of a drill that proved a backup.
const VERIFIED: &str = "Verified";

/// The newest drill that ended: one that was known, or one that a pod reports which was made after `born`.
pub(in crate::tenant) fn newest(
    known: impl IntoIterator<Item = Option<LastDrill>>,
    seen: &Snapshot,
    born: Option<Timestamp>,
) -> Option<LastDrill> {
    // A rehearsal tries a release; that it fails says nothing of the backup.
    let is_drill = |job: Option<&str>| !job.is_some_and(|job| job.starts_with(child::REHEARSAL));
    let pods = seen
        .all_pods(Component::Drill)
        .filter(|(_, child, pod)| born <= child.created && is_drill(pod.job.as_deref()));
    let reported = pods.filter_map(|(_, child, pod)| {
        let at = Time(child.created?);
        match report::drill(pod) {
            Drill::Pending => None,
            Drill::Done(done) => Some(passed(at, done)),
            Drill::Failed { what } => {
                Some(LastDrill { at, result: what, backup: None, rpo: None, rto: None, rows: None })
            }
        }
    });
    reported.chain(known.into_iter().flatten()).max_by_key(|drill| drill.at.0)
}

fn passed(at: Time, done: Drilled) -> LastDrill {
    LastDrill {
        rpo: Some(in_words(at.0.duration_since(done.created_at))),
        rto: Some(in_words(SignedDuration::from_secs(done.restored_in))),
        at,
        result: VERIFIED.to_owned(),
        backup: Some(done.backup),
        rows: Some(done.rows),
    }
}

/// As Kubernetes writes durations: `7h12m0s`. Never less than nothing: clocks differ.
fn in_words(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// Whether backups are proven. `None` when that cannot be told now: what was said before stands.
pub(super) fn verified(
    tenant: &Tenant,
    valid: Option<&ValidTenant>,
    last: Option<&LastDrill>,
    now: Timestamp,
) -> Option<Verdict> {
    let Some(backup) = &valid?.backup else {
        return Some(Verdict::unknown(reasons::NO_BACKUPS, "the tenant's plan makes no backups"));
    };
    if let Some(failed) = last.filter(|last| last.result != VERIFIED) {
        return Some(Verdict::no(reasons::DRILL_FAILED, failure(tenant, failed)));
    }
    if tenant.spec.state == State::Suspended && last.is_some() {
        return Some(Verdict::yes(reasons::SUSPENDED, "nothing runs, and the last drill proved a backup"));
    }
    let since = last.map(|last| last.at.0);
    let begun = since.or_else(|| tenant.creation_timestamp().map(|time| time.0)).unwrap_or(now);
    let in_time = now.duration_since(begun) <= allowed_age(&backup.drill, now)?;
    Some(match (since, in_time) {
        (Some(_), true) => Verdict::yes(reasons::DRILL_PASSED, ""),
        (None, true) => Verdict::unknown(reasons::FIRST_DRILL_DUE, "no backup has been tried yet"),
        (since, false) => Verdict::no(reasons::DRILL_OVERDUE, overdue(tenant, backup, since)),
    })
}

fn overdue(tenant: &Tenant, backup: &ValidBackup, since: Option<Timestamp>) -> String {
    let since =
        since.map_or_else(|| "none has ended yet".to_owned(), |at| format!("the last began at {at:.0}"));
    format!(
        "a drill is overdue: {since}, and the schedule is {:?} ({}). See the pods of CronJob {} in namespace {}",
        backup.drill.as_str(),
        tenant.spec.time_zone,
        child::DRILL,
        names::namespace_of(&tenant.name_any()),
    )
}

fn failure(tenant: &Tenant, failed: &LastDrill) -> String {
    format!(
        "the drill that began at {:.0} could not prove the newest backup: {}. Earlier backups are still there; see the log of the pod of CronJob {} in namespace {}",
        failed.at.0,
        failed.result,
        child::DRILL,
        names::namespace_of(&tenant.name_any()),
    )
}

#[cfg(test)]
mod tests;
