//! The alert rules, with Prometheus' own tool.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    host::{command, files},
    toolchain,
};
use tokio::process::Command;

const DOWNLOAD: Duration = Duration::from_mins(5);
const CHECK: Duration = Duration::from_mins(1);

/// `promtool` of this machine, or the one of Debian's package `prometheus`, which is unpacked rather than installed: installing
/// it would start a Prometheus.
async fn promtool() -> Result<PathBuf> {
    if command::succeeds(Command::new("promtool").arg("--version"), CHECK).await {
        return Ok("promtool".into());
    }
    let folder = toolchain::cache::root()?.join("bin/promtool");
    let program = folder.join("usr/bin/promtool");
    fs::create_dir_all(&folder)?;
    let _lock = files::lock(&folder.join("lock"), "fetches promtool").await?;
    if !program.exists() {
        ensure!(toolchain::has_apt(), "promtool is not on PATH: install Prometheus, or put promtool on PATH");
        let download = tempfile::TempDir::new_in(&folder)?;
        let mut apt = Command::new("apt-get");
        command::run(apt.args(["download", "--quiet", "prometheus"]).current_dir(download.path()), DOWNLOAD)
            .await?;
        let package = fs::read_dir(download.path())?.next().context("apt-get downloaded nothing")??.path();
        command::run(Command::new("dpkg").arg("--extract").args([&package, &folder]), DOWNLOAD).await?;
    }
    Ok(program)
}

#[tokio::test]
async fn alerts_fire_when_they_should_and_only_then() -> Result<()> {
    let tests = toolchain::workspace().join("deploy/monitoring/tests/rules.yaml");
    command::run(Command::new(promtool().await?).args(["test", "rules"]).arg(tests), CHECK).await?;
    Ok(())
}
