//! What a Tenant says of its way from one release to another.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Lost;

/// The way from one release to another.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeStatus {
    /// Name of the Release that ran before.
    pub from: String,
    /// Name of the Release that is to run.
    pub to: String,
    /// How far it is.
    pub step: UpgradeStep,
    /// When it began.
    pub started_at: Time,
    /// How often it was tried, this time included.
    #[serde(default = "one")]
    pub attempts: i32,
    /// What must be so before it goes on, until it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub checks: Vec<UpgradeCheck>,
    /// What it waits for, where that is not plain from the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Name of the backup that was made before anything was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// What was written in this time is not in the database any more, because the backup from before was restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Lost>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<UpgradeFailure>,
}

/// How far an upgrade is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeStep {
    /// It has not begun: not all is as it must be. Nothing is changed.
    Checking,
    /// A backup is made, while the release before serves.
    BackingUp,
    /// The backup is restored on trial, and the new release migrates and serves it.
    Rehearsing,
    /// The schema is migrated, while the release before serves.
    Migrating,
    /// Pods of the new release take the place of the others.
    Rolling,
    /// The new release serves, and has to stay healthy.
    Baking,
    /// It failed, and the release before takes its place again.
    GoingBack,
    /// It failed, and the release before cannot work on the new schema: the backup from before is restored.
    Restoring,
    /// It failed, and the release before serves. It is not tried again until another release is wanted, or somebody says retry.
    Failed,
}

/// Something that must be so before an upgrade goes on.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeCheck {
    /// Path, Database, Backup or Window.
    pub name: String,
    /// Whether it is so.
    pub result: CheckResult,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Whether something is so.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckResult {
    /// It is.
    Passed,
    /// Not now, or nobody can tell.
    Waiting,
    /// It is not, and waiting will not help.
    Failed,
}

/// Why an upgrade failed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeFailure {
    /// When.
    pub at: Time,
    /// One CamelCase word for machines.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

fn one() -> i32 {
    1
}
