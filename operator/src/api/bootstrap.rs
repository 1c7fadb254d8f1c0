//! What a tenant begins with, when it does not begin empty.
#![expect(unreachable_pub, reason = "KubeSchema derives from hidden copies of the structs")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::rules;

/// What a tenant begins with.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Bootstrap {
    /// The data of a backup, which is restored before the CRM starts for the first time.
    pub restore: BootstrapRestore,
}

/// A backup of a tenant that there is or was. It is read from the store that the plan of the new tenant names.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.backup) || !has(self.time)").message("set one of bootstrap.restore.backup (its name) and bootstrap.restore.time (the newest that is not younger), or neither for the newest")
)]
pub struct BootstrapRestore {
    /// Name of the Tenant whose backup it is; without it, that of the new Tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new(rules::TENANT_NAME).message("bootstrap.restore.tenant is the name of the Tenant whose backup it is"))]
    pub tenant: Option<String>,
    /// The uid of that Tenant, under which its backups are kept.
    #[serde(rename = "tenantUID")]
    #[schemars(length(min = 36, max = 36))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$')").message("bootstrap.restore.tenantUID is the uid of the Tenant whose backup it is, as its tombstone has it (kubectl get tenanttombstones -o wide)"))]
    pub tenant_uid: String,
    /// The backup of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 23, max = 23))]
    #[x_kube(validation = Rule::new(rules::BACKUP_NAME).message("bootstrap.restore.backup is the name of a backup such as 20261122T132501Z-ab12cd, as status.lastBackup has it"))]
    pub backup: Option<String>,
    /// The newest that holds the data of this moment or an earlier one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
}

/// The backup that a tenant began with.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RestoredFrom {
    /// Uid of the Tenant whose backup it is.
    #[serde(rename = "tenantUID")]
    pub tenant_uid: String,
    /// Its name in the store.
    pub backup: String,
    /// The moment whose data it holds.
    pub created_at: Time,
}
