//! `crm-app export`: what is in an exit bundle, and what is not.

use std::{collections::BTreeSet, fs};

use crm_app::{
    backup::Outcome,
    exchange::{
        file::export,
        tables::{TABLES, TABLES_LEFT_OUT},
    },
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, PgPool, postgres::PgPoolCopyExt as _};
use uuid::Uuid;

use crate::{
    bundle::{AWKWARD, Bundle, IMAGE, plan, workspace},
    door::{TENANT, UID},
    vault::{self, Gate},
};

#[tokio::test]
async fn the_manifest_describes_everything_and_the_report_the_manifest() {
    let app = workspace().await;
    let bundle = Bundle::of(&app.database).await;
    let manifest = bundle.json("manifest.json");
    let rows = |table: &str| {
        let tables = manifest["tables"].as_array().unwrap();
        tables.iter().find(|one| one["name"] == table).unwrap()["rows"].as_u64().unwrap()
    };
    assert_eq!((rows("app_user"), rows("company")), (3, 1));
    assert_eq!(manifest["tenant"], json!({"name": TENANT, "uid": UID}));
    assert_eq!(manifest["app"], json!({"version": env!("CARGO_PKG_VERSION"), "image": IMAGE}));
    let files = manifest["files"].as_array().unwrap();
    for file in files {
        let content = fs::read(bundle.path().join(file["path"].as_str().unwrap())).unwrap();
        let sum = hex::encode(Sha256::digest(&content));
        assert_eq!((&file["size"], &file["sha256"]), (&json!(content.len()), &json!(sum)), "{file}");
    }
    let listed = bundle.text("SHA256SUMS").lines().count();
    assert_eq!(listed, files.len() + 1, "and the manifest itself");

    let mut report = bundle.report.clone();
    let size = report["size"].take();
    assert_eq!(size, fs::metadata(bundle.folder.path().join("crm.zip")).unwrap().len());
    let expected = json!({
        "code": "Exported", "createdAt": manifest["createdAt"], "rows": rows("app_user") + rows("company") + rows("audit_log"),
        "schemaVersion": manifest["schemaVersion"], "sha256": hex::encode(Sha256::digest(bundle.text("SHA256SUMS"))), "size": null,
    });
    assert_eq!(report, expected);
    assert_eq!(bundle.json("entitlement.json")["state"], "Active", "it is the customer's own");
}

/// Both forms are read back, by PostgreSQL and by a reader of JSON.
#[tokio::test]
async fn open_files_hold_what_the_tables_hold() {
    let app = workspace().await;
    let bundle = Bundle::of(&app.database).await;
    let db = app.database.superuser_pool().await;
    for table in TABLES {
        let (name, columns) = (table.name, table.columns.join(", "));
        let rows = format!(
            "select row_to_json(r)::jsonb from (select {columns} from crm.{name} order by {}) r",
            table.order
        );
        let rows: Vec<Value> = sqlx::query_scalar(AssertSqlSafe(rows)).fetch_all(&db).await.unwrap();
        assert!(!rows.is_empty());
        assert_eq!(bundle.lines(name), rows, "{name}");

        let csv = bundle.text(&format!("data/{name}.csv"));
        let csv = csv.strip_prefix('\u{feff}').expect("a byte order mark");
        assert_eq!(csv.lines().next().unwrap(), table.columns.join(","));
        let copy = format!("create table public.read_{name} as select {columns} from crm.{name} limit 0");
        sqlx::query(AssertSqlSafe(copy)).execute(&db).await.unwrap();
        let into = format!("copy public.read_{name} from stdin (format csv, header match)");
        let mut copying = db.copy_in_raw(&into).await.unwrap();
        copying.send(csv.as_bytes()).await.unwrap();
        copying.finish().await.unwrap();
        let difference = format!(
            "select count(*) from (select {columns} from crm.{name}) a full join public.read_{name} b on a = b
             where a is null or b is null"
        );
        assert_eq!(count(&db, difference).await, 0, "{name}");
    }
    assert_eq!(bundle.lines("company")[0]["name"], AWKWARD);
    let schema = bundle.json("schema.json");
    let company = schema["tables"].as_array().unwrap().iter().find(|one| one["name"] == "company").unwrap();
    let owner = company["columns"].as_array().unwrap().iter().find(|one| one["name"] == "owner_id").unwrap();
    assert_eq!(
        *owner,
        json!({"name": "owner_id", "type": "uuid", "nullable": true, "references": "app_user"})
    );
}

async fn count(db: &PgPool, sql: String) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(db).await.unwrap()
}

#[tokio::test]
async fn secrets_are_nowhere_but_for_password_hashes_in_the_dump() {
    let app = workspace().await;
    let bundle = Bundle::of(&app.database).await;
    let db = app.database.superuser_pool().await;
    let texts = async |sql: &'static str| -> Vec<String> {
        let all: Vec<String> = sqlx::query_scalar(sql).fetch_all(&db).await.unwrap();
        assert!(!all.is_empty());
        all
    };
    let tokens = [
        texts("select encode(token_hash, 'hex') from crm.session").await,
        texts("select encode(token_hash, 'hex') from crm.one_time_link").await,
    ];
    let passwords = texts("select password_hash from crm.app_user where password_hash is not null").await;
    let dump = bundle.dump();
    for token in tokens.concat() {
        assert!(!dump.contains(&token));
    }
    assert!(passwords.iter().all(|hash| dump.contains(hash)), "nobody could sign in");
    assert!(dump.contains("CREATE TABLE crm.session"), "the table itself is needed");
    for file in bundle.json("manifest.json")["files"].as_array().unwrap() {
        let path = file["path"].as_str().unwrap();
        if path != "database/crm.dump" {
            let text = bundle.text(path);
            assert!(
                passwords.iter().chain(tokens.iter().flatten()).all(|secret| !text.contains(secret)),
                "{path}"
            );
        }
    }
}

