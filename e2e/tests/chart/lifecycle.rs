//! The chart's way through life on a real API server: installed, upgraded, uninstalled, installed again.

use anyhow::Result;
use e2e::{
    cluster::ControlPlane,
    helm::{self, Pods},
};
use k8s_openapi::api::{
    admissionregistration::v1::ValidatingAdmissionPolicy, apps::v1::Deployment, core::v1::Namespace,
};
use kube::{Api, api::ListParams, api::PostParams};
use operator::api::Plan;
use serde_json::json;

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
    let plan = json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "Plan",
        "metadata": { "name": "small" },
        "spec": {
            "seats": 5,
            "app": { "cpu": "1", "memory": "1Gi" },
            "database": { "cpu": "1", "memory": "1Gi", "storage": "1Gi" },
        },
    });
    plans.create(&PostParams::default(), &serde_json::from_value(plan)?).await?;

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
    assert_eq!(deployments.list(&everything).await?.items.len(), 2);
    assert_eq!(plans.list(&everything).await?.items.len(), 1);
    Ok(())
}
