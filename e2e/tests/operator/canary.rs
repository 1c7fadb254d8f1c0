//! What is secret stands in Secrets and nowhere else.

use std::{
    fs, io,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use e2e::canaries;
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;
use tracing::Level;

use crate::lab::{Lab, NAMESPACE};

#[tokio::test]
async fn secrets_appear_in_no_log_event_status_or_specification() -> Result<()> {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(Level::TRACE).with_writer(move || writer.clone()).finish();
    // The runtime of a test has one thread, so this is where the operator's tasks run, too.
    let guard = tracing::subscriber::set_default(subscriber);
    // Of one subscriber alone, tracing asks the thread that comes to a log statement first whether anybody listens. That
    // may be another test's thread, where nobody does. Of two it asks them both.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let lab = Lab::with_tenant().await?;
    lab.patch_tenant(json!({ "metadata": { "annotations": { "tenantry.dev/reissue-sign-in": "2" } } }))
        .await?;
    lab.until_child::<Secret>("first-sign-in", "gone", |secret| secret.is_none()).await?;
    lab.patch_tenant(json!({ "spec": { "release": "not-there" } })).await?;
    lab.until_reason("acme", "False", "ReleaseNotFound").await?;
    lab.patch_tenant(json!({ "spec": { "release": "r1", "state": "Suspended" } })).await?;
    lab.until_reason("acme", "True", "Suspended").await?;
    drop(guard);

    let canaries = canaries::of_namespace(lab.break_glass.clone(), NAMESPACE).await?;
    let log = log.text();
    assert!(log.contains("TRACE") && log.contains("tenant status"), "the log was not captured");
    let mut places = vec![("the operator's log at trace level".to_owned(), log)];
    places.push(("the audit log".to_owned(), fs::read_to_string(lab.control_plane.audit_log())?));
    places.extend(canaries::objects(&lab.break_glass).await?);
    assert!(places.iter().any(|(what, _)| what == "Tenant acme"), "the tenant was not among them");
    for (place, text) in &places {
        canaries::none_stands_in(&canaries, place, text)?;
    }
    Ok(())
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