/// What is added to the schema is neither forgotten nor given away.
#[tokio::test]
async fn of_every_column_it_is_written_down_whether_it_is_shown() {
    let database = crate::database::migrated().await;
    let db = database.superuser_pool().await;
    let columns: Vec<(String, String)> = sqlx::query_as(
        "select table_name::text, column_name::text from information_schema.columns where table_schema = 'crm'",
    )
    .fetch_all(&db)
    .await
    .unwrap();
    let hidden: BTreeSet<&str> = TABLES_LEFT_OUT.iter().map(|table| table.name).collect();
    let there: BTreeSet<(&str, &str)> = columns
        .iter()
        .map(|(table, column)| (table.as_str(), column.as_str()))
        .filter(|(table, _)| !hidden.contains(table))
        .collect();
    let decided = TABLES.iter().flat_map(|table| {
        let left_out = table.left_out.iter().map(|column| column.name);
        table.columns.iter().copied().chain(left_out).map(|column| (table.name, column))
    });
    assert_eq!(decided.collect::<BTreeSet<_>>(), there);
    assert!(hidden.iter().all(|name| columns.iter().any(|(table, _)| table == name)));
}

/// The dump waits until more was written, and the open files are made after it.
#[tokio::test]
async fn everything_is_of_one_moment() {
    let app = workspace().await;
    let mut admin = app.stranger();
    admin.sign_in(crate::app::ADMIN, crate::app::PASSWORD).await.expect(200);
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::new(folder.path());
    let mut plan = plan(&app.database);
    plan.programs.dump = vault::script(folder.path(), "pg_dump", &gate.before("exec pg_dump \"$@\""));
    let writing = async {
        gate.reached().await;
        admin.company_named("meanwhile").await;
        gate.open().await;
    };
    let path = folder.path().join("crm.zip");
    let (outcome, ()) = tokio::join!(export(&plan, &path, vault::soon()), writing);
    let Ok(Outcome::Exported { .. }) = outcome else { panic!("{outcome:?}") };
    let file = |file: &str| {
        let mut unzip = std::process::Command::new("unzip");
        unzip.args(["-p", "crm.zip", &format!("*/{file}")]);
        String::from_utf8(unzip.current_dir(&folder).output().unwrap().stdout).unwrap()
    };
    assert_eq!(file("data/company.jsonl").lines().count(), 1);
    let manifest: Value = serde_json::from_str(&file("manifest.json")).unwrap();
    let rows = manifest["tables"].as_array().unwrap().iter().find(|one| one["name"] == "company").unwrap();
    assert_eq!(rows["rows"], 1);
}

/// As README.md says, with nothing but the open file and the manifest.
#[tokio::test]
async fn the_audit_chain_is_verified_from_the_bundle_alone() {
    let app = workspace().await;
    let bundle = Bundle::of(&app.database).await;
    let text = |hash: &mut Sha256, text: Option<&str>| match text {
        None => hash.update([0xff; 8]),
        Some(text) => {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
    };
    let bytes = |value: &Value| hex::decode(value.as_str().unwrap().strip_prefix("\\x").unwrap()).unwrap();
    let id = |value: &Value| value.as_str().map_or([0; 16], |id| *id.parse::<Uuid>().unwrap().as_bytes());
    let mut last = vec![0; 32];
    for (at, entry) in bundle.lines("audit_log").iter().enumerate() {
        let mut digest = Sha256::new();
        digest.update(bytes(&entry["salt"]));
        for (field, values) in entry["changes"].as_object().unwrap() {
            text(&mut digest, Some(field));
            text(&mut digest, values[0].as_str());
            text(&mut digest, values[1].as_str());
        }
        let digest = digest.finalize();
        assert_eq!(bytes(&entry["digest"]), digest.as_slice());
        let moment: jiff::Timestamp = entry["at"].as_str().unwrap().parse().unwrap();
        let mut hash = Sha256::new();
        hash.update(&last);
        hash.update((at as u64 + 1).to_be_bytes());
        hash.update(moment.as_microsecond().to_be_bytes());
        hash.update(id(&entry["actor_id"]));
        text(&mut hash, entry["action"].as_str());
        text(&mut hash, entry["object"].as_str());
        hash.update(id(&entry["record_id"]));
        hash.update(digest);
        last = hash.finalize().to_vec();
        assert_eq!(bytes(&entry["hash"]), last, "{entry}");
    }
    let audit = json!({"entries": bundle.lines("audit_log").len(), "lastHash": hex::encode(last)});
    assert_eq!(bundle.json("manifest.json")["audit"], audit);
}

#[tokio::test]
async fn a_broken_audit_chain_is_exported_and_said_to_be() {
    let app = workspace().await;
    let broken = "update crm.audit_log set action = 'other' where id = 2";
    crate::database::execute_as_superuser(&app.database, broken).await;
    let bundle = Bundle::of(&app.database).await;
    assert_eq!(bundle.json("manifest.json")["audit"], json!({"brokenAt": 2}));
}
