//! `crm-app restore` when something goes wrong: the cause is named, the database that serves is as it was, no half database is
//! left, and the next run ends well.

use std::time::Duration;

use crm_app::{
    backup::{Deadline, Outcome, Problem, Programs, Step},
    command::restore::{Plan, restore},
    db::schema,
};
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    app::TestApp,
    catalogue::content,
    database::{self, Database},
    door::{FakeDoor, Fault},
    vault::{self, BackedUp, Keys},
};

/// A serving database, its backup, and the database to restore into.
struct World {
    app: TestApp,
    door: FakeDoor,
    keys: Keys,
    target: Database,
    content: Vec<String>,
}

impl World {
    async fn new() -> Self {
        let BackedUp { app, door, keys } = BackedUp::new().await;
        let (target, content) = (app.database.planned(), content(&app.database).await);
        Self { app, door, keys, target, content }
    }

    fn plan(&self) -> Plan {
        vault::restore_plan(&self.app.database, &self.target, &self.door, &self.keys)
    }

    /// Fails with this problem, and leaves the world as it was.
    async fn fails(&self, plan: &Plan, within: Duration, problem: Problem) {
        let ended = restore(plan, Deadline::within(within), std::future::pending()).await;
        assert_eq!(ended, Err(problem));
        assert!(!self.target.exists().await, "half a database is left");
        assert_eq!(content(&self.app.database).await, self.content, "the database that serves");
    }

    /// Ends well once nothing is in the way.
    async fn succeeds(&self) {
        let ended = vault::restored(&self.plan()).await;
        assert!(matches!(ended, Ok(Outcome::Restored { .. })), "{ended:?}");
        assert_eq!(content(&self.target).await, self.content);
    }
}

const SOON: Duration = Duration::from_mins(1);

#[rstest]
#[case::flipped_bit(|data: &mut Vec<u8>| { let at = data.len() / 2; data[at] ^= 1; }, Problem::ChecksumMismatch { of: "data" })]
#[case::last_byte(|data: &mut Vec<u8>| *data.last_mut().unwrap() ^= 1, Problem::ChecksumMismatch { of: "data" })]
#[tokio::test]
async fn a_damaged_object_is_not_restored(#[case] damage: fn(&mut Vec<u8>), #[case] problem: Problem) {
    let world = World::new().await;
    let whole = world.door.object("data");
    world.door.change("data", damage);
    world.fails(&world.plan(), SOON, problem).await;
    world.door.change("data", |data| data.truncate(100));
    let expected = whole.len() as u64;
    world.fails(&world.plan(), SOON, Problem::Truncated { size: 100, expected }).await;
    world.door.change("data", |data| *data = whole);
    world.succeeds().await;
}

#[tokio::test]
async fn another_key_restores_nothing() {
    let world = World::new().await;
    let other = Keys::generate();
    let plan = vault::restore_plan(&world.app.database, &world.target, &world.door, &other);
    world.fails(&plan, SOON, Problem::WrongKey).await;
    world.succeeds().await;
}

#[rstest]
#[case::tenant(|m: &mut Value| m["tenant"]["uid"] = json!("00000000-0000-0000-0000-000000000000"), Problem::ManifestForeign)]
#[case::version(|m: &mut Value| m["version"] = json!(2), Problem::ManifestTooNew { version: 2, known: 1 })]
#[case::schema(
    |m: &mut Value| m["schemaVersion"] = json!(9_001),
    Problem::SchemaTooNew { schema_version: 9_001, known: schema::needed() }
)]
#[case::dump(|m: &mut Value| m["dump"]["sha256"] = json!("ab"), Problem::ChecksumMismatch { of: "dump" })]
#[case::rows(
    |m: &mut Value| m["tables"][0]["rows"] = json!(7),
    Problem::RowsDiffer { tables: 1, table: "app_user".to_owned(), expected: Some(7), restored: Some(1) }
)]
#[tokio::test]
async fn a_manifest_that_is_not_of_this_backup_restores_nothing(
    #[case] change: fn(&mut Value),
    #[case] problem: Problem,
) {
    let world = World::new().await;
    let manifest = world.door.object("manifest.json");
    world.door.change_manifest(change);
    world.fails(&world.plan(), SOON, problem).await;
    world.door.change("manifest.json", |text| *text = manifest);
    world.succeeds().await;
}

#[tokio::test]
async fn a_newer_schema_inside_an_older_manifest_is_found() {
    let database = database::migrated().await;
    let newer = "insert into crm.schema_migration values (9001, 'newer', now(), true, '', 0)";
    database::execute_as_superuser(&database, newer).await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    vault::take(&database, &door, &keys).await;
    door.change_manifest(|manifest| manifest["schemaVersion"] = json!(schema::needed()));
    let target = database.planned();
    let ended = vault::restored(&vault::restore_plan(&database, &target, &door, &keys)).await;
    let too_new = Problem::SchemaTooNew { schema_version: 9_001, known: schema::needed() };
    assert_eq!(ended, Err(too_new));
    assert!(!target.exists().await);
}

