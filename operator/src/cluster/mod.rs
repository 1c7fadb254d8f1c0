//! The only door to the Kubernetes API.
//!
//! # Rights
//!
//! What the operator's service account needs, and no more. The chart's roles are this table.
//!
//! Cluster-wide (ClusterRole `tenantry-operator`, bound by a ClusterRoleBinding):
//!
//! | group | resources | verbs |
//! |---|---|---|
//! | `tenantry.dev` | `tenants`, `plans`, `releases`, `channels`, `backupstores` | list, watch, patch |
//! | `tenantry.dev` | `tenants` | get |
//! | `tenantry.dev` | `tenantbackups` | get, list, watch, delete |
//! | `tenantry.dev` | `tenantrestores`, `tenantexports` | get, list, watch |
//! | `tenantry.dev` | `tenanttombstones` | list, watch, create, patch, delete |
//! | `tenantry.dev` | `tenants/status`, `channels/status`, `tenantbackups/status`, `tenantrestores/status`, `tenantexports/status`, `tenanttombstones/status` | patch |
//! | (core) | `namespaces` | get, list, watch, create, patch, delete |
//! | (core) | `pods`, `services`, `serviceaccounts`, `persistentvolumeclaims`, `resourcequotas`, `limitranges` | list, watch |
//! | `apps` | `deployments`, `statefulsets` | list, watch |
//! | `batch` | `jobs`, `cronjobs` | list, watch |
//! | `networking.k8s.io` | `networkpolicies` | list, watch |
//! | `policy` | `poddisruptionbudgets` | list, watch |
//! | `rbac.authorization.k8s.io` | `rolebindings` | list, watch, create, patch |
//! | `rbac.authorization.k8s.io` | `clusterroles` named `tenantry-tenant` | bind |
//! | `storage.k8s.io` | `storageclasses` | get |
//! | `networking.k8s.io` | `ingresses`, when routing is or was `Ingress` | list, watch |
//! | `gateway.networking.k8s.io` | `httproutes`, when routing is or was `HTTPRoute` | list, watch |
//!
//! In each tenant namespace (ClusterRole `tenantry-tenant`, bound by the RoleBinding `tenantry-operator` that the operator
//! makes there first; never bound cluster-wide):
//!
//! | group | resources | verbs |
//! |---|---|---|
//! | (core) | `secrets` | get, create, patch, delete |
//! | (core) | `configmaps` | get, create, patch |
//! | (core) | `services`, `serviceaccounts`, `persistentvolumeclaims`, `resourcequotas` | create, patch, delete |
//! | (core) | `limitranges` | create, patch |
//! | (core) | `pods` | patch |
//! | `apps` | `deployments`, `statefulsets` | create, patch, delete |
//! | `batch` | `jobs` | get, create, delete |
//! | `batch` | `cronjobs` | create, patch, delete |
//! | `networking.k8s.io` | `networkpolicies` | create, patch, delete |
//! | `policy` | `poddisruptionbudgets` | create, patch, delete |
//! | `networking.k8s.io` | `ingresses`, when routing is `Ingress` | create, patch, delete |
//! | `gateway.networking.k8s.io` | `httproutes`, when routing is `HTTPRoute` | create, patch, delete |
//! | either | the kind that routing was before, while some are left | delete |
//!
//! In single namespaces (Roles):
//!
//! | namespace | group | resources | verbs |
//! |---|---|---|---|
//! | the gateway's, when routing is `Builtin` | (core) | `configmaps` named `routes` | get, create, patch |
//! | that of the keys of deleted tenants | (core) | `secrets` | get, create, delete |
//! | the operator's | (core) | `secrets` named in `--image-pull-secret` | get |
//! | the operator's | `coordination.k8s.io` | `leases` named `tenantry-operator` | get, update |
//! | the operator's | `coordination.k8s.io` | `leases` | create |
//! | `default` (events of cluster-scoped objects) | `events.k8s.io` | `events` | create, patch |
//!
//! Secrets and ConfigMaps are never listed or watched, only got by name.

pub mod cache;
pub mod facts;
pub mod fingerprint;
pub mod http_route;
pub mod repairs;
pub mod uid;
pub mod watch;
pub mod write;

mod events;
mod global;
mod patience;
mod read;

use std::sync::Arc;

use kube::Client;
use tokio::sync::{Semaphore, SemaphorePermit};

pub use events::{Severity, truncated};
pub use patience::client;

use crate::{
    cluster::{cache::Cache, events::Announcer, repairs::Repairs},
    process::{lease::Term, metrics::Metrics},
};

/// How many requests about tenants are under way at the same time.
///
/// A reconcile makes many at once, and each needs a connection with keys and buffers of its own. A fleet that is made all at
/// once would have hundreds, which makes no API server faster. Watches, and the lease, which must not wait, do not count.
pub const REQUESTS_AT_ONCE: usize = 8;

/// A client, what we last saw through it, and the count of what we did with it.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    cache: Arc<Cache>,
    repairs: Arc<Repairs>,
    metrics: Arc<Metrics>,
    announcer: Arc<Announcer>,
    term: Option<Term>,
    /// One for each request that may be under way.
    places: Arc<Semaphore>,
}

