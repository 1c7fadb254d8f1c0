//! What comes next on the way from one release to another. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::{
        CheckResult, Lost, UpgradeCheck, UpgradeStatus,
        conditions::{Verdict, Word, reasons, whole_seconds},
    },
    tenant::{
        attempt::Attempt,
        report::Outcome,
        upgrade::{
            record::{Failure, Record, Safety},
            redirect,
        },
        validate::ValidRelease,
        vitals::{Complaint, Vitals},
    },
};

/// What an app shows that no waiting would mend.
pub const HOPELESS: [&str; 3] = ["CrashLooping", "OutOfMemory", "ContainerNotStarted"];
/// What the cluster lacks says nothing of a release.
const NOBODYS_FAULT: &str = "Unschedulable";
/// A release whose pods do not answer by then does not answer.
const READY_WITHIN: SignedDuration = SignedDuration::from_mins(10);
/// What speaks against a release, and might be nothing, counts when nothing has shown by then that it was nothing.
const DOUBT: SignedDuration = SignedDuration::from_mins(2);
/// What pods say of themselves is asked for this often.
const LOOK_EVERY: SignedDuration = SignedDuration::from_secs(10);

/// What one look at an upgrade is made of.
pub struct Look<'a> {
    /// Name of the release that is wanted.
    pub wanted: &'a str,
    /// Name of the release that runs.
    pub running: &'a str,
    /// Number of the database that serves.
    pub generation: i64,
    /// What is under way, or failed.
    pub record: Option<Record>,
    /// What must be so before it begins.
    pub checks: Vec<UpgradeCheck>,
    /// What is done for safety.
    pub safety: Safety,
    /// What became of the backup before an upgrade.
    pub backup: &'a dyn Fn(&Record) -> Tried<String>,
    /// What became of the trial of the new release.
    pub rehearsal: &'a dyn Fn(&Record) -> Tried<()>,
    /// What became of the restore of the backup after an upgrade.
    pub restore: &'a dyn Fn(&Record) -> Undoing,
    /// What the Job says that migrates to the release that is under way, once it is over.
    pub migration: Option<Outcome>,
    /// How the CRM does; `None` when nobody can tell.
    pub vitals: Option<Vitals>,
    /// Whether the CRM answers in the release that runs.
    pub app: &'a Verdict,
    /// Whether the database answers.
    pub database: &'a Verdict,
    /// The value of the annotation `tenantry.dev/retry`.
    pub retry: Option<&'a str>,
    /// How long the release has to stay healthy.
    pub bake: SignedDuration,
    /// What has failed stays until somebody decides.
    pub is_manual: bool,
    /// The time.
    pub now: Timestamp,
}

/// What became of a Job.
#[derive(Clone, Debug, PartialEq)]
pub enum Tried<T> {
    /// It is to be done, or being done, or will be done again.
    Open(Attempt),
    /// It is done.
    Done(T),
    /// It has failed, and says so itself.
    Failed(String),
}

/// What became of the restore of the backup from before.
#[derive(Clone, Debug, PartialEq)]
pub enum Undoing {
    /// Nobody has asked for it.
    Absent,
    /// It is under way.
    Running,
    /// It failed; what it said.
    Failed(String),
    /// It is done; the moment of the last thing that was written before.
    Done(Option<Timestamp>),
}

/// Something that is to be done in the tenant's namespace besides migrating and rolling.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// A backup.
    BackUp(Attempt),
    /// The new release on trial.
    Rehearse {
        /// On this backup.
        backup: String,
        /// The Job.
        attempt: Attempt,
    },
    /// The restore of the backup.
    Restore {
        /// Its name.
        backup: String,
    },
}

/// What comes next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Upgrade {
    /// Name of the release that the tenant is to run now.
    pub release: String,
    /// What is to be recorded.
    pub record: Option<Record>,
    /// What must be so before it goes on, while it has not.
    pub checks: Vec<UpgradeCheck>,
    /// What it waits for.
    pub message: Option<String>,
    /// What is to be done.
    pub work: Option<Work>,
    /// The release that is tried.
    pub trial: Option<ValidRelease>,
    /// The CRM must not run until the backup from before is restored.
    pub stops_the_crm: bool,
    /// When time alone makes a difference.
    pub next_look: Option<Timestamp>,
}

impl Upgrade {
    /// What the Tenant's status says of it.
    pub fn status(&self, running: &str) -> Option<UpgradeStatus> {
        let record = self.record.as_ref()?;
        Some(record.status(running, self.checks.clone(), self.message.clone()))
    }

