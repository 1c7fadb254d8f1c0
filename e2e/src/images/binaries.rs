//! Release builds: the binaries that go into the images, and the program that measures them.

use std::{
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

/// Compiles `operator` and `crm-app` and returns the directory that holds both.
pub(super) async fn build() -> Result<PathBuf> {
    let what = "compiling the release binaries (about 8 minutes the first time)";
    let executables = progress::step(what, compile(&["operator", "crm-app"])).await?;
    let folder = |name| program(&executables, name).and_then(Path::parent);
    let both = folder("operator").context("cargo built no operator")?;
    ensure!(Some(both) == folder("crm-app"), "cargo put the binaries into different directories");
    Ok(both.to_path_buf())
}

/// Compiles `gateway-bench` and returns where it is.
pub(super) async fn build_gateway_bench() -> Result<PathBuf> {
    let what = "compiling the benchmark of the gateway (about a minute the first time)";
    let executables = progress::step(what, compile(&["gateway-bench"])).await?;
    program(&executables, "gateway-bench").map(Path::to_path_buf).context("cargo built no gateway-bench")
}

/// The programs of these packages.
async fn compile(packages: &[&str]) -> Result<Vec<PathBuf>> {
    // cargo's own errors go straight to the terminal; its report of what was built comes as JSON.
    let child = Command::new("cargo")
        .current_dir(toolchain::workspace())
        .args(["build", "--release", "--locked", "--quiet", "--message-format=json-render-diagnostics"])
        .args(packages.iter().map(|package| format!("--package={package}")))
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
    Ok(executables(&String::from_utf8_lossy(&output.stdout)))
}

fn program<'a>(executables: &'a [PathBuf], name: &str) -> Option<&'a Path> {
    executables.iter().find(|path| path.file_name().is_some_and(|file| file == name)).map(PathBuf::as_path)
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
