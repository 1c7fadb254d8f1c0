//! What nobody does by accident: deleting customers' data, changing what the operator wrote.

use anyhow::{Context as _, Result};
use futures::try_join;
use serde_json::json;

use crate::lab::{Lab, namespace};

#[tokio::test]
async fn customers_data_is_safe_from_accidents() -> Result<()> {
    let lab = Lab::start().await?;
    try_join!(
        async { deleting_a_tenant_is_confirmed_by_its_name(&lab).await.context("deleting a tenant") },
        async { deleting_our_crds_takes_broken_glass(&lab).await.context("deleting our CRDs") },
        async { namespaces_and_volumes_are_deleted_by_the_operator(&lab).await.context("deleting data") },
        async {
            what_the_operator_wrote_is_changed_by_the_operator(&lab).await.context("changing configuration")
        },
        async { the_operator_says_whose_namespace_it_is(&lab).await.context("labelling namespaces") },
    )?;
    Ok(())
}

async fn deleting_a_tenant_is_confirmed_by_its_name(lab: &Lab) -> Result<()> {
    let tenant = json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": { "name": "acme" },
        "spec": { "displayName": "Acme", "admin": { "name": "F", "email": "f@acme.example" }, "plan": "p", "release": "r" },
    });
    lab.admin().may_write("create", &tenant.to_string()).await?;
    let advice = "first run: kubectl annotate tenant acme tenantry.dev/confirm-delete=acme";
    lab.admin().may_not("delete tenant acme", advice).await?;
    lab.break_glass().may_not("delete tenant acme", advice).await?;
    let collection = "/apis/tenantry.dev/v1alpha1/tenants";
    lab.admin().may_not(&format!("delete --raw {collection}?dryRun=All"), advice).await?;
    lab.admin().may("annotate tenant acme tenantry.dev/confirm-delete=bluesky").await?;
    lab.admin().may_not("delete tenant acme", advice).await?;
    lab.admin().may("annotate --overwrite tenant acme tenantry.dev/confirm-delete=acme").await?;
    lab.admin().may("delete tenant acme").await
}

async fn deleting_our_crds_takes_broken_glass(lab: &Lab) -> Result<()> {
    let advice = "acts as a member of the group tenantry:break-glass";
    for crd in ["tenants.tenantry.dev", "plans.tenantry.dev", "releases.tenantry.dev"] {
        lab.admin().may_not(&format!("delete crd {crd}"), advice).await?;
    }
    let collection = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    lab.admin().may_not(&format!("delete --raw {collection}?dryRun=All"), advice).await?;
    lab.break_glass().may("delete crd plans.tenantry.dev --dry-run=server").await?;

    let version = json!({
        "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": { "type": "object" } },
    });
    let foreign = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "tenants.example.com" },
        "spec": {
            "group": "example.com", "scope": "Cluster", "versions": [version], "names": { "kind": "Tenant", "plural": "tenants" },
        },
    });
    lab.admin().may_write("create", &foreign.to_string()).await?;
    lab.admin().may("delete crd tenants.example.com --wait=false").await
}

async fn namespaces_and_volumes_are_deleted_by_the_operator(lab: &Lab) -> Result<()> {
    lab.tenant_namespace("acme").await?;
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": "database", "labels": { "tenantry.dev/tenant": "acme" } },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    });
    lab.operator().may_write("-n tenant-acme create", &claim.to_string()).await?;
    let (admin, collector) = (lab.admin(), lab.namespace_controller());
    let advice =
        "kubectl annotate tenant acme tenantry.dev/confirm-delete=acme && kubectl delete tenant acme";
    admin.may_not("delete namespace tenant-acme", &format!("Namespace tenant-acme holds the data of tenant acme and only the operator deletes it; to remove the tenant, run: {advice}")).await?;
    admin.may_not("-n tenant-acme delete pvc database", advice).await?;
    let claims = "delete --raw /api/v1/namespaces/tenant-acme/persistentvolumeclaims";
    collector.may_not(&format!("{claims}?dryRun=All"), advice).await?;
    // Taking the label off the claim does not open it, and that of the namespace stays on.
    admin.may("-n tenant-acme label pvc database tenantry.dev/tenant-").await?;
    admin.may_not("-n tenant-acme delete pvc database", advice).await?;
    lab.break_glass().may("-n tenant-acme delete pvc database --dry-run=server").await?;
    lab.break_glass().may("delete namespace tenant-acme --dry-run=server").await?;

    // What is nobody's customer's is not ours.
    admin.may("create namespace other").await?;
    admin.may_write("-n other create", &claim.to_string()).await?;
    admin.may("-n other delete pvc database --wait=false").await?;
    admin.may("delete namespace other --wait=false").await?;

    // Once the operator has begun, Kubernetes cleans up.
    lab.operator().may("delete namespace tenant-acme --wait=false").await?;
    collector.may(claims).await?;
    admin.may("wait --for=delete namespace/tenant-acme --timeout=15s").await
}

