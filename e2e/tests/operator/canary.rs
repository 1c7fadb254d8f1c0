//! What is secret stands in Secrets and nowhere else.

use std::{
    fs, io,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams},
    discovery::{Discovery, verbs},
};
use serde_json::json;
use tracing::Level;

use crate::lab::{Lab, NAMESPACE};

/// Keys of our Secrets whose values are no secrets.
const OPEN: [&str; 3] = ["admin-name", "admin-email", "expires-in"];

#[tokio::test]
async fn secrets_appear_in_no_log_event_status_or_specification() -> Result<()> {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(Level::TRACE).with_writer(move || writer.clone()).finish();
    // The runtime of a test has one thread, so this is where the operator's tasks run, too.
    let guard = tracing::subscriber::set_default(subscriber);
    let lab = Lab::with_tenant().await?;
    lab.patch_tenant(json!({ "metadata": { "annotations": { "tenantry.dev/reissue-sign-in": "2" } } }))
        .await?;
    lab.until_child::<Secret>("first-sign-in", "gone", |secret| secret.is_none()).await?;
    lab.patch_tenant(json!({ "spec": { "release": "not-there" } })).await?;
    lab.until_reason("acme", "False", "ReleaseNotFound").await?;
    lab.patch_tenant(json!({ "spec": { "release": "r1", "state": "Suspended" } })).await?;
    lab.until_reason("acme", "True", "Suspended").await?;
    drop(guard);

    let canaries = canaries(&lab).await?;
    assert!(8 < canaries.len(), "{} secrets", canaries.len());
    let log = log.text();
    assert!(log.contains("TRACE") && log.contains("tenant status"), "the log was not captured");
    let mut places = vec![("the operator's log at trace level".to_owned(), log)];
    places.push(("the audit log".to_owned(), fs::read_to_string(lab.control_plane.audit_log())?));
    places.extend(objects(&lab.break_glass).await?);
    for (what, canary) in &canaries {
        for (place, text) in &places {
            assert!(!text.contains(canary), "{what} stands in {place}");
        }
    }
    Ok(())
}

/// The secret values of the tenant, as they are and as the API carries them.
async fn canaries(lab: &Lab) -> Result<Vec<(String, String)>> {
    let secrets: Api<Secret> = Api::namespaced(lab.break_glass.clone(), NAMESPACE);
    let mut found = Vec::new();
    for secret in secrets.list(&ListParams::default()).await? {
        for (key, value) in secret.data.clone().unwrap_or_default() {
            if OPEN.contains(&key.as_str()) {
                continue;
            }
            let what = format!("{key} of Secret {}", secret.name_any());
            found.push((what.clone(), String::from_utf8_lossy(&value.0).into_owned()));
            found.push((what, STANDARD.encode(&value.0)));
        }
    }
    Ok(found)
}

/// Every object that can be listed but the Secrets, as JSON.
async fn objects(client: &Client) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let discovery = Discovery::new(client.clone()).run().await?;
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            if resource.kind == "Secret" || !capabilities.supports_operation(verbs::LIST) {
                continue;
            }
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            for object in api.list(&ListParams::default()).await? {
                let what = format!("{} {}", resource.kind, object.name_any());
                found.push((what, serde_json::to_string(&object)?));
            }
        }
    }
    assert!(found.iter().any(|(what, _)| what == "Tenant acme"), "the tenant was not among them");
    Ok(found)
}

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
