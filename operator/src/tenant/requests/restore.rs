//! `TenantRestore`: which step a restore is at. Pure; what a step does stands in [`super::restoring`].
//!
//! # Steps
//!
//! 1. **Stop.** The Deployment has no replicas, the CronJobs are suspended, the gateway says so. Goes on when no pod of the CRM
//!    is left. Nothing is lost by repeating it.
//! 2. **Safety backup** of what is there. Since nobody writes any more, it has everything. Repeated, it is a backup more.
//! 3. **Restore** into the next database. `crm-app restore` drops what it left half-made, finds what it finished, and touches no
//!    other. Which backup it is cannot change from one try to the next: `latest` means the newest of the moment when the
//!    request was made, so the safety backup is never it.
//! 4. **Switch**: the Namespace says which database serves, that this restore led to it, and since when, in one write. It
//!    follows from the report of a pod alone. Everything else follows from the Namespace, by the reconcile that every
//!    tenant has. Repeated, it is the same write.
//! 5. **Start.** Done when the CRM answers from the restored database.
//! 6. A day later the old database is dropped ([`super::drop_old`]).
//!
//! Before the switch, every failure ends the restore and nothing else: the CRM comes back on the database that it had. After
//! it there is no way but forward; back leads another restore, of the safety backup.
//!
//! # What must never happen
//!
//! - *Data is written after the safety backup and then lost.* The steps from there on look again whether the CRM is stopped, and
//!   give up if it is not.
//! - *A restore is carried out twice,* the second time over newer data: because its status was emptied, because the cluster's
//!   state came back from an older copy, because the request was made again from one. Restores that ended are written on the
//!   Namespace by uid and name, whichever way they ended; one that has not begun within an hour never does; one that is older
//!   than its Tenant is another's.
//! - *The wrong database serves.* See [`Databases`].
//! - *A database that is needed is dropped.* Only those with a lower number than the one that serves are, and `crm-app` is told
//!   which that is.

mod admission;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{
    Request,
    backup::read as backup_of,
    work::{self, Work},
};
use crate::{
    api::{
        LastBackup, RestoreStep, SafetyBackup, State, Tenant, TenantRestore, TenantRestoreStatus,
        conditions::{Verdict, Word, reasons},
    },
    cluster::{
        cache::Snapshot,
        facts::{Kind, PodFacts},
    },
    names::{self, Component, child},
    tenant::{
        course::Course,
        databases::{Databases, EndedRestore, name_of},
        diagnose,
        report::{self, Restored},
        validate::ValidTenant,
    },
};

/// A Job that could not be made by then, counted from the beginning, is refused by somebody; the second one comes after the first,
/// which may take an hour.
const MAKE_WITHIN: [SignedDuration; 2] = [SignedDuration::from_mins(30), SignedDuration::from_hours(2)];
/// Pods of the CRM that do not end by then never will.
const STOP_WITHIN: SignedDuration = SignedDuration::from_mins(15);
/// A CRM that does not answer by then needs somebody to look at it, and perhaps another restore.
const START_WITHIN: SignedDuration = SignedDuration::from_mins(15);
/// How `crm-app restore` says that a database of the name is there, and finished.
const IN_USE: &str = "DatabaseInUse";

/// What is known of a tenant when it is decided about its restores.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) tenant: &'a Tenant,
    pub(super) valid: &'a ValidTenant,
    pub(super) course: &'a Course,
    pub(super) seen: &'a Snapshot,
    pub(super) now: Timestamp,
}

/// A restore, and what is to be done about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Restoring {
    pub(super) request: Arc<TenantRestore>,
    pub(super) step: Step,
    /// The backup of what was there before.
    pub(super) safety: Option<SafetyBackup>,
    /// What was restored.
    pub(super) restored: Option<Restored>,
    /// Number of the database that serves because of it.
    pub(super) serves: Option<i64>,
}

/// The steps.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// It has not begun.
    Wait(Verdict),
    Stop,
    SafetyBackup {
        make: bool,
    },
    Restore {
        make: bool,
        generation: i64,
    },
    Start,
    End(Verdict),
}

impl Step {
    /// The name that people see.
    pub(super) fn name(&self) -> Option<RestoreStep> {
        match self {
            Self::Stop => Some(RestoreStep::Stopping),
            Self::SafetyBackup { .. } => Some(RestoreStep::SafetyBackup),
            Self::Restore { .. } => Some(RestoreStep::Restoring),
            Self::Start => Some(RestoreStep::Starting),
            Self::Wait(_) | Self::End(_) => None,
        }
    }

