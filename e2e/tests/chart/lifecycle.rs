//! The chart's way through life on a real API server: installed, upgraded, uninstalled, installed again.

use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::{
    cluster::ControlPlane,
    helm::{self, Pods},
    host::wait::{Look, Wait},
};
use k8s_openapi::{
    api::{admissionregistration::v1::ValidatingAdmissionPolicy, apps::v1::Deployment, core::v1::Namespace},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use operator::api::Plan;
use serde_json::{Value, json};

const PLANS: &str = "plans.tenantry.dev";

fn plan() -> Value {
    json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "Plan",
        "metadata": { "name": "small" },
        "spec": {
            "seats": 5,
            "app": { "cpu": "1", "memory": "1Gi" },
            "database": { "cpu": "1", "memory": "1Gi", "storage": "1Gi" },
        },
    })
}

#[tokio::test]
async fn uninstalling_keeps_what_holds_data_and_installing_again_takes_it_up() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let (kubeconfig, client) = (control_plane.kubeconfig(), control_plane.client().await?);
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let deployments: Api<Deployment> = Api::all(client.clone());
    let plans: Api<Plan> = Api::all(client.clone());
    let namespaces: Api<Namespace> = Api::all(client);
    let everything = ListParams::default();

    let notes = helm::install(kubeconfig, &json!({}), Pods::Leave).await?;
    assert!(
        notes.contains(
            "kubectl label namespace tenantry-system pod-security.kubernetes.io/enforce=restricted"
        )
    );
    plans.create(&PostParams::default(), &serde_json::from_value(plan())?).await?;

    helm::install(kubeconfig, &json!({ "gateway": { "replicas": 1 } }), Pods::Leave).await?;
    let gateway = Api::<Deployment>::namespaced(deployments.clone().into_client(), "tenantry-gateway")
        .get("gateway")
        .await?;
    assert_eq!(gateway.spec.and_then(|spec| spec.replicas), Some(1));

    helm::uninstall(kubeconfig).await?;
    assert!(deployments.list(&everything).await?.items.is_empty());
    assert!(policies.list(&everything).await?.items.is_empty());
    assert_eq!(plans.list(&everything).await?.items.len(), 1);
    assert!(namespaces.get("tenantry-gateway").await?.metadata.deletion_timestamp.is_none());

    helm::install(kubeconfig, &json!({}), Pods::Leave).await?;
    assert_eq!(deployments.list(&everything).await?.items.len(), 3);
    assert_eq!(plans.list(&everything).await?.items.len(), 1);
    Ok(())
}

/// Where the schema of a Plan's spec is in the definition.
const SPEC: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";

#[tokio::test]
async fn an_upgrade_brings_the_definitions_up_to_date_and_keeps_the_objects() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let (kubeconfig, client) = (control_plane.kubeconfig(), control_plane.client().await?);
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let plans: Api<Plan> = Api::all(client);
    helm::install(kubeconfig, &json!({}), Pods::Leave).await?;
    let current = serde_json::to_value(definitions.get(PLANS).await?)?;

    // As an earlier version would have it, which had no rule for seats and no scheduling.
    let mut earlier = current.clone();
    let fields =
        earlier.pointer_mut(SPEC).and_then(Value::as_object_mut).context("the definition has no spec")?;
    fields.remove("scheduling").context("no scheduling")?;
    let seats = fields.get_mut("seats").and_then(Value::as_object_mut).context("no seats")?;
    seats.remove("x-kubernetes-validations").context("no rule")?;
    earlier["metadata"] = json!({"name": PLANS});
    definitions.patch(PLANS, &PatchParams::apply("helm").force(), &Patch::Apply(earlier)).await?;
    let mut plan = plan();
    plan["spec"]["seats"] = json!(0);
    let plan: Plan = serde_json::from_value(plan)?;
    Wait::new("a plan to be taken that the rule refuses", Duration::from_secs(30))
        .until(async || {
            plans.create(&PostParams::default(), &plan).await?;
            Ok(Look::Done(()))
        })
        .await?;

    helm::install(kubeconfig, &json!({}), Pods::Leave).await?;
    let upgraded = serde_json::to_value(definitions.get(PLANS).await?)?;
    assert_eq!(upgraded.pointer(SPEC), current.pointer(SPEC));
    assert_eq!(plans.get("small").await?.spec.seats, 0, "what was there before the rule is still there");
    Ok(())
}
