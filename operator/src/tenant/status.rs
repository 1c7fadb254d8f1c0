//! What the status says. Pure: everything follows from the arguments, and an unchanged world gives an unchanged status.

mod backup;
mod beginning;
mod closing;
mod drill;
mod share;

pub(super) use backup::newest as newest_backup;
pub(super) use drill::newest as newest_drill;
pub use share::{joined, own};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use crate::{
    api::{
        EffectiveState, GrantedHost, RestoredFrom, State, Tenant, TenantStatus,
        conditions::{self, Verdict, Word, reasons, set_condition},
    },
    cluster::{
        cache::Snapshot,
        facts::{Kind, NamespaceFacts},
    },
    names,
    tenant::{
        Error, Progress,
        attempt::Step,
        bootstrap,
        build::Policy,
        course::{Course, Migration},
        diagnose, is_confirmed, is_deleting,
        newest::Newest,
        report::Outcome,
        validate::ValidTenant,
    },
};

/// The whole status, from what the tenant wants, what was said before, and what one reconcile found and did.
pub fn status(
    tenant: &Tenant,
    old: &TenantStatus,
    progress: &Progress,
    seen: &Snapshot,
    outcome: &Result<(), Error>,
    now: Timestamp,
) -> TenantStatus {
    let namespace = names::namespace_of(&tenant.name_any());
    let migration = progress.course.as_ref().and_then(|course| course.migration.as_ref());
    let database = diagnose::database(seen, &namespace, progress.storage_class_missing, now);
    let app = app(seen, &namespace, migration, now);
    let isolated = isolated(progress.valid.as_ref(), seen);
    let paused = if tenant.spec.paused {
        Verdict::yes(reasons::PAUSED, "spec.paused is set: the operator changes nothing")
    } else {
        Verdict::no(reasons::NOT_PAUSED, "")
    };
    let newest = Newest::of(tenant, seen, now);
    let backup_recent = backup::recent(tenant, progress.valid.as_ref(), newest.backup.as_ref(), seen, now);
    let backup_verified = drill::verified(tenant, progress.valid.as_ref(), newest.drill.as_ref(), now);
    let runs = database.word == Word::True && app.word == Word::True;
    let routes = diagnose::routes(seen, progress.routes_not_supported);
    let beginning = beginning::unfinished(progress, &database, seen, &namespace);
    let parts = [&database, &app, &isolated];
    let ready = ready(tenant, progress, outcome, &namespace, beginning, parts, routes);

    let generation = tenant.metadata.generation;
    let mut all = old.conditions.clone();
    for (type_, verdict) in [
        (conditions::READY, ready),
        (conditions::DATABASE_READY, database),
        (conditions::APP_READY, app),
        (conditions::ISOLATED, isolated),
        (conditions::PAUSED, paused),
    ]
    .into_iter()
    .chain(of_backups(old, conditions::BACKUP_RECENT, backup_recent))
    .chain(of_backups(old, conditions::BACKUP_VERIFIED, backup_verified))
    {
        set_condition(&mut all, type_, verdict, generation, now);
    }
    let recorded = seen.namespace().map(|(_, facts)| facts.clone()).unwrap_or_default();
    TenantStatus {
        observed_generation: generation,
        conditions: all,
        last_backup: newest.backup,
        last_drill: newest.drill,
        pod_settings: progress
            .valid
            .as_ref()
            .filter(|_| runs && outcome.is_ok())
            .map(|valid| valid.pods.digest())
            .or_else(|| old.pod_settings.clone()),
        ..facts(tenant, old, progress, outcome, recorded)
    }
}

/// What is not known now was known before, or was never.
fn of_backups(
    old: &TenantStatus,
    type_: &'static str,
    verdict: Option<Verdict>,
) -> Option<(&'static str, Verdict)> {
    let unheard = conditions::find(&old.conditions, type_).is_none();
    let unknown = || Verdict::unknown(reasons::NOT_OBSERVED, "nothing is known of backups yet");
    verdict.or_else(|| unheard.then(unknown)).map(|verdict| (type_, verdict))
}

