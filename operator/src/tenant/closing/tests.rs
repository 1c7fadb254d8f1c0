//! From what is there to the next step of stopping.

use rstest::rstest;

use super::*;
use crate::{
    cluster::{
        cache::{Child, Key},
        facts::{Facts, NamespaceFacts, PodFacts, WorkloadFacts},
    },
    testing::{self, at, child, job},
};

const BACKUP: &str = "20261122T132501Z-ab12cd";
const BACKED_UP: &str = r#"{"code":"BackedUp","backup":"20261122T132501Z-ab12cd","createdAt":"2026-11-22T13:25:01Z","size":4096,"schemaVersion":1}"#;
const DRILLED: &str = r#"{"code":"Drilled","backup":"20261122T132501Z-ab12cd","createdAt":"2026-11-22T13:25:01Z","restoredIn":2,"rows":42,"schemaVersion":1}"#;

fn namespace(since: Option<i64>, final_backup: Option<&str>) -> (Key, Child) {
    namespace_of("uid-acme", since, final_backup)
}

fn namespace_of(uid: &str, since: Option<i64>, final_backup: Option<&str>) -> (Key, Child) {
    let facts = NamespaceFacts {
        tenant_uid: Some(uid.to_owned()),
        schema_version: Some(1),
        closing_since: since.map(at),
        final_backup: final_backup.map(str::to_owned),
        ..NamespaceFacts::default()
    };
    child(Kind::Namespace, "tenant-acme", Facts::Namespace(facts.into()))
}

fn workload(kind: Kind, name: &str, wanted: i32, replicas: i32) -> (Key, Child) {
    let facts = WorkloadFacts { wanted, replicas, observed: true, ..WorkloadFacts::default() };
    child(kind, name, Facts::Workload(facts.into()))
}

fn database(wanted: i32) -> (Key, Child) {
    workload(Kind::StatefulSet, child::DATABASE, wanted, wanted)
}

fn app(wanted: i32, replicas: i32) -> (Key, Child) {
    workload(Kind::Deployment, child::CRM, wanted, replicas)
}

fn pod(component: Component, job: &str, exit_code: i32, message: &str) -> (Key, Child) {
    testing::job_pod(component.as_str(), job, Some((exit_code, message)))
}

fn suspended() -> ValidTenant {
    ValidTenant { state: State::Suspended, ..testing::valid_tenant() }
}

fn leaving() -> ValidTenant {
    ValidTenant { leaving: true, ..suspended() }
}

fn stage(tenant: &ValidTenant, seen: impl IntoIterator<Item = (Key, Child)>) -> Stage {
    decide(tenant, &Snapshot::new(seen), true, at(100)).unwrap().stage
}

fn backup_job() -> String {
    names::final_backup_job(at(50))
}

fn running(job: String) -> Attempt {
    Attempt { job, step: Step::Run, failure: None }
}

#[test]
fn a_tenant_that_is_not_to_stop_is_left_alone() {
    assert_eq!(decide(&testing::valid_tenant(), &Snapshot::new([namespace(None, None)]), true, at(0)), None);
}

#[test]
fn without_data_or_backups_it_stops_at_once() {
    let seen = Snapshot::new([namespace(None, None), database(1)]);
    assert_eq!(decide(&leaving(), &seen, false, at(100)).unwrap().stage, Stage::Unneeded);
    let without = ValidTenant { backup: None, ..suspended() };
    assert_eq!(stage(&without, [namespace(None, None), database(1), app(2, 2)]), Stage::Unneeded);
}

#[rstest]
#[case::runs(app(2, 2), None)]
#[case::told_to_stop(app(0, 1), None)]
#[case::a_pod_is_left(app(0, 0), Some(Component::Crm))]
#[case::a_migration_runs(app(0, 0), Some(Component::Migrate))]
fn first_everything_stops_that_could_write(#[case] app: (Key, Child), #[case] pod: Option<Component>) {
    let pod = pod.map(|component| {
        let facts = PodFacts { component: component.as_str().into(), ..PodFacts::default() };
        child(Kind::Pod, "p", Facts::Pod(facts.into()))
    });
    let seen = [namespace(Some(50), None), database(1), app].into_iter().chain(pod);
    let closing = decide(&suspended(), &Snapshot::new(seen), true, at(100)).unwrap();
    assert_eq!(closing, Closing { since: at(50), stage: Stage::Quiescing });
    assert!(closing.needs_database());
}

#[test]
fn then_a_backup_is_made_and_then_the_database_stops() {
    let before = [namespace(Some(50), None), database(1), app(0, 0)];
    assert_eq!(stage(&suspended(), before.clone()), Stage::BackingUp(running(backup_job())));
    let ended = [job(&backup_job(), Some(90)), pod(Component::Backup, &backup_job(), 0, BACKED_UP)];
    let closing =
        decide(&suspended(), &Snapshot::new(before.into_iter().chain(ended)), true, at(100)).unwrap();
    assert_eq!(closing.stage, Stage::BackedUp { backup: BACKUP.into() });
    assert!(!closing.needs_database());
    let recorded = [namespace(Some(50), Some(BACKUP)), database(0), app(0, 0)];
    assert_eq!(stage(&suspended(), recorded), Stage::BackedUp { backup: BACKUP.into() });
}

