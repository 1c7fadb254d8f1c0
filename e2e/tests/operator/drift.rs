//! Every object that the operator made, deleted, relabelled and edited by somebody else, one at a time: right again within
//! two seconds, or refused.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    core::GroupVersionKind,
    runtime::wait::await_condition,
};
use serde_json::{Value, json};

use crate::lab::{Lab, NAMESPACE, message};

/// How long a world that was harmed may stay so.
const LIMIT: Duration = Duration::from_secs(2);
/// Objects that the operator made for this tenant.
const OURS: &str = "app.kubernetes.io/managed-by=tenantry,tenantry.dev/tenant=acme";

/// A kind of child: its group, version and name, and an edit that would do harm.
///
/// Jobs are left out: one that has reported is kept only for its log.
fn kinds() -> Vec<(GroupVersionKind, Value)> {
    let kind = |group: &str, kind: &str, edit: Value| (GroupVersionKind::gvk(group, "v1", kind), edit);
    let label = json!({ "metadata": { "labels": { "app.kubernetes.io/component": "other" } } });
    let nowhere = json!({ "spec": { "podSelector": { "matchLabels": { "no": "pod" } } } });
    let lowered = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "privileged" } } });
    vec![
        kind("", "Namespace", lowered),
        kind("", "ServiceAccount", json!({ "automountServiceAccountToken": true })),
        kind("", "Service", json!({ "spec": { "selector": { "app": "other" } } })),
        kind("", "ResourceQuota", json!({ "spec": { "hard": { "pods": "999" } } })),
        kind("", "LimitRange", json!({ "spec": { "limits": [] } })),
        kind("", "ConfigMap", json!({ "data": { "other": "1" } })),
        kind("", "Secret", json!({ "stringData": { "other": "1" } })),
        kind("", "PersistentVolumeClaim", label),
        kind("networking.k8s.io", "NetworkPolicy", nowhere),
        kind("policy", "PodDisruptionBudget", json!({ "spec": { "maxUnavailable": 5 } })),
        kind("rbac.authorization.k8s.io", "RoleBinding", json!({ "subjects": [] })),
        kind("batch", "CronJob", json!({ "spec": { "suspend": true } })),
        kind("apps", "Deployment", json!({ "spec": { "replicas": 0 } })),
        kind("apps", "StatefulSet", json!({ "spec": { "replicas": 0 } })),
    ]
}

#[tokio::test]
async fn every_object_is_right_again_at_once_or_cannot_be_harmed() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    lab.operator.until_settled(0.0).await?;
    let (mut repaired, mut refused) = (Vec::new(), Vec::new());
    for (kind, edit) in kinds() {
        let resource = ApiResource::from_gvk(&kind);
        let api: Api<DynamicObject> = match kind.kind.as_str() {
            "Namespace" => Api::all_with(lab.client.clone(), &resource),
            _ => Api::namespaced_with(lab.client.clone(), NAMESPACE, &resource),
        };
        let objects = api.list(&ListParams::default().labels(OURS)).await?;
        assert!(!objects.items.is_empty(), "the tenant has no {}", kind.kind);
        for object in objects {
            for (harm, patch) in harms(&edit) {
                let what = format!("{} {}, {harm}", kind.kind, object.name_any());
                let before = api.get(&object.name_any()).await?;
                let begun = Instant::now();
                if let Some(refusal) = done(&api, &before, patch).await.with_context(|| what.clone())? {
                    refused.push(format!("{what}: {refusal}"));
                    continue;
                }
                right_again(&api, &before).await.with_context(|| what.clone())?;
                repaired.push((begun.elapsed(), what));
            }
        }
    }
    lab.until_ready("acme").await?;
    quiet(&lab).await?;
    print(&mut repaired, &refused);
    let guarded = |what: &str| ["ConfigMap ", "Secret "].iter().any(|kind| what.starts_with(kind));
    assert!(
        !repaired.iter().any(|(_, what)| guarded(what)),
        "nobody watches these, so nobody may change them"
    );
    for lost in ["Namespace tenant-acme, deleted", "PersistentVolumeClaim database, deleted"] {
        assert!(
            refused.iter().any(|what| what.starts_with(lost)),
            "customers' data cannot be deleted by accident"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_fight_over_a_field_is_named_and_kept_slow_and_ends_with_it() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    let services: Api<Service> = Api::namespaced(lab.client.clone(), NAMESPACE);
    let fight = tokio::spawn(fight(services));
    let contested = lab.until_reason("acme", "False", "Contested").await?;
    let words = message(&contested);
    assert!(
        words.contains("Service crm in namespace tenant-acme") && words.contains("--show-managed-fields"),
        "{words}"
    );
    let repairs = async || {
        let writes = lab.writes()?;
        anyhow::Ok(writes.iter().filter(|event| event.is_about("services")).count())
    };
    // While it waits, not even news of the object makes it write.
    let before = repairs().await?;
    let seen = lab.operator.metric("tenantry_reconcile_duration_seconds_count").await?;
    lab.patch_tenant(json!({ "metadata": { "annotations": { "example.com/note": "fight" } } })).await?;
    lab.operator.until_settled(seen).await?;
    assert_eq!(repairs().await?, before);
    fight.abort();
    lab.until_ready("acme").await?;
    Ok(())
}

/// Another controller, which changes a selector each time that it is put right.
async fn fight(services: Api<Service>) -> Result<Infallible> {
    let is_ours = |service: Option<&Service>| {
        let selector = service.and_then(|service| service.spec.as_ref()?.selector.as_ref());
        selector.is_some_and(|selector| selector["app.kubernetes.io/component"] == "crm")
    };
    let theirs = Patch::Merge(json!({ "spec": { "selector": { "app.kubernetes.io/component": "other" } } }));
    loop {
        await_condition(services.clone(), "crm", is_ours).await?;
        services.patch("crm", &PatchParams::default(), &theirs).await?;
    }
}

/// What is done to each object: a patch, or `None` to delete it.
fn harms(edit: &Value) -> [(&'static str, Option<Value>); 4] {
    let relabelled = |tenant: Value| json!({ "metadata": { "labels": { "tenantry.dev/tenant": tenant } } });
    [
        ("edited", Some(edit.clone())),
        ("given to another tenant", Some(relabelled(json!("bluesky")))),
        ("without its label", Some(relabelled(Value::Null))),
        ("deleted", None),
    ]
}

/// Does harm, and returns the refusal if there is one.
async fn done(
    api: &Api<DynamicObject>,
    object: &DynamicObject,
    patch: Option<Value>,
) -> Result<Option<String>> {
    let name = object.name_any();
    let result = match patch {
        Some(patch) => api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop),
        None => api.delete(&name, &DeleteParams::default()).await.map(drop),
    };
    match result {
        Ok(()) => Ok(None),
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 422) => Ok(Some(status.message.clone())),
        Err(error) => bail!("unexpected: {error}"),
    }
}

