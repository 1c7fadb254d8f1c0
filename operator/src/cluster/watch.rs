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
        cache::{Child, Key, version_of},
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
                let lost = cluster.cache.retain(K::KIND, &std::mem::take(&mut listed));
                lost.iter().filter_map(Key::tenant).for_each(&changed);
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
            if cluster.cache.put(key.clone(), child) {
                key.tenant().into_iter().for_each(changed);
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
    let key = Key { namespace, kind: K::KIND, name };
    cluster.cache.remove(&key, &object.uid().unwrap_or_default(), version_of(object));
    key.tenant().into_iter().for_each(changed);
}
