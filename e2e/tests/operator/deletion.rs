//! Removal: only when confirmed, in order, and exactly what was meant.

use anyhow::Result;
use e2e::host::wait::{Look, Wait};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Namespace};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use operator::api::{Plan, Tenant};
use serde_json::json;

use crate::lab::{DEADLINE, Lab, NAMESPACE, OPERATOR, message};

#[tokio::test]
async fn an_unconfirmed_deletion_keeps_serving_and_a_confirmed_one_removes_in_order() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    let tenants: Api<Tenant> = Api::all(lab.client.clone());
    let plans: Api<Plan> = Api::all(lab.client.clone());
    plans.delete("standard", &DeleteParams::default()).await?;
    assert!(plans.get("standard").await?.metadata.deletion_timestamp.is_some(), "a plan in use stays");

    // The admission policy lets only a confirmed deletion pass, so confirm, delete, and take the word back.
    let confirm =
        |name: Option<&str>| json!({"metadata": {"annotations": {"tenantry.dev/confirm-delete": name}}});
    lab.patch_tenant(json!({"spec": {"paused": true}})).await?;
    lab.until_reason("acme", "True", "Paused").await?;
    lab.patch_tenant(confirm(Some("acme"))).await?;
    tenants.delete("acme", &DeleteParams::default()).await?;
    lab.patch_tenant(confirm(None)).await?;
    lab.patch_tenant(json!({"spec": {"paused": false}})).await?;
    let kept = lab.until_reason("acme", "False", "DeletionUnconfirmed").await?;
    assert!(message(&kept).contains("tenantry.dev/confirm-delete=acme"), "{}", message(&kept));

    // It still serves, and is still repaired.
    lab.patch_child::<Deployment>("crm", json!({"spec": {"replicas": 0}})).await?;
    lab.until_child::<Deployment>("crm", "runs again", |app| {
        app.is_some_and(|app| app["spec"]["replicas"] == 1)
    })
    .await?;

    let before = lab.writes()?.len();
    lab.patch_tenant(confirm(Some("acme"))).await?;
    Wait::new("the end of the tenant", DEADLINE)
        .until(async || {
            Ok(match tenants.get_opt("acme").await? {
                None => Look::Done(()),
                Some(tenant) => Look::NotYet(message(&tenant)),
            })
        })
        .await?;
    assert!(Api::<Namespace>::all(lab.client.clone()).get_opt(NAMESPACE).await?.is_none());
    let removed: Vec<String> = lab.writes()?[before..]
        .iter()
        .filter(|event| event.verb == "delete")
        .filter_map(|event| event.object_ref.as_ref().map(|object| object.resource.clone()))
        .collect();
    assert_eq!(
        removed,
        [
            "deployments",
            "cronjobs",
            "cronjobs",
            "jobs",
            "jobs",
            "jobs",
            "statefulsets",
            "persistentvolumeclaims",
            "namespaces"
        ]
    );

    // Nobody refers to the plan now.
    Wait::new("the end of the plan", DEADLINE)
        .until(async || {
            Ok(match plans.get_opt("standard").await? {
                None => Look::Done(()),
                Some(plan) => Look::NotYet(format!("{:?}", plan.finalizers())),
            })
        })
        .await
}

#[tokio::test]
async fn the_end_is_told_in_events() -> Result<()> {
    use k8s_openapi::api::events::v1::Event;
    let lab = Lab::with_tenant().await?;
    let tenants: Api<Tenant> = Api::all(lab.client.clone());
    lab.patch_tenant(json!({"metadata": {"annotations": {"tenantry.dev/confirm-delete": "acme"}}})).await?;
    tenants.delete("acme", &DeleteParams::default()).await?;
    let events: Api<Event> = Api::namespaced(lab.client.clone(), "default");
    Wait::new("the event Removed", DEADLINE)
        .until(async || {
            let reasons: Vec<_> = events
                .list(&ListParams::default())
                .await?
                .into_iter()
                .filter(|event| event.reporting_controller.as_deref() == Some("tenantry-operator"))
                .filter_map(|event| event.reason)
                .collect();
            let all = [
                "RemovingApp",
                "RemovingJobs",
                "RemovingDatabase",
                "RemovingVolume",
                "RemovingNamespace",
                "Removed",
            ];
            let told = all.iter().all(|reason| reasons.iter().any(|told| told == reason));
            Ok(if told { Look::Done(()) } else { Look::NotYet(format!("{reasons:?}")) })
        })
        .await?;
    let refused = lab.control_plane.audit_events()?;
    let refused = refused.iter().filter(|event| {
        event.user.username == OPERATOR
            && event.verb == "delete"
            && event.response_status.as_ref().is_some_and(|s| 300 <= s.code)
    });
    assert_eq!(refused.count(), 0);
    Ok(())
}
