//! From what is seen of a tenant to the step that its restore is at.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::{
    cluster::facts::{Facts, Finished, JobFacts, NamespaceFacts, WorkloadFacts},
    tenant::course,
    testing::{self, child},
};

const BACKED_UP: &str = r#"{"code":"BackedUp","backup":"20261122T130000Z-safety","createdAt":"2026-11-22T13:00:00Z","size":1,"schemaVersion":1}"#;
const RESTORED: &str = r#"{"code":"Restored","backup":"20261122T010000Z-ab12cd","createdAt":"2026-11-22T01:00:00Z","rows":7,"schemaVersion":1,"restoredIn":2}"#;

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(minutes * 60).unwrap()
}

/// A tenant with a restore that was asked for in minute 60; it is minute 61.
struct Stage {
    spec: Value,
    status: Value,
    crm_pods: i32,
    crm_wanted: i32,
    /// Which database the CRM's Deployment names.
    crm_database: i64,
    database_ready: i32,
    /// The Jobs: name, how they ended, and what their pod said.
    jobs: Vec<(String, Option<bool>, Option<&'static str>)>,
    databases: Databases,
    state: State,
    has_store: bool,
    now: i64,
}

fn uid() -> String {
    "uid-r1".to_owned()
}

fn safety_job(
    ended: Option<bool>,
    said: Option<&'static str>,
) -> (String, Option<bool>, Option<&'static str>) {
    (names::request_job(Component::Backup, &uid()), ended, said)
}

fn restore_job(
    ended: Option<bool>,
    said: Option<&'static str>,
) -> (String, Option<bool>, Option<&'static str>) {
    (names::request_job(Component::Restore, &uid()), ended, said)
}

/// Before it begins.
fn stage() -> Stage {
    Stage {
        spec: json!({"tenant": "acme", "from": {"latest": {}}, "confirm": "acme"}),
        status: Value::Null,
        crm_pods: 2,
        crm_wanted: 2,
        crm_database: 1,
        database_ready: 1,
        jobs: vec![],
        databases: Databases::default(),
        state: State::Active,
        has_store: true,
        now: 61,
    }
}

/// After the CRM has stopped.
fn stopped(jobs: Vec<(String, Option<bool>, Option<&'static str>)>) -> Stage {
    let status = json!({"step": "Stopping", "startedAt": "1970-01-01T01:00:30Z"});
    Stage { status, crm_pods: 0, crm_wanted: 0, jobs, ..stage() }
}

fn workload(wanted: i32, ready: i32, database_generation: Option<i64>) -> Facts {
    let facts = WorkloadFacts {
        wanted,
        replicas: ready,
        updated: ready,
        ready,
        observed: true,
        database_generation,
        ..WorkloadFacts::default()
    };
    Facts::Workload(facts.into())
}

impl Stage {
    fn seen(&self, valid: &ValidTenant) -> Snapshot {
        let release = &valid.release;
        let migrated = names::migration_job(
            &release.image,
            release.schema_version,
            &valid.sign_in_secret,
            self.databases.current,
        );
        let namespace = NamespaceFacts {
            release: Some("r1".into()),
            schema_version: Some(1),
            migrated: Some(migrated),
            backup_recipient: Some("age1public".into()),
            ..NamespaceFacts::default()
        };
        let crm = workload(self.crm_wanted, self.crm_pods, Some(self.crm_database));
        let mut all = vec![
            child(Kind::Namespace, "tenant-acme", Facts::Namespace(namespace.into())),
            child(Kind::Deployment, "crm", crm),
            child(Kind::StatefulSet, "database", workload(1, self.database_ready, None)),
        ];
        all.extend((0..self.crm_pods).map(|number| {
            let facts = PodFacts { component: "crm".into(), ..PodFacts::default() };
            child(Kind::Pod, &format!("crm-{number}"), Facts::Pod(facts.into()))
        }));
        for (name, ended, said) in &self.jobs {
            let finished =
                ended.map(|succeeded| Finished { succeeded, at: Some(at(0)), ..Finished::default() });
            let component = name.split('-').next().unwrap();
            let facts = JobFacts {
                finished,
                request: Some(uid()),
                database_generation: (component == "restore").then_some(self.databases.next),
                ..JobFacts::default()
            };
            all.push(child(Kind::Job, name, Facts::Job(facts.into())));
            let said = said.map(|said| (i32::from(*ended != Some(true)), said));
            all.push(testing::job_pod(component, name, said));
        }
        Snapshot::new(all)
    }

    /// What is decided, and what is then to be recorded.
    fn decide(&self) -> (Step, Databases) {
        let tenant = testing::tenant();
        let mut valid = testing::valid_tenant();
        (valid.state, valid.databases) = (self.state, self.databases.clone());
        if let Some(backup) = valid.backup.as_mut().filter(|_| !self.has_store) {
            backup.recovery = None;
        }
        let seen = self.seen(&valid);
        let course = course::decide(&valid, &seen, None, at(self.now));
        let request = json!({
            "metadata": {"name": "r1", "uid": uid(), "generation": 1, "creationTimestamp": "1970-01-01T01:00:00Z"},
            "spec": self.spec, "status": self.status,
        });
        let requests = [Arc::new(serde_json::from_value::<TenantRestore>(request).unwrap())];
        let scene = Scene { tenant: &tenant, valid: &valid, course: &course, seen: &seen, now: at(self.now) };
        let mut databases = self.databases.clone();
        let restoring = next(&requests, scene, &mut databases);
        (restoring.unwrap().step, databases)
    }

    /// The step or reason in one word.
    fn word(&self) -> String {
        match self.decide().0 {
            Step::Wait(verdict) => format!("wait: {}", verdict.reason),
            Step::End(verdict) => format!("{}: {}", verdict.word.as_str(), verdict.reason),
            Step::SafetyBackup { make } => format!("safety {make}"),
            Step::Restore { make, generation } => format!("restore {generation} {make}"),
            step => format!("{step:?}"),
        }
    }
}

fn another_job(name: &str) -> (String, Option<bool>, Option<&'static str>) {
    (name.to_owned(), None, None)
}

#[rstest]
#[case::at_once(stage(), "Stop")]
#[case::suspended(Stage { state: State::Suspended, ..stage() }, "wait: Suspended")]
#[case::no_database(Stage { database_ready: 0, ..stage() }, "wait: DatabaseNotReady")]
#[case::no_store(Stage { has_store: false, ..stage() }, "wait: StoreNotFound")]
#[case::a_scheduled_backup(Stage { jobs: vec![another_job("backup-29388360")], ..stage() }, "wait: Queued")]
#[case::an_old_database_goes(Stage { jobs: vec![another_job("drop-1")], ..stage() }, "wait: Queued")]
#[case::a_drill_is_no_matter(Stage { jobs: vec![another_job("drill-1")], ..stage() }, "Stop")]
#[case::late(Stage { now: 121, ..stage() }, "False: Expired")]
#[case::late_and_waiting(Stage { now: 121, state: State::Suspended, ..stage() }, "False: Expired")]
fn it_begins_when_it_can_and_soon_or_never(#[case] stage: Stage, #[case] expected: &str) {
    assert_eq!(stage.word(), expected);
}

#[rstest]
#[case::pods_are_left(Stage { crm_pods: 1, ..stopped(vec![]) }, "Stop")]
#[case::pods_never_go(Stage { crm_pods: 1, now: 80, ..stopped(vec![]) }, "False: CrmNotStopped")]
#[case::the_deployment_wants_pods(Stage { crm_wanted: 2, ..stopped(vec![]) }, "Stop")]
#[case::stopped(stopped(vec![]), "safety true")]
#[case::the_store_is_gone(Stage { has_store: false, ..stopped(vec![]) }, "False: StoreNotFound")]
#[case::the_job_is_refused(Stage { now: 100, ..stopped(vec![]) }, "False: RestoreFailed")]
#[case::backing_up(stopped(vec![safety_job(None, None)]), "safety false")]
#[case::no_safety(stopped(vec![safety_job(Some(false), Some(r#"{"code":"DoorUnreachable"}"#))]), "False: SafetyBackupFailed")]
#[case::no_word_of_safety(stopped(vec![safety_job(Some(true), None)]), "False: SafetyBackupFailed")]
#[case::safe(stopped(vec![safety_job(Some(true), Some(BACKED_UP))]), "restore 2 true")]
#[case::restoring(stopped(vec![safety_job(Some(true), Some(BACKED_UP)), restore_job(None, None)]), "restore 2 false")]
#[case::failed(stopped(vec![safety_job(Some(true), Some(BACKED_UP)), restore_job(Some(false), Some(r#"{"code":"WrongKey"}"#))]), "False: RestoreFailed")]
#[case::silent(stopped(vec![safety_job(Some(true), Some(BACKED_UP)), restore_job(Some(true), None)]), "False: RestoreFailed")]
#[case::done(stopped(vec![safety_job(Some(true), Some(BACKED_UP)), restore_job(Some(true), Some(RESTORED))]), "Start")]
#[case::done_long_after_it_began(Stage { now: 500, ..stopped(vec![safety_job(Some(true), Some(BACKED_UP)), restore_job(Some(true), Some(RESTORED))]) }, "Start")]
#[case::suspended(Stage { state: State::Suspended, ..stopped(vec![safety_job(None, None)]) }, "False: Suspended")]
fn one_step_after_the_other(#[case] stage: Stage, #[case] expected: &str) {
    assert_eq!(stage.word(), expected);
    let emptied = Stage { status: Value::Null, ..stage };
    let same = if emptied.jobs.is_empty() { return } else { expected };
    assert_eq!(emptied.word(), same, "the Jobs tell what an emptied status does not");
}

#[test]
fn a_crm_does_not_stay_down_for_a_job_that_cannot_be_made() {
    let late = Stage { now: 200, ..stopped(vec![safety_job(Some(true), Some(BACKED_UP))]) };
    assert_eq!(late.word(), "False: RestoreFailed");
}

#[rstest]
#[case::while_backing_up(vec![safety_job(None, None)])]
#[case::after_the_safety_backup(vec![safety_job(Some(true), Some(BACKED_UP))])]
#[case::while_restoring(vec![safety_job(Some(true), Some(BACKED_UP)), restore_job(None, None)])]
#[case::at_the_switch(vec![safety_job(Some(true), Some(BACKED_UP)), restore_job(Some(true), Some(RESTORED))])]
fn nothing_that_was_written_meanwhile_is_lost(
    #[case] jobs: Vec<(String, Option<bool>, Option<&'static str>)>,
) {
    for (crm_pods, crm_wanted) in [(1, 0), (0, 1)] {
        let stage = Stage { crm_pods, crm_wanted, jobs: jobs.clone(), ..stopped(vec![]) };
        let (step, databases) = stage.decide();
        let Step::End(verdict) = step else { panic!("{step:?}") };
        assert_eq!((verdict.word, verdict.reason), (Word::False, "CrmStarted"));
        assert_eq!(databases.current, 1);
    }
}

#[test]
fn the_switch_is_recorded_with_the_restore_that_led_to_it() {
    let jobs = vec![safety_job(Some(true), Some(BACKED_UP)), restore_job(Some(true), Some(RESTORED))];
    let (_, databases) = stopped(jobs).decide();
    assert_eq!((databases.current, databases.oldest, databases.switched_at), (2, 1, Some(at(61))));
    assert_eq!(databases.ended, [EndedRestore { name: "r1".into(), uid: uid(), generation: Some(2) }]);
}

#[test]
fn a_report_that_fits_nothing_changes_nothing() {
    let jobs = |said| vec![safety_job(Some(true), Some(BACKED_UP)), restore_job(Some(true), Some(said))];
    let other = json!({"tenant": "acme", "from": {"backup": "20261121T010000Z-zz12cd"}, "confirm": "acme"});
    let stage = Stage { spec: other, ..stopped(jobs(RESTORED)) };
    assert_eq!((stage.word().as_str(), stage.decide().1.current), ("False: ResultUnknown", 1));
    let safety = r#"{"code":"Restored","backup":"20261122T130000Z-safety","createdAt":"2026-11-22T13:00:00Z","rows":7,"schemaVersion":1,"restoredIn":2}"#;
    let stage = stopped(jobs(safety));
    assert_eq!((stage.word().as_str(), stage.decide().1.current), ("False: ClocksDiffer", 1));
}

#[test]
fn a_database_that_nobody_put_into_service_is_passed_over() {
    let in_use = r#"{"code":"DatabaseInUse"}"#;
    let stage =
        stopped(vec![safety_job(Some(true), Some(BACKED_UP)), restore_job(Some(false), Some(in_use))]);
    let (step, databases) = stage.decide();
    let Step::End(verdict) = step else { panic!("{step:?}") };
    assert!(verdict.message.contains("crm_2"), "{}", verdict.message);
    assert_eq!((databases.current, databases.next), (1, 3));
}

/// The restore has switched, in minute 61.
fn switched() -> Stage {
    let mut databases = Databases::default();
    databases.switch(2, EndedRestore { name: "r1".into(), uid: uid(), generation: Some(2) }, at(61));
    Stage { databases, crm_database: 2, ..stage() }
}

#[rstest]
#[case::the_crm_answers(switched(), "True: Restored")]
#[case::the_crm_of_before_answers(Stage { crm_database: 1, ..switched() }, "Start")]
#[case::starting(Stage { crm_pods: 0, ..switched() }, "Start")]
#[case::it_does_not_start(Stage { crm_pods: 0, now: 80, ..switched() }, "False: CrmNotAvailable")]
#[case::its_status_was_emptied_long_ago(Stage { now: 100_000, ..switched() }, "True: Restored")]
#[case::suspended(Stage { crm_pods: 0, crm_wanted: 0, state: State::Suspended, ..switched() }, "True: Restored")]
fn after_the_switch_there_is_only_forward(#[case] stage: Stage, #[case] expected: &str) {
    assert_eq!(stage.word(), expected);
    assert_eq!(stage.decide().1, stage.databases);
}

#[test]
fn a_restore_that_ended_is_never_carried_out_again() {
    let ended = |name: &str, uid: &str, generation| {
        let mut stage = stage();
        let ended = EndedRestore { name: name.into(), uid: uid.into(), generation };
        match generation {
            Some(to) => stage.databases.switch(to, ended, at(61)),
            None => stage.databases.remember(ended),
        }
        stage
    };
    assert_eq!(ended("r1", "uid-r1", None).word(), "False: RestoreFailed");
    assert_eq!(ended("r1", "uid-of-the-first", Some(2)).word(), "False: AlreadyCarriedOut", "a copy");
    assert_eq!(ended("r1", "uid-of-the-first", None).word(), "Stop", "one that failed may be tried again");
    assert_eq!(ended("another", "uid-another", Some(2)).word(), "Stop");
    let mut followed = ended("r1", "uid-r1", Some(2));
    followed.databases.switch(
        3,
        EndedRestore { name: "r2".into(), uid: "uid-r2".into(), generation: Some(3) },
        at(62),
    );
    assert_eq!(followed.word(), "True: Restored");
    assert_eq!(followed.decide().1.current, 3);
}

#[test]
fn one_that_failed_is_remembered_from_its_status() {
    let mut failed = stage();
    failed.status = json!({"conditions": [{
        "type": "Complete", "status": "False", "reason": "RestoreFailed", "message": "", "lastTransitionTime": "1970-01-01T01:00:30Z",
    }]});
    let tenant = testing::tenant();
    let valid = testing::valid_tenant();
    let seen = failed.seen(&valid);
    let course = course::decide(&valid, &seen, None, at(61));
    let request =
        json!({"metadata": {"name": "r1", "uid": uid()}, "spec": failed.spec, "status": failed.status});
    let requests = [Arc::new(serde_json::from_value::<TenantRestore>(request).unwrap())];
    let mut databases = Databases::default();
    let scene = Scene { tenant: &tenant, valid: &valid, course: &course, seen: &seen, now: at(61) };
    assert_eq!(next(&requests, scene, &mut databases), None);
    assert_eq!(databases.ended, [EndedRestore { name: "r1".into(), uid: uid(), generation: None }]);
}
