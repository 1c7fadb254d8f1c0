//! Who may replace a tenant's data by that of a backup.

use anyhow::Result;
use serde_json::{Value, json};

use crate::lab::Lab;

const BACKUP: &str = "20261122T132501Z-ab12cd";

fn restore(tenant: &str) -> String {
    json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "TenantRestore",
        "metadata": { "name": "to-yesterday" },
        "spec": { "tenant": tenant, "from": { "latest": {} }, "confirm": tenant },
    })
    .to_string()
}

/// What the operator asks for when an upgrade of acme cannot be undone otherwise.
fn undo(tenant: &str, from: &Value) -> String {
    json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "TenantRestore",
        "metadata": { "name": "acme-before-upgrade-1a2b3c4d" },
        "spec": { "tenant": tenant, "from": from, "confirm": tenant },
    })
    .to_string()
}

fn tenant(bootstrap: &Value) -> String {
    json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": { "name": "acme" },
        "spec": {
            "displayName": "Acme",
            "admin": { "name": "Fang", "email": "fang@acme.example" },
            "plan": "standard",
            "release": "r1",
            "bootstrap": bootstrap,
        },
    })
    .to_string()
}

/// Otherwise whoever may make Tenants could read any customer's data in one of their own.
#[tokio::test]
async fn a_tenant_that_begins_from_a_backup_takes_the_right_to_restore_whose_it_is() -> Result<()> {
    let lab = Lab::start().await?;
    let (admin, restorer) = (lab.admin(), lab.restorer());
    admin.may("create clusterrole tenants --verb=create --resource=tenants.tenantry.dev").await?;
    admin.may("create clusterrolebinding tenants --clusterrole=tenants --group=system:authenticated").await?;
    let right = "--verb=restore --resource=tenants.tenantry.dev --resource-name=acme";
    admin.may(&format!("create clusterrole restore-acme {right}")).await?;
    admin.may("create clusterrolebinding restore-acme --clusterrole=restore-acme --user=bob").await?;

    let create = "create --dry-run=server";
    let uid = "0b7f8f0e-5a1b-4c3d-9e8f-001122334455";
    let own = tenant(&json!({ "restore": { "tenantUID": uid } }));
    let of_another = tenant(&json!({ "restore": { "tenant": "bluesky", "tenantUID": uid } }));
    restorer.may_write(create, &own).await?;
    let refusal = |source: &str, who: &str| {
        format!("a backup of tenant {source} gets its data, and {who} may not: it takes the verb restore")
    };
    restorer.may_not_write("create", &of_another, &refusal("bluesky", "bob")).await?;
    lab.somebody().may_not_write("create", &own, &refusal("acme", "carol")).await?;
    lab.somebody().may_write(create, &tenant(&Value::Null)).await?;
    admin.may_write(create, &of_another).await
}

#[tokio::test]
async fn a_restore_takes_the_right_to_restore_that_tenant() -> Result<()> {
    let lab = Lab::start().await?;
    let (admin, somebody, restorer) = (lab.admin(), lab.somebody(), lab.restorer());
    admin.may("create clusterrole requests --verb=create --resource=tenantrestores.tenantry.dev").await?;
    admin
        .may("create clusterrolebinding requests --clusterrole=requests --group=system:authenticated")
        .await?;
    let right = "--verb=restore --resource=tenants.tenantry.dev --resource-name=acme";
    admin.may(&format!("create clusterrole restore-acme {right}")).await?;
    admin.may("create clusterrolebinding restore-acme --clusterrole=restore-acme --user=bob").await?;

    let create = "create --dry-run=server";
    restorer.may_write(create, &restore("acme")).await?;
    let refusal = |tenant: &str, who: &str| {
        format!("restoring tenant {tenant} replaces its data, and {who} may not: it takes the verb restore")
    };
    somebody.may_not_write("create", &restore("acme"), &refusal("acme", "carol")).await?;
    restorer.may_not_write("create", &restore("bluesky"), &refusal("bluesky", "bob")).await?;
    let (operator, undoes) = (lab.operator(), |tenant: &str, from: Value| undo(tenant, &from));
    operator.may_not_write("create", &restore("acme"), "may not").await?;
    operator.may_write(create, &undoes("acme", json!({ "backup": BACKUP }))).await?;
    operator.may_not_write("create", &undoes("acme", json!({ "latest": {} })), "may not").await?;
    operator.may_not_write("create", &undoes("bluesky", json!({ "backup": BACKUP })), "may not").await?;
    admin.may_write(create, &restore("bluesky")).await
}
