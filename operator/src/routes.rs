//! The route table that the gateway reads: one ConfigMap, made from what the tenants' statuses grant. One writer.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::ResourceExt;
use serde::{Deserialize, Serialize};

use crate::{
    api::{EffectiveState, Locale, Tenant},
    args::RunArgs,
    cluster::{self, Cluster},
    names::{self, Host, child},
    process::metrics::Metrics,
    tenant::status::effective_state,
};

/// Key in the ConfigMap.
pub const FILE: &str = "routes.json";

/// The table that is there is read this often even when it should be as it was left.
const LOOK_AGAIN: Duration = Duration::from_mins(5);

/// The route table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Version of this format.
    pub version: u32,
    /// Sorted by host.
    pub routes: Vec<Route>,
}

/// Where one host leads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// In lower-case ASCII form.
    pub host: String,
    /// Whose it is.
    pub tenant: String,
    /// Service and port.
    pub upstream: String,
    /// What the tenant does for its users.
    pub state: EffectiveState,
    /// Language of pages that the gateway shows for the tenant.
    pub locale: Locale,
    /// TLS Secret in the gateway's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_secret: Option<String>,
}

impl RouteTable {
    /// The routes of tenants whose status says nothing, as when it was emptied, or when the cluster came back from a backup
    /// without statuses. What was granted to them before stands here, and is theirs until they have been looked at.
    pub fn of_unseen<'a>(&'a self, tenants: &'a [Arc<Tenant>]) -> impl Iterator<Item = &'a Route> {
        let of = |route: &Route| tenants.iter().find(|tenant| tenant.name_any() == route.tenant);
        self.routes.iter().filter(move |route| of(route).is_some_and(|tenant| is_unseen(tenant)))
    }
}

fn is_unseen(tenant: &Tenant) -> bool {
    tenant.status.as_ref().is_none_or(|status| status.observed_generation.is_none())
}

