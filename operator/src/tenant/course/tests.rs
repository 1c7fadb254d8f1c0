//! From what is there to what is to be done.

use super::*;
use crate::{
    cluster::{
        cache::{Child, Key},
        facts::{Facts, Finished, JobFacts, WorkloadFacts},
    },
    testing::{self, at, child},
};

fn namespace(release: Option<&str>, schema_version: Option<i64>, migrated: Option<&str>) -> (Key, Child) {
    let facts = NamespaceFacts {
        release: release.map(str::to_owned),
        schema_version,
        migrated: migrated.map(str::to_owned),
        ..NamespaceFacts::default()
    };
    child(Kind::Namespace, "tenant-acme", Facts::Namespace(facts.into()))
}

fn job(name: &str, finished: Option<i64>) -> (Key, Child) {
    let finished = finished.map(|second| Finished { at: Some(at(second)), ..Finished::default() });
    let sign_in = Some(format!("first-sign-in-of-{name}"));
    child(Kind::Job, name, Facts::Job(JobFacts { finished, sign_in, ..JobFacts::default() }.into()))
}

fn pod(job: &str, message: &str) -> (Key, Child) {
    testing::job_pod("migrate", job, Some((0, message)))
}

const MIGRATED: &str = r#"{"code":"Migrated","schemaVersion":4}"#;

fn tenant(release: &str, schema_version: i64) -> ValidTenant {
    let mut tenant = testing::valid_tenant();
    tenant.release = ValidRelease::of(&testing::release(release, schema_version));
    tenant
}

fn job_of(tenant: &ValidTenant) -> String {
    names::migration_job(&tenant.release.image, tenant.release.schema_version, &tenant.sign_in_secret, 1)
}

fn decided(tenant: &ValidTenant, seen: impl IntoIterator<Item = (Key, Child)>, now: i64) -> Course {
    let running = ValidRelease::of(&testing::release("r1", 1));
    decide(tenant, &Snapshot::new(seen), Some(&running), at(now))
}

#[test]
fn a_first_start_does_everything_at_once() {
    let tenant = tenant("r1", 1);
    let course = decided(&tenant, [], 0);
    assert_eq!((course.running.as_str(), course.app.as_ref()), ("r1", Some(&tenant.release)));
    let migration = course.migration.unwrap();
    assert!(migration.first && migration.step == Step::Run);
}

#[test]
fn before_the_first_schema_the_wanted_release_is_started_whatever_was_tried_before() {
    let course = decided(&tenant("r2", 2), [namespace(Some("r1"), None, None)], 0);
    assert_eq!((course.running.as_str(), course.app.unwrap().name.as_str()), ("r2", "r2"));
}

/// The app starts beside its first migration, and may answer before that has said that it is done. A tenant that is deleted
/// just then has data.
#[test]
fn a_crm_that_answers_has_its_schema() {
    let answers = |ready| {
        let facts = WorkloadFacts { wanted: 1, ready, ..WorkloadFacts::default() };
        [
            namespace(Some("r1"), None, None),
            child(Kind::Deployment, names::child::CRM, Facts::Workload(facts.into())),
        ]
    };
    let course = decided(&tenant("r1", 1), answers(1), 0);
    assert_eq!((course.schema_version, course.migrated.as_ref()), (Some(1), None));
    assert_eq!(course.migration.unwrap().step, Step::Run, "its report is still to come");
    assert_eq!(decided(&tenant("r1", 1), answers(0), 0).schema_version, None);
    assert_eq!(
        decided(&tenant("r2", 2), answers(1), 0).running,
        "r1",
        "what serves goes on until r2 has its schema"
    );

    let leaving = ValidTenant { state: State::Suspended, leaving: true, ..tenant("r1", 1) };
    let stage = |seen| decided(&leaving, seen, 0).closing.unwrap().stage;
    assert_eq!(stage(answers(1)), closing::Stage::Quiescing);
    assert_eq!(stage(answers(0)), closing::Stage::Unneeded);
}

#[test]
fn another_release_waits_for_its_migration() {
    let tenant = tenant("r2", 2);
    let course = decided(&tenant, [namespace(Some("r1"), Some(1), Some("migrate-old"))], 0);
    assert_eq!((course.running.as_str(), course.app.unwrap().name.as_str()), ("r1", "r1"));
    assert_eq!(course.migration.unwrap().step, Step::Run);

    let name = job_of(&tenant);
    let seen = [namespace(Some("r1"), Some(1), Some("migrate-old")), job(&name, None), pod(&name, MIGRATED)];
    let course = decided(&tenant, seen, 0);
    assert_eq!((course.running.as_str(), course.app.unwrap().name.as_str()), ("r2", "r2"));
    assert_eq!(
        (course.schema_version, course.migrated.as_ref(), course.migration),
        (Some(4), Some(&name), None)
    );
}

#[test]
fn without_its_release_object_the_running_app_stays_as_it_is() {
    let seen = Snapshot::new([namespace(Some("r1"), Some(1), None)]);
    assert_eq!(decide(&tenant("r2", 2), &seen, None, at(0)).app, None);
}

#[test]
fn a_migration_that_is_recorded_is_not_run_again() {
    let tenant = tenant("r1", 1);
    let course = decided(&tenant, [namespace(Some("r1"), Some(1), Some(&job_of(&tenant)))], 0);
    assert_eq!((course.migration, course.schema_version), (None, Some(1)));
}

#[test]
fn an_older_release_needs_no_migration() {
    let course = decided(&tenant("r1", 1), [namespace(Some("r3"), Some(3), Some("migrate-r3"))], 0);
    assert_eq!((course.running.as_str(), course.migration), ("r1", None));
    assert_eq!(course.schema_version, Some(3));
}

#[test]
fn a_job_that_has_given_up_rests_and_is_then_made_again() {
    let tenant = tenant("r1", 1);
    let name = job_of(&tenant);
    let seen = || [job(&name, Some(100)), pod(&name, "what?")];
    let rests = decided(&tenant, seen(), 100 + 299).migration.unwrap();
    assert_eq!(rests.step, Step::Rest { until: at(400) });
    let course = decided(&tenant, seen(), 400);
    assert_eq!(course.migration.as_ref().unwrap().step, Step::Discard);
    let snapshot = Snapshot::new(seen());
    let old = superseded(&tenant, &course, &snapshot);
    assert_eq!(old.iter().map(|old| old.job).collect::<Vec<_>>(), [name.as_str()]);
}

#[test]
fn a_suspended_tenant_is_not_migrated() {
    let mut tenant = tenant("r1", 1);
    tenant.state = State::Suspended;
    assert_eq!(decided(&tenant, [], 0).migration.unwrap().step, Step::Postponed);
}

#[test]
fn a_job_goes_when_another_has_reported_and_its_link_with_it() {
    let tenant = tenant("r1", 1);
    let name = job_of(&tenant);
    let seen = Snapshot::new([
        namespace(Some("r1"), Some(1), Some(&name)),
        job(&name, Some(1)),
        job("migrate-old", Some(0)),
    ]);
    let course = decide(&tenant, &seen, None, at(5));
    let old = superseded(&tenant, &course, &seen);
    let expected = Superseded {
        job: "migrate-old",
        uid: &"uid-migrate-old".into(),
        sign_in: Some("first-sign-in-of-migrate-old"),
    };
    assert_eq!(old, [expected]);
}
