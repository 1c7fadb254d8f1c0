//! `crm-app backup`: what a backup is.

use std::{fs, process::Command};

use crm_app::{
    backup::{self, Deadline, Outcome},
    db::schema,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    app::TestApp,
    database::{self, Database},
    door::{FakeDoor, Fault, STORE, TENANT, UID, WITHIN},
    vault::{self, BackedUp, Gate, Keys},
};

/// Rows by table, as the manifest has them.
fn rows(manifest: &Value, table: &str) -> u64 {
    let tables = manifest["tables"].as_array().unwrap();
    tables.iter().find(|one| one["name"] == table).unwrap()["rows"].as_u64().unwrap()
}

async fn count(database: &Database, table: &str) -> u64 {
    let db = database.superuser_pool().await;
    let sql = sqlx::AssertSqlSafe(format!("select count(*) from crm.{table}"));
    let rows: i64 = sqlx::query_scalar(sql).fetch_one(&db).await.unwrap();
    rows.try_into().unwrap()
}

#[tokio::test]
async fn a_backup_is_encrypted_data_and_then_a_manifest_that_describes_it() {
    let database = database::migrated().await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    let db = database.superuser_pool().await;
    let (before, log_before) = clock(&db).await;
    let outcome = vault::take(&database, &door, &keys).await;
    let (after, log_after) = clock(&db).await;

    let Outcome::BackedUp { backup, created_at, size, schema_version } = outcome else {
        panic!("{outcome:?}")
    };
    assert!(before <= created_at && created_at <= after, "{before} {created_at} {after}");
    assert_eq!(door.objects(), [format!("{backup}/data"), format!("{backup}/manifest.json")]);
    let data = door.object("data");
    assert!(data.starts_with(b"age-encryption.org/v1\n"));
    let manifest = door.manifest();
    let known = json!({
        "version": 1, "id": backup.to_string(), "store": STORE, "tenant": {"name": TENANT, "uid": UID},
        "reason": "Scheduled", "createdAt": created_at.to_string(), "app": {"version": env!("CARGO_PKG_VERSION")},
        "schemaVersion": schema::needed(), "recipients": [keys.recipient()],
        "data": {"size": data.len(), "sha256": hex::encode(Sha256::digest(&data))},
    });
    for (field, value) in known.as_object().unwrap() {
        assert_eq!(manifest[field], *value, "{field}");
    }
    assert_eq!((size, schema_version), (data.len() as u64, schema::needed()));
    assert!(manifest["postgresVersion"].as_str().unwrap().starts_with("17."), "{manifest}");
    let between: bool =
        sqlx::query_scalar("select $1::text::pg_lsn between $2::text::pg_lsn and $3::text::pg_lsn")
            .bind(manifest["lsn"].as_str())
            .bind(&log_before)
            .bind(&log_after)
            .fetch_one(&db)
            .await
            .unwrap();
    assert!(between, "{log_before} {} {log_after}", manifest["lsn"]);
    let tables: Vec<&str> =
        manifest["tables"].as_array().unwrap().iter().map(|table| table["name"].as_str().unwrap()).collect();
    let written_down: Vec<&str> = crm_app::db::grants::TABLES.iter().map(|(table, _)| *table).collect();
    assert_eq!(tables, written_down);
}

/// What the server's clock says, and where its log stands.
async fn clock(db: &sqlx::PgPool) -> (Timestamp, String) {
    let (at, lsn): (crm_app::db::Instant, String) =
        sqlx::query_as("select clock_timestamp(), pg_current_wal_lsn()::text").fetch_one(db).await.unwrap();
    (at.to_jiff(), lsn)
}