    /// Whether it is under way; one that failed is when it has not come back yet.
    pub fn is_under_way(&self) -> bool {
        let is_over = |record: &Record| {
            record.failure.as_ref().is_some_and(|failure| failure.is_undone || failure.is_left)
        };
        self.record.as_ref().is_some_and(|record| !is_over(record))
    }

    /// Whether people must not change records now.
    pub fn is_read_only(&self) -> bool {
        self.record.as_ref().is_some_and(Record::is_read_only)
    }
}

/// Decides from what is wanted and what is there.
pub fn decide(look: &Look<'_>) -> Upgrade {
    let record = look.record.clone().and_then(|record| redirect::redirected(record, look));
    let Some(mut record) = record.or_else(|| redirect::begun(look)) else {
        return Upgrade { release: look.running.to_owned(), ..Upgrade::default() };
    };
    let mut upgrade = if record.failure.is_none() { forward(&mut record, look) } else { None };
    if record.failure.is_some() {
        upgrade = Some(back(&mut record, look));
    }
    match upgrade {
        Some(upgrade) => Upgrade { record: Some(record), ..upgrade },
        None => Upgrade { release: record.to, ..Upgrade::default() },
    }
}

/// One step on; `None` when there is none left. A failure is noted in the record.
fn forward(record: &mut Record, look: &Look<'_>) -> Option<Upgrade> {
    if record.safety.is_none() {
        let of = |result| look.checks.iter().find(|check| check.result == result);
        if let Some(failed) = of(CheckResult::Failed) {
            fail(record, look, &format!("{}CheckFailed", failed.name), failed.message.clone());
            return None;
        }
        if let Some(waiting) = of(CheckResult::Waiting) {
            let (checks, message) = (look.checks.clone(), Some(waiting.message.clone()));
            return Some(Upgrade { checks, message, ..stays(record, look) });
        }
        record.safety = Some(look.safety);
    }
    before(record, look).or_else(|| migrate(record, look)).or_else(|| run(record, look))
}

/// What comes before the tenant's own data are touched.
fn before(record: &mut Record, look: &Look<'_>) -> Option<Upgrade> {
    let safety = record.safety();
    if safety.backs_up && record.backup.is_none() {
        if safety.is_one_way && !look.vitals.as_ref().is_some_and(|vitals| vitals.is_still) {
            let message = "it waits until all pods of the CRM say that nobody changes records any more";
            return Some(Upgrade { message: Some(message.to_owned()), ..stays(record, look) });
        }
        match (look.backup)(record) {
            Tried::Done(backup) => record.backup = Some(backup),
            Tried::Open(attempt) => return Some(waits(record, look, Work::BackUp(attempt))),
            // The release cannot be blamed for it. Kubernetes has tried it several times; somebody has to look.
            Tried::Failed(what) => fail(record, look, "BackupFailed", format!("the backup failed: {what}")),
        }
    }
    let backup = record.backup.clone().filter(|_| safety.rehearses && !record.is_rehearsed)?;
    match (look.rehearsal)(record) {
        Tried::Done(()) => record.is_rehearsed = true,
        Tried::Open(attempt) => return Some(waits(record, look, Work::Rehearse { backup, attempt })),
        Tried::Failed(what) => {
            let message = format!("on a restored copy of the tenant's data it failed: {what}");
            fail(record, look, "RehearsalFailed", message);
        }
    }
    None
}

/// The schema, while the release before serves.
fn migrate(record: &mut Record, look: &Look<'_>) -> Option<Upgrade> {
    if record.failure.is_some() || look.running == record.to {
        return None;
    }
    if !record.has_migrated {
        record.has_migrated = true;
        record.before.clone_from(&look.vitals);
    }
    if let Some(Outcome::Failed { what }) = &look.migration {
        fail(record, look, "MigrationFailed", what.clone());
        return None;
    }
    Some(Upgrade { release: record.to.clone(), ..Upgrade::default() })
}

