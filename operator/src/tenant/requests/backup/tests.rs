//! From what is seen of a Job to what is said of the request.

use rstest::rstest;

use super::*;
use crate::api::conditions::Word;

fn done() -> BackedUp {
    BackedUp {
        backup: "20261122T132501Z-ab12cd".into(),
        created_at: "2026-11-22T13:25:01.5Z".parse().unwrap(),
        size: 4096,
        schema_version: 3,
    }
}

fn wait() -> Verdict {
    Verdict::unknown(reasons::SUSPENDED, "later")
}

fn decide(work: Work<BackedUp>, is_running: bool, may_begin: bool) -> (Word, &'static str) {
    let wait = wait();
    let means = if may_begin { Ok(()) } else { Err(&wait) };
    match next(work, is_running, means, "backup-a1", "tenant-acme") {
        Next::Say(verdict) | Next::End(verdict, _) => (verdict.word, verdict.reason),
        Next::Start => (Word::Unknown, "Start"),
    }
}

#[rstest]
#[case::begins(Work::Absent, false, true, (Word::Unknown, "Start"))]
#[case::waits(Work::Absent, false, false, (Word::Unknown, "Suspended"))]
#[case::goes_on_whatever_comes(Work::Running, true, false, (Word::Unknown, "Running"))]
#[case::was_begun_before_it_was_said(Work::Running, false, true, (Word::Unknown, "Running"))]
#[case::done(Work::Done(done()), true, true, (Word::True, "BackedUp"))]
#[case::done_before_it_was_said(Work::Done(done()), false, false, (Word::True, "BackedUp"))]
#[case::failed(Work::Failed { what: "DoorUnreachable".into() }, true, true, (Word::False, "BackupFailed"))]
#[case::silent(Work::Silent, true, true, (Word::False, "ResultUnknown"))]
#[case::gone_too_early(Work::Absent, true, true, (Word::False, "ResultUnknown"))]
#[case::gone_while_suspended(Work::Absent, true, false, (Word::False, "ResultUnknown"))]
fn what_is_said(
    #[case] work: Work<BackedUp>,
    #[case] is_running: bool,
    #[case] may_begin: bool,
    #[case] expected: (Word, &str),
) {
    assert_eq!(decide(work, is_running, may_begin), expected);
}

#[test]
fn a_failure_says_what_and_where_and_what_to_do() {
    let failed = Work::Failed { what: "DoorUnreachable".into() };
    let Next::End(verdict, None) = next(failed, true, Ok(()), "backup-a1", "tenant-acme") else { panic!() };
    for words in ["DoorUnreachable", "Job backup-a1 in namespace tenant-acme", "make another TenantBackup"] {
        assert!(verdict.message.contains(words), "{}", verdict.message);
    }
}

#[test]
fn the_status_is_what_the_api_keeps() {
    let request: TenantBackup = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "before-import", "generation": 1}, "spec": {"tenant": "acme"},
    }))
    .unwrap();
    let now = "2026-11-22T13:26:00.25Z".parse().unwrap();
    let status = ended(&request, Verdict::yes(reasons::BACKED_UP, ""), Some(done()), now);
    let written = serde_json::to_value(&status).unwrap();
    assert_eq!(written["createdAt"], "2026-11-22T13:25:01Z");
    assert_eq!(written["completedAt"], "2026-11-22T13:26:00Z");
    assert_eq!((&written["size"], &written["observedGeneration"]), (&4096.into(), &1.into()));
    assert_eq!(serde_json::from_value::<TenantBackupStatus>(written).unwrap(), status);
}
