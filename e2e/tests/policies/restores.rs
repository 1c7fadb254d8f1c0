//! Who may replace a tenant's data by that of a backup.

use anyhow::Result;
use serde_json::json;

use crate::lab::Lab;

fn restore(tenant: &str) -> String {
    json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "TenantRestore",
        "metadata": { "name": "to-yesterday" },
        "spec": { "tenant": tenant, "from": { "latest": {} }, "confirm": tenant },
    })
    .to_string()
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
    lab.operator().may_not_write("create", &restore("acme"), "may not").await?;
    admin.may_write(create, &restore("bluesky")).await
}