#[test]
fn the_backup_of_an_earlier_stop_is_not_that_of_this_one() {
    let earlier = names::final_backup_job(at(10));
    let seen = [
        namespace(Some(50), None),
        database(1),
        app(0, 0),
        job(&earlier, Some(20)),
        pod(Component::Backup, &earlier, 0, BACKED_UP),
    ];
    let closing = decide(&suspended(), &Snapshot::new(seen.clone()), true, at(100)).unwrap();
    assert_eq!(closing.stage, Stage::BackingUp(running(backup_job())));
    let seen = Snapshot::new(seen);
    assert_eq!(unwanted(Some(&closing), &seen), [(earlier.as_str(), &format!("uid-{earlier}").into())]);
    assert_eq!(unwanted(None, &seen).len(), 1, "and when the tenant runs again");
}

#[rstest]
#[case::rests(90, Step::Rest { until: at(390) })]
#[case::long_enough(-300, Step::Discard)]
fn a_backup_that_failed_is_made_again_after_a_while(#[case] finished: i64, #[case] step: Step) {
    let failed = pod(Component::Backup, &backup_job(), 1, r#"{"code":"DoorUnreachable"}"#);
    let seen =
        [namespace(Some(50), None), database(1), app(0, 0), job(&backup_job(), Some(finished)), failed];
    let closing = decide(&suspended(), &Snapshot::new(seen.clone()), true, at(100)).unwrap();
    let failure = Some("DoorUnreachable".to_owned());
    assert_eq!(closing.stage, Stage::BackingUp(Attempt { job: backup_job(), step, failure }));
    assert!(closing.needs_database() && closing.job().is_none());
    assert_eq!(unwanted(Some(&closing), &Snapshot::new(seen)).is_empty(), step != Step::Discard);
}

#[test]
fn a_job_that_ended_without_a_word_has_failed() {
    let seen = [namespace(Some(50), None), database(1), app(0, 0), job(&backup_job(), Some(90))];
    let Stage::BackingUp(attempt) = stage(&suspended(), seen) else { panic!() };
    assert!(attempt.failure.unwrap().contains("is lost"));
}

#[test]
fn without_its_store_the_database_keeps_running() {
    let mut tenant = suspended();
    tenant.backup.as_mut().unwrap().recovery = None;
    assert_eq!(stage(&tenant, [namespace(None, None), database(1), app(0, 0)]), Stage::NoStore);
}

#[test]
fn one_that_was_stopped_long_ago_is_not_started_to_be_stopped_again() {
    let seen = [namespace(None, None), database(0), app(0, 0)];
    assert_eq!(stage(&suspended(), seen.clone()), Stage::Unneeded);
    let job = names::final_backup_job(at(100));
    assert_eq!(stage(&leaving(), seen), Stage::BackingUp(running(job)), "before a removal, it is");
}

/// Its predecessor was stopped, or was just being stopped.
#[rstest]
#[case::stopped(suspended(), 0, Some(BACKUP), Stage::Unneeded)]
#[case::stopped_and_to_be_removed(leaving(), 0, Some(BACKUP), Stage::BackingUp(running(own_job())))]
#[case::with_a_backup_and_running(suspended(), 1, Some(BACKUP), Stage::BackingUp(running(own_job())))]
#[case::on_its_way(suspended(), 1, None, Stage::BackingUp(running(own_job())))]
#[case::on_its_way_and_to_be_removed(leaving(), 1, None, Stage::BackingUp(running(own_job())))]
fn one_that_took_the_namespace_over_has_a_last_backup_of_its_own(
    #[case] tenant: ValidTenant,
    #[case] replicas: i32,
    #[case] final_backup: Option<&str>,
    #[case] expected: Stage,
) {
    let before = namespace_of("uid-of-an-earlier-acme", Some(50), final_backup);
    let ended = [job(&backup_job(), Some(60)), pod(Component::Backup, &backup_job(), 0, BACKED_UP)];
    let seen = Snapshot::new([before, database(replicas), app(0, 0)].into_iter().chain(ended));
    let closing = decide(&tenant, &seen, true, at(100)).unwrap();
    assert_eq!(closing, Closing { since: at(100), stage: expected });
    assert_eq!(unwanted(Some(&closing), &seen).len(), 1, "the Job of its predecessor");
}

fn own_job() -> String {
    names::final_backup_job(at(100))
}

#[test]
fn what_is_to_be_removed_is_first_proven_to_come_back() {
    let recorded = [namespace(Some(50), Some(BACKUP)), database(0), app(0, 0)];
    let job_name = names::final_drill_job(BACKUP);
    let proving = |attempt| Stage::Proving { backup: BACKUP.into(), attempt };
    assert_eq!(stage(&leaving(), recorded.clone()), proving(running(job_name.clone())));
    let with = |exit_code, report: &str| {
        let ended = [job(&job_name, Some(90)), pod(Component::Drill, &job_name, exit_code, report)];
        stage(&leaving(), recorded.clone().into_iter().chain(ended))
    };
    assert_eq!(with(0, DRILLED), Stage::Proven { backup: BACKUP.into() });
    let Stage::Proving { attempt, .. } = with(0, &DRILLED.replace("ab12cd", "zzzzzz")) else { panic!() };
    assert_eq!(attempt.failure.unwrap(), "it restored backup 20261122T132501Z-zzzzzz instead");
    let Stage::Proving { attempt, .. } = with(1, r#"{"code":"RowsDiffer"}"#) else { panic!() };
    assert_eq!(
        (attempt.failure.unwrap().as_str(), attempt.step),
        ("RowsDiffer", Step::Rest { until: at(390) })
    );
}