/// Everything but the conditions. What a failed reconcile did not find out stays as it was.
fn facts(
    tenant: &Tenant,
    old: &TenantStatus,
    progress: &Progress,
    outcome: &Result<(), Error>,
    recorded: NamespaceFacts,
) -> TenantStatus {
    let course = progress.course.as_ref().filter(|_| outcome.is_ok());
    let hosts = progress.hosts.as_ref().map(|settlement| {
        settlement.granted.iter().map(|host| GrantedHost { name: host.to_string() }).collect()
    });
    TenantStatus {
        observed_generation: None,
        conditions: Vec::new(),
        last_backup: None,
        last_drill: None,
        restored_from: course
            .map_or_else(|| old.restored_from.clone(), |course| begun_with(old, progress, course)),
        state: if course.is_some() { Some(in_effect(tenant, progress)) } else { old.state },
        url: progress.valid.as_ref().map(|valid| valid.url.clone()).or_else(|| old.url.clone()),
        hosts: hosts.unwrap_or_else(|| old.hosts.clone()),
        namespace: Some(names::namespace_of(&tenant.name_any())),
        release: course
            .map(|course| course.running.clone())
            .or(recorded.release)
            .or_else(|| old.release.clone()),
        target_release: None,
        target_wave: None,
        pod_settings: None,
        target_pod_settings: None,
        upgrade: match course {
            Some(course) => course.upgrade.as_ref().and_then(|upgrade| upgrade.status(&course.running)),
            None => old.upgrade.clone(),
        },
        schema_version: course
            .and_then(|course| course.schema_version)
            .or(recorded.schema_version)
            .or(old.schema_version),
        database_generation: course
            .and_then(|_| Some(progress.valid.as_ref()?.databases.current))
            .or(old.database_generation),
    }
}

/// The backup that the tenant began with, as it is recorded.
fn begun_with(old: &TenantStatus, progress: &Progress, course: &Course) -> Option<RestoredFrom> {
    let recorded = || progress.valid.as_ref()?.restored_from.clone();
    match &course.bootstrap {
        Some(bootstrap) => bootstrap.restored_from(),
        None => recorded().map_or_else(|| old.restored_from.clone(), |text| bootstrap::read(&text)),
    }
}

/// What the tenant does for its users.
fn in_effect(tenant: &Tenant, progress: &Progress) -> EffectiveState {
    let restoring = progress.requests.restoring_message();
    let begins = progress.course.as_ref().is_some_and(Course::lacks_backup);
    let undoes = progress.course.as_ref().is_some_and(Course::stops_for_upgrade);
    if restoring.is_some() || undoes || begins && tenant.spec.state != State::Suspended {
        return EffectiveState::Restoring;
    }
    let state = progress.valid.as_ref().map(|valid| valid.state);
    // On the way to a release, people may have to wait with what they write.
    match (tenant.spec.state, state) {
        (State::Active, Some(State::ReadOnly)) => EffectiveState::ReadOnly,
        (state, _) => state.into(),
    }
}

/// The first that holds says why the tenant is not ready; the order reads as what matters most.
fn ready(
    tenant: &Tenant,
    progress: &Progress,
    outcome: &Result<(), Error>,
    namespace: &str,
    beginning: Option<Verdict>,
    [database, app, isolated]: [&Verdict; 3],
    routes: Option<Verdict>,
) -> Verdict {
    if let Some(step) = progress.removing {
        return Verdict::no(reasons::DELETING, format!("removing {step}"));
    }
    if let Err(error) = outcome {
        return Verdict::no(error.reason(), error.message());
    }
    if let Some(unfinished) = closing::unfinished(tenant, progress) {
        return unfinished;
    }
    if is_deleting(tenant) {
        return deleting(tenant, namespace);
    }
    let stopped = |verdict: &Verdict| verdict.reason == reasons::SUSPENDED;
    if let Some(unfinished) = beginning.filter(|verdict| !stopped(verdict)) {
        return unfinished;
    }
    if let Some(message) = progress.requests.restoring_message() {
        return Verdict::no(reasons::RESTORING, message);
    }
    if stopped(database) && stopped(app) {
        return Verdict::yes(
            reasons::SUSPENDED,
            "nothing runs and the data is kept: set spec.state to Active to start",
        );
    }
    if let Some(message) = progress.requests.exporting_message().filter(|_| stopped(app)) {
        return Verdict::yes(reasons::SUSPENDED, message);
    }
    for part in [database, app] {
        if part.word != Word::True {
            return part.clone();
        }
    }
    if let Some(refused) = progress.hosts.as_ref().filter(|settlement| !settlement.refused.is_empty()) {
        return Verdict::no(reasons::HOST_NOT_GRANTED, refused.refused.join("; "));
    }
    if let Some(problem) = routes {
        return problem;
    }
    if isolated.word != Word::True {
        return isolated.clone();
    }
    if tenant.spec.paused {
        return Verdict::yes(
            reasons::PAUSED,
            "it runs, but spec.paused is set: changes of the spec have no effect",
        );
    }
    Verdict::yes(reasons::AS_EXPECTED, "")
}

