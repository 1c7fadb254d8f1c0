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

/// How many objects of a list come at once. Whole objects are many times as large as what is kept of them, and all kinds are
/// listed at the same time when the operator starts: pages decide how much memory it needs.
pub const PAGE: u32 = 50;

/// Follows all children of one kind: keeps the cache true and names each tenant whose child changed.
///
/// Ends never; `synced` turns true once the first complete list is in. That the cluster does not know the kind is a complete
/// answer too: it has none. The watch goes on asking, since a definition may come later.
pub async fn follow<K: ChildKind>(cluster: Cluster, changed: impl Fn(String), synced: watch::Sender<bool>) {
    let api: Api<K> = Api::all(cluster.client.clone());
    let config = watcher::Config::default().labels(names::TENANT_LABEL).page_size(PAGE);
    let start = || watcher(api.clone(), config.clone()).default_backoff();
    let mut events = pin!(start());
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
                if cluster.cache.set_served(K::KIND, true) {
                    tracing::info!(kind = %K::kind(&()), "the cluster knows this kind now");
                    cluster.cache.tenants().into_iter().for_each(&changed);
                }
                retain::<K>(&cluster, &changed, &std::mem::take(&mut listed));
                synced.send_replace(true);
            }
            Ok(watcher::Event::Delete(object)) => forget(&cluster, &changed, &object),
            Err(error) if is_unserved(&error) => {
                if cluster.cache.set_served(K::KIND, false) {
                    tracing::warn!(kind = %K::kind(&()), "the cluster does not know this kind");
                }
                retain::<K>(&cluster, &changed, &HashSet::new());
                synced.send_replace(true);
                // A watch that was under way knows a version of a definition that is gone: what comes next is listed anew.
                if matches!(error, watcher::Error::WatchStartFailed(_)) {
                    events.set(start());
                }
            }
            Err(error) => {
                cluster.metrics.watch_failed(K::kind(&()).as_ref());
                tracing::warn!(kind = %K::kind(&()), error = %error, "watch failed; it starts again by itself");
            }
        }
    }
}

/// Nobody but a server that lacks the kind answers "not found" to a list or watch of a whole kind.
fn is_unserved(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)) = error else {
        return false;
    };
    // By the code: for a group that it does not know at all, the server answers with a text that has no reason.
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

fn retain<K: ChildKind>(cluster: &Cluster, changed: &impl Fn(String), listed: &HashSet<Key>) {
    let lost = cluster.cache.retain(K::KIND, listed);
    lost.iter().filter_map(Key::tenant).for_each(changed);
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
    let key = Key::of(object);
    let uid = object.meta().uid.as_deref().unwrap_or_default().into();
    cluster.cache.remove(&key, &uid, version_of(object));
    key.tenant().into_iter().for_each(changed);
}
