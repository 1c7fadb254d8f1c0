//! What holds the operator's own user even where its roles would not: here it is given every right there is.

use anyhow::{Context as _, Result};
use futures::try_join;
use serde_json::{Value, json};

use crate::lab::{Lab, namespace};

#[tokio::test]
async fn an_almighty_operator_still_keeps_to_its_tenants() -> Result<()> {
    let lab = Lab::start().await?;
    let bind = "create clusterrolebinding too-much --clusterrole=cluster-admin";
    lab.admin().may(&format!("{bind} --serviceaccount=tenantry-system:tenantry-operator")).await?;
    try_join!(
        async { it_touches_only_namespaces_of_tenants(&lab).await.context("touching namespaces") },
        async { it_never_lowers_pod_security(&lab).await.context("lowering Pod Security") },
        async { it_binds_only_its_own_role_to_itself(&lab).await.context("binding roles") },
        async { it_starts_only_allowed_images(&lab).await.context("starting images") },
        async { it_never_enters_pods_and_takes_no_tokens(&lab).await.context("entering pods") },
    )?;
    Ok(())
}

async fn it_touches_only_namespaces_of_tenants(lab: &Lab) -> Result<()> {
    lab.tenant_namespace("acme").await?;
    let operator = lab.operator();
    let made = "the operator makes only namespaces that are named tenant-<name> and carry the label";
    operator.may_not("create namespace tenant-new", made).await?;
    operator.may_not_write("create", &namespace("new", "new", "restricted"), made).await?;
    operator.may_not_write("create", &namespace("tenant-new", "acme", "restricted"), made).await?;
    let changed = "the operator changes and deletes only namespaces that carry the label tenantry.dev/tenant";
    operator.may_not("label namespace kube-system a=b", changed).await?;
    operator.may_not("annotate namespace tenantry-system a=b", changed).await?;
    operator.may_not("label namespace default tenantry.dev/tenant=default", changed).await?;
    operator.may_not("delete namespace tenantry-system", changed).await?;
    operator.may_not("label namespace tenant-acme tenantry.dev/tenant-", made).await?;
    operator.may("annotate namespace tenant-acme tenantry.dev/schema-version=3").await?;
    operator.may("delete namespace tenant-acme --dry-run=server").await
}

async fn it_never_lowers_pod_security(lab: &Lab) -> Result<()> {
    lab.tenant_namespace("bluesky").await?;
    let operator = lab.operator();
    let refusal = "the operator never lowers the Pod Security of a namespace";
    operator.may_not_write("create", &namespace("tenant-new", "new", "baseline"), refusal).await?;
    let label = "label --overwrite namespace tenant-bluesky pod-security.kubernetes.io";
    operator.may_not(&format!("{label}/enforce=privileged"), refusal).await?;
    operator.may_not(&format!("{label}/enforce-"), refusal).await?;
    operator.may_not(&format!("{label}/enforce-version=v1.20"), refusal).await?;
    operator.may(&format!("{label}/enforce-version=latest")).await?;
    // An administrator may pin a version, and the operator can live with it.
    lab.admin().may(&format!("{label}/enforce-version=v1.33")).await?;
    operator.may("label namespace tenant-bluesky a=b").await
}

async fn it_binds_only_its_own_role_to_itself(lab: &Lab) -> Result<()> {
    lab.tenant_namespace("cobalt").await?;
    let operator = lab.operator();
    let (role, itself) =
        ("--clusterrole=tenantry-tenant", "--serviceaccount=tenantry-system:tenantry-operator");
    let place = "the operator binds roles only in namespaces that carry the label tenantry.dev/tenant";
    let what = "the operator binds only the ClusterRole tenantry-tenant, and only to itself";
    operator.may_not(&format!("-n kube-system create rolebinding x {role} {itself}"), place).await?;
    operator.may_not(&format!("create clusterrolebinding x {role} {itself}"), place).await?;
    let bind = "-n tenant-cobalt create rolebinding x";
    operator.may_not(&format!("{bind} --clusterrole=cluster-admin {itself}"), what).await?;
    operator.may_not(&format!("{bind} --role=tenantry-tenant {itself}"), what).await?;
    operator.may_not(&format!("{bind} {role} --serviceaccount=default:tenantry-operator"), what).await?;
    operator.may_not(&format!("{bind} {role} --user=alice"), what).await?;
    operator.may_not(&format!("{bind} {role} {itself} --group=everyone"), what).await?;
    operator.may(&format!("{bind} {role} {itself}")).await
}

