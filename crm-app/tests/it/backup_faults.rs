//! `crm-app backup` when something goes wrong: the cause is named, and there is never a manifest.

use std::time::{Duration, Instant};

use crm_app::backup::{self, Deadline, Outcome, Problem, Programs, Step};
use rstest::rstest;

use crate::{
    database::{self, Database},
    door::{FakeDoor, Fault},
    vault::{self, Keys},
};

fn refused(status: u16, reason: &str) -> Problem {
    Problem::DoorRefused { status, reason: Some(reason.to_owned()) }
}

#[rstest]
#[case::foreign(Fault::Refuse("PUT data", 403, "NotYours"), refused(403, "NotYours"))]
#[case::broken(Fault::Refuse("PUT data", 500, "StoreFailed"), refused(500, "StoreFailed"))]
#[case::full(Fault::Refuse("PUT data", 507, "StoreFull"), refused(507, "StoreFull"))]
#[case::not_a_word(
    Fault::Refuse("PUT data", 400, "x\ny"),
    Problem::DoorRefused { status: 400, reason: None }
)]
#[case::hangs_up(Fault::HangUp("PUT data"), Problem::DoorUnreachable)]
#[case::loses_the_answer(Fault::LoseAnswer("PUT data"), Problem::DoorUnreachable)]
#[case::never_answers(Fault::Silence("PUT data"), Problem::DeadlineExceeded { step: Step::Dump })]
#[case::keeps_something_else(Fault::Garble("PUT data"), Problem::ChecksumMismatch { of: "data" })]
#[case::refuses_the_manifest(
    Fault::Refuse("PUT manifest.json", 422, "InvalidManifest"),
    refused(422, "InvalidManifest")
)]
#[case::breaks_before_the_manifest(
    Fault::Refuse("PUT manifest.json", 503, "StoreUnreachable"),
    refused(503, "StoreUnreachable")
)]
#[case::never_answers_the_manifest(
    Fault::Silence("PUT manifest.json"),
    Problem::DeadlineExceeded { step: Step::Manifest }
)]
#[tokio::test]
async fn a_door_that_fails_is_named_and_there_is_no_backup(#[case] fault: Fault, #[case] problem: Problem) {
    let database = database::migrated().await;
    let (door, keys) = (FakeDoor::start([fault]).await, Keys::generate());
    let begun = Instant::now();
    // The dump has to be done by then, also beside all other tests.
    let deadline = Deadline::within(Duration::from_secs(6));
    let ended = backup::take(&vault::plan(&database, &door, &keys), deadline).await;
    assert_eq!(ended, Err(problem));
    assert!(begun.elapsed() < Duration::from_secs(12));
    assert!(door.objects().iter().all(|name| name.ends_with("/data")), "{:?}", door.objects());
}

#[rstest]
#[case::away_for_a_moment(Fault::RefuseOnce("PUT manifest.json", 503, "StoreUnreachable"))]
#[case::an_answer_that_is_lost(Fault::LoseAnswer("PUT manifest.json"))]
#[tokio::test]
async fn a_manifest_is_sent_again_and_is_there_once(#[case] fault: Fault) {
    let database = database::migrated().await;
    let (door, keys) = (FakeDoor::start([fault]).await, Keys::generate());
    let outcome = vault::take(&database, &door, &keys).await;
    let Outcome::BackedUp { backup, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(door.manifest()["id"], backup.to_string());
    let sent = door.seen().iter().filter(|(request, _)| request == "PUT manifest.json").count();
    assert_eq!(sent, 2);
}

#[tokio::test]
async fn somebody_elses_manifest_in_its_place_is_not_taken_for_ours() {
    let database = database::migrated().await;
    let faults = [Fault::Refuse("PUT manifest.json", 409, "AlreadyExists")];
    let (door, keys) = (FakeDoor::start(faults).await, Keys::generate());
    let ended = backup::take(&vault::plan(&database, &door, &keys), vault::soon()).await;
    assert_eq!(ended, Err(refused(409, "AlreadyExists")));
}

#[tokio::test]
async fn a_door_that_is_away_costs_the_database_nothing() {
    let database = database::migrated().await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    let mut plan = vault::plan(&database, &door, &keys);
    plan.door = door.door_at("http://127.0.0.1:1");
    plan.programs = Programs { dump: "/nowhere/pg_dump".into(), ..Programs::default() };
    let ended = backup::take(&plan, Deadline::within(Duration::from_millis(700))).await;
    assert_eq!(ended, Err(Problem::DoorUnreachable));
}

#[tokio::test]
async fn a_token_that_is_away_is_named() {
    let database = database::migrated().await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    std::fs::remove_file(door.token_file()).unwrap();
    let ended = backup::take(&vault::plan(&database, &door, &keys), vault::soon()).await;
    assert_eq!(ended, Err(Problem::TokenUnreadable));
    assert!(door.seen().is_empty());
}

/// The script writes what looks like the beginning of a dump before it fails.
#[rstest]
#[case::rights("permission denied for table company", 1, Problem::DumpFailed { status: Some(1), sqlstate: Some("42501") })]
#[case::unknown_words("something else", 3, Problem::DumpFailed { status: Some(3), sqlstate: None })]
#[case::the_server_ends(
    "FATAL:  terminating connection due to administrator command",
    1,
    Problem::DatabaseUnreachable { sqlstate: Some("57P01".to_owned()) }
)]
#[tokio::test]
async fn a_dump_that_ends_badly_is_never_whole(
    #[case] words: &str,
    #[case] status: u8,
    #[case] problem: Problem,
) {
    let database = database::migrated().await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    let folder = tempfile::tempdir().unwrap();
    let failing = format!("head -c 300000 /dev/urandom; echo 'pg_dump: error: {words}' >&2; exit {status}");
    let mut plan = vault::plan(&database, &door, &keys);
    plan.programs =
        Programs { dump: vault::script(folder.path(), "pg_dump", &failing), ..Programs::default() };
    assert_eq!(backup::take(&plan, vault::soon()).await, Err(problem));
    door.broke_off("PUT data").await;
    assert_eq!(door.objects(), [""; 0]);
}

