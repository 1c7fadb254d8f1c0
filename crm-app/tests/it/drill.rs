//! `crm-app drill`: what is sound is said to be, and what is damaged never is.

use std::time::{Duration, Instant};

use crm_app::{
    args::Which,
    backup::{Deadline, Outcome, Problem, Step},
    command::drill,
    db::schema,
};
use rstest::rstest;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, PgConnection};

use crate::{
    app::TestApp,
    database::{self, Database},
    door::{FakeDoor, Fault},
    vault::{self, Keys},
};

/// One good backup.
async fn backed_up() -> (FakeDoor, Keys) {
    let database = database::migrated().await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    vault::take(&database, &door, &keys).await;
    (door, keys)
}

async fn drilled(door: &FakeDoor, keys: &Keys) -> Result<Outcome, Problem> {
    vault::drilled(&vault::drill_plan(door, keys), vault::soon()).await
}

fn sum_of(bytes: &[u8]) -> Value {
    json!({"size": bytes.len(), "sha256": hex::encode(Sha256::digest(bytes))})
}

#[tokio::test]
async fn a_good_backup_is_proven() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    admin.company_named("杭州示例").await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    let first = vault::take(&app.database, &door, &keys).await;
    let Outcome::BackedUp { backup: first, .. } = first else { panic!("{first:?}") };
    let manifest = door.manifest();
    let counted: u64 =
        manifest["tables"].as_array().unwrap().iter().map(|table| table["rows"].as_u64().unwrap()).sum();
    let begun = Instant::now();
    let outcome = drilled(&door, &keys).await.unwrap();
    let took = begun.elapsed().as_secs() + 1;
    let Outcome::Drilled { backup, created_at, restored_in, rows, schema_version, signed_in } = outcome
    else {
        panic!("{outcome:?}")
    };
    assert_eq!((&backup, rows, schema_version), (&first, counted, schema::needed()));
    assert!(signed_in, "there is an administrator");
    assert_eq!(manifest["createdAt"], created_at.to_string());
    assert!(1 <= restored_in && restored_in <= took, "{restored_in} of {took}");

    admin.company_named("another").await;
    let mut plan = vault::drill_plan(&door, &keys);
    vault::take(&app.database, &door, &keys).await;
    let newest = vault::drilled(&plan, vault::soon()).await.unwrap();
    plan.backup = Which::Id(first.clone());
    let named = vault::drilled(&plan, vault::soon()).await.unwrap();
    let of = |outcome| match outcome {
        Outcome::Drilled { backup, rows, .. } => (backup, rows),
        other => panic!("{other:?}"),
    };
    assert_eq!(of(named), (first.clone(), counted));
    let (id, rows) = of(newest);
    assert!(id != first && counted < rows, "{id} {rows}");
}

#[rstest]
#[case::first_byte(|data: &mut Vec<u8>| data[0] ^= 1)]
#[case::header(|data: &mut Vec<u8>| data[60] ^= 1)]
#[case::middle(|data: &mut Vec<u8>| { let at = data.len() / 2; data[at] ^= 1; })]
#[case::last_byte(|data: &mut Vec<u8>| *data.last_mut().unwrap() ^= 1)]
#[case::something_added(|data: &mut Vec<u8>| data.push(0))]
#[tokio::test]
async fn a_flipped_bit_is_found_wherever_it_is(#[case] damage: fn(&mut Vec<u8>)) {
    let (door, keys) = backed_up().await;
    door.change("data", damage);
    assert_eq!(drilled(&door, &keys).await, Err(Problem::ChecksumMismatch { of: "data" }));
}

#[rstest]
#[case::all(0)]
#[case::most(100)]
#[tokio::test]
async fn a_truncated_object_is_said_to_be(#[case] left: usize) {
    let (door, keys) = backed_up().await;
    let expected = door.object("data").len() as u64;
    door.change("data", |data| data.truncate(left));
    assert_eq!(drilled(&door, &keys).await, Err(Problem::Truncated { size: left as u64, expected }));
}

/// Whoever can write to the store can make data and manifest agree; the encryption does not.
#[tokio::test]
async fn damage_with_a_manifest_to_match_is_found_by_the_encryption() {
    let (door, keys) = backed_up().await;
    let whole = door.object("data");
    for damage in [|data: &mut Vec<u8>| data[500] ^= 1, |data: &mut Vec<u8>| data.truncate(data.len() - 1)] {
        let mut damaged = whole.clone();
        damage(&mut damaged);
        let sum = sum_of(&damaged);
        door.change("data", |data| *data = damaged);
        door.change_manifest(|manifest| manifest["data"] = sum);
        assert_eq!(drilled(&door, &keys).await, Err(Problem::Undecryptable));
    }
}

#[tokio::test]
async fn another_key_is_a_wrong_key() {
    let (door, _) = backed_up().await;
    assert_eq!(drilled(&door, &Keys::generate()).await, Err(Problem::WrongKey));
}

