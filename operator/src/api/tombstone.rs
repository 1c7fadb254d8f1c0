//! `TenantTombstone`: what is left of a deleted tenant.
#![expect(unreachable_pub, reason = "KubeSchema derives from hidden copies of the structs")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::LastBackup;

/// What is left of a deleted tenant until it expires: where its backups are, and which key reads them. The operator makes it;
/// only `expiresAt` is for people to change.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "tenantry.dev",
    version = "v1alpha1",
    kind = "TenantTombstone",
    doc = "What is left of a deleted tenant until it expires: where its backups are, and which key reads them. The operator makes it; only expiresAt is for people to change.",
    status = "TenantTombstoneStatus",
    shortname = "tomb",
    category = "tenantry",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Tenant","type":"string","jsonPath":".spec.tenant"}"#,
    printcolumn = r#"{"name":"Final Backup","type":"string","jsonPath":".spec.finalBackup"}"#,
    printcolumn = r#"{"name":"Backup","type":"string","jsonPath":".spec.backup.backup"}"#,
    printcolumn = r#"{"name":"Expires","type":"string","jsonPath":".spec.expiresAt"}"#,
    printcolumn = r#"{"name":"Key Destroyed","type":"string","jsonPath":".status.conditions[?(@.type==\"KeyDestroyed\")].status"}"#,
    printcolumn = r#"{"name":"Backups Removed","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"BackupsRemoved\")].status"}"#,
    printcolumn = r#"{"name":"UID","type":"string","priority":1,"jsonPath":".spec.uid"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.tenant == oldSelf.tenant && self.uid == oldSelf.uid && (has(self.store) ? self.store : '') == (has(oldSelf.store) ? oldSelf.store : '') && (has(self.keySecret) ? self.keySecret : '') == (has(oldSelf.keySecret) ? oldSelf.keySecret : '')").message(
        "a tombstone says what was: only spec.expiresAt can be changed"
    )
)]
pub struct TenantTombstoneSpec {
    /// Name of the Tenant that was deleted.
    #[schemars(length(min = 1, max = 40))]
    pub tenant: String,
    /// Its uid, under which its backups are kept.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
    /// When its deletion was asked for.
    pub deleted_at: Time,
    /// From then on the key is destroyed and the backups are removed. An earlier time makes it happen earlier.
    pub expires_at: Time,
    /// Name of the BackupStore with its backups, if it had any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub store: Option<String>,
    /// What became of the backup before the removal.
    pub final_backup: FinalBackup,
    /// The newest backup that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<LastBackup>,
    /// Name of the Release that ran last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub release: Option<String>,
    /// Version of the database schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<i64>,
    /// Name of the Secret with the key pair of the backups, in the namespace that the chart's value `keys.namespace` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key_secret: Option<String>,
    /// The public half of that key pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub recipient: Option<String>,
    /// The spec of the Tenant, from which it can be made again.
    #[schemars(schema_with = "anything")]
    pub tenant_spec: Value,
}

/// What became of the backup before the removal.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinalBackup {
    /// It was made after the last change, and was restored to prove it.
    Verified,
    /// It was left out, because the spec or the annotation `tenantry.dev/skip-final-backup` said so.
    Skipped,
    /// There was nothing to back up, or the plan had no backups.
    NotMade,
}

/// What is true of the tombstone.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TenantTombstoneStatus {
    /// KeyDestroyed: nobody can read the backups with the tenant's own key any more; BackupsRemoved: they are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// An old spec is kept as it was, whatever the schema of today says.
fn anything(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}