fn deleting(tenant: &Tenant, namespace: &str) -> Verdict {
    let name = tenant.name_any();
    if is_confirmed(tenant) {
        return Verdict::no(
            reasons::DELETING,
            "removal waits because spec.paused is set: set it to false to go on",
        );
    }
    Verdict::no(
        reasons::DELETION_UNCONFIRMED,
        format!(
            "deletion was asked for but not confirmed, so the tenant keeps serving. To remove it with all its data: kubectl annotate tenant {name} {}={name}. If it has backups, a TenantTombstone is left, from which spec.bootstrap.restore of a new Tenant brings the data back until it expires. Kubernetes takes the deletion of this object back in no case: to keep what runs, see the manual on handing namespace {namespace} to a new Tenant",
            names::CONFIRM_DELETE
        ),
    )
}

fn app(seen: &Snapshot, namespace: &str, migration: Option<&Migration>, now: Timestamp) -> Verdict {
    let verdict = diagnose::app(seen, namespace, now);
    let Some(migration) = migration.filter(|migration| migration.step != Step::Postponed) else {
        return verdict;
    };
    if let Some(failure) = failure(migration) {
        return failure;
    }
    if let Some(problem) = diagnose::migration(seen, namespace) {
        return problem;
    }
    if verdict.word != Word::True {
        return verdict;
    }
    // A CRM that answers has found its schema and its first administrator: the Job has only to say so.
    let running = seen.namespace().and_then(|(_, facts)| facts.release.as_ref());
    if migration.first || running == Some(&migration.release.name) {
        return verdict;
    }
    Verdict::no(
        reasons::MIGRATING,
        format!(
            "the schema is being migrated for release {}; the old release serves meanwhile",
            migration.release.name
        ),
    )
}

/// A migration that failed, in words for people.
fn failure(migration: &Migration) -> Option<Verdict> {
    let release = &migration.release.name;
    let what = match &migration.outcome {
        Outcome::Failed { what } => what.clone(),
        Outcome::Unknown { exit_code, reason } => {
            format!("it ended with exit code {exit_code} ({reason}) and did not say why")
        }
        Outcome::Pending | Outcome::Migrated { .. } => match migration.step {
            Step::Rest { .. } => "it did not come to an end in time".to_owned(),
            Step::Run | Step::Discard | Step::Postponed => return None,
        },
    };
    let next = migration.step.what_next();
    let serving = if migration.first { "" } else { "; the old release keeps serving" };
    Some(Verdict::no(
        "MigrationFailed",
        format!(
            "the migration for release {release} failed: {what}{serving}. {next}; see the log of Job {}, or choose another release",
            migration.job
        ),
    ))
}

/// All policies are there as we made them; whether the network obeys them is for a probe to tell.
fn isolated(tenant: Option<&ValidTenant>, seen: &Snapshot) -> Verdict {
    let missing: Vec<_> = Policy::all_of(tenant)
        .into_iter()
        .map(Policy::name)
        .filter(|name| seen.get(Kind::NetworkPolicy, name).is_none_or(|p| p.deleting))
        .collect();
    if missing.is_empty() {
        return Verdict::yes(reasons::POLICIES_APPLIED, "the cluster's network must enforce NetworkPolicy");
    }
    if seen.namespace().is_none() {
        return Verdict::unknown(reasons::NOT_OBSERVED, "the namespace has not been made yet");
    }
    Verdict::no(reasons::POLICIES_MISSING, format!("network policies are missing: {}", missing.join(", ")))
}

/// Whether a condition says that somebody may have to act.
pub fn is_failure(condition: &Condition) -> bool {
    const COURSE_OF_THINGS: [&str; 9] = [
        reasons::PROVISIONING,
        reasons::ROLLING_OUT,
        reasons::MIGRATING,
        reasons::STOPPING,
        reasons::DELETING,
        reasons::RESTORING,
        reasons::FINAL_BACKUP,
        reasons::NOT_OBSERVED,
        reasons::POLICIES_MISSING,
    ];
    condition.status != Word::True.as_str() && !COURSE_OF_THINGS.contains(&condition.reason.as_str())
}

/// The state in which the tenant's address is served.
pub fn effective_state(tenant: &Tenant) -> EffectiveState {
    tenant.status.as_ref().and_then(|status| status.state).unwrap_or(tenant.spec.state.into())
}

#[cfg(test)]
mod tests;
