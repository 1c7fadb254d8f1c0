//! Who may have a tenant's data handed out.

use anyhow::Result;
use serde_json::json;

use crate::lab::Lab;

fn export(tenant: &str) -> String {
    json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "TenantExport",
        "metadata": { "name": "leaving" },
        "spec": { "tenant": tenant, "recipients": ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"] },
    })
    .to_string()
}

#[tokio::test]
async fn an_exit_bundle_takes_the_right_to_export_that_tenant() -> Result<()> {
    let lab = Lab::start().await?;
    let (admin, somebody, bob) = (lab.admin(), lab.somebody(), lab.restorer());
    admin.may("create clusterrole requests --verb=create --resource=tenantexports.tenantry.dev").await?;
    admin
        .may("create clusterrolebinding requests --clusterrole=requests --group=system:authenticated")
        .await?;
    for (verb, tenant) in [("export", "acme"), ("restore", "bluesky")] {
        let right = format!("--verb={verb} --resource=tenants.tenantry.dev --resource-name={tenant}");
        admin.may(&format!("create clusterrole {verb} {right}")).await?;
        admin.may(&format!("create clusterrolebinding {verb} --clusterrole={verb} --user=bob")).await?;
    }

    let create = "create --dry-run=server";
    bob.may_write(create, &export("acme")).await?;
    let refusal = |tenant: &str, who: &str| {
        format!("holds all data of tenant {tenant}, and {who} may not ask for one: it takes the verb export")
    };
    somebody.may_not_write("create", &export("acme"), &refusal("acme", "carol")).await?;
    bob.may_not_write("create", &export("bluesky"), &refusal("bluesky", "bob")).await?;
    lab.operator().may_not_write("create", &export("acme"), "may not").await?;
    admin.may_write(create, &export("bluesky")).await
}