async fn what_the_operator_wrote_is_changed_by_the_operator(lab: &Lab) -> Result<()> {
    lab.tenant_namespace("bluesky").await?;
    let (admin, operator) = (lab.admin(), lab.operator());
    for (kind, name) in [("Secret", "database-credentials"), ("ConfigMap", "entitlement")] {
        let labels = json!({ "app.kubernetes.io/managed-by": "tenantry" });
        let metadata = json!({ "name": name, "labels": labels });
        let object =
            json!({ "apiVersion": "v1", "kind": kind, "metadata": metadata, "data": { "key": "dmFsdWU=" } });
        let theirs =
            json!({ "apiVersion": "v1", "kind": kind, "metadata": metadata, "data": { "key": "bWluZQ==" } });
        let refusal = format!("{kind} {name} is labelled as written by Tenantry");

        admin.may_not_write("-n tenant-bluesky create", &object.to_string(), &refusal).await?;
        operator.may_write("-n tenant-bluesky create", &object.to_string()).await?;
        admin.may_not_write("-n tenant-bluesky replace", &theirs.to_string(), &refusal).await?;
        admin
            .may_not(
                &format!("-n tenant-bluesky label {kind} {name} app.kubernetes.io/managed-by-"),
                &refusal,
            )
            .await?;
        admin.may_not(&format!("-n tenant-bluesky delete {kind} {name}"), &refusal).await?;
        let collection = format!("/api/v1/namespaces/tenant-bluesky/{}s", kind.to_lowercase());
        lab.namespace_controller()
            .may_not(&format!("delete --raw {collection}?dryRun=All"), &refusal)
            .await?;
        // Rewriting everything unchanged is how encryption keys are rotated.
        admin.may_write("-n tenant-bluesky replace", &object.to_string()).await?;
        lab.break_glass()
            .may_write("-n tenant-bluesky replace --dry-run=server", &theirs.to_string())
            .await?;
        operator.may(&format!("-n tenant-bluesky annotate {kind} {name} a=b")).await?;
    }
    // Other objects in the namespace are other people's business.
    admin.may("-n tenant-bluesky create configmap notes --from-literal=a=b").await?;
    admin.may("-n tenant-bluesky delete configmap notes").await?;
    operator.may("delete namespace tenant-bluesky --wait=false").await?;
    admin.may("wait --for=delete namespace/tenant-bluesky --timeout=15s").await
}

async fn the_operator_says_whose_namespace_it_is(lab: &Lab) -> Result<()> {
    lab.tenant_namespace("cobalt").await?;
    let admin = lab.admin();
    let refusal =
        "labels that begin with tenantry.dev/ say whose namespace this is, and only the operator sets";
    admin.may_not_write("create", &namespace("tenant-new", "new", "restricted"), refusal).await?;
    admin.may_not("label namespace default tenantry.dev/tenant=cobalt", refusal).await?;
    admin.may_not("label namespace tenant-cobalt tenantry.dev/tenant-", refusal).await?;
    admin.may_not("label namespace tenant-cobalt --overwrite tenantry.dev/tenant=new", refusal).await?;
    admin.may_not("label namespace tenant-cobalt tenantry.dev/anything=else", refusal).await?;
    let refusal = "restore-from opens the backups of another tenant to this namespace, and only the operator";
    let source = "tenantry.dev/restore-from=acme/0b7f8f0e-5a1b-4c3d-9e8f-001122334455";
    admin.may_not(&format!("annotate namespace tenant-cobalt {source}"), refusal).await?;
    lab.operator().may(&format!("annotate namespace tenant-cobalt {source}")).await?;
    let other = source.replace("acme", "bluesky");
    admin.may_not(&format!("annotate --overwrite namespace tenant-cobalt {other}"), refusal).await?;
    admin.may("label namespace tenant-cobalt example.com/cost-centre=12").await?;
    admin.may("annotate namespace tenant-cobalt tenantry.dev/adopt=a-new-uid").await?;
    admin.may("create namespace tenant-by-hand").await?;
    lab.break_glass().may("label namespace tenant-cobalt tenantry.dev/tenant- --dry-run=server").await
}
