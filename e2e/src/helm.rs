//! The chart, rendered or installed with Helm as a user would.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tempfile::NamedTempFile;
use tokio::process::Command;

use crate::{
    host::command,
    toolchain::{self, Tool},
};

/// Name of the Helm release.
pub const RELEASE: &str = "tenantry";
/// Namespace of the operator.
pub const NAMESPACE: &str = "tenantry-system";
/// Rendering and linting are a matter of a second.
const LOCAL: Duration = Duration::from_mins(1);

/// Whether an installation waits until its pods are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pods {
    /// Wait for them, at most so long.
    Await(Duration),
    /// Do not wait: the cluster has no nodes, or somebody else waits.
    Leave,
}

/// The chart of this checkout.
pub fn chart() -> PathBuf {
    toolchain::workspace().join("charts/tenantry")
}

/// What the chart makes of some values, as YAML documents.
///
/// # Errors
/// When Helm refuses the values; the message carries what Helm said.
pub async fn template(values: &Value) -> Result<String> {
    let file = values_file(values)?;
    let mut helm = helm().await?;
    helm.args(["template", RELEASE])
        .arg(chart())
        .args(["--namespace", NAMESPACE, "--values"])
        .arg(file.path());
    command::run(&mut helm, LOCAL).await
}

/// What `helm lint` says of the chart; a warning is an error.
///
/// # Errors
/// When Helm finds something.
pub async fn lint(values: &Value) -> Result<String> {
    let file = values_file(values)?;
    command::run(
        helm().await?.args(["lint", "--strict"]).arg(chart()).arg("--values").arg(file.path()),
        LOCAL,
    )
    .await
}

/// Installs the chart or upgrades it, and returns its notes.
///
/// # Errors
/// When Helm does not finish; the message carries what Helm said.
pub async fn install(kubeconfig: &Path, values: &Value, pods: Pods) -> Result<String> {
    let file = values_file(values)?;
    let mut helm = helm().await?;
    helm.env("KUBECONFIG", kubeconfig);
    helm.args(["upgrade", "--install", RELEASE]).arg(chart()).args([
        "--namespace",
        NAMESPACE,
        "--create-namespace",
    ]);
    helm.arg("--values").arg(file.path());
    let deadline = match pods {
        Pods::Await(deadline) => {
            helm.args(["--wait", "--timeout", &format!("{}s", deadline.as_secs())]);
            deadline + LOCAL
        }
        Pods::Leave => LOCAL,
    };
    command::run(&mut helm, deadline).await
}

/// Removes what the chart installed, but for what it keeps.
///
/// # Errors
/// When Helm does not finish; the message carries what Helm said.
pub async fn uninstall(kubeconfig: &Path) -> Result<String> {
    let mut helm = helm().await?;
    helm.env("KUBECONFIG", kubeconfig).args(["uninstall", RELEASE, "--namespace", NAMESPACE]);
    command::run(&mut helm, LOCAL).await
}

/// Helm, with none of the user's own plugins and repositories.
async fn helm() -> Result<Command> {
    let mut helm = Command::new(toolchain::binary(Tool::Helm).await?);
    let nowhere = OsStr::new("/nonexistent");
    helm.env("HELM_PLUGINS", nowhere)
        .env("HELM_REPOSITORY_CONFIG", nowhere)
        .env("HELM_REGISTRY_CONFIG", nowhere);
    Ok(helm)
}

fn values_file(values: &Value) -> Result<NamedTempFile> {
    let file = NamedTempFile::with_suffix(".json").context("cannot make a file for the chart's values")?;
    serde_json::to_writer(&file, values)?;
    Ok(file)
}
