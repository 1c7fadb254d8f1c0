//! Pure: what the status of pods and workloads looks like for each outcome.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use serde_json::{Value, json};

use super::Outcome;

/// The address of all pods to which nobody connects.
pub(super) const NOBODYS_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 64, 1);

/// How far a pod that runs to its end, or for ever, has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// Pods of a Job.
    ToItsEnd,
    /// Pods of everything else.
    ForEver,
}

/// The status of a pod.
pub(super) fn pod(pod: &Pod, lifetime: Lifetime, outcome: &Outcome, address: Ipv4Addr) -> Value {
    let spec = pod.spec.clone().unwrap_or_default();
    let born = json!(pod.metadata.creation_timestamp);
    let (phase, ready) = match (outcome, lifetime) {
        (Outcome::Works { .. }, Lifetime::ForEver) => ("Running", true),
        (Outcome::Works { .. }, Lifetime::ToItsEnd) => ("Succeeded", false),
        (Outcome::Exits { .. }, Lifetime::ForEver) => ("Running", false),
        (Outcome::Exits { .. }, Lifetime::ToItsEnd) => ("Failed", false),
        (Outcome::Waits { .. } | Outcome::Nothing, _) => ("Pending", false),
    };
    let condition =
        |kind: &str, holds: bool| json!({"type": kind, "status": if holds { "True" } else { "False" }});
    json!({
        "phase": phase,
        "startTime": born,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [
            condition("PodScheduled", true),
            condition("Initialized", phase != "Pending"),
            condition("ContainersReady", ready),
            condition("Ready", ready),
        ],
        "initContainerStatuses": init_containers(&spec, &born, phase),
        "containerStatuses": spec
            .containers
            .iter()
            .map(|container| self::container(container, lifetime, outcome, &born))
            .collect::<Vec<_>>(),
    })
}

fn init_containers(spec: &PodSpec, born: &Value, phase: &str) -> Vec<Value> {
    let containers = spec.init_containers.iter().flatten();
    let status = |container: &Container| {
        let (state, ready) = if phase == "Pending" {
            (json!({"waiting": {"reason": "PodInitializing"}}), false)
        } else if container.restart_policy.as_deref() == Some("Always") {
            (json!({"running": {"startedAt": born}}), true)
        } else {
            (terminated(0, "", born), true)
        };
        container_status(container, &state, ready, 0, None)
    };
    containers.map(status).collect()
}

fn container(container: &Container, lifetime: Lifetime, outcome: &Outcome, born: &Value) -> Value {
    match (outcome, lifetime) {
        (Outcome::Works { .. }, Lifetime::ForEver) => {
            container_status(container, &json!({"running": {"startedAt": born}}), true, 0, None)
        }
        (Outcome::Works { message }, Lifetime::ToItsEnd) => {
            container_status(container, &terminated(0, message, born), false, 0, None)
        }
        (Outcome::Exits { code, message }, Lifetime::ToItsEnd) => {
            container_status(container, &terminated(*code, message, born), false, 0, None)
        }
        (Outcome::Exits { code, message }, Lifetime::ForEver) => {
            let back_off = json!({"waiting": {
                "reason": "CrashLoopBackOff",
                "message": format!("back-off 40s restarting failed container={}", container.name),
            }});
            container_status(container, &back_off, false, 3, Some(terminated(*code, message, born)))
        }
        (Outcome::Waits { reason, message }, _) => {
            let waiting = json!({"waiting": {"reason": reason, "message": message}});
            container_status(container, &waiting, false, 0, None)
        }
        (Outcome::Nothing, _) => {
            container_status(container, &json!({"waiting": {"reason": "ContainerCreating"}}), false, 0, None)
        }
    }
}

fn container_status(
    container: &Container,
    state: &Value,
    ready: bool,
    restarts: i32,
    last: Option<Value>,
) -> Value {
    let image = container.image.as_deref().unwrap_or_default();
    json!({
        "name": container.name,
        "image": image,
        "imageID": image,
        "ready": ready,
        "started": ready,
        "restartCount": restarts,
        "state": state,
        "lastState": last.unwrap_or_else(|| json!({})),
    })
}

fn terminated(code: i32, message: &str, at: &Value) -> Value {
    let reason = if code == 0 { "Completed" } else { "Error" };
    json!({"terminated": {
        "exitCode": code, "reason": reason, "message": message, "startedAt": at, "finishedAt": at,
    }})
}

