//! The HTTPRoutes, for clusters with an implementation of the Gateway API.
//!
//! TLS is the business of the Gateway's listeners. Defaults of the definition are spelled out: see
//! [`crate::cluster::fingerprint`].

use super::common::{CRM_SERVICE_PORT, route_meta};
use crate::{
    args::{ParentGateway, RoutingArgs},
    cluster::http_route::{BackendRef, HttpRoute, HttpRouteSpec, Match, ParentRef, PathMatch, Rule},
    names::{self, Host, child},
    tenant::validate::ValidTenant,
};

/// An HTTPRoute has room for so many hosts.
const MAX_HOSTNAMES: usize = 16;

/// As many routes as the hosts need; none without hosts, since a route without any would take every request.
pub(super) fn http_routes(tenant: &ValidTenant, granted: &[Host], routing: &RoutingArgs) -> Vec<HttpRoute> {
    let route = |(index, hosts): (usize, &[Host])| HttpRoute {
        metadata: route_meta(tenant, &names::http_route(index), routing),
        spec: HttpRouteSpec {
            parent_refs: routing.parents.iter().map(parent_ref).collect(),
            hostnames: hosts.iter().map(Host::to_string).collect(),
            rules: vec![everything_to_the_crm()],
        },
        status: None,
    };
    granted.chunks(MAX_HOSTNAMES).enumerate().map(route).collect()
}

fn parent_ref(gateway: &ParentGateway) -> ParentRef {
    ParentRef {
        group: "gateway.networking.k8s.io".to_owned(),
        kind: "Gateway".to_owned(),
        namespace: Some(gateway.namespace.clone()),
        name: gateway.name.clone(),
        section_name: gateway.listener.clone(),
    }
}

fn everything_to_the_crm() -> Rule {
    let path = PathMatch { type_: "PathPrefix".to_owned(), value: "/".to_owned() };
    Rule {
        matches: vec![Match { path: Some(path) }],
        backend_refs: vec![BackendRef {
            group: String::new(),
            kind: "Service".to_owned(),
            name: child::CRM.to_owned(),
            port: Some(CRM_SERVICE_PORT),
            weight: 1,
        }],
    }
}
