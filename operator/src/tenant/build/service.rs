//! Services and disruption budgets of database and CRM.

use k8s_openapi::{
    api::{
        core::v1::{Service, ServicePort, ServiceSpec},
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::common::{
    CRM_PORT, CRM_SERVICE_PORT, MANAGEMENT_PORT, POSTGRES_PORT, meta, port, selector, selector_labels,
};
use crate::{
    names::{Component, child},
    tenant::validate::ValidTenant,
};

pub(super) fn services(tenant: &ValidTenant) -> Vec<Service> {
    let postgres = || service_port("postgres", POSTGRES_PORT, POSTGRES_PORT);
    let crm = || {
        vec![
            service_port("http", CRM_PORT, CRM_PORT),
            service_port("management", MANAGEMENT_PORT, MANAGEMENT_PORT),
        ]
    };
    vec![
        // Clients use this name: it resolves from the first moment on, so no "no such name" is ever cached.
        at_once(service(tenant, Component::Database, child::DATABASE, vec![postgres()])),
        headless(service(tenant, Component::Database, child::DATABASE_PODS, vec![postgres()])),
        service(tenant, Component::Crm, child::CRM, vec![service_port("http", CRM_SERVICE_PORT, CRM_PORT)]),
        headless(service(tenant, Component::Crm, child::CRM_PODS, crm())),
    ]
}

fn service(tenant: &ValidTenant, component: Component, name: &str, ports: Vec<ServicePort>) -> Service {
    Service {
        metadata: meta(tenant, component, name),
        spec: Some(ServiceSpec {
            selector: Some(selector_labels(component)),
            ports: Some(ports),
            type_: Some("ClusterIP".to_owned()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// With one database there is none to prefer, so readiness would only delay: a client gets through as soon as the server
/// listens, a second before the kubelet's probe has told everybody.
fn at_once(mut service: Service) -> Service {
    if let Some(spec) = service.spec.as_mut() {
        spec.publish_not_ready_addresses = Some(true);
    }
    service
}

fn headless(mut service: Service) -> Service {
    if let Some(spec) = service.spec.as_mut() {
        spec.cluster_ip = Some("None".to_owned());
    }
    service
}

fn service_port(name: &str, number: i32, target: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number,
        protocol: Some("TCP".to_owned()),
        target_port: Some(port(target)),
        ..ServicePort::default()
    }
}

pub(super) fn budgets(tenant: &ValidTenant) -> Vec<PodDisruptionBudget> {
    [(Component::Crm, child::CRM), (Component::Database, child::DATABASE)]
        .map(|(component, name)| PodDisruptionBudget {
            metadata: meta(tenant, component, name),
            spec: Some(PodDisruptionBudgetSpec {
                max_unavailable: Some(IntOrString::Int(1)),
                selector: Some(selector(component)),
                // A pod that does not work must not hold up the draining of its node.
                unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
                ..PodDisruptionBudgetSpec::default()
            }),
            status: None,
        })
        .into()
}
