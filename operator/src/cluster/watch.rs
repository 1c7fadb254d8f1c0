//! Watches of the children: label-selected, and nothing is kept but what [`crate::cluster::facts`] takes.

use std::{collections::HashSet, pin::pin};

use futures::StreamExt;
use kube::{
    Api, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use tokio::sync::watch;

use crate::{
    cluster::{
        Cluster,
        cache::{Child, Key},
        facts::ChildKind,
    },
    names,
};

/// Follows all children of one kind: keeps the cache true and names each tenant whose child changed.
///
/// Ends never; `synced` turns true once the first complete list is in.
pub async fn follow<K: ChildKind>(cluster: Cluster, changed: impl Fn(String), synced: watch::Sender<bool>) {
    let api: Api<K> = Api::all(cluster.client.clone());
    let config = watcher::Config::default().labels(names::TENANT_LABEL);
    let mut events = pin!(watcher(api, config).default_backoff());
    let mut listed: HashSet<Key> = HashSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(object)) => {
                listed.extend(take(&cluster, &changed, &object));
            }
            Ok(watcher::Event::Apply(object)) => {
                take(&cluster, &changed, &object);
            }
            Ok(watcher::Event::InitDone) => {
                for tenant in cluster.cache.retain(K::KIND, &std::mem::take(&mut listed)) {
                    changed(tenant);
                }
                synced.send_replace(true);
            }
            Ok(watcher::Event::Delete(object)) => forget(&cluster, &changed, &object),
            Err(error) => {
                cluster.metrics.watch_failed(K::kind(&()).as_ref());
                tracing::warn!(kind = %K::kind(&()), error = %error, "watch failed; it starts again by itself");
            }
        }
    }
}

fn take<K: ChildKind>(cluster: &Cluster, changed: &impl Fn(String), object: &K) -> Option<Key> {
    match Child::of(object) {
        Ok((key, child)) => {
            let tenant = child.tenant.clone();
            if cluster.cache.put(key.clone(), child) {
                changed(tenant);
            }
            Some(key)
        }
        Err(error) => {
            tracing::error!(kind = %K::kind(&()), name = object.name_any(), error = %error, "object was not understood");
            None
        }
    }
}

fn forget<K: ChildKind>(cluster: &Cluster, changed: &impl Fn(String), object: &K) {
    let name = object.name_any();
    let namespace = object.namespace().unwrap_or_else(|| name.clone());
    cluster.cache.remove(&Key { namespace, kind: K::KIND, name }, &object.uid().unwrap_or_default());
    if let Some(tenant) = object.labels().get(names::TENANT_LABEL) {
        changed(tenant.clone());
    }
}
