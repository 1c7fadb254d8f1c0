//! Objects in storage that do not have the form of their kind: as after the rollback of an operator, or an edit of a CRD.

use anyhow::Result;
use e2e::host::wait::{Look, Wait};
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::ConfigMap, events::v1::Event},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams},
};
use operator::api::{Plan, Tenant};
use serde_json::{Value, json};

use crate::lab::{DEADLINE, Lab, Running, message, tenant};

/// Objects of a kind as they are, whatever their form.
fn untyped<K: Resource<DynamicType = ()>>(lab: &Lab) -> Api<DynamicObject> {
    Api::all_with(lab.client.clone(), &ApiResource::erase::<K>(&()))
}

/// Changes an object against the schema of its kind: the schema is lifted, and put back afterwards.
async fn damage<K: Resource<DynamicType = ()>>(lab: &Lab, name: &str, patch: Value) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(lab.client.clone());
    let definition = format!("{}.{}", K::plural(&()), K::group(&()));
    let versions = serde_json::to_value(definitions.get(&definition).await?.spec.versions)?;
    let mut lifted = versions.clone();
    lifted[0]["schema"]["openAPIV3Schema"] =
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let schema = async |versions: &Value| {
        let patch = Patch::Merge(json!({"spec": {"versions": versions}}));
        definitions.patch(&definition, &PatchParams::default(), &patch).await
    };
    schema(&lifted).await?;
    let objects = untyped::<K>(lab);
    let change = async |params: PatchParams| objects.patch(name, &params, &Patch::Merge(&patch)).await;
    Wait::new(format!("{definition} without a schema"), DEADLINE)
        .until(async || change(PatchParams::default()).await.map(Look::Done).map_err(Into::into))
        .await?;
    schema(&versions).await?;
    // What is stored may be repeated, so the question is whether a new mistake is let through.
    let mistake = json!({"spec": {"displayName": ["x"], "seats": ["x"]}});
    Wait::new(format!("{definition} with its schema"), DEADLINE)
        .until(async || {
            let params = PatchParams { dry_run: true, ..PatchParams::default() };
            Ok(match objects.patch(name, &params, &Patch::Merge(&mistake)).await {
                Ok(_) => Look::NotYet("a mistake is let through".to_owned()),
                Err(kube::Error::Api(status)) if status.code == 422 => Look::Done(()),
                Err(error) => Look::NotYet(error.to_string()),
            })
        })
        .await
}

