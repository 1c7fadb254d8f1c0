//! The route table: which tenant answers for which host. Pure data and a lookup, exact match only.

use std::collections::{BTreeSet, HashMap};

use http::uri::Authority;
use serde::Deserialize;

use super::host::{Host, InvalidHost};

/// The version of the document that this gateway reads. A newer one is refused as a whole.
pub const VERSION: u32 = 1;

/// One host of one tenant, as it stands in the document.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    host: String,
    tenant: String,
    upstream: String,
    state: ServiceState,
    locale: Locale,
    tls_secret: Option<String>,
}

/// A tenant's effective state, as far as the way in cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum ServiceState {
    /// Served.
    Active,
    /// Served; the application itself refuses writes.
    ReadOnly,
    /// Not served, by decision.
    Suspended,
    /// Not served while a backup takes the place of its data.
    Restoring,
    /// Not served for now; also what a state that only a newer operator knows is read as.
    #[serde(other)]
    Unavailable,
}

/// A language of the gateway's own pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Locale {
    /// Simplified Chinese.
    #[serde(rename = "zh-CN")]
    ZhCn,
    /// English, and whatever language we have no pages in.
    #[serde(rename = "en", other)]
    En,
}

/// A route that can be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The tenant's name.
    pub tenant: String,
    /// Where the tenant listens.
    pub upstream: Authority,
    /// Whether the tenant is served.
    pub state: ServiceState,
    /// The language of the gateway's own pages.
    pub locale: Locale,
    /// The Secret with this host's certificate.
    pub tls_secret: Option<String>,
}

/// All routes, by host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTable(HashMap<Host, Route>);

/// An entry that was left out, so that one bad entry does not take the others down.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRoute {
    /// Not the shape of an entry.
    #[error("route {index}: {message}")]
    Shape {
        /// Position in the document.
        index: usize,
        /// What the parser says.
        message: String,
    },
    /// The host is no host name.
    #[error("route {index}: host {host:?}: {source}")]
    Host {
        /// Position in the document.
        index: usize,
        /// The name as written.
        host: String,
        /// What is wrong with it.
        source: InvalidHost,
    },
    /// The upstream is not `host:port`.
    #[error("route {index}: upstream {upstream:?} is not host:port")]
    Upstream {
        /// Position in the document.
        index: usize,
        /// The address as written.
        upstream: String,
    },
    /// The host already belongs to another entry, which keeps it.
    #[error("route {index}: host {host} is already routed")]
    Taken {
        /// Position in the document.
        index: usize,
        /// The host in question.
        host: String,
    },
}

/// Why a whole document is refused.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTable {
    /// Not JSON of the right shape.
    #[error("the route table cannot be read")]
    Parse(#[from] serde_json::Error),
    /// Written for a newer gateway.
    #[error("route table version {0} is not supported, this gateway reads version {VERSION}")]
    Version(u32),
}

impl RouteTable {
    /// Reads a document. Entries that make no sense are left out and reported.
    pub fn parse(json: &str) -> Result<(Self, Vec<InvalidRoute>), InvalidTable> {
        #[derive(Deserialize)]
        struct Loose {
            version: u32,
            routes: Vec<serde_json::Value>,
        }

        let document: Loose = serde_json::from_str(json)?;
        if document.version != VERSION {
            return Err(InvalidTable::Version(document.version));
        }
        let mut routes = HashMap::with_capacity(document.routes.len());
        let mut left_out = Vec::new();
        for (index, value) in document.routes.into_iter().enumerate() {
            match route(index, value) {
                Ok((host, _)) if routes.contains_key(&host) => {
                    left_out.push(InvalidRoute::Taken { index, host: host.to_string() });
                }
                Ok((host, route)) => {
                    routes.insert(host, route);
                }
                Err(error) => left_out.push(error),
            }
        }
        Ok((Self(routes), left_out))
    }

    /// The route of exactly this host.
    pub fn get(&self, host: &Host) -> Option<&Route> {
        self.0.get(host)
    }

    /// The number of hosts.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no route at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tenants that have a route.
    pub fn tenants(&self) -> BTreeSet<&str> {
        self.0.values().map(|route| route.tenant.as_str()).collect()
    }

    /// The Secrets that hold certificates of these hosts.
    pub fn tls_secrets(&self) -> BTreeSet<&str> {
        self.0.values().filter_map(|route| route.tls_secret.as_deref()).collect()
    }
}

