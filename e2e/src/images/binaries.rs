//! Release builds: the binaries that go into the images, and the programs that measure them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::process::Command;

use crate::{host::progress, toolchain};

/// A cold release build takes 8 minutes on two cores.
const DEADLINE: Duration = Duration::from_mins(40);

/// Compiles these packages as they go into the images, and returns the directory that holds their programs, which are
/// called as the packages.
pub async fn build(packages: &[&str]) -> Result<PathBuf> {
    let building = compile(packages, &[]);
    progress::step("compiling the release binaries (about 8 minutes the first time)", building).await
}

/// The same with features on that are off in products. Cargo puts what comes of it in the same place.
pub(super) async fn build_with(packages: &[&str], features: &[&str]) -> Result<PathBuf> {
    progress::step(
        "compiling the releases for tests (two minutes the first time)",
        compile(packages, features),
    )
    .await
}

async fn compile(packages: &[&str], features: &[&str]) -> Result<PathBuf> {
    // cargo's own errors go straight to the terminal; its report of what was built comes as JSON.
    let child = Command::new("cargo")
        .current_dir(toolchain::workspace())
        .args(["build", "--release", "--locked", "--quiet", "--message-format=json-render-diagnostics"])
        .args(packages.iter().map(|package| format!("--package={package}")))
        .args(features.iter().map(|feature| format!("--features={feature}")))
        .arg("--bins")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start `cargo`")?;
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await.with_context(|| {
        format!("`cargo build --release` did not finish within {} minutes", DEADLINE.as_secs() / 60)
    })??;
    ensure!(output.status.success(), "the release binaries do not compile; see above");
    let executables = executables(&String::from_utf8_lossy(&output.stdout));
    let folders = packages.iter().map(|name| {
        let path = executables.iter().find(|path| path.file_name().is_some_and(|file| file == *name));
        path.and_then(|path| path.parent())
            .map(Path::to_path_buf)
            .with_context(|| format!("cargo built no {name}"))
    });
    let folders = folders.collect::<Result<BTreeSet<_>>>()?;
    ensure!(folders.len() == 1, "cargo put the binaries into different directories");
    folders.into_iter().next().context("nothing was to be built")
}

/// The programs in cargo's report.
fn executables(report: &str) -> Vec<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
    }
    report.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok()?.executable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_the_report() {
        let report = r#"{"reason":"compiler-artifact","executable":null}
{"reason":"compiler-artifact","executable":"/t/release/operator"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executables(report), [PathBuf::from("/t/release/operator")]);
    }
}
