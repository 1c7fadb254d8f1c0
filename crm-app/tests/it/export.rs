//! `crm-app export`: what is in an exit bundle, and what is not.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use crm_app::{
    backup::{Deadline, Outcome, Problem, Programs, Tenant},
    entitlement::Entitlement,
    exchange::{
        bundle::Plan,
        file::export,
        tables::{TABLES, TABLES_LEFT_OUT},
    },
};
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, PgPool, postgres::PgPoolCopyExt as _};
use tokio::{process::Command, time::timeout};
use uuid::Uuid;

use crate::{
    app::TestApp,
    database::Database,
    door::{TENANT, UID, WITHIN},
    pod::output,
    vault::{self, Gate},
};

pub const IMAGE: &str = "registry.example.com/tenantry/crm:0.1.0";
/// What a spreadsheet or a shell may take for something else.
const AWKWARD: &str = "杭州 \"示例\", 'Ltd'; =1+1 \\N \\. €";

/// An exit bundle, extracted.
pub struct Bundle {
    folder: tempfile::TempDir,
    /// What the command reported.
    pub report: Value,
}

impl Bundle {
    /// By the command, and by `unzip`.
    pub async fn of(database: &Database) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ended = output(command(database, folder.path())).await;
        assert!(ended.status.success(), "{ended:?}");
        Self::extracted(folder)
    }

    /// From `crm.zip` in a folder with the report.
    pub fn extracted(folder: tempfile::TempDir) -> Self {
        let mut unzip = std::process::Command::new("unzip");
        let unzip = unzip.args(["-q", "crm.zip"]).current_dir(&folder).output().unwrap();
        assert!(unzip.status.success(), "{unzip:?}");
        let report = serde_json::from_slice(&fs::read(folder.path().join("report")).unwrap()).unwrap();
        Self { folder, report }
    }

    /// The one folder in the archive.
    pub fn path(&self) -> PathBuf {
        let folders = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let folders: Vec<_> = folders.filter(|path| path.is_dir()).collect();
        let [folder] = folders.as_slice() else { panic!("{folders:?}") };
        folder.clone()
    }

    pub fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path().join(file)).unwrap()
    }

    pub fn json(&self, file: &str) -> Value {
        serde_json::from_str(&self.text(file)).unwrap()
    }

    fn lines(&self, table: &str) -> Vec<Value> {
        let text = self.text(&format!("data/{table}.jsonl"));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The dump, as SQL.
    fn dump(&self) -> String {
        let dump = self.path().join("database/crm.dump");
        let sql = std::process::Command::new("pg_restore").arg("--file=-").arg(dump).output().unwrap();
        assert!(sql.status.success());
        String::from_utf8(sql.stdout).unwrap()
    }
}

