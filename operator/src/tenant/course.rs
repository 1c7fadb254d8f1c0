//! Which release runs, and which migration comes before it. Pure.
//!
//! A first start does everything at once: the app waits for the database and its schema by itself. A change of the release
//! migrates first, while the old app keeps serving, and rolls the Deployment when the migration has reported success.

use jiff::Timestamp;

use crate::{
    api::State,
    cluster::{
        cache::Snapshot,
        facts::{Kind, NamespaceFacts},
        uid::Uid,
    },
    names::{self, Component},
    tenant::{
        attempt::{Step, pods_of},
        bootstrap::{self, Bootstrap},
        closing::{self, Closing},
        report::{self, Outcome},
        upgrade::Upgrade,
        validate::{ValidRelease, ValidTenant},
    },
};

/// What is to be done about release and schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// Name of the release that runs, or is to be started now.
    pub running: String,
    /// The release for the Deployment; `None` when it must stay as it is because its Release object is gone.
    pub app: Option<ValidRelease>,
    /// Version of the schema, as the last migration reported it, or as it must be for the CRM to answer.
    pub schema_version: Option<i64>,
    /// The last migration Job that reported success.
    pub migrated: Option<String>,
    /// The migration that is needed, if one is.
    pub migration: Option<Migration>,
    /// The backup that it begins with, until that is recorded.
    pub bootstrap: Option<Bootstrap>,
    /// How it stops, if it is to stop.
    pub closing: Option<Closing>,
    /// The way from one release to another that its channel wants.
    pub upgrade: Option<Upgrade>,
}

impl Course {
    /// Whether the database still lacks the backup that the tenant begins with.
    pub fn lacks_backup(&self) -> bool {
        self.bootstrap.as_ref().is_some_and(|bootstrap| bootstrap.restored().is_none())
    }

    /// Whether the CRM must not run before the backup from before an upgrade is restored.
    pub fn stops_for_upgrade(&self) -> bool {
        self.upgrade.as_ref().is_some_and(|upgrade| upgrade.stops_the_crm)
    }

    /// Whether the release runs as it should, and nothing is on its way to be otherwise.
    pub fn is_settled(&self) -> bool {
        // No `..`: what else may be under way is to be decided on.
        let Self { running: _, app, schema_version: _, migrated: _, migration, bootstrap, closing, upgrade } =
            self;
        let stays = upgrade.as_ref().is_none_or(|upgrade| upgrade.record.is_none());
        app.is_some() && migration.is_none() && bootstrap.is_none() && closing.is_none() && stays
    }

    /// When a Job that has given up is made again.
    pub fn rests_until(&self) -> Option<Timestamp> {
        let migration = self.migration.as_ref().and_then(|migration| migration.step.rests_until());
        let bootstrap = || self.bootstrap.as_ref().and_then(Bootstrap::rests_until);
        let closing = || self.closing.as_ref().and_then(Closing::rests_until);
        let upgrade = || self.upgrade.as_ref().and_then(|upgrade| upgrade.next_look);
        migration.or_else(bootstrap).or_else(closing).or_else(upgrade)
    }
}

/// A migration that is needed.
#[derive(Clone, Debug, PartialEq)]
pub struct Migration {
    /// Name of its Job.
    pub job: String,
    /// The release to which it leads.
    pub release: ValidRelease,
    /// What is known of it.
    pub outcome: Outcome,
    /// Whether the Job should exist now.
    pub step: Step,
    /// No release runs before this migration is done: the app starts beside it.
    pub first: bool,
}

/// Decides from what the tenant wants and what is there.
pub fn decide(
    tenant: &ValidTenant,
    seen: &Snapshot,
    running_release: Option<&ValidRelease>,
    now: Timestamp,
) -> Course {
    let bootstrap = bootstrap::decide(tenant, seen, now);
    let way = way(tenant, seen, running_release, bootstrap.as_ref(), now);
    Course { closing: closing::decide(tenant, seen, way.schema_version.is_some(), now), bootstrap, ..way }
}

