//! What people read while a tenant has not begun.

use jiff::Timestamp;
use rstest::rstest;

use super::*;
use crate::{
    tenant::{attempt::Attempt, bootstrap::Source, course},
    testing,
};

fn attempt(step: Step, failure: Option<&str>) -> Stage {
    Stage::Restoring(Attempt { job: "bootstrap-1".into(), step, failure: failure.map(str::to_owned) })
}

fn said(stage: Stage, database: &Verdict) -> Verdict {
    let seen = Snapshot::default();
    let valid = testing::valid_tenant();
    let source = Source { tenant: "old".into(), uid: "uid-old".into() };
    let bootstrap = Bootstrap { source, backup: "newest".into(), stage };
    let course = course::decide(&valid, &seen, None, Timestamp::UNIX_EPOCH);
    let course = course::Course { bootstrap: Some(bootstrap), ..course };
    let progress = Progress { valid: Some(valid), course: Some(course), ..Progress::default() };
    unfinished(&progress, database, &seen, "tenant-acme").unwrap()
}

#[rstest]
#[case(Stage::NoBackups, "NoBackups", "names no BackupStore")]
#[case(Stage::NoStore, "StoreNotFound", "BackupStore \"main\" of the tenant's plan does not exist")]
#[case(attempt(Step::Run, None), "Restoring", "backup newest of tenant old (uid uid-old) is being restored")]
#[case(
    attempt(Step::Discard, Some("WrongKey")),
    "RestoreFailed",
    "could not be restored: WrongKey. it is being tried again"
)]
#[case(attempt(Step::Rest { until: Timestamp::UNIX_EPOCH }, Some("BackupNotFound")), "RestoreFailed", "BackupNotFound. it is tried again at 1970-01-01T00:00:00Z; see the log of Job bootstrap-1")]
fn it_says_how_far_it_is(#[case] stage: Stage, #[case] reason: &str, #[case] words: &str) {
    let verdict = said(stage, &Verdict::yes(reasons::AS_EXPECTED, ""));
    assert_eq!((verdict.word, verdict.reason), (Word::False, reason));
    assert!(verdict.message.contains(words), "{}", verdict.message);
}

#[test]
fn a_database_that_does_not_start_is_the_first_to_be_told_of() {
    let database = Verdict::no("StorageNotBound", "there is no volume");
    assert_eq!(said(attempt(Step::Run, None), &database), database);
}
