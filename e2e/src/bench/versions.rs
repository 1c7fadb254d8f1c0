//! What a watch brings.

use std::fmt::Debug;

use futures::{StreamExt as _, future::ready, stream::BoxStream};
use kube::{
    Api, Resource,
    runtime::{WatchStreamExt as _, watcher},
};
use serde::de::DeserializeOwned;

/// Every version of all objects of a kind, from now on and without end.
///
/// A watch that breaks begins again: right after definitions were installed, an API server may find a version too old (410).
pub(super) fn of<K>(api: Api<K>) -> BoxStream<'static, K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let changes = watcher(api, watcher::Config::default()).default_backoff().applied_objects();
    let versions = changes.filter_map(|change| {
        ready(change.inspect_err(|error| tracing::warn!(%error, "a watch begins again")).ok())
    });
    versions.boxed()
}
