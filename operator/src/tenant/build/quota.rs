//! What a tenant's pods may use: the plan's size, with room for a rollout, one Job, and a drill.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{LimitRange, LimitRangeItem, LimitRangeSpec, ResourceQuota, ResourceQuotaSpec},
    apimachinery::pkg::api::resource::Quantity as ApiQuantity,
};

use super::common::meta;
use crate::{
    names::{Component, child},
    tenant::validate::ValidTenant,
};

pub(super) fn quota(tenant: &ValidTenant) -> ResourceQuota {
    // During a rollout the pods of both revisions exist, the old ones until they have said goodbye; one Job; and a drill.
    let app_pods = tenant.replicas * 2 + 1;
    let job_pods = if tenant.backup.is_some() { 2 } else { 1 };
    // A drill has a database of its own.
    let databases = 1 + i32::from(tenant.backup.is_some());
    let memory = tenant.app.memory.times(app_pods + job_pods) + tenant.database.memory.times(databases);
    let cpu = tenant.app.cpu.times(app_pods + job_pods) + tenant.database.cpu.times(databases);
    let hard = [
        ("requests.cpu", cpu.to_string()),
        ("requests.memory", memory.to_string()),
        ("limits.memory", memory.to_string()),
        ("requests.storage", tenant.storage.to_string()),
        ("persistentvolumeclaims", "1".to_owned()),
        // Ended pods do not count; one more for the database's successor while the old one stops.
        ("pods", (app_pods + job_pods + 2).to_string()),
        ("services.loadbalancers", "0".to_owned()),
        ("services.nodeports", "0".to_owned()),
    ];
    ResourceQuota {
        metadata: meta(tenant, Component::Tenant, child::LIMITS),
        spec: Some(ResourceQuotaSpec { hard: Some(amounts(hard)), ..ResourceQuotaSpec::default() }),
        status: None,
    }
}

pub(super) fn limits(tenant: &ValidTenant) -> LimitRange {
    // Only for containers that somebody else puts here: ours name their own.
    LimitRange {
        metadata: meta(tenant, Component::Tenant, child::LIMITS),
        spec: Some(LimitRangeSpec {
            limits: vec![LimitRangeItem {
                type_: "Container".to_owned(),
                default: Some(amounts([("memory", "128Mi".to_owned())])),
                default_request: Some(amounts([("cpu", "50m".to_owned()), ("memory", "64Mi".to_owned())])),
                ..LimitRangeItem::default()
            }],
        }),
    }
}

fn amounts<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, ApiQuantity> {
    pairs.into_iter().map(|(name, amount)| (name.to_owned(), ApiQuantity(amount))).collect()
}