/// The status of a Deployment of which so many pods of an earlier template are left.
pub(super) fn deployment(generation: Option<i64>, replicas: i32, old: i32, outcome: &Outcome) -> Value {
    let new = if works(outcome) { replicas } else { 0 };
    let ready = new + old;
    let available = if replicas <= ready {
        ("True", "MinimumReplicasAvailable")
    } else {
        ("False", "MinimumReplicasUnavailable")
    };
    let progress = if new == replicas { "NewReplicaSetAvailable" } else { "ReplicaSetUpdated" };
    json!({
        "observedGeneration": generation,
        "replicas": replicas + old,
        "updatedReplicas": replicas,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": replicas - new,
        "conditions": [
            {"type": "Available", "status": available.0, "reason": available.1, "message": ""},
            {"type": "Progressing", "status": "True", "reason": progress, "message": ""},
        ],
    })
}

/// The status of a StatefulSet; `revision` stands for its pod template.
pub(super) fn stateful_set(
    generation: Option<i64>,
    replicas: i32,
    revision: &str,
    outcome: &Outcome,
) -> Value {
    let ready = if works(outcome) { replicas } else { 0 };
    json!({
        "observedGeneration": generation,
        "replicas": replicas,
        "currentReplicas": replicas,
        "updatedReplicas": replicas,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "currentRevision": revision,
        "updateRevision": revision,
    })
}

/// The status of a Job that was made at `born`.
pub(super) fn job(born: &Value, outcome: &Outcome) -> Value {
    let condition = |kind: &str, reason: &str| {
        json!({
            "type": kind, "status": "True", "reason": reason, "message": "", "lastTransitionTime": born, "lastProbeTime": born,
        })
    };
    match outcome {
        Outcome::Works { .. } => json!({
            "startTime": born,
            "completionTime": born,
            "succeeded": 1,
            "conditions": [condition("SuccessCriteriaMet", "CompletionsReached"), condition("Complete", "CompletionsReached")],
        }),
        Outcome::Exits { .. } => json!({
            "startTime": born,
            "failed": 1,
            "conditions": [
                condition("FailureTarget", "BackoffLimitExceeded"),
                condition("Failed", "BackoffLimitExceeded"),
            ],
        }),
        Outcome::Waits { .. } => json!({"startTime": born, "active": 1, "ready": 0}),
        Outcome::Nothing => json!({}),
    }
}

/// Whether a pod says that it is ready.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let mut conditions = pod.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

pub(super) fn works(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Works { .. })
}

/// Whether an object says all that is wanted, and perhaps more: then there is nothing to write.
pub(super) fn says(present: &Value, wanted: &Value) -> bool {
    match (present, wanted) {
        (Value::Object(present), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| says(present.get(key).unwrap_or(&Value::Null), value))
        }
        (Value::Array(present), Value::Array(wanted)) => {
            present.len() == wanted.len()
                && present.iter().zip(wanted).all(|(present, wanted)| says(present, wanted))
        }
        // The API leaves out what is empty.
        (Value::Null, wanted) => is_empty(wanted),
        (present, wanted) => present == wanted,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_already_is_not_written_again() {
        let present = json!({"a": 1, "b": [{"c": "x", "d": 2}], "e": true});
        let table = [
            (json!({"a": 1}), true),
            (json!({"b": [{"c": "x"}]}), true),
            (json!({"f": 0, "g": "", "h": {}, "i": []}), true),
            (json!({"a": 2}), false),
            (json!({"b": []}), false),
            (json!({"f": 1}), false),
        ];
        for (wanted, expected) in table {
            assert_eq!(says(&present, &wanted), expected, "{wanted}");
        }
    }

    #[test]
    fn a_job_pod_carries_its_termination_message() {
        let spec = PodSpec {
            containers: vec![Container { name: "migrate".into(), ..Container::default() }],
            ..PodSpec::default()
        };
        let object = Pod { spec: Some(spec), ..Pod::default() };
        let outcome = Outcome::Exits { code: 1, message: "no".into() };
        let status = pod(&object, Lifetime::ToItsEnd, &outcome, NOBODYS_ADDRESS);
        assert_eq!(status["phase"], "Failed");
        assert_eq!(status["containerStatuses"][0]["state"]["terminated"]["message"], "no");
        let status = pod(&object, Lifetime::ForEver, &outcome, NOBODYS_ADDRESS);
        assert_eq!(status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 1);
    }
}
