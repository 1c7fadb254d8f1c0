//! The way of one tenant from one release to the next, when its channel tells it to go.
//!
//! # Steps
//!
//! 1. **Checking.** All that must be so is so ([`checks`]).
//! 2. **Backing up**, and 3. **rehearsing**: the new release restores, migrates and serves that backup, on a PostgreSQL of its own.
//! 4. **Migrating**, while the release before serves. 5. **Rolling** its pods. 6. **Baking**: it has to stay healthy, by its readiness
//!    and by its own metrics.
//!
//! What fails goes back: by image, or, when the release before cannot work on the new schema, by restoring the backup. In that
//! case nobody may write from the backup until the new release answers, so that nothing is lost until then.
//!
//! [`decide`] is pure; what this file does is to look, and the rest of the reconcile carries it out.

pub mod checks;
pub mod decide;
pub mod record;

mod redirect;

use jiff::SignedDuration;
use kube::{ResourceExt as _, runtime::reflector::ObjectRef};

use crate::{
    api::{
        Channel, Rehearse, Rollback, State, Tenant, TenantRestore,
        conditions::{Verdict, Word, reasons},
    },
    cluster::{
        cache::Snapshot,
        facts::{Kind, NamespaceFacts},
        uid::Uid,
    },
    names::{self, Component, child},
    tenant::{
        Context, Error,
        attempt::{Attempt, Step, pods_of},
        course::{self, Course},
        diagnose,
        observe::{self, Missing, Observed},
        report::{self, Backup, Drill, Outcome},
        requests::Request as _,
        upgrade::{
            checks::Scene,
            decide::{Look, Tried, Undoing, Work},
        },
        validate::{ValidRelease, ValidTenant},
    },
};

pub use decide::Upgrade;
pub use record::{Record, Safety};

/// Looks at a tenant that has a channel and runs: the release in `valid` becomes the one that it is to run now, and people may
/// write only if it says so.
pub(super) fn plan(
    tenant: &Tenant,
    ctx: &Context,
    valid: &mut ValidTenant,
    observed: &Observed,
) -> Result<Option<Upgrade>, Error> {
    let recorded = &observed.recorded;
    let (Some(Ok(channel)), Some(running), Some(_)) =
        (&observed.channel, &recorded.release, recorded.schema_version)
    else {
        return Ok(None);
    };
    let (seen, now) = (&observed.seen, (ctx.now)());
    let database = diagnose::database(seen, &valid.namespace, observed.storage_class_missing, now);
    let rollout = &channel.spec.rollout;
    let scene = Scene {
        from: observed.running_release.as_ref(),
        to: &valid.release,
        database: &database,
        backup: valid.backup.as_ref(),
        window: tenant.spec.maintenance_window.as_ref().or(rollout.window.as_ref()),
        time_zone: &valid.time_zone,
        rehearse: rehearses(tenant, channel),
        now,
    };
    let mut upgrade = decide::decide(&Look {
        wanted: &valid.release.name,
        running,
        generation: valid.databases.current,
        record: recorded.upgrade.as_deref().and_then(Record::read),
        checks: checks::all(&scene),
        safety: checks::safety(&scene),
        backup: &|record| backed_up(record, seen, now),
        rehearsal: &|record| rehearsed(record, seen, now),
        restore: &|record| undoing(record, ctx, valid),
        migration: migration(valid, observed),
        vitals: observed.vitals.clone(),
        app: &app(seen, &valid.namespace, running, now),
        database: &database,
        retry: tenant.annotations().get(names::RETRY).map(String::as_str).filter(|word| !word.is_empty()),
        bake: bake(channel)?,
        is_manual: rollout.rollback == Rollback::Manual,
        now,
    });
    upgrade.trial = matches!(upgrade.work, Some(Work::Rehearse { .. })).then(|| valid.release.clone());
    if upgrade.release != valid.release.name {
        let release = observe::find(&ctx.releases, &ctx.malformed, &upgrade.release);
        valid.release = ValidRelease::of(&*release.map_err(|missing| unusable(&upgrade.release, missing))?);
    }
    if upgrade.is_read_only() && valid.state == State::Active {
        valid.state = State::ReadOnly;
    }
    Ok(Some(upgrade))
}

