//! What comes before a database stops, or goes: first everything stops that could write, then a last backup is made, then, if
//! the tenant is to be removed, that backup is restored on trial. Pure.
//!
//! Each step is read off what is there, so it does not matter when the operator is started again: the time at which the
//! stopping began and the backup that came of it stand on the Namespace, the rest in Jobs and pods.

use jiff::Timestamp;

use crate::{
    api::State,
    cluster::{
        cache::Snapshot,
        facts::{Kind, NamespaceFacts},
        uid::Uid,
    },
    names::{self, Component, child},
    tenant::{
        attempt::{Attempt, Step, pods_of},
        report::{self, Backup, Drill},
        validate::ValidTenant,
    },
};

/// A tenant on its way to being stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Closing {
    /// Since when.
    pub since: Timestamp,
    /// How far it is.
    pub stage: Stage,
}

/// How far a tenant is on its way to being stopped.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// No backup comes before: there is nothing to back up, or backups are not wanted.
    Unneeded,
    /// The store of the backups does not exist.
    NoStore,
    /// Something may still write.
    Quiescing,
    /// The backup is to be made.
    BackingUp(Attempt),
    /// It is in the store: the database may stop.
    BackedUp {
        /// Its name.
        backup: String,
    },
    /// It is there, and is to be tried before everything else is removed.
    Proving {
        /// Its name.
        backup: String,
        /// The trial.
        attempt: Attempt,
    },
    /// It came back whole.
    Proven {
        /// Its name.
        backup: String,
    },
}

impl Closing {
    /// Whether the database is still needed.
    pub fn needs_database(&self) -> bool {
        matches!(self.stage, Stage::NoStore | Stage::Quiescing | Stage::BackingUp(_))
    }

    /// The backup, once it is in the store.
    pub fn backup(&self) -> Option<&str> {
        match &self.stage {
            Stage::BackedUp { backup } | Stage::Proving { backup, .. } | Stage::Proven { backup } => {
                Some(backup)
            }
            _ => None,
        }
    }

    /// When a Job that has given up is made again.
    pub fn rests_until(&self) -> Option<Timestamp> {
        match &self.stage {
            Stage::BackingUp(attempt) | Stage::Proving { attempt, .. } => attempt.step.rests_until(),
            _ => None,
        }
    }

    /// The Job that should exist now, and the backup that it tries, if it tries one.
    pub fn job(&self) -> Option<(&str, Option<&str>)> {
        match &self.stage {
            Stage::BackingUp(attempt) if attempt.step == Step::Run => Some((&attempt.job, None)),
            Stage::Proving { backup, attempt } if attempt.step == Step::Run => {
                Some((&attempt.job, Some(backup)))
            }
            _ => None,
        }
    }
}

/// Decides from what the tenant wants and what is there; `None` for a tenant that is not to stop.
pub fn decide(tenant: &ValidTenant, seen: &Snapshot, has_schema: bool, now: Timestamp) -> Option<Closing> {
    if tenant.state != State::Suspended {
        return None;
    }
    let facts = recorded(tenant, seen);
    let since = facts.closing_since.unwrap_or(now);
    let stage = match (&tenant.backup, facts.final_backup) {
        // Without a schema there has never been any data.
        _ if !has_schema => Stage::Unneeded,
        (None, _) => Stage::Unneeded,
        (Some(_), Some(backup)) => after_backup(tenant, seen, backup, now),
        // It stopped before, and nothing has been written since. Of a tenant that is to be removed this must be certain.
        _ if !tenant.leaving && facts.closing_since.is_none() && is_stopped(seen) => Stage::Unneeded,
        (Some(backup), None) if backup.recovery.is_none() => Stage::NoStore,
        _ if may_write(seen) => Stage::Quiescing,
        _ => back_up(tenant, seen, since, now),
    };
    Some(Closing { since, stage })
}

/// What the Namespace says of this stopping. A Tenant that took the namespace over has another uid, and in the store the last
/// backup of its predecessor lies where no Job of this one looks for its own: that was not the last backup of this one.
fn recorded(tenant: &ValidTenant, seen: &Snapshot) -> NamespaceFacts {
    let facts = seen.namespace().map(|(_, facts)| facts.clone());
    facts.filter(|facts| facts.tenant_uid.as_ref() == Some(&tenant.uid)).unwrap_or_default()
}

fn back_up(tenant: &ValidTenant, seen: &Snapshot, since: Timestamp, now: Timestamp) -> Stage {
    let job = names::final_backup_job(since);
    let mut failure = None;
    for (_, pod) in pods_of(seen, Component::Backup, &job) {
        match report::backup(pod) {
            Backup::Done(done) => return after_backup(tenant, seen, done.backup, now),
            Backup::Failed { what } => failure = Some(what),
            Backup::Pending => (),
        }
    }
    Stage::BackingUp(Attempt::of(seen, job, failure, now))
}

fn after_backup(tenant: &ValidTenant, seen: &Snapshot, backup: String, now: Timestamp) -> Stage {
    if !tenant.leaving {
        return Stage::BackedUp { backup };
    }
    let job = names::final_drill_job(&backup);
    let mut failure = None;
    for (_, pod) in pods_of(seen, Component::Drill, &job) {
        match report::drill(pod) {
            Drill::Done(done) if done.backup == backup => return Stage::Proven { backup },
            Drill::Done(done) => failure = Some(format!("it restored backup {} instead", done.backup)),
            Drill::Failed { what } => failure = Some(what),
            Drill::Pending => (),
        }
    }
    Stage::Proving { attempt: Attempt::of(seen, job, failure, now), backup }
}

/// Whether there is, or soon could be, a pod that writes.
fn may_write(seen: &Snapshot) -> bool {
    let starts = seen
        .workload(Kind::Deployment, child::CRM)
        .is_some_and(|app| app.wanted != 0 || app.replicas != 0 || !app.observed);
    let runs = |component| seen.all_pods(component).any(|(_, _, pod)| !pod.ended);
    starts || runs(Component::Crm) || runs(Component::Migrate)
}

fn is_stopped(seen: &Snapshot) -> bool {
    seen.workload(Kind::StatefulSet, child::DATABASE).is_some_and(|database| database.wanted == 0)
}

/// Jobs of a stopping that is over, and those that are to be made again: names and uids.
pub fn unwanted<'a>(closing: Option<&Closing>, seen: &'a Snapshot) -> Vec<(&'a str, &'a Uid)> {
    let ours = |name: &str| name.starts_with(child::FINAL_BACKUP) || name.starts_with(child::FINAL_DRILL);
    let stays = |name: &str| {
        closing.is_some_and(|closing| match &closing.stage {
            Stage::BackingUp(attempt) => attempt.job == name && attempt.step != Step::Discard,
            Stage::Proving { attempt, .. } if attempt.job == name => attempt.step != Step::Discard,
            Stage::Proving { .. } | Stage::BackedUp { .. } | Stage::Proven { .. } => {
                name == names::final_backup_job(closing.since) || name.starts_with(child::FINAL_DRILL)
            }
            Stage::Unneeded | Stage::NoStore | Stage::Quiescing => false,
        })
    };
    seen.of_kind(Kind::Job)
        .filter(|(key, job)| ours(&key.name) && !job.deleting && !stays(&key.name))
        .map(|(key, job)| (key.name.as_str(), &job.uid))
        .collect()
}

#[cfg(test)]
mod tests;
