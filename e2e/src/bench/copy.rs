//! A tenant's objects, cleaned of what a cluster adds, so that `kubectl apply` makes them again in another namespace.

use serde_json::{Value, json};

/// Kinds that a tenant's namespace holds, as `kubectl get` names them.
pub(super) const KINDS: &str = "serviceaccounts,configmaps,secrets,services,persistentvolumeclaims,statefulsets,deployments,jobs,\
    networkpolicies,resourcequotas,limitranges,poddisruptionbudgets";

/// Labels by which the Job controller finds its pods; it makes new ones.
const JOB_LABELS: [&str; 4] =
    ["controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"];

/// The list of objects that `kubectl get -o json` printed, ready to be applied to `namespace`, with the namespace first.
pub(super) fn into_namespace(mut list: Value, namespace: &str) -> Value {
    for object in list["items"].as_array_mut().into_iter().flatten() {
        clean(object, namespace);
    }
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
    if let Some(items) = list["items"].as_array_mut() {
        items.insert(0, namespace);
    }
    json!({ "apiVersion": "v1", "kind": "List", "items": list["items"] })
}

fn clean(object: &mut Value, namespace: &str) {
    let metadata = &object["metadata"];
    object["metadata"] =
        json!({ "name": metadata["name"], "namespace": namespace, "labels": metadata["labels"] });
    remove(object, "", &["status"]);
    // With it, admission policies would take the copy for the operator's.
    remove(object, "/metadata/labels", &["app.kubernetes.io/managed-by"]);
    match object["kind"].as_str() {
        Some("Service") if object["spec"]["clusterIP"] != "None" => {
            remove(object, "/spec", &["clusterIP", "clusterIPs"]);
        }
        Some("PersistentVolumeClaim") => remove(object, "/spec", &["volumeName"]),
        Some("Job") => {
            remove(object, "/spec", &["selector"]);
            remove(object, "/spec/template/metadata/labels", &JOB_LABELS);
        }
        _ => (),
    }
}

fn remove(object: &mut Value, pointer: &str, keys: &[&str]) {
    if let Some(map) = object.pointer_mut(pointer).and_then(Value::as_object_mut) {
        map.retain(|key, _| !keys.contains(&key.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cluster_adds_is_removed() {
        let service = json!({ "kind": "Service", "metadata": { "name": "crm", "uid": "1", "labels": { "a": "b" } },
            "spec": { "clusterIP": "198.19.0.7", "clusterIPs": ["198.19.0.7"], "ports": [] }, "status": {} });
        let job = json!({ "kind": "Job", "metadata": { "name": "migrate" }, "spec": { "selector": {},
            "template": { "metadata": { "labels": { "job-name": "migrate", "app": "crm" } } } } });
        let list = into_namespace(json!({ "items": [service, job] }), "copy");
        assert_eq!(list["items"][0]["metadata"]["name"], "copy");
        let service = &list["items"][1];
        assert_eq!(
            service["metadata"],
            json!({ "name": "crm", "namespace": "copy", "labels": { "a": "b" } })
        );
        assert_eq!((&service["spec"], service.get("status")), (&json!({ "ports": [] }), None));
        let labels = json!({ "template": { "metadata": { "labels": { "app": "crm" } } } });
        assert_eq!(list["items"][2]["spec"], labels);
    }
}
