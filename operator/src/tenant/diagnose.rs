//! What keeps pods from running, in words for people: the cause, and what to do. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::conditions::{Verdict, reasons},
    cluster::{
        cache::Snapshot,
        facts::{ContainerFacts, Ended, Kind, PodFacts, WorkloadFacts},
        truncated,
    },
    names::{Component, child},
};

/// How much of what others wrote goes into a message.
const MAX_QUOTE_BYTES: usize = 400;
/// Waiting is normal for so long; then it is worth a word.
const PATIENCE: SignedDuration = SignedDuration::from_secs(30);

/// Whether the database accepts connections, and if not, why.
pub(super) fn database(
    seen: &Snapshot,
    namespace: &str,
    storage_class_missing: bool,
    now: Timestamp,
) -> Verdict {
    let Some(workload) = seen.workload(Kind::StatefulSet, child::DATABASE) else {
        return Verdict::no(reasons::PROVISIONING, "the database has not been made yet");
    };
    if workload.wanted == 0 {
        return stopped(seen, Component::Database, "database");
    }
    if seen.get(Kind::PersistentVolumeClaim, child::DATABASE).is_some_and(|claim| claim.deleting) {
        return Verdict::no(
            "VolumeTerminating",
            format!(
                "volume claim database is being deleted and goes when its pod stops: make a copy of the data in namespace {namespace} first"
            ),
        );
    }
    if is_rolled_out(workload) {
        return Verdict::yes(reasons::AS_EXPECTED, "");
    }
    storage(seen, namespace, storage_class_missing, now)
        .or_else(|| pods(seen, Component::Database, namespace))
        .or_else(|| no_pods(seen, Component::Database, Kind::StatefulSet, child::DATABASE, namespace, now))
        .unwrap_or_else(|| Verdict::no(reasons::PROVISIONING, "the database is starting"))
}

/// Whether the CRM answers in the release that its Deployment names, and if not, why.
pub(super) fn app(seen: &Snapshot, namespace: &str, now: Timestamp) -> Verdict {
    let Some(workload) = seen.workload(Kind::Deployment, child::CRM) else {
        return Verdict::no(reasons::PROVISIONING, "the CRM has not been made yet");
    };
    if workload.wanted == 0 {
        return stopped(seen, Component::Crm, "CRM");
    }
    if is_rolled_out(workload) {
        return Verdict::yes(reasons::AS_EXPECTED, "");
    }
    pods(seen, Component::Crm, namespace)
        .or_else(|| no_pods(seen, Component::Crm, Kind::Deployment, child::CRM, namespace, now))
        .unwrap_or_else(|| {
            let reason = if workload.ready == 0 { reasons::PROVISIONING } else { reasons::ROLLING_OUT };
            Verdict::no(reason, format!("{} of {} CRM pods answer", ready_of(workload), workload.wanted))
        })
}

/// What keeps a migration's pod from running, if anything does.
pub(super) fn migration(seen: &Snapshot, namespace: &str) -> Option<Verdict> {
    pods(seen, Component::Migrate, namespace)
}

/// What keeps the pod of a restore from running, if anything does.
pub(super) fn restore(seen: &Snapshot, namespace: &str) -> Option<Verdict> {
    pods(seen, Component::Restore, namespace)
}

/// What keeps requests from the tenant, if a controller that is not ours leads them and cannot.
pub(super) fn routes(seen: &Snapshot, not_supported: bool) -> Option<Verdict> {
    if not_supported {
        return Some(Verdict::no(
            "RoutesNotSupported",
            "the CRM runs, but no address leads to it: the cluster does not know HTTPRoutes (gateway.networking.k8s.io/v1). Install the CRDs of the Gateway API, or set the chart value routing.kind to another kind",
        ));
    }
    let refused = seen.http_routes().find_map(|(name, route)| Some((name, route.refusal.as_ref()?)));
    refused.map(|(name, why)| {
        Verdict::no(
            "RouteNotAccepted",
            format!(
                "HTTPRoute {name} is not served: {}. See the chart value routing.httpRoute, and the listeners of the Gateway",
                truncated(why, MAX_QUOTE_BYTES)
            ),
        )
    })
}

fn is_rolled_out(workload: &WorkloadFacts) -> bool {
    workload.observed
        && workload.wanted <= workload.updated
        && workload.wanted <= workload.ready
        && workload.replicas == workload.updated
}

/// While two revisions run, only the new ones count.
fn ready_of(workload: &WorkloadFacts) -> i32 {
    workload.ready.min(workload.updated)
}

fn stopped(seen: &Snapshot, component: Component, what: &str) -> Verdict {
    match seen.all_pods(component).filter(|(_, _, pod)| !pod.ended).count() {
        0 => Verdict::no(reasons::SUSPENDED, format!("the {what} is stopped on purpose")),
        _ => Verdict::no(reasons::STOPPING, format!("the {what} is stopping")),
    }
}