    /// What is being done.
    pub(super) fn message(&self) -> Option<String> {
        match self {
            Self::Stop => Some("the CRM is being stopped".to_owned()),
            Self::SafetyBackup { .. } => Some("what is there now is being backed up".to_owned()),
            Self::Restore { generation, .. } => {
                Some(format!("the backup is being restored into database {}", name_of(*generation)))
            }
            Self::Start => Some("the restored database serves, and the CRM is starting".to_owned()),
            Self::Wait(_) | Self::End(_) => None,
        }
    }
}

impl Restoring {
    /// Whether the CRM must not run.
    pub(super) fn stops_the_crm(&self) -> bool {
        matches!(self.step, Step::Stop | Step::SafetyBackup { .. } | Step::Restore { .. })
    }
}

/// Decides about the next restore of a tenant, if somebody asked for one. The switch happens here, in `databases`.
pub(super) fn next(
    requests: &[Arc<TenantRestore>],
    scene: Scene<'_>,
    databases: &mut Databases,
) -> Option<Restoring> {
    let failed = |request: &&Arc<TenantRestore>| {
        request.complete().is_some_and(|complete| complete.status == Word::False.as_str())
    };
    for request in requests.iter().filter(failed) {
        databases.remember(EndedRestore::of(&**request, None));
    }
    let request = requests.iter().find(|request| !request.is_finished())?.clone();
    let jobs = Jobs::of(&request, scene);
    let known = request.status.clone().unwrap_or_default();
    let safety = known.safety_backup.clone().or_else(|| jobs.safety_backup());
    let restored = match &jobs.restore {
        Work::Done(restored) => Some(restored.clone()),
        _ => None,
    };
    let ended = databases.ended.iter().find(|ended| Some(&ended.uid) == request.uid().as_ref()).cloned();
    let step = match ended {
        Some(ended) => after(&ended, scene, databases),
        None => step(&request, &known, &jobs, safety.as_ref(), scene, databases),
    };
    let uid = request.uid();
    let ended = databases.ended.iter().find(|ended| Some(&ended.uid) == uid.as_ref());
    let serves = ended.and_then(|ended| ended.generation);
    Some(Restoring { request, step, safety, restored, serves })
}

/// The Jobs of one restore.
struct Jobs {
    any: bool,
    safety: Work<report::BackedUp>,
    restore: Work<Restored>,
    /// The database that the restore goes into, or went.
    generation: Option<i64>,
}

impl Jobs {
    fn of(request: &TenantRestore, scene: Scene<'_>) -> Self {
        let uid = request.uid().unwrap_or_default();
        let (safety, restore) =
            (names::request_job(Component::Backup, &uid), names::request_job(Component::Restore, &uid));
        let Scene { seen, now, .. } = scene;
        Self {
            any: [&safety, &restore].into_iter().any(|job| seen.job(job).is_some()),
            generation: seen.job(&restore).and_then(|job| job.database_generation),
            safety: work::of(seen, Component::Backup, &safety, backup_of, now),
            restore: work::of(seen, Component::Restore, &restore, restored, now),
        }
    }

    fn safety_backup(&self) -> Option<SafetyBackup> {
        let Work::Done(done) = &self.safety else { return None };
        let LastBackup { backup, created_at, .. } = done.clone().into();
        Some(SafetyBackup { backup, created_at })
    }
}

/// How the pod of a restore ended.
fn restored(pod: &PodFacts) -> Option<Result<Restored, String>> {
    match report::restore(pod) {
        report::Restore::Pending => None,
        report::Restore::Done(done) => Some(Ok(done)),
        report::Restore::Failed { what } => Some(Err(what)),
    }
}

