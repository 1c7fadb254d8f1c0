//! What nodes do in a world in memory: the reports of Jobs, pods, and what pods say of themselves.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use crate::tenant::vitals::Ask;

/// The backup that every Job of the world makes.
pub(crate) const BACKUP: &str = "19700101T000000Z-ab12cd";
/// But for the one that comes before an upgrade.
pub(crate) const UPGRADE_BACKUP: &str = "19700101T000000Z-up12cd";

pub(super) fn component_of(object: &Value) -> String {
    object["metadata"]["labels"]["app.kubernetes.io/component"].as_str().unwrap_or_default().to_owned()
}

/// What the pods of a Job report when all goes well.
pub(super) fn report_of(job: &Value) -> Option<Value> {
    let name = job["metadata"]["name"].as_str().unwrap_or_default();
    let args = job["spec"]["template"]["spec"]["containers"][0]["args"].as_array();
    let asked =
        args.into_iter().flatten().filter_map(Value::as_str).find_map(|arg| arg.strip_prefix("--backup="));
    let asked = asked.filter(|backup| backup.len() == BACKUP.len());
    match component_of(job).as_str() {
        "migrate" => {
            // Release r3 brings the second version of the schema.
            let image =
                job["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
            let version = if image.ends_with(&hex::encode("r3")) { 2 } else { 1 };
            Some(json!({"code": "Migrated", "schemaVersion": version}))
        }
        "backup" => Some(json!({
            "code": "BackedUp", "backup": if name.starts_with("backup-upgrade") { UPGRADE_BACKUP } else { BACKUP }, "createdAt": "1970-01-01T00:00:00Z", "size": 4096,
            "schemaVersion": 1,
        })),
        "drill" => Some(json!({
            "code": "Drilled", "backup": asked.unwrap_or(BACKUP), "createdAt": "1970-01-01T00:00:00Z", "restoredIn": 1, "rows": 2,
            "schemaVersion": 1,
        })),
        "export" => Some(json!({
            "code": "Delivered", "export": BACKUP, "store": "main", "createdAt": "1970-01-01T00:00:00Z", "rows": 7, "schemaVersion": 1,
            "size": 5000, "sha256": "a".repeat(64), "sumsSha256": "b".repeat(64),
        })),
        "restore" => Some(json!({
            "code": "Restored", "backup": asked.unwrap_or("19691231T000000Z-cd34ef"), "createdAt": "1969-12-31T00:00:00Z", "rows": 7,
            "schemaVersion": 1, "restoredIn": 2,
        })),
        _ => None,
    }
}

/// The metrics of a CRM that has answered so many requests, so many of them with an error, each within 5 ms.
pub(crate) fn metrics_text(requests: u64, errors: u64, is_read_only: bool) -> String {
    let fine = requests - errors;
    let read_only = u8::from(is_read_only);
    format!(
        "crm_http_requests_total{{method=\"GET\",route=\"/\",status=\"200\"}} {fine}\n\
         crm_http_requests_total{{method=\"GET\",route=\"/\",status=\"500\"}} {errors}\n\
         crm_http_request_duration_seconds_bucket{{route=\"/\",le=\"0.005\"}} {requests}\n\
         crm_http_request_duration_seconds_bucket{{route=\"/\",le=\"+Inf\"}} {requests}\n\
         crm_http_changes_in_flight 0\n\
         crm_read_only {read_only}\n"
    )
}

/// Pods that all say the same.
pub(super) struct Pods(pub(super) Arc<Mutex<Option<String>>>);

impl Ask for Pods {
    fn metrics<'a>(&'a self, _: IpAddr) -> Pin<Box<dyn Future<Output = Option<String>> + Send + 'a>> {
        let said = self.0.lock().unwrap().clone();
        Box::pin(async move { said })
    }
}

pub(super) fn pod_of(component: &str, number: i64, status: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("{component}-{number}"), "namespace": "tenant-acme",
            "labels": {"tenantry.dev/tenant": "acme", "app.kubernetes.io/component": component},
        },
        "status": status,
    })
}
