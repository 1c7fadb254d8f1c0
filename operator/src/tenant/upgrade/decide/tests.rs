mod walks;

use rstest::rstest;

use super::*;
use crate::{
    api::{UpgradeStep, conditions::reasons},
    tenant::attempt::Step,
};

const BACKUP: &str = "20261122T132501Z-ab12cd";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn answers() -> Verdict {
    Verdict::yes(reasons::AS_EXPECTED, "")
}

fn is_rolling() -> Verdict {
    Verdict::no(reasons::ROLLING_OUT, "1 of 2 CRM pods answer")
}

fn crashes() -> Verdict {
    Verdict::no("CrashLooping", "container crm ended with exit code 1")
}

fn vitals(requests: u64, errors: u64, is_still: bool) -> Vitals {
    Vitals { requests, errors, p95: Some(0.005), is_still }
}

/// In seconds.
const BAKE: i64 = 60;

fn with_p95(requests: u64, p95: f64) -> Vitals {
    Vitals { p95: Some(p95), ..vitals(requests, 0, false) }
}

/// On its way to r2, where the release before took so long.
fn baking_beside(p95: f64) -> Record {
    Record { before: Some(with_p95(1000, p95)), ..record("r1", "r2") }
}

fn record(from: &str, to: &str) -> Record {
    let text = format!(
        r#"{{"from":"{from}","to":"{to}","startedAt":"1970-01-01T00:00:00Z","generation":1,"safety":{{}},"hasMigrated":true}}"#
    );
    Record::read(&text).unwrap()
}

fn failed(record: Record, is_undone: bool) -> Record {
    let (reason, message) = ("CrashLooping".to_owned(), "it crashes".to_owned());
    let failure = Failure { at: at(5), reason, message, is_undone, is_left: false, lost: None };
    Record { failure: Some(failure), ..record }
}

fn one_way(record: Record) -> Record {
    let safety = Safety { backs_up: true, rehearses: false, is_one_way: true };
    Record { safety: Some(safety), backup: Some(BACKUP.into()), ..record }
}

fn open<T>() -> Tried<T> {
    Tried::Open(Attempt { job: "job".into(), step: Step::Run, failure: None })
}

/// A tenant whose operator looks at it again and again.
struct Story {
    wanted: &'static str,
    running: String,
    generation: i64,
    record: Option<Record>,
    retry: Option<&'static str>,
    safety: Safety,
    checks: Vec<UpgradeCheck>,
    backup: Tried<String>,
    rehearsal: Tried<()>,
    restore: Undoing,
    vitals: Option<Vitals>,
    is_manual: bool,
    migration: Option<Outcome>,
}

impl Story {
    fn new(running: &str, wanted: &'static str) -> Self {
        Self {
            wanted,
            running: running.to_owned(),
            generation: 1,
            record: None,
            retry: None,
            safety: Safety::default(),
            checks: Vec::new(),
            backup: open(),
            rehearsal: open(),
            restore: Undoing::Absent,
            vitals: Some(vitals(100, 0, false)),
            is_manual: false,
            migration: None,
        }
    }

    fn with(self, record: Record) -> Self {
        Self { record: Some(record), ..self }
    }

    /// One look, of an operator that knows only what stands on the Namespace.
    fn upgrade(&mut self, second: i64, app: &Verdict) -> Upgrade {
        let text = self.record.as_ref().map(|record| serde_json::to_string(record).unwrap());
        let upgrade = decide(&Look {
            wanted: self.wanted,
            running: &self.running,
            generation: self.generation,
            record: text.map(|text| Record::read(&text).unwrap()),
            checks: self.checks.clone(),
            safety: self.safety,
            backup: &|_| self.backup.clone(),
            rehearsal: &|_| self.rehearsal.clone(),
            restore: &|_| self.restore.clone(),
            migration: self.migration.clone(),
            vitals: self.vitals.clone(),
            app,
            database: &answers(),
            retry: self.retry,
            bake: SignedDuration::from_secs(BAKE),
            is_manual: self.is_manual,
            now: at(second),
        });
        self.record.clone_from(&upgrade.record);
        upgrade
    }

    /// What a look says of the step, and what is to run.
    fn look(&mut self, second: i64, app: &Verdict) -> (Option<UpgradeStep>, String) {
        let upgrade = self.upgrade(second, app);
        (upgrade.record.map(|record| record.step(&self.running)), upgrade.release)
    }

