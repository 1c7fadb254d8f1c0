//! `TenantRestore`: somebody asks for a tenant's data to be replaced by a backup's.
#![expect(unreachable_pub, reason = "KubeSchema derives from hidden copies of the structs")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::rules;

/// Replaces a tenant's data by that of one of its backups. What is there now is backed up first, and kept beside it for a day.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "tenantry.dev",
    version = "v1alpha1",
    kind = "TenantRestore",
    doc = "Replaces a tenant's data by that of one of its backups. What is there now is backed up first, and kept beside it for a day.",
    status = "TenantRestoreStatus",
    shortname = "tnr",
    category = "tenantry",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Tenant","type":"string","jsonPath":".spec.tenant"}"#,
    printcolumn = r#"{"name":"Complete","type":"string","jsonPath":".status.conditions[?(@.type==\"Complete\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Complete\")].reason"}"#,
    printcolumn = r#"{"name":"Step","type":"string","jsonPath":".status.step"}"#,
    printcolumn = r#"{"name":"Backup","type":"string","jsonPath":".status.backup"}"#,
    printcolumn = r#"{"name":"Safety","type":"string","priority":1,"jsonPath":".status.safetyBackup.backup"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self == oldSelf").message("a TenantRestore never changes: make another one"),
    validation = Rule::new("self.confirm == self.tenant").message("the tenant's present data is replaced: if you mean it, write its name into spec.confirm")
)]
pub struct TenantRestoreSpec {
    /// Name of the Tenant.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new(rules::TENANT_NAME).message("tenant is the name of a Tenant (kubectl get tenants)"))]
    pub tenant: String,
    /// Which backup.
    pub from: RestoreFrom,
    /// The name of the tenant once more.
    #[schemars(length(min = 1, max = 40))]
    pub confirm: String,
}

/// Which of the tenant's backups.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.backup), has(self.latest), has(self.time)].filter(given, given).size() == 1").message("set exactly one of from.backup (its name), from.latest ({}) and from.time (the newest that is not younger)")
)]
pub struct RestoreFrom {
    /// The one of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 23, max = 23))]
    #[x_kube(validation = Rule::new(rules::BACKUP_NAME).message("from.backup is the name of a backup such as 20261122T132501Z-ab12cd, as status.lastBackup has it"))]
    pub backup: Option<String>,
    /// The newest that there was when the TenantRestore was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Latest>,
    /// The newest that holds the data of this moment or an earlier one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
}

/// The newest.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct Latest {}

/// What became of the request.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TenantRestoreStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Complete: True and False are final; Unknown says what it waits for, or what it is at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// How far it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<RestoreStep>,
    /// Name of the backup in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// The moment whose data it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
    /// The backup of what was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety_backup: Option<SafetyBackup>,
    /// Number of the database that serves since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_generation: Option<i64>,
    /// What was written after the one moment and until the other is only in the safety backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Lost>,
    /// When the CRM was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the request came to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
}

/// How far a restore came.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreStep {
    /// The CRM is stopped.
    Stopping,
    /// What is there is backed up.
    SafetyBackup,
    /// The backup is restored into a database beside the present one.
    Restoring,
    /// The restored database serves, and the CRM starts.
    Starting,
}

/// A backup of what was there before a restore.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SafetyBackup {
    /// Its name in the store.
    pub backup: String,
    /// The moment whose data it holds.
    pub created_at: Time,
}

/// A stretch of time.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Lost {
    /// Its beginning: the moment of the backup.
    pub from: Time,
    /// Its end: the moment of the safety backup.
    pub to: Time,
}