/// Writes `crm.zip` and `report` into the folder.
fn command(database: &Database, folder: &Path) -> Command {
    let login = database.login("crm_backup");
    for (file, text) in [("password", "crm-app-tests\n"), ("report", ""), ("entitlement", &entitlement())] {
        fs::write(folder.join(file), text).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_crm-app"));
    command.args(["export", "--deadline", "60s", "--tenant", TENANT, "--tenant-uid", UID, "--image", IMAGE]);
    command.args(["--database-host", &login.host, "--database-port", &login.port.to_string()]);
    command.args(["--database-name", &login.database, "--database-password-file", "password"]);
    command.args(["--entitlement-config", "entitlement", "--output", "crm.zip", "--report", "report"]);
    command.current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// As the operator writes it.
pub fn entitlement() -> String {
    let profile = json!({"displayName": "杭州艾克米", "locale": "zh-CN", "timeZone": "Asia/Shanghai", "currency": "CNY"});
    json!({"revision": 7, "state": "ReadOnly", "seats": 10, "profile": profile}).to_string()
}

pub fn plan(database: &Database) -> Plan {
    Plan {
        database: database.login("crm_backup"),
        tenant: Tenant { name: TENANT.to_owned(), uid: UID.to_owned() },
        image: IMAGE.to_owned(),
        entitlement: Entitlement::none(),
        programs: Programs::default(),
    }
}

/// With people, companies, a session and an open link.
pub async fn workspace() -> TestApp {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    app.member(&admin, "li@acme.example").await;
    let invited = json!({"name": "韩梅梅", "email": "han@acme.example", "role": "member"});
    admin.create_user(invited).await.expect(201);
    let company =
        json!({"name": AWKWARD, "address": "", "annualRevenue": "1234567.89", "phone": "+86 571 8888 6666"});
    let company = admin.create_company(company).await.expect(201);
    let id: Uuid = company["id"].as_str().unwrap().parse().unwrap();
    admin.update_company(id, 1, json!({"level": "A", "industry": "茶叶"})).await.expect(200);
    app
}

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

/// What was there before stays, and nothing half is left.
#[rstest]
#[case::rights("permission denied for table company", Problem::DumpFailed { status: Some(1), sqlstate: Some("42501") })]
#[case::unknown_words("something else", Problem::DumpFailed { status: Some(1), sqlstate: None })]
#[tokio::test]
async fn a_dump_that_ends_badly_is_no_bundle(#[case] words: &str, #[case] problem: Problem) {
    let app = workspace().await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("crm.zip"), "the one before").unwrap();
    let failing = format!("head -c 300000 /dev/urandom; echo 'pg_dump: error: {words}' >&2; exit 1");
    let mut plan = plan(&app.database);
    plan.programs.dump = vault::script(folder.path(), "pg_dump", &failing);
    assert_eq!(export(&plan, &folder.path().join("crm.zip"), vault::soon()).await, Err(problem));
    assert_eq!(fs::read_to_string(folder.path().join("crm.zip")).unwrap(), "the one before");
    assert!(!folder.path().join("crm.zip.partial").exists());
}

#[tokio::test]
async fn what_cannot_be_written_or_read_is_named() {
    let app = workspace().await;
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan(&app.database);
    std::os::unix::fs::symlink("/dev/full", folder.path().join("crm.zip.partial")).unwrap();
    let path = folder.path().join("crm.zip");
    assert_eq!(export(&plan, &path, vault::soon()).await, Err(Problem::OutputFull));
    let nowhere = folder.path().join("nowhere/crm.zip");
    assert_eq!(export(&plan, &nowhere, vault::soon()).await, Err(Problem::OutputUnwritable));
    let empty = Database::create().await;
    plan.database = empty.login("crm_backup");
    assert_eq!(export(&plan, &path, vault::soon()).await, Err(Problem::NotMigrated));
    plan.database.port = 1;
    let deadline = Deadline::within(std::time::Duration::from_secs(5));
    assert_eq!(export(&plan, &path, deadline).await, Err(Problem::DatabaseUnreachable { sqlstate: None }));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn sigterm_leaves_no_half_bundle() {
    let app = workspace().await;
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::new(folder.path());
    let programs = folder.path().join("programs");
    fs::create_dir(&programs).unwrap();
    vault::script(&programs, "pg_dump", &gate.before("exit 1"));
    let mut command = command(&app.database, folder.path());
    command.env("PATH", format!("{}:/usr/bin:/bin", programs.display()));
    let mut running = command.spawn().unwrap();
    gate.reached().await;
    assert!(folder.path().join("crm.zip.partial").exists());
    let pid = Pid::from_raw(i32::try_from(running.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let ended = timeout(WITHIN, running.wait()).await.expect("SIGTERM does not end it").unwrap();
    assert_eq!(ended.code(), Some(1));
    assert_eq!(fs::read_to_string(folder.path().join("report")).unwrap(), r#"{"code":"Interrupted"}"#);
    assert!(!folder.path().join("crm.zip.partial").exists() && !folder.path().join("crm.zip").exists());
}