fn way(
    tenant: &ValidTenant,
    seen: &Snapshot,
    running_release: Option<&ValidRelease>,
    bootstrap: Option<&Bootstrap>,
    now: Timestamp,
) -> Course {
    let mut namespace = seen.namespace().map(|(_, facts)| facts.clone()).unwrap_or_default();
    if let Some(bootstrap) = bootstrap {
        namespace.schema_version = bootstrap.restored().map(|restored| restored.schema_version);
    } else if namespace.schema_version.is_none() && answers(seen) {
        // It answers only when it has found its schema, and that may be before the migration has said so: from here on
        // there may be data in it.
        namespace.schema_version = Some(running_release.unwrap_or(&tenant.release).schema_version);
    }
    let ValidRelease { image, schema_version, .. } = &tenant.release;
    let generation = tenant.databases.current;
    let job = names::migration_job(image, *schema_version, &tenant.sign_in_secret, generation);
    let outcome = if namespace.migrated.as_ref() == Some(&job) { None } else { Some(outcome_of(seen, &job)) };
    if let Some(Outcome::Migrated { schema_version }) = outcome {
        return settled(tenant, Some(schema_version), Some(job));
    }
    let Some(outcome) = outcome else {
        return settled(tenant, namespace.schema_version, Some(job));
    };
    if goes_back(tenant, &namespace) {
        return settled(tenant, namespace.schema_version, namespace.migrated);
    }
    let is_postponed = tenant.state == State::Suspended
        || tenant.is_restoring
        || bootstrap.is_some_and(|bootstrap| bootstrap.restored().is_none());
    let step = if is_postponed { Step::Postponed } else { Step::of(seen, &job, now) };
    // Without a schema nothing can be served yet: whatever was tried before, start with what is wanted now.
    let first = namespace.schema_version.is_none();
    let running = namespace.release.filter(|_| !first).unwrap_or_else(|| tenant.release.name.clone());
    let app =
        if running == tenant.release.name { Some(tenant.release.clone()) } else { running_release.cloned() };
    let migration = Some(Migration { job, release: tenant.release.clone(), outcome, step, first });
    Course {
        running,
        app,
        schema_version: namespace.schema_version,
        migrated: namespace.migrated,
        migration,
        bootstrap: None,
        closing: None,
        upgrade: None,
    }
}

fn settled(tenant: &ValidTenant, schema_version: Option<i64>, migrated: Option<String>) -> Course {
    Course {
        running: tenant.release.name.clone(),
        app: Some(tenant.release.clone()),
        schema_version,
        migrated,
        migration: None,
        bootstrap: None,
        closing: None,
        upgrade: None,
    }
}

/// An older release runs on a newer schema, and has no migration that could be run.
fn goes_back(tenant: &ValidTenant, namespace: &NamespaceFacts) -> bool {
    namespace.release.is_some()
        && namespace.schema_version.is_some_and(|present| tenant.release.schema_version < present)
}

fn answers(seen: &Snapshot) -> bool {
    seen.workload(Kind::Deployment, names::child::CRM).is_some_and(|app| 0 < app.ready)
}

/// What the pods of the migration Job of that name say.
pub(super) fn outcome_of(seen: &Snapshot, job: &str) -> Outcome {
    report::outcome(pods_of(seen, Component::Migrate, job).map(|(child, pod)| (pod, child.created)))
}

/// The migration Jobs that are no longer wanted. The one that reported success last stays, for its log.
pub fn superseded<'a>(tenant: &ValidTenant, course: &Course, seen: &'a Snapshot) -> Vec<Superseded<'a>> {
    let wanted = |name: &str| {
        course.migrated.as_deref() == Some(name)
            || course.migration.as_ref().is_some_and(|migration| {
                migration.job == name && matches!(migration.step, Step::Run | Step::Rest { .. })
            })
    };
    seen.of_kind(Kind::Job)
        .filter(|(key, child)| {
            key.name.starts_with(names::child::MIGRATE) && !child.deleting && !wanted(&key.name)
        })
        .map(|(key, child)| {
            let sign_in = seen.job(&key.name).and_then(|job| job.sign_in.as_deref());
            let sign_in = sign_in.filter(|secret| *secret != tenant.sign_in_secret);
            Superseded { job: &key.name, uid: &child.uid, sign_in }
        })
        .collect()
}

/// A Job that is no longer wanted.
#[derive(Debug, PartialEq, Eq)]
pub struct Superseded<'a> {
    /// Its name.
    pub job: &'a str,
    /// Its uid.
    pub uid: &'a Uid,
    /// The Secret with a sign-in link that nobody needs any more.
    pub sign_in: Option<&'a str>,
}

#[cfg(test)]
mod tests;