/// Much larger than what fits between the two.
#[tokio::test]
async fn a_refusal_is_heard_before_all_is_sent() {
    let database = database::migrated().await;
    let faults = [Fault::Refuse("PUT data", 403, "NotYours")];
    let (door, keys) = (FakeDoor::start(faults).await, Keys::generate());
    let folder = tempfile::tempdir().unwrap();
    let mut plan = vault::plan(&database, &door, &keys);
    let endless = vault::script(folder.path(), "pg_dump", "exec cat /dev/zero");
    plan.programs = Programs { dump: endless, ..Programs::default() };
    assert_eq!(backup::take(&plan, vault::soon()).await, Err(refused(403, "NotYours")));
}

#[tokio::test]
async fn a_backup_that_is_cancelled_in_its_middle_is_never_whole() {
    let database = database::migrated().await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    let folder = tempfile::tempdir().unwrap();
    let mut plan = vault::plan(&database, &door, &keys);
    let endless = vault::script(folder.path(), "pg_dump", "head -c 300000 /dev/urandom; exec sleep 600");
    plan.programs = Programs { dump: endless, ..Programs::default() };
    tokio::select! {
        ended = backup::take(&plan, vault::soon()) => panic!("{ended:?}"),
        () = door.took(100_000) => {}
    }
    door.broke_off("PUT data").await;
    assert_eq!(door.objects(), [""; 0]);
}

#[tokio::test]
async fn a_database_that_fails_is_named() {
    let database = database::migrated().await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    let mut plan = vault::plan(&database, &door, &keys);
    plan.database.password = Some("wrong".to_owned());
    let sqlstate = |code: &str| Some(code.to_owned());
    let ended = backup::take(&plan, vault::soon()).await;
    assert_eq!(ended, Err(Problem::DatabaseRefused { sqlstate: sqlstate("28P01") }));

    plan.database = database.login("crm_backup");
    plan.database.port = 1;
    let ended = backup::take(&plan, Deadline::within(Duration::from_millis(700))).await;
    assert_eq!(ended, Err(Problem::DatabaseUnreachable { sqlstate: None }));

    database::execute_as_superuser(&database, "revoke select on crm.company from crm_backup").await;
    plan.database = database.login("crm_backup");
    let ended = backup::take(&plan, vault::soon()).await.unwrap_err();
    // Whichever comes first, our count or the dump.
    let count = Problem::DatabaseRefused { sqlstate: sqlstate("42501") };
    let dump = Problem::DumpFailed { status: Some(1), sqlstate: Some("42501") };
    assert!(ended == count || ended == dump, "{ended:?}");

    let empty = Database::create().await;
    let ended = backup::take(&vault::plan(&empty, &door, &keys), vault::soon()).await;
    assert_eq!(ended, Err(Problem::NotMigrated));
    assert_eq!(door.objects(), [""; 0]);
}

#[tokio::test]
async fn a_program_that_is_missing_is_named() {
    let database = database::migrated().await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    let mut plan = vault::plan(&database, &door, &keys);
    plan.programs = Programs { dump: "/nowhere/pg_dump".into(), ..Programs::default() };
    let ended = backup::take(&plan, vault::soon()).await;
    assert_eq!(ended, Err(Problem::ProgramMissing { program: "pg_dump" }));
}