/// The table for a fleet after the one that is there. Pure. Only hosts that a status grants, or granted, have a route.
pub fn table(tenants: &[Arc<Tenant>], present: &RouteTable) -> RouteTable {
    let mut routes: Vec<Route> = tenants.iter().flat_map(|tenant| routes_of(tenant)).collect();
    let granted = |host: &str| routes.iter().any(|route| route.host == host);
    let kept: Vec<Route> =
        present.of_unseen(tenants).filter(|route| !granted(&route.host)).cloned().collect();
    routes.extend(kept);
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

/// The table that is there; empty if there is none, or none that can be read.
pub async fn present(cluster: &Cluster, settings: &RunArgs) -> Result<RouteTable, Error> {
    Ok(parse(live(cluster, settings).await?.as_deref()))
}

async fn live(cluster: &Cluster, settings: &RunArgs) -> Result<Option<String>, Error> {
    let map = cluster.get::<ConfigMap>(&settings.gateway_namespace, names::ROUTES).await;
    Ok(map.map_err(Error::Cluster)?.and_then(|map| map.data).and_then(|mut data| data.remove(FILE)))
}

fn parse(live: Option<&str>) -> RouteTable {
    live.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

/// All of a fleet that can change the table: most news of tenants changes nothing here, and then it is not even read.
#[derive(Debug, PartialEq)]
struct Grants {
    routes: Vec<Route>,
    /// Whose routes are kept as they are.
    unseen: Vec<String>,
}

impl Grants {
    fn of(tenants: &[Arc<Tenant>]) -> Self {
        let unseen = tenants.iter().filter(|tenant| is_unseen(tenant));
        Self {
            routes: tenants.iter().flat_map(|tenant| routes_of(tenant)).collect(),
            unseen: unseen.map(|tenant| tenant.name_any()).collect(),
        }
    }
}

/// Writes the table, and remembers what it was made of.
#[derive(Debug, Default)]
pub struct Writer {
    left: Mutex<Option<(Instant, Grants)>>,
}

impl Writer {
    /// Writes the table if the one that is there differs. It is read when the fleet grants something else than the last time,
    /// and every five minutes.
    pub async fn write(
        &self,
        cluster: &Cluster,
        settings: &RunArgs,
        tenants: &[Arc<Tenant>],
        metrics: &Metrics,
        now: Instant,
    ) -> Result<(), Error> {
        let grants = Grants::of(tenants);
        // Nothing is remembered until the table is written: a request that seems to fail may have changed it.
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner).take();
        let as_left =
            |(at, left): &(Instant, Grants)| now.duration_since(*at) < LOOK_AGAIN && *left == grants;
        let left = if let Some(left) = left.filter(as_left) {
            left
        } else {
            make(cluster, settings, tenants, metrics).await?;
            (now, grants)
        };
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(left);
        Ok(())
    }
}

async fn make(
    cluster: &Cluster,
    settings: &RunArgs,
    tenants: &[Arc<Tenant>],
    metrics: &Metrics,
) -> Result<(), Error> {
    let namespace = &settings.gateway_namespace;
    let live = live(cluster, settings).await?;
    let table = table(tenants, &parse(live.as_deref()));
    let json = serde_json::to_string(&table).map_err(Error::Encode)?;
    metrics.routes_written(table.routes.len());
    if live.as_ref() == Some(&json) {
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
        testing::{
            self,
            fake_api::{Failure, FakeApi},
        },
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
            state: Some(EffectiveState::ReadOnly),
            ..TenantStatus::default()
        });
        let json = serde_json::to_string(&table(&[tenant.into()], &RouteTable::default())).unwrap();
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
    fn a_new_tenant_has_no_route() {
        assert_eq!(table(&[testing::tenant().into()], &RouteTable::default()).routes, []);
    }

    #[tokio::test]
    async fn the_table_is_read_only_when_another_one_is_due_or_it_is_time_to_look_again() {
        let api = FakeApi::default();
        let metrics = Arc::new(Metrics::new().unwrap());
        let cluster = Cluster::new(api.client(), metrics.clone());
        let settings = testing::settings();
        let writer = Writer::default();
        let start = Instant::now();
        let calls = async |tenant: &Tenant, age: Duration| {
            let fleet = [tenant.clone().into()];
            let written = writer.write(&cluster, &settings, &fleet, &metrics, start + age).await;
            written.map(|()| api.take_calls().iter().map(|call| call.method.to_string()).collect::<Vec<_>>())
        };
        let mut tenant = testing::tenant();
        let granted = vec![GrantedHost { name: "acme.crm.localhost".into() }];
        let seen = TenantStatus { observed_generation: Some(1), hosts: granted, ..TenantStatus::default() };
        tenant.status = Some(seen.clone());
        assert_eq!(calls(&tenant, Duration::ZERO).await.unwrap(), ["GET", "PATCH"]);
        tenant.spec.display_name = "Another name".into();
        assert_eq!(calls(&tenant, Duration::ZERO).await.unwrap(), [""; 0]);
        tenant.status = Some(TenantStatus { state: Some(EffectiveState::Suspended), ..seen.clone() });
        assert_eq!(calls(&tenant, Duration::ZERO).await.unwrap(), ["GET", "PATCH"]);
        tenant.status = None;
        assert_eq!(calls(&tenant, Duration::ZERO).await.unwrap(), ["GET"], "its routes are kept");
        assert_eq!(calls(&tenant, LOOK_AGAIN).await.unwrap(), ["GET"]);
        assert_eq!(calls(&tenant, LOOK_AGAIN).await.unwrap(), [""; 0]);

        // What failed is done again, even when the fleet is back at what was written before.
        api.fail(1, Failure::After);
        tenant.status = Some(seen);
        calls(&tenant, LOOK_AGAIN).await.unwrap_err();
        api.take_calls();
        tenant.status = None;
        assert_eq!(calls(&tenant, LOOK_AGAIN).await.unwrap(), ["GET"]);
    }

    #[test]
    fn a_tenant_whose_status_was_emptied_keeps_its_routes_but_for_what_another_was_granted() {
        let mut tenant = testing::tenant();
        let grant = |name: &str| GrantedHost { name: name.into() };
        tenant.status = Some(TenantStatus {
            observed_generation: Some(1),
            hosts: vec![grant("acme.crm.localhost"), grant("crm.acme.example")],
            ..TenantStatus::default()
        });
        let before = table(&[tenant.clone().into()], &RouteTable::default());
        assert_eq!(before.routes.len(), 2);

        tenant.status = None;
        assert_eq!(table(&[tenant.clone().into()], &before), before);
        let mut other = testing::tenant();
        other.metadata.name = Some("other".into());
        other.status = Some(TenantStatus {
            observed_generation: Some(1),
            hosts: vec![grant("crm.acme.example")],
            ..TenantStatus::default()
        });
        let after = table(&[tenant.clone().into(), other.into()], &before);
        let owners: Vec<_> = after.routes.iter().map(|route| route.tenant.as_str()).collect();
        assert_eq!(owners, ["acme", "other"]);

        // A status that says something is believed, and so is the end of a tenant.
        tenant.status = Some(TenantStatus { observed_generation: Some(1), ..TenantStatus::default() });
        assert_eq!(table(&[tenant.into()], &before).routes, []);
        assert_eq!(table(&[], &before).routes, []);
    }
}
