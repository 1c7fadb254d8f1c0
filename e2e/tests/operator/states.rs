//! Suspended, ReadOnly, paused.

use anyhow::Result;
use e2e::host::wait::{Look, Wait};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod},
};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::{Value, json};

use crate::lab::{DEADLINE, Lab, NAMESPACE, condition, uid};

const CRM_PODS: &str = "app.kubernetes.io/component=crm";

#[tokio::test]
async fn suspended_runs_nothing_and_keeps_the_data() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    let volume = uid(lab.child::<PersistentVolumeClaim>("database").await?);
    assert!(volume.is_some());
    lab.patch_tenant(json!({"spec": {"state": "Suspended"}})).await?;
    let tenant = lab.until_reason("acme", "True", "Suspended").await?;
    assert_eq!(condition(&tenant, "DatabaseReady")["status"], "False");
    assert_eq!(
        tenant.status.unwrap_or_default().state.map(operator::api::EffectiveState::as_str),
        Some("Suspended")
    );
    let none = |object: Option<&Value>| object.is_some_and(|object| object["spec"]["replicas"] == 0);
    lab.until_child::<Deployment>("crm", "no replicas", none).await?;
    lab.until_child::<StatefulSet>("database", "no replicas", none).await?;

    lab.patch_tenant(json!({"spec": {"state": "Active"}})).await?;
    lab.until_ready("acme").await?;
    assert_eq!(uid(lab.child::<PersistentVolumeClaim>("database").await?), volume);
    Ok(())
}

#[tokio::test]
async fn read_only_reaches_the_running_app() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    let pods: Api<Pod> = Api::namespaced(lab.client.clone(), NAMESPACE);
    let (before, _) = until_told(&pods, 1).await?;

    lab.patch_tenant(json!({"spec": {"state": "ReadOnly"}})).await?;
    lab.until_ready("acme").await?;
    let (after, told) = until_told(&pods, 2).await?;
    assert_eq!(told["state"], "ReadOnly");
    assert_eq!(
        before.iter().map(ResourceExt::uid).collect::<Vec<_>>(),
        after.iter().map(ResourceExt::uid).collect::<Vec<_>>(),
        "no pod was restarted"
    );
    let file = lab.child::<ConfigMap>("entitlement").await?.and_then(|map| map.data).unwrap_or_default();
    assert_eq!(serde_json::from_str::<Value>(&file["config.json"])?, told);
    Ok(())
}

/// The CRM's pods, and what the one of them was told. A pod that has just become ready is told a moment later.
async fn until_told(pods: &Api<Pod>, revision: i64) -> Result<(Vec<Pod>, Value)> {
    Wait::new(format!("one CRM pod with the entitlement of revision {revision}"), DEADLINE)
        .until(async || {
            let all = pods.list(&ListParams::default().labels(CRM_PODS)).await?.items;
            let [pod] = all.as_slice() else { return Ok(Look::NotYet(format!("{} pods", all.len()))) };
            let told = pod.annotations().get("tenantry.dev/entitlement").cloned().unwrap_or_default();
            let told: Value = serde_json::from_str(&told).unwrap_or_default();
            Ok(if told["revision"] == revision {
                Look::Done((all, told))
            } else {
                Look::NotYet(format!("it was told {told}"))
            })
        })
        .await
}

#[tokio::test]
async fn paused_changes_nothing() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    lab.patch_tenant(json!({"spec": {"paused": true, "state": "Suspended"}})).await?;
    let tenant = lab.until_reason("acme", "True", "Paused").await?;
    assert_eq!(condition(&tenant, "Paused")["status"], "True");
    let running =
        lab.child::<Deployment>("crm").await?.and_then(|app| app.spec).and_then(|spec| spec.replicas);
    assert_eq!(running, Some(1));
    lab.patch_tenant(json!({"spec": {"paused": false}})).await?;
    lab.until_reason("acme", "True", "Suspended").await?;
    Ok(())
}