/// A workload of some kind that runs these images: `container`, and `init` before it.
fn workload(kind: &str, container: &str, init: &str) -> String {
    let pod = json!({
        "restartPolicy": if kind == "Job" || kind == "CronJob" { "Never" } else { "Always" },
        "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" } },
        "initContainers": [restricted("init", init)],
        "containers": [restricted("main", container)],
    });
    let labels = json!({ "app": "x" });
    let template = json!({ "metadata": { "labels": labels }, "spec": pod });
    let (version, spec) = match kind {
        "Pod" => ("v1", pod),
        "Job" => ("batch/v1", json!({ "template": template })),
        "CronJob" => (
            "batch/v1",
            json!({ "schedule": "0 0 * * *", "jobTemplate": { "spec": { "template": template } } }),
        ),
        _ => ("apps/v1", json!({ "selector": { "matchLabels": labels }, "template": template })),
    };
    json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "x" }, "spec": spec }).to_string()
}

fn restricted(name: &str, image: &str) -> Value {
    json!({
        "name": name,
        "image": image,
        "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
    })
}

async fn it_starts_only_allowed_images(lab: &Lab) -> Result<()> {
    lab.tenant_namespace("delta").await?;
    let operator = lab.operator();
    let (good, evil) = ("docker.io/tenantry/crm-app@sha256:1234", "docker.io/tenantry-evil/crm-app:1");
    for place in ["tenant-delta", "default"] {
        lab.admin().may(&format!("-n {place} get serviceaccount default")).await?;
    }
    let refusal = format!("image {evil} is not among those that tenants may run (docker.io/tenantry/)");
    for kind in ["Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"] {
        operator.may_not_write("-n tenant-delta create", &workload(kind, evil, good), &refusal).await?;
        operator.may_not_write("-n tenant-delta create", &workload(kind, good, evil), &refusal).await?;
        operator.may_write("-n tenant-delta create --dry-run=server", &workload(kind, good, good)).await?;
        let place = "the operator starts pods only in namespaces that carry the label tenantry.dev/tenant";
        operator.may_not_write("-n default create", &workload(kind, good, good), place).await?;
    }
    operator.may_write("-n tenant-delta create", &workload("Deployment", good, good)).await?;
    operator.may_not(&format!("-n tenant-delta set image deployment/x main={evil}"), &refusal).await?;
    // A container that somebody else put into a pod does not keep the operator from annotating it.
    lab.admin().may_write("-n tenant-delta create", &workload("Pod", good, evil)).await?;
    operator.may("-n tenant-delta annotate pod x tenantry.dev/entitlement=7").await
}

async fn it_never_enters_pods_and_takes_no_tokens(lab: &Lab) -> Result<()> {
    lab.tenant_namespace("echo").await?;
    let operator = lab.operator();
    let image = "docker.io/tenantry/crm-app:1";
    lab.admin().may("-n tenant-echo get serviceaccount default").await?;
    operator.may_write("-n tenant-echo create", &workload("Pod", image, image)).await?;
    // As if it ran: kubectl asks before it knocks.
    let running = r#"{"status":{"phase":"Running"}}"#;
    lab.admin()
        .may(&format!("-n tenant-echo patch pod x --subresource=status --type=merge -p {running}"))
        .await?;
    let refusal = "the operator never enters pods";
    operator.may_not("-n tenant-echo exec x -- true", refusal).await?;
    operator.may_not("-n tenant-echo attach x", refusal).await?;
    operator.may_not("-n tenant-echo port-forward x :80", refusal).await?;
    operator.may_not("-n tenant-echo create token default", refusal).await?;
    let debug = json!({ "spec": { "ephemeralContainers": [restricted("debug", image)] } });
    let patch =
        format!("-n tenant-echo patch pod x --subresource=ephemeralcontainers --type=merge -p {debug}");
    operator.may_not(&patch, refusal).await
}
