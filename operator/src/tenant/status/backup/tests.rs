//! What is said about backups in which world.

use rstest::rstest;

use super::*;
use crate::{
    api::conditions::Word,
    cluster::cache::{Child, Key},
    schedule::Schedule,
    testing,
};

const NOON: &str = "2026-11-22T12:00:00Z";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn made(at: &str) -> LastBackup {
    let name = format!("{}-ab12cd", time(at).strftime("%Y%m%dT%H%M%SZ"));
    LastBackup { backup: name, created_at: Time(time(at)), size: 4096, schema_version: 3 }
}

/// The pod of a backup that began then and ended so.
fn pod(created: &str, exit_code: i32, message: &str) -> (Key, Child) {
    let pod = testing::job_pod("backup", &format!("backup-{created}"), Some((exit_code, message)));
    testing::made(pod, time(created))
}

fn reported(at: &str) -> (Key, Child) {
    let LastBackup { backup, .. } = made(at);
    let message = format!(
        r#"{{"code":"BackedUp","backup":"{backup}","createdAt":"{at}","size":4096,"schemaVersion":3}}"#
    );
    pod(at, 0, &message)
}

/// Word and message of `BackupRecent` for a tenant with this schedule.
fn said(schedule: &str, last: Option<&str>, pods: Vec<(Key, Child)>) -> (Word, String) {
    let mut tenant = testing::tenant();
    tenant.metadata.creation_timestamp = Some(Time(time("2026-11-20T00:00:00Z")));
    let mut valid = testing::valid_tenant();
    let schedule = Schedule::parse(schedule, "acme").unwrap();
    valid.backup = Some(ValidBackup { schedule, ..valid.backup.unwrap() });
    let (last, seen) = (last.map(made), Snapshot::new(pods));
    let verdict = recent(&tenant, Some(&valid), last.as_ref(), &seen, time(NOON)).unwrap();
    (verdict.word, verdict.message)
}

#[rstest]
#[case::in_time("0 2 * * *", Some("2026-11-22T02:00:00Z"), Word::True)]
#[case::late_but_within_a_quarter("0 2 * * *", Some("2026-11-21T06:00:00Z"), Word::True)]
#[case::too_late("0 2 * * *", Some("2026-11-21T05:59:00Z"), Word::False)]
#[case::weekly("0 2 * * 0", Some("2026-11-15T02:00:00Z"), Word::True)]
#[case::often_has_some_minutes("*/5 * * * *", Some("2026-11-22T11:40:00Z"), Word::True)]
#[case::none_yet_of_a_weekly_one("0 2 * * 0", None, Word::Unknown)]
#[case::none_though_one_was_due("0 2 * * *", None, Word::False)]
fn the_schedule_says_how_old_is_too_old(
    #[case] schedule: &str,
    #[case] last: Option<&str>,
    #[case] word: Word,
) {
    assert_eq!(said(schedule, last, Vec::new()).0, word);
}

#[test]
fn an_overdue_backup_names_its_cause_and_where_to_look() {
    let failed = pod("2026-11-22T02:00:00Z", 1, r#"{"code":"DoorUnreachable"}"#);
    let (_, message) = said("0 2 * * *", Some("2026-11-20T02:00:00Z"), vec![failed]);
    assert_eq!(
        message,
        "a backup is overdue: the newest is of 2026-11-20T02:00:00Z, and the schedule is \"0 2 * * *\" (Asia/Shanghai). The last try failed: DoorUnreachable. See the pods of CronJob backup in namespace tenant-acme, and kubectl get backupstore main"
    );
}

#[test]
fn a_failure_counts_until_a_later_backup() {
    let failed = || pod("2026-11-22T01:00:00Z", 1, r#"{"code":"DoorUnreachable"}"#);
    let (word, message) = said("0 2 * * *", Some("2026-11-22T00:00:00Z"), vec![failed()]);
    assert_eq!((word, message.as_str()), (Word::True, "The last try failed: DoorUnreachable"));
    let (word, message) = said("0 2 * * *", Some("2026-11-22T02:00:00Z"), vec![failed()]);
    assert_eq!((word, message.as_str()), (Word::True, ""));
}

#[test]
fn the_newest_backup_stays_known_when_its_pod_is_gone() {
    let of = |known: Option<&str>, pods: Vec<(Key, Child)>| {
        let newest = newest([known.map(made)], &Snapshot::new(pods), None, time(NOON));
        newest.map(|backup| backup.backup)
    };
    let (old, new) = ("2026-11-21T02:00:00Z", "2026-11-22T02:00:00Z");
    assert_eq!(of(None, vec![]), None);
    assert_eq!(of(Some(new), vec![]), Some(made(new).backup));
    assert_eq!(of(Some(old), vec![reported(new)]), Some(made(new).backup));
    assert_eq!(of(Some(new), vec![reported(old)]), Some(made(new).backup));
    assert_eq!(of(None, vec![reported(old), reported(new)]), Some(made(new).backup));
    assert_eq!(
        of(Some(old), vec![reported("2026-11-23T02:00:00Z")]),
        Some(made(old).backup),
        "from the future"
    );
}

#[test]
fn a_pod_from_before_the_tenant_was_made_is_not_its_pod() {
    let of = |born: &str| {
        let seen = Snapshot::new([reported("2026-11-22T02:00:00Z")]);
        newest([None], &seen, Some(time(born)), time(NOON)).map(|backup| backup.backup)
    };
    assert_eq!(of("2026-11-22T02:00:01Z"), None);
    assert_eq!(of("2026-11-22T01:59:59Z"), Some(made("2026-11-22T02:00:00Z").backup));
}

#[test]
fn without_backups_in_the_plan_it_is_said_so() {
    let valid = ValidTenant { backup: None, ..testing::valid_tenant() };
    let verdict = recent(&testing::tenant(), Some(&valid), None, &Snapshot::default(), time(NOON));
    assert_eq!(verdict.unwrap().reason, "NoBackups");
}

#[test]
fn a_suspended_tenant_needs_no_newer_backup_than_the_one_that_it_has() {
    let mut tenant = testing::tenant();
    tenant.spec.state = State::Suspended;
    let valid = testing::valid_tenant();
    let old = made("2025-01-01T00:00:00Z");
    let verdict = recent(&tenant, Some(&valid), Some(&old), &Snapshot::default(), time(NOON)).unwrap();
    assert_eq!((verdict.word, verdict.reason), (Word::True, "Suspended"));
}

#[test]
fn a_store_that_is_not_there_is_named() {
    let mut valid = testing::valid_tenant();
    valid.backup.as_mut().unwrap().recovery = None;
    let verdict = recent(&testing::tenant(), Some(&valid), None, &Snapshot::default(), time(NOON)).unwrap();
    assert_eq!((verdict.word, verdict.reason), (Word::False, "StoreNotFound"));
    assert!(verdict.message.contains("BackupStore \"main\""), "{}", verdict.message);
}