    fn reason(&self) -> String {
        let failure = self.record.as_ref().and_then(|record| record.failure.clone());
        failure.map(|failure| failure.reason).unwrap_or_default()
    }
}

#[test]
fn all_goes_well() {
    let mut story = Story::new("r1", "r2");
    story.safety = Safety { backs_up: true, rehearses: true, is_one_way: false };
    assert_eq!(story.look(0, &answers()), (Some(UpgradeStep::BackingUp), "r1".into()));
    story.backup = Tried::Done(BACKUP.into());
    assert_eq!(story.look(1, &answers()), (Some(UpgradeStep::Rehearsing), "r1".into()));
    story.rehearsal = Tried::Done(());
    // From here on, the pods of the Jobs may be gone.
    assert_eq!(story.look(2, &answers()), (Some(UpgradeStep::Migrating), "r2".into()));
    (story.backup, story.rehearsal) = (open(), open());
    assert_eq!(story.look(5, &answers()), (Some(UpgradeStep::Migrating), "r2".into()));
    story.running = "r2".to_owned();
    assert_eq!(story.look(6, &is_rolling()), (Some(UpgradeStep::Rolling), "r2".into()));
    assert_eq!(story.look(10, &answers()), (Some(UpgradeStep::Baking), "r2".into()));
    assert_eq!(story.look(69, &answers()).0, Some(UpgradeStep::Baking));
    assert_eq!(story.look(70, &answers()), (None, "r2".into()));
    assert_eq!(story.look(71, &answers()), (None, "r2".into()));
}

#[test]
fn nothing_begins_before_all_is_as_it_must_be() {
    let check =
        |result, message: &str| UpgradeCheck { name: "Window".into(), result, message: message.into() };
    let mut story = Story::new("r1", "r2");
    story.checks = vec![check(CheckResult::Waiting, "it opens at ten")];
    let upgrade = story.upgrade(0, &answers());
    assert_eq!((upgrade.release.as_str(), upgrade.message.as_deref()), ("r1", Some("it opens at ten")));
    assert_eq!(upgrade.status("r1").unwrap().step, UpgradeStep::Checking);
    story.checks = vec![check(CheckResult::Passed, "")];
    assert_eq!(story.look(5, &answers()).0, Some(UpgradeStep::Migrating));
    story.checks = vec![check(CheckResult::Waiting, "it has closed")];
    assert_eq!(
        story.look(6, &answers()).0,
        Some(UpgradeStep::Migrating),
        "what has begun is brought to its end"
    );

    let mut story = Story::new("r1", "r2");
    story.checks = vec![check(CheckResult::Failed, "never")];
    assert_eq!(story.look(0, &answers()), (Some(UpgradeStep::Failed), "r1".into()));
    assert_eq!(story.reason(), "WindowCheckFailed");
}

#[test]
fn it_has_to_be_healthy_all_the_time() {
    let mut story = Story::new("r2", "r2").with(record("r1", "r2"));
    assert_eq!(story.look(10, &answers()).0, Some(UpgradeStep::Baking));
    assert_eq!(story.look(40, &is_rolling()).0, Some(UpgradeStep::Rolling));
    assert_eq!(story.look(71, &answers()).0, Some(UpgradeStep::Baking));
    assert_eq!(story.look(130, &answers()).0, Some(UpgradeStep::Baking));
    assert_eq!(story.look(131, &answers()).0, None);
}

#[test]
fn a_rehearsal_that_fails_has_touched_nothing() {
    let mut story = Story::new("r1", "r2");
    story.safety = Safety { backs_up: true, rehearses: true, is_one_way: true };
    story.vitals = Some(vitals(100, 0, true));
    story.backup = Tried::Done(BACKUP.into());
    story.rehearsal = Tried::Failed("MigrationFailed in migration 5".into());
    let upgrade = story.upgrade(0, &answers());
    assert_eq!((upgrade.release.as_str(), story.reason().as_str()), ("r1", "RehearsalFailed"));
    assert_eq!(upgrade.status("r1").unwrap().step, UpgradeStep::Failed);
    assert!(!upgrade.is_read_only() && upgrade.work.is_none());
}

#[test]
fn a_backup_that_fails_ends_it_before_it_began() {
    let mut story = Story::new("r1", "r2");
    story.safety = Safety { backs_up: true, ..Safety::default() };
    story.backup = Tried::Failed("DoorUnreachable".into());
    assert_eq!(story.look(0, &answers()), (Some(UpgradeStep::Failed), "r1".into()));
    assert_eq!(story.reason(), "BackupFailed");
}

