//! A tenant that begins from a backup: one that comes back from its tombstone, a copy of one that lives, or one that is made
//! anew in another cluster. Pure.
//!
//! Before the first start, a Job restores the backup into the empty database `crm`. Meanwhile there is no CRM and no migration,
//! and the Namespace says which backups the Job may read. When the Job has said that it is done, that is recorded on the
//! Namespace in one write, with the version of the schema, and from then on the tenant is like any other.
//!
//! It is never done twice. A Namespace that carries the record, or anything else that only a tenant has that has started, is
//! past it; and if all of that were lost, `crm-app restore` finds its own mark on the database and changes nothing.

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::{
    api::{RestoredFrom, State, Tenant, conditions::whole_seconds},
    cluster::{
        cache::Snapshot,
        facts::{Kind, NamespaceFacts},
        uid::Uid,
    },
    names::{self, Component, child},
    tenant::{
        attempt::{Attempt, Step, pods_of},
        databases::Databases,
        report::{self, Restored},
        validate::ValidTenant,
    },
};

/// Whose backups a tenant begins from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Name of the Tenant.
    pub tenant: String,
    /// Its uid.
    pub uid: String,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.uid)
    }
}

/// What is to be restored before the first start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidBootstrap {
    /// Whose backup.
    pub source: Source,
    /// Which: a name, `newest`, or `before:` and a moment.
    pub backup: String,
}

/// A tenant that begins from a backup, until that is recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Bootstrap {
    /// Whose backup.
    pub source: Source,
    /// Which.
    pub backup: String,
    /// How far it is.
    pub stage: Stage,
}

/// How far a tenant is that begins from a backup.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// The tenant's plan names no store in which the backup could be.
    NoBackups,
    /// The store does not exist.
    NoStore,
    /// The backup is to be restored.
    Restoring(Attempt),
    /// It is in the database.
    Restored(Restored),
}

impl Bootstrap {
    /// What is in the database, once it is.
    pub fn restored(&self) -> Option<&Restored> {
        match &self.stage {
            Stage::Restored(restored) => Some(restored),
            Stage::NoBackups | Stage::NoStore | Stage::Restoring(_) => None,
        }
    }

    /// The Job that should exist now.
    pub fn job(&self) -> Option<&str> {
        match &self.stage {
            Stage::Restoring(attempt) if attempt.step == Step::Run => Some(&attempt.job),
            _ => None,
        }
    }

    /// When a Job that has given up is made again.
    pub fn rests_until(&self) -> Option<Timestamp> {
        match &self.stage {
            Stage::Restoring(attempt) => attempt.step.rests_until(),
            _ => None,
        }
    }

    /// What the status says of it, once it is done.
    pub fn restored_from(&self) -> Option<RestoredFrom> {
        self.restored().map(|restored| RestoredFrom {
            tenant_uid: self.source.uid.clone(),
            backup: restored.backup.clone(),
            created_at: Time(whole_seconds(restored.created_at)),
        })
    }

    /// What is recorded on the Namespace, once it is done.
    pub fn record(&self) -> Option<String> {
        self.restored_from().map(|from| written(&from))
    }
}

fn written(from: &RestoredFrom) -> String {
    format!("{}/{}/{}", from.tenant_uid, from.backup, from.created_at.0)
}

/// What a record says; nothing if somebody changed it into what says nothing.
pub fn read(record: &str) -> Option<RestoredFrom> {
    let [uid, backup, created_at] = record.split('/').collect::<Vec<_>>().try_into().ok()?;
    let created_at = Time(created_at.parse().ok()?);
    Some(RestoredFrom { tenant_uid: uid.to_owned(), backup: backup.to_owned(), created_at })
}

/// What is still to be restored before the first start of a tenant whose namespace says this; and else what is recorded of it.
pub fn outstanding(
    tenant: &Tenant,
    namespace: &NamespaceFacts,
    databases: &Databases,
) -> Result<ValidBootstrap, Option<String>> {
    let recorded = namespace.restored_from.clone();
    let Some(bootstrap) = &tenant.spec.bootstrap else { return Err(recorded) };
    let told = tenant.status.as_ref().and_then(|status| status.restored_from.as_ref());
    // As long as it is under way, the namespace says so; what the status says may then be of an earlier namespace.
    let has_started = recorded.is_some()
        || namespace.restore_from.is_none()
            && (namespace.schema_version.is_some()
                || namespace.migrated.is_some()
                || 1 < databases.current
                || namespace.tenant.is_some() && told.is_some());
    if has_started {
        return Err(recorded.or_else(|| told.map(written)));
    }
    let restore = &bootstrap.restore;
    let tenant = restore.tenant.clone().unwrap_or_else(|| tenant.name_any());
    let backup = match (&restore.backup, &restore.time) {
        (Some(backup), _) => backup.clone(),
        (None, Some(time)) => format!("before:{}", time.0),
        (None, None) => "newest".to_owned(),
    };
    Ok(ValidBootstrap { source: Source { tenant, uid: restore.tenant_uid.clone() }, backup })
}

/// Decides from what the tenant wants and what is there; `None` when nothing is to be restored, any more or at all.
pub fn decide(tenant: &ValidTenant, seen: &Snapshot, now: Timestamp) -> Option<Bootstrap> {
    let ValidBootstrap { source, backup } = tenant.bootstrap.clone()?;
    Some(Bootstrap { stage: stage(tenant, &backup, seen, now), source, backup })
}

fn stage(tenant: &ValidTenant, wanted: &str, seen: &Snapshot, now: Timestamp) -> Stage {
    let job = names::bootstrap_job(&tenant.uid);
    let mut failure = None;
    for (_, pod) in pods_of(seen, Component::Restore, &job) {
        match report::restore(pod) {
            report::Restore::Done(done) if is_name(wanted) && done.backup != wanted => {
                failure = Some(format!("it restored backup {} instead", done.backup));
            }
            report::Restore::Done(done) => return Stage::Restored(done),
            report::Restore::Failed { what } => failure = Some(what),
            report::Restore::Pending => (),
        }
    }
    match &tenant.backup {
        None => return Stage::NoBackups,
        Some(backup) if backup.recovery.is_none() => return Stage::NoStore,
        Some(_) => (),
    }
    let attempt = Attempt::of(seen, job, failure, now);
    if tenant.state == State::Suspended {
        return Stage::Restoring(Attempt { step: Step::Postponed, ..attempt });
    }
    Stage::Restoring(attempt)
}

/// Whether it is a certain backup that is wanted.
fn is_name(wanted: &str) -> bool {
    wanted != "newest" && !wanted.starts_with("before:")
}

/// The Job of a restore that is recorded, and one that is to be made again: names and uids. The key goes before it, since by
/// the Job it is remembered; a Job that is made again has its key looked for again.
pub fn unwanted<'a>(bootstrap: Option<&Bootstrap>, seen: &'a Snapshot) -> Vec<(&'a str, &'a Uid)> {
    let stays = bootstrap.is_some_and(|bootstrap| match &bootstrap.stage {
        Stage::Restoring(attempt) => attempt.step != Step::Discard,
        Stage::NoBackups | Stage::NoStore => true,
        Stage::Restored(_) => false,
    });
    seen.of_kind(Kind::Job)
        .filter(|(key, job)| !stays && !job.deleting && key.name.starts_with(child::BOOTSTRAP))
        .map(|(key, job)| (key.name.as_str(), &job.uid))
        .collect()
}

#[cfg(test)]
mod tests;
