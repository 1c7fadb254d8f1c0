//! What backups are taken and proven with.

use std::{
    fs,
    future::pending,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use age::{secrecy::ExposeSecret as _, x25519};
use crm_app::{
    args::Which,
    backup::{self, Deadline, Identities, Outcome, Plan, Problem, Programs, Reason, Recipients},
    clock::Clock,
    command::{drill, restore},
    db::Login,
};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{
    app::TestApp,
    database::{self, Database},
    door::{self, FakeDoor},
};

/// Who can decrypt.
pub struct Keys(x25519::Identity);

impl Keys {
    pub fn generate() -> Self {
        Self(x25519::Identity::generate())
    }

    pub fn recipient(&self) -> String {
        self.0.to_public().to_string()
    }

    pub fn identity(&self) -> String {
        self.0.to_string().expose_secret().to_owned()
    }
}

/// Whose turn it is with the scratch database of the program, of which there is one a server.
pub static SCRATCH_TURN: Mutex<()> = Mutex::const_new(());

/// Long enough for everything that goes well.
pub fn soon() -> Deadline {
    Deadline::within(Duration::from_mins(1))
}

/// A backup as the product takes it.
pub fn plan(database: &Database, door: &FakeDoor, keys: &Keys) -> Plan {
    Plan {
        database: database.login("crm_backup"),
        door: door.door(),
        recipients: Recipients::parse(&keys.recipient()).unwrap(),
        reason: Reason::Scheduled,
        programs: Programs::default(),
    }
}

/// Takes a backup that must succeed.
pub async fn take(database: &Database, door: &FakeDoor, keys: &Keys) -> Outcome {
    backup::take(&plan(database, door, keys), soon()).await.unwrap()
}

/// A tenant's CRM, and a door that has a backup of it.
pub struct BackedUp {
    pub app: TestApp,
    pub door: FakeDoor,
    pub keys: Keys,
}

impl BackedUp {
    /// With a company.
    pub async fn new() -> Self {
        let app = TestApp::start().await;
        app.admin().await.company_named("杭州示例").await;
        Self::of(app).await
    }

    pub async fn of(app: TestApp) -> Self {
        let (door, keys) = (FakeDoor::start([]).await, Keys::generate());
        take(&app.database, &door, &keys).await;
        Self { app, door, keys }
    }
}

/// A drill of the newest backup, in a database of its own.
pub fn drill_plan(door: &FakeDoor, keys: &Keys) -> drill::Plan {
    drill::Plan {
        door: door.door(),
        backup: Which::Newest,
        identities: Identities::parse(&keys.identity()).unwrap(),
        scratch: Login {
            host: database::socket(),
            port: 5432,
            database: "postgres".to_owned(),
            user: "postgres".to_owned(),
            password: None,
        },
        scratch_database: format!("drill_{}", Uuid::now_v7().simple()),
        programs: Programs::default(),
    }
}

/// Drills to the end, after which the scratch database is gone, however it went.
pub async fn drilled(plan: &drill::Plan, deadline: Deadline) -> Result<Outcome, Problem> {
    let result = drill::drill(plan, deadline, pending()).await;
    assert!(!exists(plan).await, "the scratch database is left");
    result
}

/// A restore of the newest backup into `target`, beside the database that serves.
pub fn restore_plan(serving: &Database, target: &Database, door: &FakeDoor, keys: &Keys) -> restore::Plan {
    restore::Plan {
        door: door.door(),
        backup: Which::Newest,
        request: Some("TenantRestore/5f0c6a2e".to_owned()),
        identities: Identities::parse(&keys.identity()).unwrap(),
        target: target.login("crm_owner"),
        current: serving.name().to_owned(),
        volume_size: None,
        programs: Programs::default(),
        clock: Clock::system(),
    }
}

/// Restores to the end.
pub async fn restored(plan: &restore::Plan) -> Result<Outcome, Problem> {
    restore::restore(plan, soon(), pending()).await
}

/// Whether the scratch database is there.
pub async fn exists(plan: &drill::Plan) -> bool {
    let server = sqlx::PgPool::connect_with(plan.scratch.options()).await.unwrap();
    sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(&plan.scratch_database)
        .fetch_one(&server)
        .await
        .unwrap()
}

/// A program of the test's own.
pub fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    file
}

/// A place in a script of ours where it waits: two pipes, one that says that it is there, one that lets it go on.
pub struct Gate {
    reached: PathBuf,
    go: PathBuf,
}

impl Gate {
    /// In an empty place of this folder.
    pub fn new(folder: &Path) -> Self {
        let [reached, go] = ["reached", "go"].map(|name| folder.join(format!("{name}-{}", Uuid::now_v7())));
        assert!(std::process::Command::new("mkfifo").args([&reached, &go]).status().unwrap().success());
        Self { reached, go }
    }

    /// The text of a script that does something, waits, and ends with the status of what it did.
    pub fn after(&self, work: &str) -> String {
        let (reached, go) = (self.reached.display(), self.go.display());
        format!("{work}\nstatus=$?\necho >'{reached}'\nread -r _ <'{go}'\nexit $status")
    }

    /// The text of a script that waits, and then does something.
    pub fn before(&self, work: &str) -> String {
        let (reached, go) = (self.reached.display(), self.go.display());
        format!("echo >'{reached}'; read -r _ <'{go}'; {work}")
    }

    /// Waits until it is there.
    pub async fn reached(&self) {
        let read = tokio::fs::read(&self.reached);
        tokio::time::timeout(door::WITHIN, read).await.expect("it never came there").unwrap();
    }

    /// Lets it go on.
    pub async fn open(&self) {
        let written = tokio::fs::write(&self.go, "\n");
        tokio::time::timeout(door::WITHIN, written).await.expect("nobody waits to go on").unwrap();
    }
}
