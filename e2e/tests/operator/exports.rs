//! Requests: an exit bundle that somebody asks for.

use anyhow::Result;
use e2e::{
    cluster::control_plane::{Outcome, StandIn, Workload},
    host::wait::{Look, Wait},
};
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use operator::api::{Tenant, TenantExport};
use serde_json::{Value, json};

use crate::lab::{DEADLINE, Lab, NAMESPACE, Running};

const EXPORT: &str = "20261122T132501Z-ab12cd";

fn exports_succeed(nodes: &StandIn) {
    let report = json!({
        "code": "Delivered", "export": EXPORT, "store": "main", "createdAt": "2026-11-22T13:25:01.25Z", "rows": 7,
        "schemaVersion": 1, "size": 5000, "sha256": "a".repeat(64), "sumsSha256": "b".repeat(64),
    });
    nodes.on(Workload::Job, "", "export-", Outcome::Works { message: report.to_string() });
}

async fn ask(lab: &Lab, name: &str) -> Result<TenantExport> {
    let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    lab.create(json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantExport",
        "metadata": {"name": name}, "spec": {"tenant": "acme", "recipients": [recipient]},
    }))
    .await
}

/// Waits until the condition has that status and reason; returns the whole status.
async fn until(lab: &Lab, name: &str, word: &str, reason: &str) -> Result<Value> {
    let requests: Api<TenantExport> = Api::all(lab.client.clone());
    Wait::new(format!("TenantExport {name}: Complete={word}, {reason}"), DEADLINE)
        .until(async || {
            let status = serde_json::to_value(requests.get(name).await?.status)?;
            let complete = &status["conditions"][0];
            let holds =
                complete["type"] == "Complete" && complete["status"] == word && complete["reason"] == reason;
            Ok(if holds { Look::Done(status) } else { Look::NotYet(status.to_string()) })
        })
        .await
}

async fn suspend(lab: &Lab) -> Result<()> {
    lab.nodes.backups_succeed();
    let tenants: Api<Tenant> = Api::all(lab.client.clone());
    let patch = Patch::Merge(json!({"spec": {"state": "Suspended"}}));
    tenants.patch("acme", &PatchParams::default(), &patch).await?;
    until_databases(lab, 0).await
}

/// Waits until so many database pods are wanted, and there are so many.
async fn until_databases(lab: &Lab, number: i32) -> Result<()> {
    let sets: Api<StatefulSet> = Api::namespaced(lab.client.clone(), NAMESPACE);
    Wait::new(format!("the database to have {number} pods"), DEADLINE)
        .until(async || {
            let set = sets.get("database").await?;
            let wanted = set.spec.and_then(|spec| spec.replicas);
            let there = set.status.map(|status| status.replicas);
            let is = wanted == Some(number) && there == Some(number);
            Ok(if is { Look::Done(()) } else { Look::NotYet(format!("{wanted:?} {there:?}")) })
        })
        .await
}

/// What was ever wanted of the CRM since it was stopped, as the API server noted it.
fn crm_was_started(lab: &Lab, since: usize) -> Result<bool> {
    let writes = lab.writes()?;
    Ok(writes.iter().skip(since).any(|event| event.is_about("deployments")))
}

#[tokio::test]
async fn a_suspended_tenant_is_exported_by_its_database_alone() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    suspend(&lab).await?;
    let before = lab.writes()?.len();
    lab.nodes.on(Workload::Job, "", "export-", Outcome::Nothing);
    ask(&lab, "leaving").await?;
    until(&lab, "leaving", "Unknown", "Running").await?;
    until_databases(&lab, 1).await?;
    // Killed in its middle, it goes on.
    let Lab { control_plane, client, break_glass, nodes, operator } = lab;
    operator.kill().await;
    exports_succeed(&nodes);
    let operator = Running::start(&control_plane).await?;
    let lab = Lab { control_plane, client, break_glass, nodes, operator };
    let status = until(&lab, "leaving", "True", "Exported").await?;
    assert_eq!((&status["size"], &status["keptUntil"]), (&json!(5000), &json!("2026-12-06T13:25:01Z")));
    let path = status["path"].as_str().unwrap_or_default();
    assert!(
        path.starts_with("/v1/main/acme/") && path.ends_with(&format!("/exports/{EXPORT}.zip.age")),
        "{path}"
    );
    until_databases(&lab, 0).await?;
    assert!(!crm_was_started(&lab, before)?, "the CRM was touched");
    Ok(())
}

#[tokio::test]
async fn after_a_failure_the_database_stops_as_well() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    suspend(&lab).await?;
    let report = json!({"code": "DoorRefused"}).to_string();
    lab.nodes.on(Workload::Job, "", "export-", Outcome::Exits { code: 1, message: report });
    ask(&lab, "leaving").await?;
    let status = until(&lab, "leaving", "False", "ExportFailed").await?;
    let message = status["conditions"][0]["message"].as_str().unwrap_or_default();
    assert!(message.contains("DoorRefused") && message.contains(NAMESPACE), "{message}");
    until_databases(&lab, 0).await
}
