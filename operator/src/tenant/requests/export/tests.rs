//! From what is seen of a Job and a database to what is said of the request.

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::{api::conditions::Word, testing};

fn done() -> Exported {
    Exported {
        export: "20261122T132501Z-ab12cd".into(),
        store: "main".into(),
        created_at: "2026-11-22T13:25:01.5Z".parse().unwrap(),
        size: 5000,
        sha256: "a".repeat(64),
        sums_sha256: "b".repeat(64),
    }
}

fn request(status: Option<TenantExportStatus>) -> TenantExport {
    let object = json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantExport", "metadata": {"name": "leaving", "generation": 1},
        "spec": {"tenant": "acme", "recipients": ["age1x"]},
    });
    TenantExport { status, ..serde_json::from_value(object).unwrap() }
}

fn decide(work: Work<Exported>, is_running: bool, database: Option<Database>) -> (Word, &'static str) {
    let wait = Verdict::unknown(reasons::STORE_NOT_FOUND, "later");
    match next(work, is_running, database.ok_or(&wait), "export-a1", "tenant-acme") {
        Next::Say(verdict) | Next::Await(verdict) | Next::End(verdict, _) => (verdict.word, verdict.reason),
        Next::Start => (Word::Unknown, "Start"),
    }
}

const SERVING: Option<Database> = Some(Database::Serving);

#[rstest]
#[case::begins(Work::Absent, false, SERVING, (Word::Unknown, "Start"))]
#[case::waits(Work::Absent, false, None, (Word::Unknown, "StoreNotFound"))]
#[case::starts_a_database(Work::Absent, false, Some(Database::Starting), (Word::Unknown, "StartingDatabase"))]
#[case::that_does_not_start(Work::Absent, false, Some(Database::Late), (Word::False, "ExportFailed"))]
#[case::goes_on_whatever_comes(Work::Running, true, None, (Word::Unknown, "Running"))]
#[case::was_begun_before_it_was_said(Work::Running, false, SERVING, (Word::Unknown, "Running"))]
#[case::done(Work::Done(done()), true, SERVING, (Word::True, "Exported"))]
#[case::done_before_it_was_said(Work::Done(done()), false, Some(Database::Late), (Word::True, "Exported"))]
#[case::failed(Work::Failed { what: "DoorUnreachable".into() }, true, SERVING, (Word::False, "ExportFailed"))]
#[case::silent(Work::Silent, true, SERVING, (Word::False, "ResultUnknown"))]
#[case::gone_too_early(Work::Absent, true, SERVING, (Word::False, "ResultUnknown"))]
fn what_is_done_next(
    #[case] work: Work<Exported>,
    #[case] is_running: bool,
    #[case] database: Option<Database>,
    #[case] expected: (Word, &str),
) {
    assert_eq!(decide(work, is_running, database), expected);
}

#[test]
fn the_status_says_where_the_bundle_is_and_until_when() {
    let now = "2026-11-22T13:26:00.9Z".parse().unwrap();
    let status = ended(&request(None), Verdict::yes(reasons::EXPORTED, ""), now);
    let status = serde_json::to_value(with_bundle(status, done(), "acme", "uid-1")).unwrap();
    assert_eq!(status["path"], "/v1/main/acme/uid-1/exports/20261122T132501Z-ab12cd.zip.age");
    assert_eq!(status["createdAt"], "2026-11-22T13:25:01Z");
    assert_eq!(status["keptUntil"], "2026-12-06T13:25:01Z");
    assert_eq!(status["completedAt"], "2026-11-22T13:26:00Z");
    assert_eq!(status["size"], 5000);
}

/// Once it has been said since when it is carried out, that stays.
#[test]
fn the_time_to_start_runs_from_the_first_word() {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let verdict = || Verdict::unknown(reasons::STARTING_DATABASE, "");
    let first = begun(&request(None), verdict(), at("2026-11-22T13:00:00.5Z"));
    let known = request(Some(first.clone()));
    assert_eq!(begun(&known, verdict(), at("2026-11-22T13:09:00Z")), first);
    let mut tenant = testing::valid_tenant();
    tenant.state = State::Suspended;
    let seen = Snapshot::new(Vec::new());
    let late = |now: &str| database(&known, &tenant, &seen, at(now));
    assert_eq!(late("2026-11-22T13:09:59Z"), Database::Starting);
    assert_eq!(late("2026-11-22T13:10:00Z"), Database::Late);
    tenant.state = State::ReadOnly;
    assert_eq!(database(&known, &tenant, &seen, at("2026-11-22T13:10:00Z")), Database::Serving);
}