/// Whether the CRM answers in that release. The record that it runs is written before its Deployment is.
fn app(seen: &Snapshot, namespace: &str, running: &str, now: jiff::Timestamp) -> Verdict {
    let deployment = seen.workload(Kind::Deployment, child::CRM);
    if deployment.is_some_and(|deployment| deployment.release.as_deref() != Some(running)) {
        return Verdict::no(reasons::ROLLING_OUT, "its pods are still to be made");
    }
    diagnose::app(seen, namespace, now)
}

fn rehearses(tenant: &Tenant, channel: &Channel) -> bool {
    let rollout = &channel.spec.rollout;
    match rollout.rehearse {
        Rehearse::Always => true,
        Rehearse::Never => false,
        Rehearse::FirstWave => {
            let first = rollout.waves.first().map_or(names::REST_WAVE, |wave| wave.name.as_str());
            let own = tenant.status.as_ref().and_then(|status| status.target_wave.as_deref());
            // Of one whose wave is not known, the careful thing is thought.
            own.is_none_or(|own| own == first)
        }
    }
}

fn backed_up(record: &Record, seen: &Snapshot, now: jiff::Timestamp) -> Tried<String> {
    let job = names::upgrade_backup_job(&record.to, record.started_at);
    let mut failure = None;
    for (_, pod) in pods_of(seen, Component::Backup, &job) {
        match report::backup(pod) {
            Backup::Done(done) => return Tried::Done(done.backup),
            Backup::Failed { what } => failure = Some(what),
            Backup::Pending => (),
        }
    }
    tried(seen, job, failure, now)
}

fn rehearsed(record: &Record, seen: &Snapshot, now: jiff::Timestamp) -> Tried<()> {
    let job = names::rehearsal_job(&record.to, record.started_at);
    let mut failure = None;
    for (_, pod) in pods_of(seen, Component::Drill, &job) {
        match report::drill(pod) {
            Drill::Done(done) if Some(&done.backup) == record.backup.as_ref() => return Tried::Done(()),
            Drill::Done(done) => failure = Some(format!("it restored backup {} instead", done.backup)),
            Drill::Failed { what } => failure = Some(what),
            Drill::Pending => (),
        }
    }
    tried(seen, job, failure, now)
}

/// A Job that has given up has failed if its pods say so; one that nothing is known of is tried again.
fn tried<T>(seen: &Snapshot, job: String, failure: Option<String>, now: jiff::Timestamp) -> Tried<T> {
    let has_given_up = seen.job(&job).is_some_and(|job| job.finished.is_some());
    match failure {
        Some(what) if has_given_up => Tried::Failed(what),
        failure => Tried::Open(Attempt::of(seen, job, failure, now)),
    }
}

/// What became of the restore of the backup from before.
fn undoing(record: &Record, ctx: &Context, valid: &ValidTenant) -> Undoing {
    let name = names::undo_restore(valid.name.as_str(), record.started_at);
    let Some(request) = ctx.requests.restores.get(&ObjectRef::<TenantRestore>::new(&name)) else {
        return Undoing::Absent;
    };
    let safety = || Some(request.status.as_ref()?.safety_backup.as_ref()?.created_at.0);
    match request.complete() {
        Some(complete) if complete.status == Word::False.as_str() => Undoing::Failed(format!(
            "TenantRestore {name} failed: {}. To have the same tried again, delete it",
            complete.message
        )),
        Some(complete) if complete.status == Word::True.as_str() => Undoing::Done(safety()),
        _ if valid.databases.current != record.generation => Undoing::Done(safety()),
        _ => Undoing::Running,
    }
}

/// What the Job says that migrates to the release that is wanted, once it is over.
fn migration(valid: &ValidTenant, observed: &Observed) -> Option<Outcome> {
    let ValidRelease { image, schema_version, .. } = &valid.release;
    let job = names::migration_job(image, *schema_version, &valid.sign_in_secret, valid.databases.current);
    let is_over = observed.seen.job(&job).is_some_and(|job| job.finished.is_some());
    is_over.then(|| course::outcome_of(&observed.seen, &job))
}