/// A dump that cannot be restored, encrypted and written down as it should be.
#[tokio::test]
async fn a_dump_that_does_not_restore_is_found() {
    let (door, keys) = backed_up().await;
    let plain = vec![b'x'; 300_000];
    let recipient = keys.recipient().parse::<age::x25519::Recipient>().unwrap();
    let sealed = age::encrypt(&recipient, &plain).unwrap();
    let (data, dump) = (sum_of(&sealed), sum_of(&plain));
    door.change("data", |data| *data = sealed);
    door.change_manifest(|manifest| {
        manifest["data"] = data;
        manifest["dump"] = dump;
    });
    let failed = Problem::RestoreFailed { status: Some(1), sqlstate: None };
    assert_eq!(drilled(&door, &keys).await, Err(failed));
}

fn rows_differ(table: &str, expected: Option<u64>, restored: Option<u64>) -> Problem {
    Problem::RowsDiffer { tables: 1, table: table.to_owned(), expected, restored }
}

#[rstest]
#[case::tenant(|m: &mut Value| m["tenant"]["uid"] = json!("00000000-0000-0000-0000-000000000000"), Problem::ManifestForeign)]
#[case::store(|m: &mut Value| m["store"] = json!("other"), Problem::ManifestForeign)]
#[case::version(|m: &mut Value| m["version"] = json!(2), Problem::ManifestTooNew { version: 2, known: 1 })]
#[case::shape(|m: &mut Value| m["tables"] = json!({}), Problem::ManifestInvalid)]
#[case::schema(
    |m: &mut Value| m["schemaVersion"] = json!(9_001),
    Problem::SchemaTooNew { schema_version: 9_001, known: schema::needed() }
)]
#[case::dump(|m: &mut Value| m["dump"]["sha256"] = json!("ab"), Problem::ChecksumMismatch { of: "dump" })]
#[case::rows(
    |m: &mut Value| m["tables"][0]["rows"] = json!(1),
    rows_differ("app_user", Some(1), Some(0))
)]
#[case::a_table_too_many(
    |m: &mut Value| m["tables"].as_array_mut().unwrap().push(json!({"name": "deal", "rows": 0})),
    rows_differ("deal", Some(0), None)
)]
#[case::a_table_too_few(
    |m: &mut Value| drop(m["tables"].as_array_mut().unwrap().pop()),
    rows_differ("session", None, Some(0))
)]
#[tokio::test]
async fn a_manifest_that_is_not_of_this_backup_is_found(
    #[case] change: fn(&mut Value),
    #[case] problem: Problem,
) {
    let (door, keys) = backed_up().await;
    door.change_manifest(change);
    assert_eq!(drilled(&door, &keys).await, Err(problem));
}

#[rstest]
#[case::none_at_all(None, Problem::NoBackup)]
#[case::refused(Some(Fault::Refuse("GET list", 403, "NotYours")), refused("NotYours"))]
#[case::cut_off(Some(Fault::CutOff("GET list")), Problem::DoorUnreachable)]
#[tokio::test]
async fn what_cannot_be_found_is_named(#[case] fault: Option<Fault>, #[case] problem: Problem) {
    let door = FakeDoor::start(fault).await;
    assert_eq!(drilled(&door, &Keys::generate()).await, Err(problem));
}

fn refused(reason: &str) -> Problem {
    Problem::DoorRefused { status: 403, reason: Some(reason.to_owned()) }
}

#[rstest]
#[case::manifest_refused(Fault::Refuse("GET manifest.json", 403, "NotYours"), refused("NotYours"))]
#[case::data_refused(Fault::Refuse("GET data", 403, "NotYours"), refused("NotYours"))]
#[case::data_cut_off(Fault::CutOff("GET data"), Problem::DoorUnreachable)]
#[case::data_never_comes(Fault::Silence("GET data"), Problem::DeadlineExceeded { step: Step::Restore })]
#[case::manifest_never_comes(Fault::Silence("GET manifest.json"), Problem::DeadlineExceeded { step: Step::Find })]
#[tokio::test]
async fn a_door_that_fails_is_named(#[case] fault: Fault, #[case] problem: Problem) {
    let (door, keys) = backed_up().await;
    door.break_with(fault);
    let deadline = Deadline::within(Duration::from_secs(3));
    assert_eq!(vault::drilled(&vault::drill_plan(&door, &keys), deadline).await, Err(problem));
}

#[rstest]
#[case::rights("grant delete on crm.audit_log to crm_app", "grants")]
#[case::the_chain(
    "alter table crm.audit_log disable trigger all; delete from crm.audit_log where id = 1",
    "audit-chain"
)]
#[case::search("update crm.company set name = 'other'", "search-index")]
#[tokio::test]
async fn what_the_doctor_finds_fails_the_drill(#[case] damage: &'static str, #[case] check: &'static str) {
    let app = TestApp::start().await;
    app.admin().await.company_named("示例").await;
    database::execute_as_superuser(&app.database, damage).await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    vault::take(&app.database, &door, &keys).await;
    assert_eq!(drilled(&door, &keys).await, Err(Problem::Unsound { checks: vec![check] }));
}

