//! `Plan`: what a tenant is entitled to and how it is sized.
#![expect(unreachable_pub, reason = "KubeSchema derives from hidden copies of the structs")]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{Retention, Scheduling, rules};

/// What the tenants of this plan are entitled to and how they are sized.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "tenantry.dev",
    version = "v1alpha1",
    kind = "Plan",
    doc = "What the tenants of this plan are entitled to and how they are sized.",
    category = "tenantry",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Seats","type":"integer","jsonPath":".spec.seats"}"#,
    printcolumn = r#"{"name":"Replicas","type":"integer","jsonPath":".spec.replicas"}"#,
    printcolumn = r#"{"name":"Storage","type":"string","jsonPath":".spec.database.storage"}"#,
    printcolumn = r#"{"name":"Egress","type":"string","jsonPath":".spec.egress"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
pub struct PlanSpec {
    /// How many people may use the CRM.
    #[x_kube(validation = Rule::new("1 <= self").message("seats is 1 or more"))]
    pub seats: i32,
    /// How many CRM pods serve a tenant.
    #[serde(default = "one")]
    #[x_kube(validation = Rule::new("1 <= self && self <= 5").message("replicas is a number from 1 to 5"))]
    pub replicas: i32,
    /// Size of each CRM pod.
    pub app: ComputeSize,
    /// Size of the database.
    pub database: DatabaseSize,
    /// Whether the CRM may reach public addresses (HTTPS and mail submission).
    #[serde(default)]
    pub egress: Egress,
    /// Where the pods run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<Scheduling>,
    /// Backups; without it there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupPolicy>,
}

/// Where backups go, when they are made, and how many are kept.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BackupPolicy {
    /// Name of the BackupStore.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(rules::OBJECT_NAME).message("backup.store is the name of a BackupStore (kubectl get backupstores)"))]
    pub store: String,
    /// When backups are made, in the tenant's time zone: minute, hour, day of month, month, day of week. `H` is a value of the
    /// tenant's own, so that not all begin at once; `H(0-29)` is one of a range, `H/15` every so often.
    #[serde(default = "daily")]
    #[schemars(length(min = 9, max = 120))]
    #[x_kube(validation = Rule::new(rules::SCHEDULE).message("backup.schedule has five fields such as 'H 2 * * *': minute, hour, day of month, month, day of week"))]
    pub schedule: String,
    /// When the newest backup is restored into a database of its own and looked at, in the same form.
    #[serde(default = "weekly")]
    #[schemars(length(min = 9, max = 120))]
    #[x_kube(validation = Rule::new(rules::SCHEDULE).message("backup.drill has five fields such as 'H 5 * * 0': minute, hour, day of month, month, day of week"))]
    pub drill: String,
    /// How many backups are kept.
    #[serde(default)]
    pub keep: Retention,
}

/// Processor and memory of a pod.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ComputeSize {
    /// Requested processor time, for example `100m`; more is used when the node has it to spare.
    #[schemars(length(min = 1, max = 24))]
    #[x_kube(validation = Rule::new("isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))").message("app.cpu is an amount such as 100m or 0.5"))]
    pub cpu: String,
    /// Memory, for example `128Mi`; this is also the limit.
    #[schemars(length(min = 1, max = 24))]
    #[x_kube(validation = Rule::new("isQuantity(self) && !quantity(self).isLessThan(quantity('32Mi'))").message("app.memory is a size of 32Mi or more, such as 128Mi"))]
    pub memory: String,
}

/// Processor, memory and volume of the database.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseSize {
    /// Size of a new database's volume, for example `5Gi`; existing volumes only grow.
    #[schemars(length(min = 1, max = 24))]
    #[x_kube(validation = Rule::new("isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))").message("database.storage is a size such as 5Gi"))]
    pub storage: String,
    /// Requested processor time, for example `100m`.
    #[schemars(length(min = 1, max = 24))]
    #[x_kube(validation = Rule::new("isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))").message("database.cpu is an amount such as 100m or 0.5"))]
    pub cpu: String,
    /// Memory, for example `256Mi`; this is also the limit, and PostgreSQL's buffers follow from it.
    #[schemars(length(min = 1, max = 24))]
    #[x_kube(validation = Rule::new("isQuantity(self) && !quantity(self).isLessThan(quantity('96Mi'))").message("database.memory is a size of 96Mi or more, such as 256Mi"))]
    pub memory: String,
}

/// What the CRM may reach outside its namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Egress {
    /// Nothing.
    #[default]
    None,
    /// Public addresses on ports 443, 465 and 587.
    Public,
}

fn daily() -> String {
    "H 2 * * *".to_owned()
}

fn weekly() -> String {
    "H 5 * * 0".to_owned()
}

fn one() -> i32 {
    1
}
