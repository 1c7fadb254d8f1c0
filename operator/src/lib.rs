//! The Tenantry operator: turns `Tenant` objects into customers' CRMs.

pub mod api;
pub mod gateway;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// A definition as it stands in `crds/`.
pub fn definition_yaml(definition: &CustomResourceDefinition) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(definition)
}
