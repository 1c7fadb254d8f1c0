//! Follows the route table and the certificates that it names, each by name. What was good stays in use until something
//! better has been read: a Kubernetes API that is down, or a slip of the hand, must not take customers down.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Debug,
    pin::pin,
    sync::Arc,
};

use futures::StreamExt;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Client, Resource,
    runtime::{
        utils::Backoff,
        watcher::{self, DefaultBackoff, watch_object},
    },
};
use serde::de::DeserializeOwned;
use tokio_util::task::AbortOnDropHandle;

use super::{Gateway, certificates, routes::RouteTable};

/// The Secret with the certificate for all names under the base domain.
pub const WILDCARD_SECRET: &str = "wildcard-tls";
/// The key in the ConfigMap.
pub const ROUTES_KEY: &str = "routes.json";

/// What was seen of an object.
enum Sight<K> {
    Object(K),
    Absent,
    Unreadable(watcher::Error),
}

/// Follows the route table `name` and its certificates until dropped.
pub async fn follow(client: Client, namespace: &str, name: &str, gateway: Arc<Gateway>) {
    let mut followed = HashMap::new();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    follow_certificates(&mut followed, &BTreeSet::from([WILDCARD_SECRET]), &secrets, &gateway);

    let tables: Api<ConfigMap> = Api::namespaced(client, namespace);
    follow_object(tables, name, |sight| {
        let Some(table) = route_table(name, sight, &gateway) else { return };
        let mut names = table.tls_secrets();
        names.insert(WILDCARD_SECRET);
        follow_certificates(&mut followed, &names, &secrets, &gateway);
        gateway.set_routes(table);
    })
    .await;
}

/// The new route table, if there is one; otherwise says why not.
fn route_table(name: &str, sight: Sight<ConfigMap>, gateway: &Gateway) -> Option<RouteTable> {
    let stale = |reason: &str| {
        gateway.metrics.route_table_stale.set(1);
        gateway.metrics.route_table_errors.with_label_values(&[reason]).inc();
    };
    let config_map = match sight {
        Sight::Object(config_map) => config_map,
        Sight::Absent => {
            stale("absent");
            tracing::warn!(name, "there is no route table, keeping the last one if there was one");
            return None;
        }
        Sight::Unreadable(error) => {
            stale("unreadable");
            tracing::warn!(
                name,
                error = &error as &dyn std::error::Error,
                "cannot read the route table, keeping the last one"
            );
            return None;
        }
    };
    let Some(json) = config_map.data.as_ref().and_then(|data| data.get(ROUTES_KEY)) else {
        stale("invalid");
        tracing::error!(name, key = ROUTES_KEY, "the route table has no such key, keeping the last one");
        return None;
    };
    match RouteTable::parse(json) {
        Ok((table, left_out)) => {
            for reason in &left_out {
                tracing::error!(name, %reason, "left a route out");
            }
            gateway.metrics.routes_left_out.set(i64::try_from(left_out.len()).unwrap_or(i64::MAX));
            gateway.metrics.route_table_stale.set(0);
            tracing::info!(name, hosts = table.len(), left_out = left_out.len(), "read the route table");
            Some(table)
        }
        Err(error) => {
            stale("invalid");
            tracing::error!(
                name,
                error = &error as &dyn std::error::Error,
                "the route table is invalid, keeping the last one"
            );
            None
        }
    }
}

/// Follows exactly these Secrets: starts what is new, ends and forgets what is gone.
fn follow_certificates(
    followed: &mut HashMap<String, AbortOnDropHandle<()>>,
    names: &BTreeSet<&str>,
    secrets: &Api<Secret>,
    gateway: &Arc<Gateway>,
) {
    followed.retain(|name, _| names.contains(name.as_str()));
    gateway.keep_certificates(names);
    for name in names {
        followed.entry((*name).to_owned()).or_insert_with(|| {
            let (secrets, gateway, name) = (secrets.clone(), Arc::clone(gateway), (*name).to_owned());
            AbortOnDropHandle::new(tokio::spawn(async move {
                follow_object(secrets, &name, |sight| certificate(&name, sight, &gateway)).await;
            }))
        });
    }
}

fn certificate(secret: &str, sight: Sight<Secret>, gateway: &Gateway) {
    let failed = |reason: &str| gateway.metrics.certificate_errors.with_label_values(&[reason]).inc();
    match sight {
        Sight::Object(object) => match certificates::parse(&object) {
            Ok(certificate) => {
                gateway.set_certificate(secret, certificate);
                tracing::info!(secret, "read a certificate");
            }
            Err(error) => {
                failed("invalid");
                tracing::error!(
                    secret,
                    error = &error as &dyn std::error::Error,
                    "bad certificate, keeping the last good one"
                );
            }
        },
        // A fleet without a wildcard certificate is nothing to complain about.
        Sight::Absent if secret == WILDCARD_SECRET => {}
        Sight::Absent => {
            failed("absent");
            tracing::warn!(secret, "no such certificate, keeping the last one if there was one");
        }
        Sight::Unreadable(error) => {
            failed("unreadable");
            tracing::warn!(
                secret,
                error = &error as &dyn std::error::Error,
                "cannot read a certificate, keeping the last one"
            );
        }
    }
}

/// Tells every sight of one object until dropped. After an error it looks anew instead of resuming, so that the next
/// sight also says that the trouble is over.
async fn follow_object<K>(api: Api<K>, name: &str, mut tell: impl FnMut(Sight<K>))
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut backoff = DefaultBackoff::default();
    loop {
        let mut sights = pin!(watch_object(api.clone(), name));
        while let Some(sight) = sights.next().await {
            match sight {
                Ok(Some(object)) => tell(Sight::Object(object)),
                Ok(None) => tell(Sight::Absent),
                Err(error) => {
                    tell(Sight::Unreadable(error));
                    break;
                }
            }
            backoff.reset();
        }
        if let Some(pause) = backoff.next() {
            tokio::time::sleep(pause).await;
        }
    }
}
