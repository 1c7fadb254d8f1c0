//! The exit bundle of a suspended tenant on a real cluster, by the words of `docs/runbooks/exit-bundle.md`.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use e2e::{
    fleet::small_tenant,
    host::wait::{Look, Wait},
};
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};
use kube::{Api, api::ListParams};
use serde_json::json;

use crate::{
    READY, alone, owner,
    runbook::{CUSTOMER, OPENING, STAFF, Shell},
};

const TENANT: &str = "departing";
const COMPANY: &str = "杭州好聚好散有限公司";
/// The key in the runbook's example.
const EXAMPLE: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

#[tokio::test]
async fn a_suspended_customer_gets_everything_by_the_runbook_and_no_crm_runs() -> Result<()> {
    // The runbook has a port of its own on this machine.
    let (fleet, _turn) = alone().await?;
    fleet.apply(&small_tenant(TENANT, &fleet.release)).await?;
    fleet.wait_ready(TENANT, READY).await?;
    owner(&fleet, TENANT).await?.create_company(COMPANY).await?;
    fleet.patch(TENANT, &json!({ "spec": { "state": "Suspended" } })).await?;
    fleet.wait_ready(TENANT, READY).await?;

    let customer = Shell::open(&fleet, "exit-bundle", &[("acme", TENANT)]).await?;
    customer.follow(CUSTOMER, &[OPENING], &[]).await?;
    let key = fs::read_to_string(customer.folder.path().join("key.txt"))?;
    let public = key.lines().find_map(|line| line.strip_prefix("# public key: "));
    let public = public.context("age-keygen writes the public key")?;
    let staff = Shell::open(&fleet, "exit-bundle", &[("acme", TENANT), (EXAMPLE, public)]).await?;
    let said = staff.follow(STAFF, &["Making it", "Fetching it"], &[]).await?;
    ensure!(said.contains("True Exported") && said.contains(": OK"), "{said}");

    let crm = ListParams::default().labels("app.kubernetes.io/component=crm");
    let pods: Api<Pod> = Api::namespaced(fleet.client().await?, &format!("tenant-{TENANT}"));
    ensure!(pods.list(&crm).await?.items.is_empty(), "the CRM of a suspended tenant runs");
    let databases: Api<StatefulSet> = Api::namespaced(fleet.client().await?, &format!("tenant-{TENANT}"));
    Wait::new("the database to be stopped again", READY)
        .until(async || {
            let replicas = databases.get("database").await?.status.unwrap_or_default().replicas;
            Ok(if replicas == 0 { Look::Done(()) } else { Look::NotYet(format!("{replicas} run")) })
        })
        .await?;

    let bundle = format!("{TENANT}.zip.age");
    fs::copy(staff.folder.path().join(&bundle), customer.folder.path().join(&bundle))?;
    let opened = customer.follow(CUSTOMER, &["Fetching it"], &[]).await?;
    println!("the customer sees:\n{opened}");
    ensure!(holds(customer.folder.path(), COMPANY)?, "the company is in no open file of the bundle");
    fleet.delete(TENANT, READY).await
}

/// Whether a file below the folder has that text.
fn holds(folder: &std::path::Path, text: &str) -> Result<bool> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let found = if path.is_dir() {
            holds(&path, text)?
        } else {
            fs::read(&path)?.windows(text.len()).any(|bytes| bytes == text.as_bytes())
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}