fn bake(channel: &Channel) -> Result<SignedDuration, Error> {
    let text = &channel.spec.rollout.bake;
    text.parse().map_err(|_| Error::ChannelMalformed {
        name: channel.name_any(),
        cause: format!("spec.rollout.bake: {text:?} is no time such as 10m"),
    })
}

/// Why a release cannot be run.
pub(super) fn unusable(name: &str, missing: Missing) -> Error {
    let name = name.to_owned();
    match missing {
        Missing::Unknown(known) => Error::ReleaseNotFound { name, known },
        Missing::Malformed(cause) => Error::ReleaseMalformed { name, cause },
    }
}

/// Name of the release that a tenant is to run: its own, or the one that its channel tells it. While nobody tells it any, what it
/// is on its way to, or what it runs.
pub fn wanted(tenant: &Tenant, recorded: &NamespaceFacts) -> Option<String> {
    if tenant.spec.release.is_some() {
        return tenant.spec.release.clone();
    }
    let told = tenant.status.as_ref().and_then(|status| status.target_release.clone());
    let under_way = || recorded.upgrade.as_deref().and_then(Record::read).map(|record| record.to);
    told.or_else(under_way).or_else(|| recorded.release.clone())
}

/// Jobs whose result is recorded, those of other upgrades, and those that have given up long enough ago to be made again: names and
/// uids. One that has failed for good stays for its log until another upgrade begins.
pub fn unwanted<'a>(course: &Course, seen: &'a Snapshot) -> Vec<(&'a str, &'a Uid)> {
    let at_work = course.upgrade.as_ref().and_then(|upgrade| match &upgrade.work {
        Some(Work::BackUp(attempt) | Work::Rehearse { attempt, .. }) => Some(attempt),
        _ => None,
    });
    let ours = |name: &str| name.starts_with(child::UPGRADE_BACKUP) || name.starts_with(child::REHEARSAL);
    let record = course.upgrade.as_ref().and_then(|upgrade| upgrade.record.as_ref());
    let of_this = record.map(|Record { to, started_at, .. }| {
        [names::upgrade_backup_job(to, *started_at), names::rehearsal_job(to, *started_at)]
    });
    let is_of_this = |name: &str| of_this.iter().flatten().any(|job| job == name);
    let has_succeeded = |name: &str| {
        seen.job(name).and_then(|job| job.finished.as_ref()).is_some_and(|finished| finished.succeeded)
    };
    let is_over = |name: &str| match at_work {
        Some(attempt) if attempt.job == name => attempt.step == Step::Discard,
        _ => has_succeeded(name) || !is_of_this(name),
    };
    seen.of_kind(Kind::Job)
        .filter(|(key, job)| ours(&key.name) && !job.deleting && is_over(&key.name))
        .map(|(key, job)| (key.name.as_str(), &job.uid))
        .collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::{api::TenantStatus, testing};

    #[rstest]
    #[case::all("Always", Some("all"), true)]
    #[case::none("Never", Some("canary"), false)]
    #[case::the_first("FirstWave", Some("canary"), true)]
    #[case::not_the_others("FirstWave", Some("all"), false)]
    #[case::who_knows("FirstWave", None, true)]
    fn who_rehearses(#[case] rehearse: &str, #[case] wave: Option<&str>, #[case] wanted: bool) {
        let mut channel = testing::channel("r2", Some("r1"));
        let waves = json!([{"name": "canary", "percent": 5}, {"name": "all"}]);
        channel.spec.rollout = serde_json::from_value(json!({"rehearse": rehearse, "waves": waves})).unwrap();
        let mut tenant = testing::tenant();
        let target_wave = wave.map(str::to_owned);
        tenant.status = Some(TenantStatus { target_wave, ..TenantStatus::default() });
        assert_eq!(rehearses(&tenant, &channel), wanted);
    }

    #[test]
    fn without_waves_all_are_the_first() {
        let mut channel = testing::channel("r2", Some("r1"));
        channel.spec.rollout.rehearse = Rehearse::FirstWave;
        let mut tenant = testing::tenant();
        let target_wave = Some(names::REST_WAVE.to_owned());
        tenant.status = Some(TenantStatus { target_wave, ..TenantStatus::default() });
        assert!(rehearses(&tenant, &channel));
    }
}