/// Before the switch, and the switch itself.
fn step(
    request: &TenantRestore,
    known: &TenantRestoreStatus,
    jobs: &Jobs,
    safety: Option<&SafetyBackup>,
    scene: Scene<'_>,
    databases: &mut Databases,
) -> Step {
    if known.started_at.is_none() && !jobs.any {
        return admission::admit(request, scene, databases).unwrap_or(Step::Stop);
    }
    let is_stopped = is_stopped(scene.seen);
    if !is_stopped && (safety.is_some() || jobs.any) {
        return fail(
            "CrmStarted",
            "the CRM was started again while it was being restored, so the safety backup no longer has everything",
        );
    }
    let is_late =
        |limit: SignedDuration| known.started_at.as_ref().is_some_and(|at| at.0 + limit < scene.now);
    // What is lacking now was there when it began. The CRM does not wait for it to come back.
    let hindered = |limit| {
        let refused = || "its Job could not be made (see the operator's log)".to_owned();
        let lacking = admission::lacks(scene).map(|lacking| (lacking.reason, lacking.message));
        let late = is_late(limit).then(|| (reasons::RESTORE_FAILED, refused()));
        lacking.or(late).map(|(reason, what)| fail(reason, &what))
    };
    let generation = jobs.generation.unwrap_or(databases.next);
    if let Work::Done(restored) = &jobs.restore {
        if let Some(doubt) = doubt(request, restored, safety) {
            return doubt;
        }
        databases.switch(generation, EndedRestore::of(request, Some(generation)), scene.now);
        return Step::Start;
    }
    if scene.valid.state == State::Suspended {
        return fail(reasons::SUSPENDED, "the tenant was suspended while it was being restored");
    }
    if !is_stopped {
        let late = is_late(STOP_WITHIN);
        let stuck = || {
            fail(
                "CrmNotStopped",
                "the pods of the CRM do not stop (kubectl get pods -l app.kubernetes.io/component=crm)",
            )
        };
        return if late { stuck() } else { Step::Stop };
    }
    if safety.is_none() {
        return match &jobs.safety {
            Work::Absent | Work::Done(_) => {
                hindered(MAKE_WITHIN[0]).unwrap_or(Step::SafetyBackup { make: true })
            }
            Work::Running => Step::SafetyBackup { make: false },
            Work::Failed { what } => {
                fail("SafetyBackupFailed", &format!("what is there could not be backed up first: {what}"))
            }
            Work::Silent => {
                fail("SafetyBackupFailed", "the Job that backs up what is there did not say how it ended")
            }
        };
    }
    match &jobs.restore {
        Work::Absent | Work::Done(_) => {
            hindered(MAKE_WITHIN[1]).unwrap_or(Step::Restore { make: true, generation })
        }
        Work::Running => Step::Restore { make: false, generation },
        Work::Failed { what } if what.starts_with(IN_USE) => {
            databases.next = databases.next.max(generation + 1);
            fail(
                reasons::RESTORE_FAILED,
                &format!(
                    "database {} is there already, restored and never put into service; it is left alone, and the next TenantRestore goes into another",
                    name_of(generation)
                ),
            )
        }
        Work::Failed { what } => fail(reasons::RESTORE_FAILED, what),
        Work::Silent => fail(reasons::RESTORE_FAILED, "the Job did not say how it ended"),
    }
}

/// After the switch.
fn after(ended: &EndedRestore, scene: Scene<'_>, databases: &Databases) -> Step {
    let Scene { valid, course, seen, now, .. } = scene;
    match ended.generation {
        None => Step::End(Verdict::no(
            reasons::RESTORE_FAILED,
            "it came to its end before, and how is not known any more; make another TenantRestore to try again",
        )),
        Some(generation) if generation != databases.current => {
            Step::End(Verdict::yes(reasons::RESTORED, "a later restore followed"))
        }
        Some(generation) => {
            let app = diagnose::app(seen, &valid.namespace, now);
            let serves = seen
                .workload(Kind::Deployment, child::CRM)
                .is_some_and(|app| app.database_generation == Some(generation));
            let is_up = serves && app.word == Word::True && course.migration.is_none();
            if is_up || valid.state == State::Suspended {
                return Step::End(Verdict::yes(reasons::RESTORED, ""));
            }
            let late = databases.switched_at.is_none_or(|at| at + START_WITHIN < now);
            if !late {
                return Step::Start;
            }
            Step::End(Verdict::no(
                "CrmNotAvailable",
                format!(
                    "the restored database serves, but the CRM does not answer: see kubectl get tenant {}. To go back, restore the safety backup",
                    valid.name
                ),
            ))
        }
    }
}

/// Nothing has changed, and says so.
fn fail(reason: &'static str, what: &str) -> Step {
    let message = format!(
        "{what}. Nothing was changed: the CRM goes on with the data that it had; make another TenantRestore to try again"
    );
    Step::End(Verdict::no(reason, message))
}

/// What speaks against putting the restored database into service.
fn doubt(request: &TenantRestore, restored: &Restored, safety: Option<&SafetyBackup>) -> Option<Step> {
    if request.spec.from.backup.as_ref().is_some_and(|wanted| *wanted != restored.backup) {
        return Some(fail(
            reasons::RESULT_UNKNOWN,
            &format!("the Job says that it restored backup {}, which nobody asked for", restored.backup),
        ));
    }
    let is_safety = safety.is_some_and(|safety| safety.backup == restored.backup);
    is_safety.then(|| fail("ClocksDiffer", "the newest backup by the time of the TenantRestore is the safety backup itself: the database's clock is behind that of the API server. Name the backup that you mean in spec.from.backup"))
}

/// Whether nobody can write any more.
fn is_stopped(seen: &Snapshot) -> bool {
    let app = seen.workload(Kind::Deployment, child::CRM);
    app.is_some_and(|app| app.wanted == 0 && app.observed && app.replicas == 0)
        && seen.all_pods(Component::Crm).all(|(_, _, pod)| pod.ended)
}

#[cfg(test)]
mod tests;