fn route(index: usize, value: serde_json::Value) -> Result<(Host, Route), InvalidRoute> {
    let entry: Entry = serde_json::from_value(value)
        .map_err(|error| InvalidRoute::Shape { index, message: error.to_string() })?;
    let Entry { host, tenant, upstream, state, locale, tls_secret } = entry;
    let key = match Host::from_config(&host) {
        Ok(key) => key,
        Err(source) => return Err(InvalidRoute::Host { index, host, source }),
    };
    let upstream = match upstream.parse::<Authority>() {
        Ok(authority) if authority.port().is_some() && !upstream.contains('@') => authority,
        _ => return Err(InvalidRoute::Upstream { index, upstream }),
    };
    Ok((key, Route { tenant, upstream, state, locale, tls_secret }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(host: &str, tenant: &str) -> serde_json::Value {
        json!({"host": host, "tenant": tenant, "upstream": format!("crm.tenant-{tenant}.svc:80"),
               "state": "Active", "locale": "zh-CN"})
    }

    fn parse(routes: &[serde_json::Value]) -> (RouteTable, Vec<InvalidRoute>) {
        RouteTable::parse(&json!({"version": 1, "routes": routes}).to_string()).unwrap()
    }

    fn tenant<'a>(table: &'a RouteTable, host: &str) -> Option<&'a str> {
        table.get(&Host::from_wire(host).unwrap()).map(|route| route.tenant.as_str())
    }

    #[test]
    fn lookup_is_exact_and_one_tenant_may_have_several_hosts() {
        let (table, left_out) =
            parse(&[entry("acme.crm.localhost", "acme"), entry("CRM.Acme.Example.", "acme")]);
        assert_eq!(left_out, []);
        assert_eq!(tenant(&table, "acme.crm.localhost"), Some("acme"));
        assert_eq!(tenant(&table, "crm.acme.example"), Some("acme"));
        for other in ["crm.localhost", "x.acme.crm.localhost", "acme.crm.localhost.evil", "acme"] {
            assert_eq!(tenant(&table, other), None, "{other}");
        }
    }

    #[test]
    fn an_international_host_is_found_by_its_punycode() {
        let (table, _) = parse(&[entry("客户.example", "kehu")]);
        assert_eq!(tenant(&table, "xn--ubt06m.example"), Some("kehu"));
    }

    #[test]
    fn a_bad_entry_does_not_take_the_others_down() {
        let mut bad_upstream = entry("c.example", "c");
        bad_upstream["upstream"] = json!("crm.tenant-c.svc");
        let (table, left_out) = parse(&[
            json!({"host": "a.example"}),
            entry("b example", "b"),
            bad_upstream,
            entry("d.example", "d"),
            entry("D.example", "thief"),
        ]);
        assert_eq!(tenant(&table, "d.example"), Some("d"));
        assert_eq!(table.len(), 1);
        assert_eq!(left_out.len(), 4);
    }

    #[test]
    fn states_and_languages_of_a_newer_operator_are_read_as_the_careful_choice() {
        let mut future = entry("a.example", "a");
        future["state"] = json!("Hibernated");
        future["locale"] = json!("fr");
        let (table, _) = parse(&[future]);
        let route = table.get(&Host::from_wire("a.example").unwrap()).unwrap();
        assert_eq!((route.state, route.locale), (ServiceState::Unavailable, Locale::En));
    }

    #[test]
    fn a_document_of_another_version_or_shape_is_refused_as_a_whole() {
        assert!(matches!(RouteTable::parse(r#"{"version":2,"routes":[]}"#), Err(InvalidTable::Version(2))));
        assert!(matches!(RouteTable::parse("{"), Err(InvalidTable::Parse(_))));
    }

    #[test]
    fn what_the_operator_writes_is_what_is_read() {
        use crate::{api, routes as written};

        let route = written::Route {
            host: "acme.crm.localhost".into(),
            tenant: "acme".into(),
            upstream: "crm.tenant-acme.svc.cluster.local:80".into(),
            state: api::EffectiveState::ReadOnly,
            locale: api::Locale::ZhCn,
            tls_secret: Some("acme-tls".into()),
        };
        let json =
            serde_json::to_string(&written::RouteTable { version: VERSION, routes: vec![route] }).unwrap();
        let (table, left_out) = RouteTable::parse(&json).unwrap();
        assert_eq!(left_out, []);
        let read = table.get(&Host::from_wire("acme.crm.localhost").unwrap()).unwrap();
        assert_eq!((read.state, read.locale), (ServiceState::ReadOnly, Locale::ZhCn));
        assert_eq!(read.upstream, "crm.tenant-acme.svc.cluster.local:80");
        assert_eq!(table.tls_secrets(), BTreeSet::from(["acme-tls"]));
        assert_eq!(table.tenants(), BTreeSet::from(["acme"]));
    }
}