#[test]
fn a_migration_that_fails_leaves_what_runs() {
    let mut story = Story::new("r1", "r2").with(record("r1", "r2"));
    story.migration = Some(Outcome::Failed { what: "not unique".to_owned() });
    assert_eq!(story.look(5, &answers()), (Some(UpgradeStep::Failed), "r1".into()));
    story.migration = None;
    assert_eq!(story.look(500, &answers()), (Some(UpgradeStep::Failed), "r1".into()), "it is remembered");
    assert_eq!(story.reason(), "MigrationFailed");
}

#[rstest]
#[case::while_it_rolls(None)]
#[case::while_it_bakes(Some(at(5)))]
fn a_release_that_crashes_is_taken_back(#[case] healthy_since: Option<Timestamp>) {
    let mut story = Story::new("r2", "r2").with(Record { healthy_since, ..record("r1", "r2") });
    assert_eq!(story.look(10, &crashes()), (Some(UpgradeStep::GoingBack), "r1".into()));
    story.running = "r1".to_owned();
    assert_eq!(story.look(11, &is_rolling()), (Some(UpgradeStep::GoingBack), "r1".into()));
    assert_eq!(story.look(12, &answers()), (Some(UpgradeStep::Failed), "r1".into()));
    assert_eq!(
        story.look(13, &crashes()),
        (Some(UpgradeStep::Failed), "r1".into()),
        "that is another matter"
    );
}

#[test]
fn a_release_that_answers_with_errors_is_taken_back() {
    let mut story = Story::new("r2", "r2").with(record("r1", "r2"));
    assert_eq!(story.look(10, &answers()).0, Some(UpgradeStep::Baking));
    story.vitals = Some(vitals(100, 50, false));
    assert_eq!(story.look(11, &answers()), (Some(UpgradeStep::GoingBack), "r1".into()));
    assert_eq!(story.reason(), "TooManyErrors");
}

/// Its first sixty requests were slow, three times as many were not.
#[test]
fn a_release_that_was_slow_on_a_busy_machine_stays() {
    let mut story = Story::new("r2", "r2").with(baking_beside(0.005));
    story.vitals = Some(with_p95(60, 0.5));
    assert_eq!(story.look(10, &answers()).0, Some(UpgradeStep::Baking));
    let upgrade = story.upgrade(100, &answers());
    assert_eq!(upgrade.status("r2").unwrap().step, UpgradeStep::Baking, "also when it has baked");
    assert!(upgrade.message.unwrap().contains("0.5 s"));
    story.vitals = Some(with_p95(240, 0.005));
    assert_eq!(story.look(101, &answers()).0, None);
}

#[rstest]
#[case::with_more_requests(11, 100)]
#[case::without_more_of_them_in_time(10 + BAKE + 120, 60)]
fn a_release_that_stays_slow_is_taken_back(#[case] then: i64, #[case] requests: u64) {
    let mut story = Story::new("r2", "r2").with(baking_beside(0.005));
    story.vitals = Some(with_p95(60, 0.5));
    assert_eq!(story.look(10, &answers()).0, Some(UpgradeStep::Baking));
    assert_eq!(story.look(then - 1, &answers()).0, Some(UpgradeStep::Baking));
    story.vitals = Some(with_p95(requests, 0.5));
    assert_eq!(story.look(then, &answers()), (Some(UpgradeStep::GoingBack), "r1".into()));
    assert_eq!(story.reason(), "TooSlow");
}

#[test]
fn nobody_is_taken_back_because_nobody_can_tell() {
    let mut story = Story::new("r2", "r2").with(record("r1", "r2"));
    story.vitals = None;
    assert_eq!(story.look(10, &answers()).0, Some(UpgradeStep::Baking));
    let upgrade = story.upgrade(10_000, &answers());
    assert_eq!((upgrade.status("r2").unwrap().step, upgrade.message.is_some()), (UpgradeStep::Baking, true));
    story.vitals = Some(vitals(0, 0, false));
    assert_eq!(story.look(10_001, &answers()).0, None, "without requests, its readiness counts");
}

