//! What people read while a tenant stops.

use jiff::Timestamp;
use rstest::rstest;

use super::*;
use crate::{
    tenant::{attempt::Step, closing::Closing, course},
    testing,
};

fn said(stage: Stage, leaving: bool) -> Option<Verdict> {
    let mut tenant = testing::tenant();
    if leaving {
        tenant.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH));
        tenant.metadata.annotations =
            Some([("tenantry.dev/confirm-delete".to_owned(), "acme".to_owned())].into());
    }
    let valid = testing::valid_tenant();
    let course =
        course::decide(&valid, &crate::cluster::cache::Snapshot::default(), None, Timestamp::UNIX_EPOCH);
    let closing = Closing { since: Timestamp::UNIX_EPOCH, stage };
    let course = course::Course { closing: Some(closing), ..course };
    unfinished(&tenant, &Progress { valid: Some(valid), course: Some(course), ..Progress::default() })
}

fn attempt(failure: Option<&str>) -> Attempt {
    Attempt { job: "backup-final-1".into(), step: Step::Discard, failure: failure.map(str::to_owned) }
}

#[rstest]
#[case::course(attempt(None), "FinalBackup", "a last backup is made")]
#[case::failure(
    attempt(Some("DoorUnreachable")),
    "FinalBackupFailed",
    "DoorUnreachable. it is being tried again; see the log of Job backup-final-1 in namespace tenant-acme"
)]
fn a_stop_says_how_far_it_is(#[case] attempt: Attempt, #[case] reason: &str, #[case] words: &str) {
    let verdict = said(Stage::BackingUp(attempt), false).unwrap();
    assert_eq!(verdict.reason, reason);
    assert!(verdict.message.contains(words), "{}", verdict.message);
    assert!(
        !verdict.message.contains("skip-final-backup"),
        "nothing is lost by waiting: {}",
        verdict.message
    );
}

#[test]
fn a_removal_that_cannot_go_on_names_the_way_out() {
    let way_out = "kubectl annotate tenant acme tenantry.dev/skip-final-backup=acme";
    for stage in [Stage::NoStore, Stage::BackingUp(attempt(Some("DoorUnreachable")))] {
        let message = said(stage, true).unwrap().message;
        assert!(message.ends_with(way_out), "{message}");
    }
}

#[test]
fn what_is_done_needs_no_words() {
    assert_eq!(said(Stage::Unneeded, false), None);
    assert_eq!(said(Stage::BackedUp { backup: "b".into() }, false), None);
    assert_eq!(said(Stage::Proven { backup: "b".into() }, true), None);
}