/// The manifest says nothing of it, but the restored database does.
#[tokio::test]
async fn a_newer_schema_is_found_in_the_database_too() {
    let database = database::migrated().await;
    let newer = "insert into crm.schema_migration values (9001, 'newer', now(), true, '', 0)";
    database::execute_as_superuser(&database, newer).await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    vault::take(&database, &door, &keys).await;
    door.change_manifest(|manifest| manifest["schemaVersion"] = json!(schema::needed()));
    let too_new = Problem::SchemaTooNew { schema_version: 9_001, known: schema::needed() };
    assert_eq!(drilled(&door, &keys).await, Err(too_new));
}

/// As after an upgrade, before the next backup.
#[tokio::test]
async fn a_backup_of_an_older_schema_is_migrated_and_then_examined() {
    let database = Database::create().await;
    let mut owner = PgConnection::connect_with(&database.options("crm_owner")).await.unwrap();
    schema::MIGRATOR.run_to(2, &mut owner).await.unwrap();
    owner.close().await.unwrap();
    let grants =
        "grant usage on schema crm to crm_backup; grant select on all tables in schema crm to crm_backup";
    database::execute_as_superuser(&database, grants).await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    vault::take(&database, &door, &keys).await;
    let outcome = drilled(&door, &keys).await;
    assert!(matches!(outcome, Ok(Outcome::Drilled { schema_version: 2, .. })), "{outcome:?}");
}

/// What is damaged in a way that no count and no examination shows, and the request that finds it.
#[rstest]
#[case::list(
    "alter table crm.company rename column industry to sector",
    "GET /api/v1/companies",
    "500 (internal) instead of 200"
)]
#[case::add(
    "alter table crm.company add constraint closed check (name <> 'drill') not valid",
    "POST /api/v1/companies",
    "500 (internal) instead of 201"
)]
#[case::change(
    "alter table crm.company add constraint closed check (short_name <> 'drilled') not valid",
    "PATCH /api/v1/companies/{id}",
    "500 (internal) instead of 200"
)]
#[case::read_again(
    "create function crm.forget() returns trigger language plpgsql as $$ begin new.short_name = null; return new; end $$;
     alter function crm.forget() owner to crm_owner;
     create trigger forget before update on crm.company for each row execute function crm.forget()",
    "GET /api/v1/companies/{id}",
    "200 without what was written"
)]
#[case::sign_in(
    "alter table crm.session alter column last_seen_at type text",
    "GET /api/v1/session",
    "500 (internal) instead of 200"
)]
#[tokio::test]
async fn what_cannot_be_served_fails_the_drill(
    #[case] damage: &'static str,
    #[case] request: &'static str,
    #[case] answer: &str,
) {
    let app = TestApp::start().await;
    app.admin().await.company_named("示例").await;
    database::execute_as_superuser(&app.database, damage).await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    vault::take(&app.database, &door, &keys).await;
    let not_served = Problem::NotServed { request, answer: answer.to_owned() };
    assert_eq!(drilled(&door, &keys).await, Err(not_served));
}

/// Of a tenant whose first administrator has not come yet, and of one that is not to have any.
#[tokio::test]
async fn without_anybody_who_can_sign_in_a_drill_tries_what_strangers_see_and_says_so() {
    let invited = TestApp::start().await.database;
    for database in [invited, database::migrated().await] {
        let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
        vault::take(&database, &door, &keys).await;
        let outcome = drilled(&door, &keys).await;
        assert!(matches!(outcome, Ok(Outcome::Drilled { signed_in: false, .. })), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_drill_that_is_told_to_stop_leaves_nothing() {
    let (door, keys) = backed_up().await;
    door.break_with(Fault::Silence("GET data"));
    let plan = vault::drill_plan(&door, &keys);
    let stopped = async {
        door.asked("GET data").await;
        assert!(vault::exists(&plan).await, "nothing to leave");
        Problem::Interrupted
    };
    assert_eq!(drill::drill(&plan, vault::soon(), stopped).await, Err(Problem::Interrupted));
    assert!(!vault::exists(&plan).await);
}

#[tokio::test]
async fn a_scratch_server_that_is_not_there_is_named() {
    let (door, keys) = backed_up().await;
    let mut plan = vault::drill_plan(&door, &keys);
    plan.scratch.host = "/nowhere".to_owned();
    let deadline = Deadline::within(Duration::from_millis(700));
    let ended = drill::drill(&plan, deadline, std::future::pending()).await;
    assert_eq!(ended, Err(Problem::DatabaseUnreachable { sqlstate: None }));
}
