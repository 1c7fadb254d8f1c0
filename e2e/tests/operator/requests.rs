//! Requests: a backup that somebody asks for.

use anyhow::Result;
use e2e::{
    cluster::control_plane::{BACKUP, Outcome, Workload},
    host::wait::{Look, Wait},
};
use k8s_openapi::api::batch::v1::Job;
use kube::{Api, ResourceExt, api::ListParams};
use operator::api::{Tenant, TenantBackup};
use serde_json::{Value, json};

use crate::lab::{DEADLINE, Lab, NAMESPACE, Running, tenant};

async fn ask(lab: &Lab, name: &str) -> Result<TenantBackup> {
    lab.create(json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantBackup",
        "metadata": {"name": name}, "spec": {"tenant": "acme", "reason": "before the import"},
    }))
    .await
}

/// Waits until the condition has that status and reason; returns the whole status.
async fn until(lab: &Lab, name: &str, word: &str, reason: &str) -> Result<Value> {
    let requests: Api<TenantBackup> = Api::all(lab.client.clone());
    Wait::new(format!("TenantBackup {name}: Complete={word}, {reason}"), DEADLINE)
        .until(async || {
            let status = serde_json::to_value(requests.get(name).await?.status)?;
            let complete = &status["conditions"][0];
            let holds =
                complete["type"] == "Complete" && complete["status"] == word && complete["reason"] == reason;
            Ok(if holds { Look::Done(status) } else { Look::NotYet(status.to_string()) })
        })
        .await
}

async fn jobs(lab: &Lab) -> Result<Vec<String>> {
    let jobs: Api<Job> = Api::namespaced(lab.client.clone(), NAMESPACE);
    let asked_for = ListParams::default().labels("tenantry.dev/request");
    Ok(jobs.list(&asked_for).await?.iter().map(ResourceExt::name_any).collect())
}

#[tokio::test]
async fn a_backup_that_is_asked_for_is_made_and_recorded() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    ask(&lab, "one").await?;
    let status = until(&lab, "one", "True", "BackedUp").await?;
    assert_eq!((&status["backup"], &status["size"]), (&json!(BACKUP), &json!(4096)));
    assert_eq!(
        (&status["createdAt"], &status["observedGeneration"]),
        (&json!("2026-01-01T00:00:00Z"), &json!(1))
    );
    Wait::new("the Job to be removed", DEADLINE)
        .until(async || {
            let left = jobs(&lab).await?;
            Ok(if left.is_empty() { Look::Done(()) } else { Look::NotYet(format!("{left:?}")) })
        })
        .await?;
    let acme = lab.until_ready("acme").await?;
    assert_eq!(
        acme.status.and_then(|status| status.last_backup).map(|last| last.backup).as_deref(),
        Some(BACKUP)
    );
    Ok(())
}

#[tokio::test]
async fn a_request_waits_for_its_tenant_and_says_so() -> Result<()> {
    let lab = Lab::start().await?;
    ask(&lab, "early").await?;
    until(&lab, "early", "Unknown", "TenantNotFound").await?;
    lab.create::<Tenant>(tenant("acme")).await?;
    until(&lab, "early", "True", "BackedUp").await?;
    Ok(())
}

#[tokio::test]
async fn a_failure_says_why_and_the_next_request_goes_on() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    let report = json!({"code": "DoorUnreachable"}).to_string();
    lab.nodes.on(Workload::Job, "", "backup-", Outcome::Exits { code: 1, message: report });
    ask(&lab, "one").await?;
    let status = until(&lab, "one", "False", "BackupFailed").await?;
    let message = status["conditions"][0]["message"].as_str().unwrap_or_default();
    assert!(message.contains("DoorUnreachable") && message.contains(NAMESPACE), "{message}");
    assert_eq!(status["backup"], Value::Null);
    lab.nodes.backups_succeed();
    ask(&lab, "two").await?;
    until(&lab, "two", "True", "BackedUp").await?;
    Ok(())
}

#[tokio::test]
async fn an_operator_that_is_killed_meanwhile_makes_no_second_backup() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    lab.nodes.on(Workload::Job, "", "backup-", Outcome::Nothing);
    ask(&lab, "one").await?;
    until(&lab, "one", "Unknown", "Running").await?;
    let Lab { control_plane, client, break_glass, nodes, operator } = lab;
    operator.kill().await;
    nodes.backups_succeed();
    let operator = Running::start(&control_plane).await?;
    let lab = Lab { control_plane, client, break_glass, nodes, operator };
    until(&lab, "one", "True", "BackedUp").await?;
    let made = lab.writes()?.into_iter().filter(|event| {
        let is_made = event.response_status.as_ref().is_some_and(|status| status.code == 201);
        event.verb == "create" && event.is_about("jobs") && is_made
    });
    assert_eq!(made.count(), 2, "the migration, and one backup");
    Ok(())
}