#[test]
fn pods_that_do_not_answer_in_time_never_will() {
    let mut story = Story::new("r2", "r2").with(record("r1", "r2"));
    let waits = Verdict::no("ImagePullFailed", "no such image");
    assert_eq!(story.look(10, &waits).0, Some(UpgradeStep::Rolling));
    assert_eq!(story.look(609, &waits).0, Some(UpgradeStep::Rolling));
    assert_eq!(story.look(610, &waits).0, Some(UpgradeStep::GoingBack));
    assert_eq!(story.reason(), "NotReadyInTime");
}

#[rstest]
#[case::no_node("Unschedulable")]
#[case::stopped(reasons::SUSPENDED)]
fn what_is_nobodys_fault_waits(#[case] reason: &'static str) {
    let mut story = Story::new("r2", "r2").with(record("r1", "r2"));
    let app = Verdict::no(reason, "");
    assert_eq!(story.look(10, &app), (Some(UpgradeStep::Rolling), "r2".into()));
    assert_eq!(story.look(10_000, &app), (Some(UpgradeStep::Rolling), "r2".into()));
}

#[test]
fn an_old_app_that_crashes_says_nothing_of_the_new_release() {
    let mut story = Story::new("r1", "r2").with(record("r1", "r2"));
    assert_eq!(story.look(5, &crashes()), (Some(UpgradeStep::Migrating), "r2".into()));
}

/// Nobody may write from the backup until the new release answers.
#[test]
fn on_a_one_way_street_people_wait_with_what_they_write() {
    let mut story = Story::new("r1", "r2");
    story.safety = Safety { backs_up: true, rehearses: false, is_one_way: true };
    let upgrade = story.upgrade(0, &answers());
    assert!(upgrade.is_read_only() && upgrade.work.is_none(), "somebody may still write: {upgrade:?}");
    assert!(upgrade.message.is_some());
    story.vitals = Some(vitals(100, 0, true));
    let upgrade = story.upgrade(1, &answers());
    assert!(upgrade.is_read_only() && matches!(upgrade.work, Some(Work::BackUp(_))));
    story.backup = Tried::Done(BACKUP.into());
    assert!(story.upgrade(2, &answers()).is_read_only());
    story.running = "r2".to_owned();
    assert!(story.upgrade(3, &is_rolling()).is_read_only());
    let upgrade = story.upgrade(4, &answers());
    assert!(!upgrade.is_read_only());
    assert_eq!(upgrade.status("r2").unwrap().step, UpgradeStep::Baking);
}

#[test]
fn the_way_back_from_there_is_the_backup() {
    let mut story = Story::new("r2", "r2").with(one_way(record("r1", "r2")));
    let upgrade = story.upgrade(10, &crashes());
    assert_eq!(upgrade.work, Some(Work::Restore { backup: BACKUP.into() }));
    assert!(upgrade.stops_the_crm && upgrade.is_read_only());
    assert_eq!(
        (upgrade.release.as_str(), upgrade.status("r2").unwrap().step),
        ("r1", UpgradeStep::Restoring)
    );
    story.restore = Undoing::Running;
    story.running = "r1".to_owned();
    let stopped = Verdict::no(reasons::SUSPENDED, "");
    let upgrade = story.upgrade(11, &stopped);
    assert!(upgrade.work.is_none() && upgrade.stops_the_crm);
    (story.generation, story.restore) = (2, Undoing::Done(Some(at(12))));
    assert!(!story.upgrade(13, &is_rolling()).stops_the_crm);
    let upgrade = story.upgrade(14, &answers());
    let status = upgrade.status("r1").unwrap();
    assert_eq!((status.step, status.lost), (UpgradeStep::Failed, None), "nobody had written");
    assert!(!upgrade.is_read_only());
}

#[test]
fn what_was_written_with_the_new_release_is_told() {
    let mut story = Story::new("r2", "r2").with(one_way(record("r1", "r2")));
    assert_eq!(story.look(10, &answers()).0, Some(UpgradeStep::Baking));
    assert_eq!(story.look(40, &crashes()).0, Some(UpgradeStep::Restoring));
    (story.generation, story.restore) = (2, Undoing::Done(Some(at(45))));
    story.running = "r1".to_owned();
    let status = story.upgrade(50, &answers()).status("r1").unwrap();
    assert_eq!(status.lost, Some(Lost { from: Time(at(10)), to: Time(at(45)) }));
}

#[test]
fn a_restore_that_fails_is_told_and_nobody_works_on_a_schema_that_is_not_its_own() {
    let mut story = Story::new("r2", "r2").with(one_way(record("r1", "r2")));
    story.restore = Undoing::Failed("the store is gone".into());
    let upgrade = story.upgrade(10, &crashes());
    assert_eq!((upgrade.stops_the_crm, upgrade.message.as_deref()), (true, Some("the store is gone")));
}

