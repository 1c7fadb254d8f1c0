//! The Tenantry operator: turns `Tenant` objects into customers' CRMs.
//!
//! The rooms, in reading order; dependencies point one way, from the controllers to what they use:

pub mod api; // What users write and read: the kinds and their rules.
pub mod args; // Every flag and environment variable.
pub mod cluster; // The only door to the Kubernetes API: reads, writes, watches, events. Lists the rights that are needed.
pub mod gateway; // `operator gateway`: the tenants' web addresses.
pub mod malformed; // Objects of ours that cannot be read: set aside, told, and otherwise left alone.
#[cfg(feature = "mutants")]
pub mod mutants; // Broken on purpose, for tests only.
pub mod names; // Names, and every label, annotation and child name derived from them.
pub mod process; // What keeps the process alive and visible: start-up, backoff, health, metrics, log.
pub mod quantity; // Amounts in the form in which the API server stores them.
pub mod references; // The finalizer on Plans and Releases in use.
pub mod rollout; // Channels: which tenant is told which release, and when.
pub mod routes; // The route table for the gateway.
pub mod schedule; // When backups are made: cron with values of the tenant's own.
pub mod store; // `operator store`: the door to the backup stores.
pub mod tenant; // The tenant controller: observe, validate, build, apply, status.
pub mod tombstones; // What is left of deleted tenants, until it expires.
pub mod window; // When a maintenance window is open, by the tenant's clock.

#[cfg(test)]
mod testing;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

pub use process::controllers::{run, run_by};

/// A definition as it stands in `crds/`.
pub fn definition_yaml(definition: &CustomResourceDefinition) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(definition)
}