/// The new release, until it has stayed healthy for long enough.
fn run(record: &mut Record, look: &Look<'_>) -> Option<Upgrade> {
    if record.failure.is_some() {
        return None;
    }
    let now = whole_seconds(look.now);
    let goes_on = Upgrade { release: record.to.clone(), ..Upgrade::default() };
    if look.app.word != Word::True {
        record.healthy_since = None;
        return roll(record, look).then_some(goes_on);
    }
    record.rolling_since = None;
    record.writable_since.get_or_insert(now);
    let until = *record.healthy_since.get_or_insert(now) + look.bake;
    let soon = now + LOOK_EVERY;
    let complaint = look.vitals.as_ref().and_then(|vitals| vitals.complaint(record.before.as_ref()));
    if let Some(Complaint { reason, message, is_doubtful }) = complaint {
        if is_doubtful && look.now < until + DOUBT {
            let message = Some(format!("{message}; a few more requests will show whether it stays so"));
            return Some(Upgrade { message, next_look: Some(soon), ..goes_on });
        }
        fail(record, look, reason, message);
        return None;
    }
    if look.now < until {
        return Some(Upgrade { next_look: Some(until.min(soon)), ..goes_on });
    }
    let cannot_tell = look.vitals.is_none() && !look.bake.is_zero();
    cannot_tell.then(|| Upgrade {
        message: Some(
            "the metrics of its pods cannot be read, so nobody can tell how the new release does".into(),
        ),
        next_look: Some(soon),
        ..goes_on
    })
}

/// Waits for the pods of the new release; false when there is nothing to wait for.
fn roll(record: &mut Record, look: &Look<'_>) -> bool {
    let app = look.app;
    if HOPELESS.contains(&app.reason) {
        fail(record, look, app.reason, app.message.clone());
        return false;
    }
    let is_stopped = [reasons::SUSPENDED, reasons::STOPPING].contains(&app.reason);
    if is_stopped || app.reason == NOBODYS_FAULT || look.database.word != Word::True {
        record.rolling_since = None;
        return true;
    }
    let since = *record.rolling_since.get_or_insert(whole_seconds(look.now));
    let is_late = since + READY_WITHIN <= look.now;
    if is_late {
        fail(record, look, "NotReadyInTime", format!("its pods do not answer: {}", app.message));
    }
    !is_late
}

/// One step back.
fn back(record: &mut Record, look: &Look<'_>) -> Upgrade {
    let must_restore = record.must_restore();
    let is_restored = look.generation != record.generation;
    let answers = look.running == record.from && look.app.word == Word::True;
    let undoing = if must_restore { (look.restore)(record) } else { Undoing::Absent };
    let written = record.writable_since;
    let Some(failure) = &mut record.failure else { return Upgrade::default() };
    if failure.is_left {
        let message = "rollback is Manual: set the channel's release to another one, or to the one before, or say retry";
        return Upgrade {
            release: record.to.clone(),
            message: Some(message.to_owned()),
            ..Upgrade::default()
        };
    }
    record.healthy_since = None;
    let release = record.from.clone();
    if failure.is_undone || !must_restore || is_restored {
        if let (Undoing::Done(Some(until)), Some(from), None) = (&undoing, written, &failure.lost) {
            failure.lost = Some(Lost { from: Time(from), to: Time(*until) });
        }
        failure.is_undone |= answers;
        return Upgrade { release, ..Upgrade::default() };
    }
    let work = record.backup.clone().filter(|_| undoing == Undoing::Absent);
    let message = match undoing {
        Undoing::Failed(what) => Some(what),
        _ => None,
    };
    Upgrade {
        release,
        message,
        // Also when the restore has failed: the release before would work on a schema that is not its own.
        stops_the_crm: true,
        work: work.map(|backup| Work::Restore { backup }),
        ..Upgrade::default()
    }
}

/// Notes why it cannot succeed. As long as nothing of the new release has touched anything, that is also its end.
fn fail(record: &mut Record, look: &Look<'_>, reason: &str, message: String) {
    record.failure = Some(Failure {
        at: whole_seconds(look.now),
        reason: reason.to_owned(),
        message,
        is_undone: !record.has_migrated,
        is_left: look.is_manual && look.running == record.to,
        lost: None,
    });
}

/// The release before serves on.
fn stays(record: &Record, look: &Look<'_>) -> Upgrade {
    let next_look = Some(whole_seconds(look.now) + LOOK_EVERY);
    Upgrade { release: record.from.clone(), next_look, ..Upgrade::default() }
}

/// A Job has to be done first.
fn waits(record: &Record, look: &Look<'_>, work: Work) -> Upgrade {
    let (Work::BackUp(attempt) | Work::Rehearse { attempt, .. }) = &work else { return stays(record, look) };
    let failed = attempt.failure.as_ref();
    let message =
        failed.map(|failure| format!("Job {}: {failure}; {}", attempt.job, attempt.step.what_next()));
    Upgrade { message, work: Some(work), ..stays(record, look) }
}

#[cfg(test)]
mod tests;
