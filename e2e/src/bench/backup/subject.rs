//! What is measured: the backup as a Job runs it, and the pipe of stock programs.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tokio::{process::Command, time::timeout};

use super::database;
use crate::images::TestPostgres;

/// For either.
const DEADLINE: Duration = Duration::from_mins(15);
/// The kernel keeps the highest mark, so that nothing is missed but what a process did in its last moment.
const LOOK: Duration = Duration::from_millis(10);

/// The files of a Job, and where the database is.
pub(super) struct Job {
    folder: tempfile::TempDir,
    recipient: String,
    port: u16,
    path: OsString,
}

/// What a command took.
pub(super) struct Taken {
    pub(super) took: Duration,
    /// Of both processes together, in bytes.
    pub(super) peak: u64,
}

impl Job {
    pub(super) async fn new(postgres: &TestPostgres, recipient: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let entitlement = r#"{"revision": 1, "state": "Active", "seats": 1, "profile": {"displayName": "bench", "locale": "en",
            "timeZone": "UTC", "currency": "CNY"}}"#;
        let files = [
            ("password", "bench"),
            ("token", "token"),
            ("recipients", recipient),
            ("entitlement", entitlement),
        ];
        for (file, text) in files {
            fs::write(folder.path().join(file), text)?;
        }
        let environment = postgres.environment().await?;
        let path = environment.into_iter().find_map(|(name, value)| (name == "PATH").then_some(value));
        let path = path.context("the programs of PostgreSQL are nowhere")?;
        Ok(Self { folder, recipient: recipient.to_owned(), port: postgres.port(), path })
    }

    /// The same with stock programs; how long it took, and how large the result is.
    pub(super) async fn pipe(&self) -> Result<(Duration, u64)> {
        let script =
            "set -o pipefail; pg_dump \"$1\" | zstd --quiet | age --encrypt --recipient \"$2\" | wc --bytes";
        let address = format!("postgres://crm_backup:bench@127.0.0.1:{}/{}", self.port, database::NAME);
        let mut command = Command::new("bash");
        command
            .args(["-c", script, "bash", &address, &self.recipient])
            .env("PATH", &self.path)
            .kill_on_drop(true);
        let begun = Instant::now();
        let ended = timeout(DEADLINE, command.output()).await.context("it never ended")??;
        let took = begun.elapsed();
        ensure!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        let size = String::from_utf8_lossy(&ended.stdout);
        Ok((took, size.trim().parse().with_context(|| format!("not a size: {size}"))?))
    }

    /// `crm-app backup`, to a door at this port.
    pub(super) async fn backup(&self, program: &Path, door: u16) -> Result<Taken> {
        let mut command = self.command(program, "backup");
        command.args(["--reason", "OnDemand", "--store", "bench", "--recipients-file", "recipients"]);
        command.args(["--token-file", "token", "--door", &format!("http://127.0.0.1:{door}")]);
        measured(command).await
    }

    /// `crm-app export`, into a file that is thrown away.
    pub(super) async fn export(&self, program: &Path) -> Result<Taken> {
        let mut command = self.command(program, "export");
        command.args(["--image", "crm", "--entitlement-config", "entitlement", "--output", "bundle.tar"]);
        let taken = measured(command).await?;
        fs::remove_file(self.folder.path().join("bundle.tar"))?;
        Ok(taken)
    }

    /// With what all commands are told.
    fn command(&self, program: &Path, name: &str) -> Command {
        let mut command = Command::new(program);
        command.args([name, "--tenant", "bench", "--tenant-uid", "0", "--deadline", "15m"]);
        command.args(["--database-host", "127.0.0.1", "--database-port", &self.port.to_string()]);
        command.args(["--database-name", database::NAME, "--database-password-file", "password"]);
        command.current_dir(&self.folder).env("PATH", &self.path);
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        command
    }
}

/// Runs a command that starts a `pg_dump`.
async fn measured(mut command: Command) -> Result<Taken> {
    let begun = Instant::now();
    let mut running = command.spawn().context("cannot start it")?;
    let pid = running.id().context("it has ended already")?;
    let mut peaks = BTreeMap::new();
    let ended = timeout(DEADLINE, async {
        let mut ticks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                ended = running.wait() => return ended,
                _ = ticks.tick() => look(pid, &mut peaks),
            }
        }
    });
    let ended = ended.await.context("it never ended")??;
    let took = begun.elapsed();
    ensure!(ended.success(), "it ended with {ended}");
    ensure!(2 <= peaks.len(), "its pg_dump was never seen");
    Ok(Taken { took, peak: peaks.values().sum() })
}

/// Notes the highest marks of a process and its children.
fn look(pid: u32, peaks: &mut BTreeMap<u32, u64>) {
    let children = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = children.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<u32> = children
        .flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|id| id.parse().ok())
        .collect();
    for id in children.into_iter().chain([pid]) {
        // One that has just ended has no memory any more.
        if let Some(peak) = fs::read_to_string(format!("/proc/{id}/status")).ok().as_deref().and_then(peak) {
            peaks.insert(id, peak);
        }
    }
}

fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_mark_is_read() {
        assert_eq!(peak("Name:\tcrm-app\nVmPeak:\t  999 kB\nVmHWM:\t   300 kB\n"), Some(300 * 1024));
        assert_eq!(peak("Name:\tcrm-app\nState:\tZ (zombie)\n"), None);
    }
}
