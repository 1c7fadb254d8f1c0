//! Exit bundles as tests make and open them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use crm_app::{
    backup::Programs,
    entitlement::Entitlement,
    exchange::bundle::{Plan, Whose},
};
use serde_json::{Value, json};
use tokio::process::Command;
use uuid::Uuid;

use crate::{
    app::TestApp,
    database::Database,
    door::{TENANT, UID},
    pod::output,
};

pub const IMAGE: &str = "registry.example.com/tenantry/crm:0.1.0";
/// What a spreadsheet or a shell may take for something else.
pub const AWKWARD: &str = "杭州 \"示例\", 'Ltd'; =1+1 \\N \\. €";

/// An exit bundle, extracted.
pub struct Bundle {
    pub folder: tempfile::TempDir,
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
        let report = serde_json::from_slice(&fs::read(folder.path().join("report")).unwrap()).unwrap();
        Self { report, ..Self::unzipped(folder) }
    }

    /// From the bytes of the archive.
    pub fn downloaded(archive: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("crm.zip"), archive).unwrap();
        Self::unzipped(folder)
    }

    fn unzipped(folder: tempfile::TempDir) -> Self {
        let mut unzip = std::process::Command::new("unzip");
        let unzip = unzip.args(["-q", "crm.zip"]).current_dir(&folder).output().unwrap();
        assert!(unzip.status.success(), "{unzip:?}");
        Self { folder, report: Value::Null }
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

    pub fn lines(&self, table: &str) -> Vec<Value> {
        let text = self.text(&format!("data/{table}.jsonl"));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The dump, as SQL.
    pub fn dump(&self) -> String {
        let dump = self.path().join("database/crm.dump");
        let sql = std::process::Command::new("pg_restore").arg("--file=-").arg(dump).output().unwrap();
        assert!(sql.status.success());
        String::from_utf8(sql.stdout).unwrap()
    }
}

/// Writes `crm.zip` and `report` into the folder.
pub fn command(database: &Database, folder: &Path) -> Command {
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
        tenant: Whose { name: TENANT.to_owned(), uid: Some(UID.to_owned()) },
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