#[test]
fn one_that_is_left_to_people_stays_until_they_decide() {
    let left = |wanted| {
        let mut story = Story::new("r2", "r2").with(record("r1", "r2"));
        story.is_manual = true;
        assert_eq!(story.look(10, &crashes()), (Some(UpgradeStep::Failed), "r2".into()));
        assert_eq!(story.look(11, &crashes()), (Some(UpgradeStep::Failed), "r2".into()));
        story.wanted = wanted;
        story
    };
    assert_eq!(left("r1").look(12, &crashes()), (Some(UpgradeStep::GoingBack), "r1".into()));
    let mut story = left("r3");
    assert_eq!(story.look(12, &crashes()), (Some(UpgradeStep::Migrating), "r3".into()));
    assert_eq!(story.record.unwrap().from, "r1");
    let mut story = left("r2");
    story.retry = Some("1");
    assert_eq!(story.look(12, &answers()), (Some(UpgradeStep::Baking), "r2".into()));
}

#[rstest]
#[case::nothing_has_happened("r1", record("r1", "r2"), "r1", None, "r1")]
#[case::another_one_before_it_ran("r1", record("r1", "r2"), "r3", Some("r1"), "r3")]
#[case::another_one_when_it_ran("r2", record("r1", "r2"), "r3", Some("r1"), "r3")]
#[case::back_when_it_ran("r2", record("r1", "r2"), "r1", Some("r2"), "r1")]
#[case::another_one_on_the_way_back("r2", failed(record("r1", "r2"), false), "r3", Some("r1"), "r1")]
#[case::another_one_after_the_failure("r1", failed(record("r1", "r2"), true), "r3", Some("r1"), "r3")]
#[case::what_runs_after_the_failure("r1", failed(record("r1", "r2"), true), "r1", None, "r1")]
#[case::back_on_a_one_way_street("r2", one_way(record("r1", "r2")), "r1", Some("r1"), "r1")]
#[case::another_one_while_the_schema_changes("r1", one_way(record("r1", "r2")), "r3", Some("r1"), "r1")]
#[case::further_on_a_one_way_street("r2", one_way(record("r1", "r2")), "r3", Some("r2"), "r3")]
fn a_change_of_mind(
    #[case] running: &str,
    #[case] before: Record,
    #[case] wanted: &'static str,
    #[case] from: Option<&str>,
    #[case] runs: &str,
) {
    let mut story = Story::new(running, wanted).with(before);
    let (_, release) = story.look(20, &is_rolling());
    assert_eq!((story.record.as_ref().map(|record| record.from.as_str()), release.as_str()), (from, runs));
}

#[test]
fn a_word_lets_it_be_tried_again_once() {
    let mut story = Story::new("r1", "r2").with(failed(record("r1", "r2"), true));
    story.retry = Some("1");
    assert_eq!(story.look(20, &answers()), (Some(UpgradeStep::Migrating), "r2".into()));
    assert_eq!(story.record.as_ref().map(|record| record.attempts), Some(2));
    story.migration = Some(Outcome::Failed { what: "not unique".to_owned() });
    assert_eq!(story.look(25, &answers()).0, Some(UpgradeStep::Failed));
    story.migration = None;
    assert_eq!(story.look(26, &answers()).0, Some(UpgradeStep::Failed), "the same word is no other");
}

#[test]
fn another_try_has_jobs_of_its_own() {
    let mut story = Story::new("r1", "r2").with(failed(record("r1", "r2"), true));
    story.retry = Some("1");
    // In the second in which the one before began.
    story.look(0, &answers());
    assert_eq!(story.record.map(|record| record.started_at), Some(at(1)));
}

#[test]
fn while_it_bakes_it_is_asked_how_it_does() {
    let mut story = Story::new("r2", "r2").with(record("r1", "r2"));
    assert_eq!(story.upgrade(7, &answers()).next_look, Some(at(17)));
    assert_eq!(story.upgrade(60, &answers()).next_look, Some(at(67)), "and when it is over");
}

#[rstest]
#[case::none("")]
#[case::no_object("[]")]
#[case::half(r#"{"from":"r1"}"#)]
fn what_is_no_record_is_none(#[case] text: &str) {
    assert_eq!(Record::read(text), None);
}
