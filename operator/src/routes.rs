//! The route table that the gateway reads: one ConfigMap, made from what the tenants' statuses grant. One writer.

use std::sync::Arc;

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::ResourceExt;
use serde::Serialize;

use crate::{
    api::{Locale, State, Tenant},
    args::RunArgs,
    cluster::{self, Cluster},
    names::{self, Host, child},
    process::metrics::Metrics,
    tenant::status::effective_state,
};

/// Key in the ConfigMap.
pub const FILE: &str = "routes.json";

/// The route table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RouteTable {
    /// Version of this format.
    pub version: u32,
    /// Sorted by host.
    pub routes: Vec<Route>,
}

/// Where one host leads.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// In lower-case ASCII form.
    pub host: String,
    /// Whose it is.
    pub tenant: String,
    /// Service and port.
    pub upstream: String,
    /// What the tenant does for its users.
    pub state: State,
    /// Language of pages that the gateway shows for the tenant.
    pub locale: Locale,
    /// TLS Secret in the gateway's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_secret: Option<String>,
}

/// The table for a fleet. Pure. Only hosts that a status grants have a route.
pub fn table<'a>(tenants: impl Iterator<Item = &'a Tenant>) -> RouteTable {
    let mut routes: Vec<Route> = tenants.flat_map(routes_of).collect();
    routes.sort_by(|a, b| (&a.host, &a.tenant).cmp(&(&b.host, &b.tenant)));
    // Grants are unique; if a hand-made status says otherwise, the first by name has it, always the same one.
    routes.dedup_by(|later, first| later.host == first.host);
    RouteTable { version: 1, routes }
}

fn routes_of(tenant: &Tenant) -> Vec<Route> {
    let name = tenant.name_any();
    let granted = tenant.status.as_ref().map(|status| status.hosts.as_slice()).unwrap_or_default();
    let tls_secret = |host: &str| {
        let claim = tenant
            .spec
            .hosts
            .iter()
            .find(|claim| Host::parse(&claim.name).is_ok_and(|name| name.as_str() == host));
        claim.and_then(|claim| claim.tls_secret.clone())
    };
    granted
        .iter()
        .map(|host| Route {
            host: host.name.clone(),
            tenant: name.clone(),
            upstream: format!("{}.{}.svc.cluster.local:80", child::CRM, names::namespace_of(&name)),
            state: effective_state(tenant),
            locale: tenant.spec.locale,
            tls_secret: tls_secret(&host.name),
        })
        .collect()
}

/// Why the route table could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request to the API server failed.
    #[error("failed to write the route table")]
    Cluster(#[source] cluster::Error),
    /// It could not be turned into JSON.
    #[error("failed to encode the route table")]
    Encode(#[source] serde_json::Error),
}

/// Writes the table if the one that is there differs.
pub async fn write(
    cluster: &Cluster,
    settings: &RunArgs,
    tenants: &[Arc<Tenant>],
    metrics: &Metrics,
) -> Result<(), Error> {
    let table = table(tenants.iter().map(AsRef::as_ref));
    let json = serde_json::to_string(&table).map_err(Error::Encode)?;
    let namespace = &settings.gateway_namespace;
    let live: Option<ConfigMap> = cluster.get(namespace, names::ROUTES).await.map_err(Error::Cluster)?;
    let present = live.as_ref().and_then(|map| map.data.as_ref()).and_then(|data| data.get(FILE));
    metrics.routes_written(table.routes.len());
    if present == Some(&json) {
        return Ok(());
    }
    let desired = ConfigMap {
        metadata: ObjectMeta {
            name: Some(names::ROUTES.to_owned()),
            namespace: Some(namespace.clone()),
            labels: Some([("app.kubernetes.io/managed-by".to_owned(), "tenantry".to_owned())].into()),
            ..ObjectMeta::default()
        },
        data: Some([(FILE.to_owned(), json)].into()),
        ..ConfigMap::default()
    };
    cluster.apply_routes(namespace, &desired).await.map_err(Error::Cluster)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{GrantedHost, HostClaim, TenantStatus},
        testing,
    };

    #[test]
    fn only_granted_hosts_lead_somewhere() {
        let mut tenant = testing::tenant();
        tenant.spec.hosts = vec![
            HostClaim { name: "客户.example".into(), tls_secret: Some("acme-tls".into()) },
            HostClaim { name: "taken.example".into(), tls_secret: None },
        ];
        let granted =
            ["xn--ubt06m.example", "acme.crm.localhost"].map(|name| GrantedHost { name: name.into() });
        tenant.status = Some(TenantStatus {
            hosts: granted.into(),
            state: Some(State::ReadOnly),
            ..TenantStatus::default()
        });
        let json = serde_json::to_string(&table([&tenant].into_iter())).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"version":1,"routes":["#,
                r#"{"host":"acme.crm.localhost","tenant":"acme","upstream":"crm.tenant-acme.svc.cluster.local:80","state":"ReadOnly","locale":"zh-CN"},"#,
                r#"{"host":"xn--ubt06m.example","tenant":"acme","upstream":"crm.tenant-acme.svc.cluster.local:80","state":"ReadOnly","locale":"zh-CN","tlsSecret":"acme-tls"}"#,
                "]}"
            )
        );
    }

    #[test]
    fn a_tenant_without_status_has_no_route() {
        assert_eq!(table([&testing::tenant()].into_iter()).routes, []);
    }
}