fn storage(seen: &Snapshot, namespace: &str, class_missing: bool, now: Timestamp) -> Option<Verdict> {
    let claim = seen.claim(child::DATABASE).filter(|claim| !claim.bound)?;
    let no = |message: String| Some(Verdict::no("StorageNotBound", message));
    match &claim.class {
        None => no(format!(
            "volume claim database in namespace {namespace} cannot be bound: the cluster has no default storage class. Make one the default, or set spec.database.storageClass in a new Tenant"
        )),
        Some(class) if class_missing => no(format!(
            "volume claim database in namespace {namespace} cannot be bound: storage class {class:?} does not exist. Make it, or make the Tenant again with another spec.database.storageClass"
        )),
        Some(class) => {
            let created =
                seen.get(Kind::PersistentVolumeClaim, child::DATABASE).and_then(|claim| claim.created)?;
            let waits = now.duration_since(created);
            // A pod that no node takes for another reason also leaves the volume unbound; that reason is the better one.
            let scheduled_elsewhere = seen
                .pods(Component::Database)
                .any(|(_, pod)| pod.unschedulable.as_ref().is_some_and(|why| !is_about_volumes(why)));
            if waits < PATIENCE || scheduled_elsewhere {
                return None;
            }
            no(format!(
                "storage class {class:?} has provided no volume for claim database in namespace {namespace} after {} s: see its events (kubectl describe pvc database -n {namespace}) and its provisioner",
                // In steps, so that the message does not change at every look.
                waits.as_secs() / 30 * 30
            ))
        }
    }
}

fn is_about_volumes(why: &str) -> bool {
    why.contains("PersistentVolumeClaim") || why.contains("persistentvolumeclaim")
}

/// The worst that any pod of a component shows.
fn pods(seen: &Snapshot, component: Component, namespace: &str) -> Option<Verdict> {
    seen.pods(component)
        .filter(|(_, pod)| !pod.ready && !pod.ended)
        .find_map(|(name, pod)| of_pod(name, pod, namespace))
}

fn of_pod(name: &str, pod: &PodFacts, namespace: &str) -> Option<Verdict> {
    if let Some(why) = &pod.unschedulable {
        return (!is_about_volumes(why)).then(|| {
            Verdict::no(
                "Unschedulable",
                format!(
                    "no node takes pod {name}: {}. Add nodes, or change the plan's size or scheduling",
                    quote(why)
                ),
            )
        });
    }
    pod.containers.iter().find_map(|container| of_container(name, container, namespace))
}

fn of_container(pod: &str, container: &ContainerFacts, namespace: &str) -> Option<Verdict> {
    let (reason, message) = container.waiting.clone().unwrap_or_default();
    let part = &container.name;
    match reason.as_str() {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "RegistryUnavailable" => Some(Verdict::no(
            "ImagePullFailed",
            format!(
                "image {} of pod {pod} cannot be pulled ({}). Check that it exists and that the pull secrets open its registry, or choose another release",
                quote(container.image.as_deref().unwrap_or_default()),
                quote(if message.is_empty() { &reason } else { &message })
            ),
        )),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => Some(Verdict::no(
            "ContainerNotStarted",
            format!(
                "container {part} of pod {pod} cannot be started: {}. See kubectl describe pod {pod} -n {namespace}",
                quote(&message)
            ),
        )),
        _ => container
            .ended
            .as_ref()
            .filter(|ended| {
                ended.exit_code != 0
                    && (0 < container.restarts || reason == "CrashLoopBackOff" || container.waiting.is_none())
            })
            .filter(|_| !is_running_again(container))
            .map(|ended| crashed(pod, part, container, ended, namespace)),
    }
}

/// It has started once more and nothing is known against it yet; the first such chance is given without a word.
fn is_running_again(container: &ContainerFacts) -> bool {
    container.waiting.is_none() && container.running && container.restarts <= 1
}

fn crashed(pod: &str, part: &str, container: &ContainerFacts, ended: &Ended, namespace: &str) -> Verdict {
    if ended.reason == "OOMKilled" {
        return Verdict::no(
            "OutOfMemory",
            format!(
                "container {part} of pod {pod} was stopped because it used more memory than its plan allows: raise the plan's memory"
            ),
        );
    }
    let said = if ended.message.is_empty() { String::new() } else { format!(": {}", quote(&ended.message)) };
    let log = format!("kubectl logs {pod} -c {part} --previous -n {namespace}");
    Verdict::no(
        "CrashLooping",
        format!(
            "container {part} of pod {pod} ended with exit code {} (image {}){said}. See {log}",
            ended.exit_code,
            quote(container.image.as_deref().unwrap_or_default())
        ),
    )
}

/// The controller makes no pod: usually a quota or an admission rule refuses it.
fn no_pods(
    seen: &Snapshot,
    component: Component,
    kind: Kind,
    name: &str,
    namespace: &str,
    now: Timestamp,
) -> Option<Verdict> {
    let workload = seen.workload(kind, name)?;
    if let Some(refusal) = &workload.refusal {
        let reason = if refusal.contains("exceeded quota") { "QuotaExceeded" } else { "PodRefused" };
        return Some(Verdict::no(
            reason,
            format!(
                "pods of {name} are refused: {}. Remove what else runs in namespace {namespace}, or change the plan's size",
                quote(refusal)
            ),
        ));
    }
    let age = now.duration_since(seen.get(kind, name)?.created?);
    let none = seen.all_pods(component).next().is_none();
    (none && PATIENCE <= age).then(|| {
        Verdict::no(
            "PodRefused",
            format!("no pod of {name} is made: a quota or an admission rule refuses it, see its events (kubectl get events -n {namespace})"),
        )
    })
}

/// What others wrote: one line, no control characters, not too long.
fn quote(text: &str) -> String {
    let one_line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    truncated(one_line.trim().trim_end_matches('.'), MAX_QUOTE_BYTES)
}

#[cfg(test)]
mod tests;
