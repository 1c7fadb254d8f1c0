//! Moments in the life of a tenant's pods, as a watcher sees them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::time::timeout;

/// Moments in the order in which they are expected.
pub(super) const IN_ORDER: [&str; 6] =
    ["volume bound", "database initialised", "database ready", "crm running", "schema migrated", "crm ready"];

/// When each milestone was first seen, counted from the start.
pub(super) type Timeline = BTreeMap<&'static str, Duration>;

/// Watches the pods of a namespace (which need not exist yet) until all milestones have been seen.
///
/// # Errors
/// At the deadline, with the milestones that are missing.
pub(super) async fn follow(
    client: Client,
    namespace: &str,
    begun: Instant,
    deadline: Duration,
) -> Result<Timeline> {
    let stream = watcher(Api::<Pod>::namespaced(client, namespace), watcher::Config::default());
    let mut stream = std::pin::pin!(stream.default_backoff().applied_objects());
    let mut seen = Timeline::new();
    let watch = async {
        while let Some(pod) = stream.try_next().await? {
            for milestone in reached(&pod) {
                seen.entry(milestone).or_insert_with(|| begun.elapsed());
            }
            if seen.len() == IN_ORDER.len() {
                return Ok(());
            }
        }
        bail!("the watch of pods in {namespace} ended")
    };
    if let Ok(ended) = timeout(deadline, watch).await {
        return ended.map(|()| seen);
    }
    let missing: Vec<_> = IN_ORDER.into_iter().filter(|milestone| !seen.contains_key(milestone)).collect();
    bail!("waited {} s for {} in {namespace}", deadline.as_secs(), missing.join(", "))
}

/// The milestones that a pod's status proves.
fn reached(pod: &Pod) -> Vec<&'static str> {
    let component = pod.labels().get("app.kubernetes.io/component").map(String::as_str);
    let checks: &[(&'static str, bool)] = match component {
        Some("database") => &[
            ("volume bound", condition(pod, "PodScheduled")),
            ("database initialised", condition(pod, "Initialized")),
            ("database ready", condition(pod, "Ready")),
        ],
        Some("crm") => {
            &[("crm running", containers(pod).any(is_running)), ("crm ready", condition(pod, "Ready"))]
        }
        Some("migrate") => &[("schema migrated", containers(pod).any(has_succeeded))],
        _ => &[],
    };
    checks.iter().filter(|(_, holds)| *holds).map(|(milestone, _)| *milestone).collect()
}

fn condition(pod: &Pod, kind: &str) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == kind && condition.status == "True")
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten())
}

fn is_running(container: &ContainerStatus) -> bool {
    container.state.as_ref().is_some_and(|state| state.running.is_some())
}

fn has_succeeded(container: &ContainerStatus) -> bool {
    let ended = container.state.as_ref().and_then(|state| state.terminated.as_ref());
    ended.is_some_and(|ended| ended.exit_code == 0)
}