#[rstest]
#[case::list_refused(Fault::Refuse("GET list", 403, "NotYours"), refused("NotYours"))]
#[case::manifest_never_comes(Fault::Silence("GET manifest.json"), Problem::DeadlineExceeded { step: Step::Find })]
#[case::data_refused(Fault::Refuse("GET data", 403, "NotYours"), refused("NotYours"))]
#[case::data_cut_off(Fault::CutOff("GET data"), Problem::DoorUnreachable)]
#[case::data_never_comes(Fault::Silence("GET data"), Problem::DeadlineExceeded { step: Step::Restore })]
#[tokio::test]
async fn a_door_that_fails_is_named(#[case] fault: Fault, #[case] problem: Problem) {
    let world = World::new().await;
    world.door.break_with(fault);
    world.fails(&world.plan(), Duration::from_secs(3), problem).await;
    world.door.heal();
    world.succeeds().await;
}

fn refused(reason: &str) -> Problem {
    Problem::DoorRefused { status: 403, reason: Some(reason.to_owned()) }
}

/// Before anything is made: a volume that is full would stop the database that serves as well.
#[tokio::test]
async fn a_volume_without_room_is_left_as_it_is() {
    let world = World::new().await;
    let needed = world.door.manifest()["databaseSize"].as_u64().unwrap();
    assert!(1_000_000 < needed, "{needed}");
    let mut plan = world.plan();
    plan.volume_size = Some(1);
    world.fails(&plan, SOON, Problem::NoRoom { needed, free: 0 }).await;
    // Other tests have databases on this server, so that only much is certainly enough.
    plan.volume_size = Some(1 << 50);
    let ended = vault::restored(&plan).await;
    assert!(matches!(ended, Ok(Outcome::Restored { .. })), "{ended:?}");
    // Who does not know the need does not refuse.
    world.door.change_manifest(|manifest| drop(manifest.as_object_mut().unwrap().remove("databaseSize")));
    let other = world.app.database.planned();
    let mut plan = vault::restore_plan(&world.app.database, &other, &world.door, &world.keys);
    plan.volume_size = Some(1);
    let ended = vault::restored(&plan).await;
    assert!(matches!(ended, Ok(Outcome::Restored { .. })), "{ended:?}");
}

/// The script does half of the work first. What nobody could foresee fails on the way, and gives back the room that it took.
#[rstest]
#[case::no_room("could not extend file: No space left on device", Some("53100"))]
#[case::the_server_ends("server closed the connection unexpectedly", Some("08006"))]
#[case::unknown_words("something else", None)]
#[tokio::test]
async fn a_restore_that_ends_in_the_middle_gives_back_its_room(
    #[case] words: &str,
    #[case] sqlstate: Option<&'static str>,
) {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let failing = format!("{HALF}\necho 'pg_restore: error: {words}' >&2; exit 1");
    let mut plan = world.plan();
    plan.programs =
        Programs { restore: vault::script(folder.path(), "pg_restore", &failing), ..Programs::default() };
    world.fails(&plan, SOON, Problem::RestoreFailed { status: Some(1), sqlstate }).await;
    world.succeeds().await;
}

/// All tables, and nothing in them.
pub const HALF: &str =
    "dump=$(mktemp)\ncat >\"$dump\"\npg_restore --section=pre-data \"$@\" \"$dump\"\nrm \"$dump\"";

#[tokio::test]
async fn a_database_that_fails_is_named() {
    let world = World::new().await;
    let mut plan = world.plan();
    plan.target.port = 1;
    let nobody = Problem::DatabaseUnreachable { sqlstate: None };
    world.fails(&plan, Duration::from_secs(5), nobody).await;
    // Roles are the server's: one that may not make databases.
    let mut plan = world.plan();
    plan.target = world.target.login("crm_app");
    world.fails(&plan, SOON, Problem::DatabaseRefused { sqlstate: Some("42501".to_owned()) }).await;
    world.succeeds().await;
}

#[rstest]
#[case::the_chain(
    "alter table crm.audit_log disable trigger all; delete from crm.audit_log where id = 1",
    "audit-chain"
)]
#[case::search("update crm.company set name = 'other'", "search-index")]
#[tokio::test]
async fn what_the_doctor_finds_is_not_put_into_service(
    #[case] damage: &'static str,
    #[case] check: &'static str,
) {
    let app = TestApp::start().await;
    app.admin().await.company_named("示例").await;
    database::execute_as_superuser(&app.database, damage).await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    vault::take(&app.database, &door, &keys).await;
    let target = app.database.planned();
    let ended = vault::restored(&vault::restore_plan(&app.database, &target, &door, &keys)).await;
    assert_eq!(ended, Err(Problem::Unsound { checks: vec![check] }));
    assert!(!target.exists().await);
}
