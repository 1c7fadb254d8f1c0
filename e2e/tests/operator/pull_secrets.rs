//! Secrets for a registry of one's own: copied to each tenant, missed when they are missing, followed when they change.

use anyhow::Result;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use operator::api::Tenant;
use serde_json::json;

use crate::lab::{Lab, message, tenant};

#[tokio::test]
async fn a_pull_secret_is_copied_and_its_replacement_follows() -> Result<()> {
    let values = json!({"imagePullSecrets": ["registry"]});
    let lab = Lab::installed_with(&values).await?;
    lab.create::<Tenant>(tenant("acme")).await?;
    let waiting = lab.until_reason("acme", "False", "PullSecretMissing").await?;
    assert!(message(&waiting).contains("registry") && message(&waiting).contains("tenantry-system"));

    let sources: Api<Secret> = Api::namespaced(lab.client.clone(), "tenantry-system");
    let source = json!({
        "metadata": {"name": "registry"},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": r#"{"auths":{"r.example":{"auth":"b25l"}}}"#},
    });
    sources.create(&PostParams::default(), &serde_json::from_value(source)?).await?;
    lab.until_ready("acme").await?;
    let is_copy_of = |source: Secret| {
        let (type_, data) = (json!(source.type_), json!(source.data));
        move |copy: Option<&serde_json::Value>| {
            copy.is_some_and(|copy| copy["type"] == type_ && copy["data"] == data)
        }
    };
    lab.until_child::<Secret>("registry", "a copy", is_copy_of(sources.get("registry").await?)).await?;
    let crm = serde_json::to_value(lab.child::<Deployment>("crm").await?)?;
    assert_eq!(crm["spec"]["template"]["spec"]["imagePullSecrets"], json!([{"name": "registry"}]));

    let renewed = json!({"stringData": {".dockerconfigjson": r#"{"auths":{"r.example":{"auth":"dHdv"}}}"#}});
    sources.patch("registry", &PatchParams::default(), &Patch::Merge(renewed)).await?;
    // The manual's "at once": the operator is started anew.
    let lab = lab.upgraded_with(&values).await?;
    lab.until_child::<Secret>("registry", "the new copy", is_copy_of(sources.get("registry").await?)).await
}
