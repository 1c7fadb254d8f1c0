//! A Job's pod: its files, and the command that it runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use serde_json::Value;
use tokio::{process::Command, time::timeout};

use crate::{
    database::{self, Database},
    door::{FakeDoor, STORE, TENANT, UID, WITHIN},
    vault::Keys,
};

/// The files that a Job's pod has.
pub struct Pod {
    folder: tempfile::TempDir,
}

impl Pod {
    pub fn new(keys: &Keys) -> Self {
        let pod = Self { folder: tempfile::tempdir().unwrap() };
        let (recipient, identity) = (keys.recipient(), keys.identity());
        let files = [
            ("password", "crm-app-tests\n"),
            ("recipients", recipient.as_str()),
            ("identity", identity.as_str()),
            ("report", ""),
        ];
        for (name, text) in files {
            fs::write(pod.file(name), text).unwrap();
        }
        pod
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, name: &str, door: &FakeDoor) -> Command {
        let mut command = self.alone(name);
        command.args(["--door", &door.url(), "--store", STORE, "--tenant", TENANT, "--tenant-uid", UID]);
        command.arg("--token-file").arg(door.token_file());
        command
    }

    /// A command that speaks with no door.
    pub fn alone(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crm-app"));
        command.args([name, "--deadline", "60s", "--report"]).arg(self.file("report"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    pub fn backup(&self, database: &Database, door: &FakeDoor) -> Command {
        self.backup_because("OnDemand", database, door)
    }

    pub fn backup_because(&self, reason: &str, database: &Database, door: &FakeDoor) -> Command {
        let login = database.login("crm_backup");
        let mut command = self.command("backup", door);
        command.args(["--database-host", &login.host, "--database-port", &login.port.to_string()]);
        command.args(["--database-name", &login.database, "--reason", reason]);
        command.arg("--database-password-file").arg(self.file("password"));
        command.arg("--recipients-file").arg(self.file("recipients"));
        command
    }

    /// On the tests' server, in its own scratch database: see [`vault::SCRATCH_TURN`](crate::vault::SCRATCH_TURN).
    pub fn drill(&self, door: &FakeDoor) -> Command {
        let mut command = self.command("drill", door);
        command.arg("--identity-file").arg(self.file("identity"));
        command.args(["--scratch-socket", &database::socket()]);
        command
    }

    pub fn export(&self, database: &Database, door: &FakeDoor) -> Command {
        let login = database.login("crm_backup");
        let mut command = self.command("export", door);
        command.args(["--database-host", &login.host, "--database-port", &login.port.to_string()]);
        command.args(["--database-name", &login.database, "--image", crate::bundle::IMAGE]);
        command.arg("--database-password-file").arg(self.file("password"));
        command.arg("--recipients-file").arg(self.file("recipients"));
        fs::write(self.file("entitlement"), crate::bundle::entitlement()).unwrap();
        command.arg("--entitlement-config").arg(self.file("entitlement"));
        command
    }

    pub fn restore(&self, serving: &Database, target: &Database, door: &FakeDoor) -> Command {
        let mut command = self.command("restore", door);
        command.arg("--identity-file").arg(self.file("identity")).args(["--backup", "newest"]);
        command.args(["--request", "TenantRestore/5f0c6a2e"]);
        self.own(&mut command, serving, target);
        command
    }

    /// As the role that owns databases, beside the one that serves.
    pub fn own(&self, command: &mut Command, serving: &Database, target: &Database) {
        let login = target.login("crm_owner");
        command.args(["--database-host", &login.host, "--database-port", &login.port.to_string()]);
        command.args(["--database-name", target.name(), "--current", serving.name()]);
        command.arg("--database-password-file").arg(self.file("password"));
    }

    pub fn report(&self) -> Value {
        serde_json::from_slice(&fs::read(self.file("report")).unwrap()).unwrap()
    }
}

/// Runs it to its end.
pub async fn output(mut command: Command) -> Output {
    timeout(WITHIN, command.output()).await.expect("the process never ended").unwrap()
}
