//! What is said about drills in which world.

use rstest::rstest;

use super::*;
use crate::{
    api::conditions::Word,
    cluster::{
        cache::{Child, Key},
        facts::{ContainerFacts, Ended, Facts, Kind},
    },
    schedule::Schedule,
    testing,
};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn pod(created: &str, exit_code: i32, message: &str) -> (Key, Child) {
    let job = format!("drill-{created}");
    let mut facts = testing::job_pod_facts("drill", &job, Some((exit_code, message)));
    // The server beside it comes first, and is stopped in the end.
    let ended = Some(Ended { exit_code: 137, ..Ended::default() });
    facts
        .containers
        .insert(0, ContainerFacts { name: "postgres".into(), ended, ..ContainerFacts::default() });
    testing::made(testing::child(Kind::Pod, &job, Facts::Pod(facts.into())), time(created))
}

const PASSED: &str = r#"{"code":"Drilled","backup":"20261122T020000Z-k3v9x2","createdAt":"2026-11-22T02:00:00.25Z","restoredIn":4,"rows":42,"schemaVersion":3}"#;

fn said(last: Option<&LastDrill>, now: &str) -> (Word, &'static str, String) {
    let mut tenant = testing::tenant();
    tenant.metadata.creation_timestamp = Some(Time(time("2026-11-20T00:00:00Z")));
    let mut valid = testing::valid_tenant();
    valid.backup.as_mut().unwrap().drill = Schedule::parse("0 5 * * 0", "acme").unwrap();
    let verdict = verified(&tenant, Some(&valid), last, time(now)).unwrap();
    (verdict.word, verdict.reason, verdict.message)
}

#[test]
fn a_drill_says_what_would_have_been_lost_and_how_long_it_would_have_taken() {
    let seen = Snapshot::new([pod("2026-11-22T05:12:30Z", 0, PASSED)]);
    let drill = newest([None], &seen, None).unwrap();
    let figures = (drill.result.as_str(), drill.rpo.as_deref(), drill.rto.as_deref(), drill.rows);
    assert_eq!(figures, ("Verified", Some("3h12m29s"), Some("4s"), Some(42)));
    assert_eq!(drill.backup.as_deref(), Some("20261122T020000Z-k3v9x2"));
    assert_eq!(
        newest([Some(drill.clone())], &Snapshot::default(), None),
        Some(drill),
        "also when the pod is gone"
    );
}

#[test]
fn a_failure_is_told_until_a_later_drill_succeeds() {
    let failed = pod("2026-11-22T05:00:00Z", 1, r#"{"code":"RowsDiffer"}"#);
    let drill = newest([None], &Snapshot::new([failed.clone()]), None).unwrap();
    let (word, reason, message) = said(Some(&drill), "2026-11-22T06:00:00Z");
    assert_eq!((word, reason), (Word::False, "DrillFailed"));
    assert!(message.contains("could not prove the newest backup: RowsDiffer"), "{message}");
    let seen = Snapshot::new([failed, pod("2026-11-22T05:30:00Z", 0, PASSED)]);
    let drill = newest([None], &seen, None).unwrap();
    assert_eq!(said(Some(&drill), "2026-11-22T06:00:00Z").1, "DrillPassed");
}

#[rstest]
#[case::none_yet(None, "2026-11-22T06:00:00Z", Word::Unknown, "FirstDrillDue")]
#[case::none_at_all(None, "2026-12-22T06:00:00Z", Word::False, "DrillOverdue")]
#[case::in_time(Some("2026-11-15T05:00:00Z"), "2026-11-22T06:00:00Z", Word::True, "DrillPassed")]
#[case::too_long_ago(Some("2026-11-13T05:00:00Z"), "2026-11-22T06:00:00Z", Word::False, "DrillOverdue")]
fn the_schedule_says_how_long_ago_is_too_long(
    #[case] at: Option<&str>,
    #[case] now: &str,
    #[case] word: Word,
    #[case] reason: &str,
) {
    let drill = at.and_then(|at| newest([None], &Snapshot::new([pod(at, 0, PASSED)]), None));
    let (said_word, said_reason, _) = said(drill.as_ref(), now);
    assert_eq!((said_word, said_reason), (word, reason));
}