/// The dump begins only after more was written, so that it would see that, were it not of the same snapshot.
#[tokio::test]
async fn a_backup_taken_while_people_write_is_one_snapshot() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    for number in 0..5 {
        admin.company_named(&format!("before {number}")).await;
    }
    let audited = count(&app.database, "audit_log").await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::new(folder.path());
    let mut plan = vault::plan(&app.database, &door, &keys);
    plan.programs.dump = vault::script(folder.path(), "pg_dump", &gate.before("exec pg_dump \"$@\""));

    let writing = async {
        gate.reached().await;
        for number in 0..5 {
            admin.company_named(&format!("meanwhile {number}")).await;
        }
        gate.open().await;
    };
    let (outcome, ()) = tokio::join!(backup::take(&plan, vault::soon()), writing);
    assert!(matches!(outcome, Ok(Outcome::BackedUp { .. })), "{outcome:?}");

    let manifest = door.manifest();
    assert_eq!(count(&app.database, "company").await, 10);
    assert_eq!((rows(&manifest, "company"), rows(&manifest, "audit_log")), (5, audited));
    // The drill counts again in what was restored, and the doctor walks the audit chain.
    let drilled = vault::drilled(&vault::drill_plan(&door, &keys), vault::soon()).await;
    assert!(matches!(drilled, Ok(Outcome::Drilled { .. })), "{drilled:?}");
}

/// As the documentation of age and PostgreSQL says, without anything of ours.
#[tokio::test]
async fn stock_programs_restore_a_backup() {
    let BackedUp { app: _, door, keys } = BackedUp::new().await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("data"), door.object("data")).unwrap();
    fs::write(folder.path().join("key"), keys.identity()).unwrap();
    let empty = Database::create().await;
    let restore =
        "age --decrypt --identity key data >dump && pg_restore --exit-on-error --dbname \"$1\" <dump";
    let restored = Command::new("sh")
        .args(["-c", restore, "sh", &empty.superuser_url()])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));

    let manifest = door.manifest();
    let dump = fs::read(folder.path().join("dump")).unwrap();
    assert_eq!(manifest["dump"], json!({"size": dump.len(), "sha256": hex::encode(Sha256::digest(&dump))}));
    for table in manifest["tables"].as_array().unwrap() {
        let name = table["name"].as_str().unwrap();
        assert_eq!(table["rows"], count(&empty, name).await, "{name}");
    }
    assert_eq!(count(&empty, "company").await, 1);
}

#[tokio::test]
async fn every_recipient_alone_can_decrypt() {
    let database = database::migrated().await;
    let door = FakeDoor::start([]).await;
    let keys = [Keys::generate(), Keys::generate()];
    let mut plan = vault::plan(&database, &door, &keys[0]);
    let file = format!("# the tenant\n{}\n# recovery\n{}\n", keys[0].recipient(), keys[1].recipient());
    plan.recipients = backup::Recipients::parse(&file).unwrap();
    backup::take(&plan, vault::soon()).await.unwrap();
    for keys in keys {
        let drilled = vault::drilled(&vault::drill_plan(&door, &keys), vault::soon()).await;
        assert!(matches!(drilled, Ok(Outcome::Drilled { .. })), "{drilled:?}");
    }
}

#[tokio::test]
async fn the_token_is_read_anew_for_each_request() {
    let database = database::migrated().await;
    let (door, keys) = (FakeDoor::start([Fault::RenewToken("PUT data")]).await, Keys::generate());
    vault::take(&database, &door, &keys).await;
    let seen = [("PUT data", "first"), ("PUT manifest.json", "second")];
    assert_eq!(door.seen(), seen.map(|(request, token)| (request.to_owned(), token.to_owned())));
}

#[tokio::test]
async fn a_second_backup_leaves_the_first_as_it_is() {
    let database = database::migrated().await;
    let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
    vault::take(&database, &door, &keys).await;
    let (first, data) = (door.objects(), door.object("data"));
    let later = backup::take(&vault::plan(&database, &door, &keys), Deadline::within(WITHIN)).await.unwrap();
    let Outcome::BackedUp { backup, .. } = later else { panic!("{later:?}") };
    assert_eq!(door.objects().len(), 4);
    assert!(first.iter().all(|object| door.objects().contains(object)));
    assert_eq!(door.object(&first[0]), data);
    assert!(!first[0].starts_with(&backup.to_string()));
}