impl Cluster {
    /// A door with an empty cache.
    pub fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        let announcer = Arc::new(Announcer::new(client.clone()));
        let places = Arc::new(Semaphore::new(REQUESTS_AT_ONCE));
        Self {
            client,
            cache: Arc::default(),
            repairs: Arc::default(),
            metrics,
            announcer,
            term: None,
            places,
        }
    }

    /// The same door, through which nothing is written any more once the term is over.
    #[must_use]
    pub fn during(self, term: Option<Term>) -> Self {
        Self { term, ..self }
    }

    /// What we last saw of every child.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Waits until one more request may be made; it is over when the place is dropped.
    async fn place(&self) -> Option<SemaphorePermit<'_>> {
        // Nobody closes the semaphore; if somebody did, there would be no limit.
        self.places.acquire().await.ok()
    }

    /// The client, for watches.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

/// A request to the API server that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading failed, which is not the same as "not there".
    #[error("failed to read {kind} {name:?}")]
    Read {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// What the API server or the connection said.
        source: Box<kube::Error>,
    },
    /// Writing failed.
    #[error("failed to {verb} {kind} {name:?}")]
    Write {
        /// What was tried: apply, create, patch, delete.
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// What the API server or the connection said.
        source: Box<kube::Error>,
    },
    /// Somebody else changes a child back each time that it is put right.
    #[error(
        "{kind} {name} in namespace {namespace} was put right {count} times within {seconds} s, and somebody changes it back each time: another controller writes the same fields. It is put right less often now; find the other writer with: kubectl get {kind} {name} -n {namespace} -o yaml --show-managed-fields",
        count = repairs::PATIENCE,
        seconds = repairs::WINDOW.as_secs()
    )]
    Contested {
        /// Kind of the child.
        kind: String,
        /// Name of the child.
        name: String,
        /// Where it is.
        namespace: String,
    },
    /// Another replica may be at work.
    #[error("did not {verb} {kind} {name:?}: the lease has run out")]
    TermOver {
        /// What was to be done.
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
    },
    /// An object could not be turned into JSON.
    #[error("failed to encode {kind}")]
    Encode {
        /// Kind of the object.
        kind: String,
        /// Why.
        source: serde_json::Error,
    },
}

impl Error {
    /// What the API server answered, if it answered.
    pub fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            Self::Contested { .. } | Self::TermOver { .. } | Self::Encode { .. } => None,
        }
    }

    /// The API server refused for want of rights.
    pub fn is_forbidden(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_forbidden)
    }

    /// The namespace's quota is used up.
    pub fn is_quota(&self) -> bool {
        self.is_forbidden() && self.status().is_some_and(|status| status.message.contains("exceeded quota"))
    }

    /// A volume claim was refused its larger size.
    pub fn is_volume_not_grown(&self) -> bool {
        matches!(self, Self::Write { kind, .. } if kind == "PersistentVolumeClaim")
            && self.status().is_some_and(|status| status.message.contains("resize"))
    }

    /// The API server says that there is no such object.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_not_found)
    }

    /// The API server understood the request and will not carry it out, however often it is asked.
    pub fn is_refusal(&self) -> bool {
        self.status()
            .is_some_and(|status| (400..500).contains(&status.code) && !matches!(status.code, 409 | 429))
    }

    /// Another write came first; reading again and retrying helps.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_conflict)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
    use tokio::time::{Duration, Instant};

    use super::*;
    use crate::names;
    use crate::testing::fake_api::FakeApi;

    #[tokio::test]
    async fn a_request_waits_until_there_is_a_place() {
        let cluster = Cluster::new(FakeApi::default().client(), Arc::new(Metrics::new().unwrap()));
        let mut taken = Vec::new();
        for _ in 0..REQUESTS_AT_ONCE {
            taken.push(cluster.place().await.unwrap());
        }
        let mut read = Box::pin(cluster.get::<ConfigMap>("tenantry-gateway", names::ROUTES));
        assert!(futures::poll!(&mut read).is_pending(), "all places are taken");
        taken.pop();
        assert_eq!(read.await.unwrap(), None);
    }

    #[tokio::test]
    async fn nothing_is_written_after_the_term() {
        let api = FakeApi::default();
        let cluster = Cluster::new(api.client(), Arc::new(Metrics::new().unwrap()));
        let metadata = ObjectMeta { name: Some(names::ROUTES.to_owned()), ..ObjectMeta::default() };
        let routes = ConfigMap { metadata, ..ConfigMap::default() };
        let of = |term| cluster.clone().during(Some(term));
        of(Term::new(Instant::now())).apply_routes("tenantry-gateway", &routes).await.unwrap();
        assert_eq!(api.take_calls().len(), 1);
        let long_ago = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
        let refused = of(Term::new(long_ago)).apply_routes("tenantry-gateway", &routes).await;
        assert!(matches!(refused, Err(Error::TermOver { verb: "apply", .. })), "{refused:?}");
        assert_eq!(api.take_calls(), []);
    }
}