/// Waits until the object is there as it was.
async fn right_again(api: &Api<DynamicObject>, before: &DynamicObject) -> Result<()> {
    let wanted = essence(before);
    let is_right = |now: Option<&DynamicObject>| {
        now.is_some_and(|now| now.metadata.deletion_timestamp.is_none() && essence(now) == wanted)
    };
    if let Ok(found) =
        tokio::time::timeout(LIMIT, await_condition(api.clone(), &before.name_any(), is_right)).await
    {
        return Ok(found.map(drop)?);
    }
    let now = api.get_opt(&before.name_any()).await?.map(|now| essence(&now));
    bail!("not right after {} s: wanted {wanted}, found {now:?}", LIMIT.as_secs())
}

/// Labels and content, without what the cluster gives each object anew.
fn essence(object: &DynamicObject) -> Value {
    let mut content = object.data.clone();
    if let Some(fields) = content.as_object_mut() {
        fields.remove("status");
    }
    if let Some(spec) = content.get_mut("spec").and_then(Value::as_object_mut) {
        for given in ["clusterIP", "clusterIPs", "volumeName"] {
            spec.remove(given);
        }
    }
    json!({ "labels": object.labels(), "content": content })
}

/// A reconcile of the world that was repaired sends nothing.
async fn quiet(lab: &Lab) -> Result<()> {
    lab.operator.until_settled(0.0).await?;
    let before = lab.writes()?.len();
    let seen = lab.operator.metric("tenantry_reconcile_duration_seconds_count").await?;
    lab.patch_tenant(json!({ "metadata": { "annotations": { "example.com/note": "drift" } } })).await?;
    lab.operator.until_settled(seen).await?;
    let after = lab.writes()?;
    assert_eq!(after.len(), before, "{:#?}", &after[before..]);
    Ok(())
}

fn print(repaired: &mut [(Duration, String)], refused: &[String]) {
    repaired.sort();
    let at = |percent: usize| repaired[(repaired.len() * percent / 100).min(repaired.len() - 1)].0;
    println!(
        "drift: {} harms repaired, median {:?}, p95 {:?}, max {:?} (goal: median 100 ms, limit 2 s); {} refused",
        repaired.len(),
        at(50),
        at(95),
        at(100),
        refused.len()
    );
    for (took, what) in repaired.iter().rev().take(3) {
        println!("  slowest: {what}: {took:?}");
    }
}