async fn until_malformed(lab: &Lab, count: f64) -> Result<()> {
    Wait::new(format!("{count} malformed tenants in the metrics"), DEADLINE)
        .until(async || {
            let now = lab.operator.metric(r#"tenantry_malformed_objects{kind="Tenant"}"#).await?;
            Ok(if (now - count).abs() < 0.5 { Look::Done(()) } else { Look::NotYet(now.to_string()) })
        })
        .await
}

async fn routes(lab: &Lab) -> Result<String> {
    let routes = Api::<ConfigMap>::namespaced(lab.client.clone(), "tenantry-gateway").get("routes").await?;
    Ok(routes.data.unwrap_or_default().remove("routes.json").unwrap_or_default())
}

fn deletions(lab: &Lab) -> Result<usize> {
    Ok(lab.writes()?.iter().filter(|event| event.verb == "delete").count())
}

/// The malformed `acme` still has all that it had.
async fn keeps_everything(lab: &Lab) -> Result<()> {
    let table = routes(lab).await?;
    assert!(table.contains("acme.crm.localhost") && table.contains("crm.acme.example"), "{table}");
    assert_eq!(
        Api::<Plan>::all(lab.client.clone()).get("standard").await?.finalizers(),
        ["tenantry.dev/in-use"]
    );
    assert!(
        lab.child::<Deployment>("crm").await?.is_some_and(|app| app.metadata.deletion_timestamp.is_none())
    );
    assert_eq!(deletions(lab)?, 0);
    Ok(())
}

#[tokio::test]
async fn a_malformed_tenant_holds_up_no_other_keeps_what_it_has_and_heals() -> Result<()> {
    let mut lab = Lab::start().await?;
    let mut acme = tenant("acme");
    acme["spec"]["hosts"] = json!([{"name": "crm.acme.example"}]);
    lab.create::<Tenant>(acme).await?;
    lab.until_ready("acme").await?;
    damage::<Tenant>(&lab, "acme", json!({"spec": {"displayName": 5, "plan": ["standard"]}})).await?;
    until_malformed(&lab, 1.0).await?;

    // It is told, in the object itself and as an event.
    let ready = Wait::new("the condition of the malformed tenant", DEADLINE)
        .until(async || {
            let acme = untyped::<Tenant>(&lab).get("acme").await?;
            let conditions = acme.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let ready =
                conditions.into_iter().find(|condition| condition["type"] == "Ready").unwrap_or_default();
            Ok(if ready["reason"] == "Malformed" {
                Look::Done(ready)
            } else {
                Look::NotYet(ready.to_string())
            })
        })
        .await?;
    let text = ready["message"].as_str().unwrap_or_default();
    assert!(text.contains("kubectl edit tenant acme"), "{text}");
    Wait::new("the event Malformed", DEADLINE)
        .until(async || {
            let events: Api<Event> = Api::namespaced(lab.client.clone(), "default");
            let events = events.list(&ListParams::default()).await?;
            let told = events.into_iter().any(|event| event.reason.as_deref() == Some("Malformed"));
            Ok(if told { Look::Done(()) } else { Look::NotYet("no such event".to_owned()) })
        })
        .await?;

    // Others are made, changed and refused what is its own; so by a process that never saw it whole.
    lab.create::<Tenant>(tenant("bluesky")).await?;
    lab.until_ready("bluesky").await?;
    keeps_everything(&lab).await?;
    lab.operator.stop().await?;
    lab.operator = Running::start(&lab.control_plane).await?;
    until_malformed(&lab, 1.0).await?;
    let tenants: Api<Tenant> = Api::all(lab.client.clone());
    let wish = Patch::Merge(json!({"spec": {"hosts": [{"name": "crm.acme.example"}]}}));
    tenants.patch("bluesky", &PatchParams::default(), &wish).await?;
    let refused = lab.until_reason("bluesky", "False", "HostNotGranted").await?;
    assert!(message(&refused).contains("belongs to tenant acme"), "{}", message(&refused));
    keeps_everything(&lab).await?;

    // Repaired, it is like any other.
    let repair = Patch::Merge(json!({"spec": {"displayName": "Acme", "plan": "standard"}}));
    tenants.patch("acme", &PatchParams::default(), &repair).await?;
    lab.until_ready("acme").await?;
    until_malformed(&lab, 0.0).await?;
    lab.patch_tenant(json!({"spec": {"hosts": []}})).await?;
    lab.until_ready("bluesky").await?;
    let hosts = lab.until_ready("acme").await?.status.unwrap_or_default().hosts;
    assert_eq!(hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(), ["acme.crm.localhost"]);
    Ok(())
}

#[tokio::test]
async fn a_malformed_plan_freezes_its_tenants_and_heals() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    damage::<Plan>(&lab, "standard", json!({"spec": {"seats": "ten"}})).await?;
    let frozen = lab.until_reason("acme", "False", "PlanMalformed").await?;
    let text = message(&frozen);
    assert!(text.contains("spec.seats") && text.contains("kubectl edit plan standard"), "{text}");
    assert_eq!(deletions(&lab)?, 0);
    let repair = Patch::Merge(json!({"spec": {"seats": 10}}));
    untyped::<Plan>(&lab).patch("standard", &PatchParams::default(), &repair).await?;
    lab.until_ready("acme").await?;
    Ok(())
}
