//! What users write and read: the kinds of the group `tenantry.dev`. No logic but the rules in the schema.
//!
//! The group has one version and never a conversion webhook, so fields are only ever added. Every rule that can be is
//! part of the schema, with a message that says what to write instead; rules on other objects are admission policies
//! of the chart.

pub mod backup_store;
pub mod bootstrap;
pub mod channel;
pub mod conditions;
pub mod plan;
pub mod release;
pub mod retention;
pub mod scheduling;
pub mod tenant;
pub mod tenant_backup;
pub mod tenant_export;
pub mod tenant_restore;
pub mod tombstone;
pub mod upgrade;
pub mod window;

mod rules;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

pub use backup_store::{BackupStore, BackupStoreSpec, BackupStoreStatus, ObjectLock, S3Store, VolumeStore};
pub use bootstrap::{Bootstrap, BootstrapRestore, RestoredFrom};
pub use channel::{
    Approval, Channel, ChannelSpec, ChannelStatus, Rehearse, Rollback, Rollout, RolloutFailure, TenantCounts,
    Wave, WaveApproval,
};
pub use plan::{BackupPolicy, ComputeSize, DatabaseSize, Egress, Plan, PlanSpec};
pub use release::{Release, ReleaseSchema, ReleaseSpec};
pub use retention::Retention;
pub use scheduling::{Scheduling, TaintEffect, Toleration, TolerationOperator};
pub use tenant::{
    Admin, Deletion, EffectiveState, GrantedHost, HostClaim, LastBackup, LastDrill, Locale, State, Tenant,
    TenantBackups, TenantDatabase, TenantSpec, TenantStatus,
};
pub use tenant_backup::{TenantBackup, TenantBackupSpec, TenantBackupStatus};
pub use tenant_export::{TenantExport, TenantExportSpec, TenantExportStatus};
pub use tenant_restore::{
    Latest, Lost, RestoreFrom, RestoreStep, SafetyBackup, TenantRestore, TenantRestoreSpec,
    TenantRestoreStatus,
};
pub use tombstone::{FinalBackup, TenantTombstone, TenantTombstoneSpec, TenantTombstoneStatus};
pub use upgrade::{CheckResult, UpgradeCheck, UpgradeFailure, UpgradeStatus, UpgradeStep};
pub use window::{Day, Window};

/// The definitions of all our kinds, each with the name of the file that holds it in `crds/`.
pub fn definitions() -> Result<Vec<(&'static str, CustomResourceDefinition)>, serde_json::Error> {
    [
        ("tenants.yaml", Tenant::crd()),
        ("plans.yaml", Plan::crd()),
        ("releases.yaml", Release::crd()),
        ("channels.yaml", Channel::crd()),
        ("backupstores.yaml", BackupStore::crd()),
        ("tenantbackups.yaml", TenantBackup::crd()),
        ("tenantexports.yaml", TenantExport::crd()),
        ("tenantrestores.yaml", TenantRestore::crd()),
        ("tenanttombstones.yaml", TenantTombstone::crd()),
    ]
    .into_iter()
    .map(|(file, definition)| Ok((file, without_nullable(&definition)?)))
    .collect()
}

/// Makes an explicit null mean the same as a missing field: the API server drops a null that the schema does not allow.
///
/// With `nullable`, which schemars writes for every `Option`, null would be stored, and rules such as `has(self.release)`
/// would take it for a value.
fn without_nullable(
    definition: &CustomResourceDefinition,
) -> Result<CustomResourceDefinition, serde_json::Error> {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                if fields.get("nullable").is_some_and(Value::is_boolean) {
                    fields.remove("nullable");
                }
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => (),
        }
    }
    let mut value = serde_json::to_value(definition)?;
    strip(&mut value);
    serde_json::from_value(value)
}

#[cfg(test)]
mod tests;
