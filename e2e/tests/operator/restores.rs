//! Restores in place: a tenant's data is replaced by that of a backup.

use anyhow::Result;
use e2e::{
    cluster::control_plane::{BACKUP, Outcome, RESTORED, Workload},
    host::wait::{Look, Wait},
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    batch::v1::{CronJob, Job},
    core::v1::{ConfigMap, Namespace},
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use operator::api::{Tenant, TenantRestore};
use serde_json::{Value, json};

use crate::lab::{DEADLINE, Lab, NAMESPACE, Running};

async fn ask(lab: &Lab, name: &str) -> Result<TenantRestore> {
    lab.create(json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantRestore", "metadata": {"name": name},
        "spec": {"tenant": "acme", "from": {"latest": {}}, "confirm": "acme"},
    }))
    .await
}

async fn until(lab: &Lab, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
    let requests: Api<TenantRestore> = Api::all(lab.client.clone());
    Wait::new(format!("TenantRestore {name}: {what}"), DEADLINE)
        .until(async || {
            let status = serde_json::to_value(requests.get(name).await?.status)?;
            Ok(if holds(&status) { Look::Done(status) } else { Look::NotYet(status.to_string()) })
        })
        .await
}

async fn until_step(lab: &Lab, name: &str, step: &str) -> Result<Value> {
    until(lab, name, step, |status| status["step"] == step).await
}

async fn until_complete(lab: &Lab, name: &str, word: &str, reason: &str) -> Result<Value> {
    let holds = |status: &Value| {
        let complete = &status["conditions"][0];
        complete["status"] == word && complete["reason"] == reason
    };
    until(lab, name, &format!("Complete={word}, {reason}"), holds).await
}

async fn until_serves(lab: &Lab, database: &str) -> Result<()> {
    let argument = format!("--database-name={database}\"");
    lab.until_child::<Deployment>("crm", &format!("serves {database}"), |crm| {
        crm.is_some_and(|crm| crm["spec"]["replicas"] == 1 && crm.to_string().contains(&argument))
    })
    .await?;
    lab.until_child::<CronJob>("backup", &format!("backs up {database}"), |backup| {
        backup.is_some_and(|backup| {
            backup["spec"]["suspend"] == false && backup.to_string().contains(&argument)
        })
    })
    .await?;
    lab.until_ready("acme").await?;
    Ok(())
}

async fn annotation(lab: &Lab, name: &str) -> Result<Option<String>> {
    let namespace = Api::<Namespace>::all(lab.client.clone()).get(NAMESPACE).await?;
    Ok(namespace.annotations().get(name).cloned())
}

#[tokio::test]
async fn a_backup_takes_the_place_of_the_data_and_visitors_are_told_meanwhile() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    lab.nodes.on(Workload::Job, "", "restore-", Outcome::Nothing);
    ask(&lab, "one").await?;
    let status = until_step(&lab, "one", "Restoring").await?;
    assert_eq!(status["safetyBackup"], json!({"backup": BACKUP, "createdAt": "2026-01-01T00:00:00Z"}));
    lab.until_child::<Deployment>("crm", "is stopped", |crm| {
        crm.is_some_and(|crm| crm["spec"]["replicas"] == 0)
    })
    .await?;
    lab.until_child::<CronJob>("backup", "waits", |job| {
        job.is_some_and(|job| job["spec"]["suspend"] == true)
    })
    .await?;
    let acme = lab.until_reason("acme", "False", "Restoring").await?;
    assert_eq!(serde_json::to_value(acme.status)?["state"], "Restoring");
    let maps = Api::<ConfigMap>::namespaced(lab.client.clone(), "tenantry-gateway");
    Wait::new("the gateway to be told", DEADLINE)
        .until(async || {
            let routes = maps.get("routes").await?.data.unwrap_or_default();
            let told = routes.get("routes.json").is_some_and(|json| json.contains(r#""state":"Restoring""#));
            Ok(if told { Look::Done(()) } else { Look::NotYet(format!("{routes:?}")) })
        })
        .await?;

    lab.nodes.restores_succeed(1);
    let status = until_complete(&lab, "one", "True", "Restored").await?;
    assert_eq!((&status["backup"], &status["databaseGeneration"]), (&json!(RESTORED), &json!(2)));
    assert_eq!(status["lost"], json!({"from": "2025-12-31T00:00:00Z", "to": "2026-01-01T00:00:00Z"}));
    until_serves(&lab, "crm_2").await?;
    assert_eq!(annotation(&lab, "tenantry.dev/database-generation").await?.as_deref(), Some("2"));
    let jobs: Api<Job> = Api::namespaced(lab.client.clone(), NAMESPACE);
    Wait::new("the Jobs of the restore to go", DEADLINE)
        .until(async || {
            let left = jobs.list(&ListParams::default().labels("tenantry.dev/request")).await?.items;
            let left: Vec<_> = left.iter().map(ResourceExt::name_any).collect();
            Ok(if left.is_empty() { Look::Done(()) } else { Look::NotYet(format!("{left:?}")) })
        })
        .await
}

#[tokio::test]
async fn what_fails_leaves_everything_as_it_was() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    let fails = |code: &str| Outcome::Exits { code: 1, message: json!({ "code": code }).to_string() };
    lab.nodes.on(Workload::Job, "", "backup-", fails("DoorUnreachable"));
    ask(&lab, "unsafe").await?;
    until_complete(&lab, "unsafe", "False", "SafetyBackupFailed").await?;
    until_serves(&lab, "crm").await?;
    lab.nodes.backups_succeed();
    lab.nodes.on(Workload::Job, "", "restore-", fails("WrongKey"));
    ask(&lab, "unreadable").await?;
    let status = until_complete(&lab, "unreadable", "False", "RestoreFailed").await?;
    let message = status["conditions"][0]["message"].as_str().unwrap_or_default();
    assert!(message.contains("WrongKey") && message.contains("Nothing was changed"), "{message}");
    until_serves(&lab, "crm").await?;
    assert_eq!(annotation(&lab, "tenantry.dev/database-generation").await?.as_deref(), Some("1"));
    Ok(())
}

#[tokio::test]
async fn an_operator_that_is_killed_at_each_step_goes_on_where_it_was() -> Result<()> {
    let mut lab = Lab::with_tenant().await?;
    for job in ["backup-", "restore-"] {
        lab.nodes.on(Workload::Job, "", job, Outcome::Nothing);
    }
    ask(&lab, "one").await?;
    for step in ["SafetyBackup", "Restoring"] {
        until_step(&lab, "one", step).await?;
        let Lab { control_plane, client, break_glass, nodes, operator } = lab;
        operator.kill().await;
        match step {
            "SafetyBackup" => nodes.backups_succeed(),
            _ => nodes.restores_succeed(1),
        }
        let operator = Running::start(&control_plane).await?;
        lab = Lab { control_plane, client, break_glass, nodes, operator };
    }
    until_complete(&lab, "one", "True", "Restored").await?;
    until_serves(&lab, "crm_2").await?;
    let made = lab.writes()?.into_iter().filter(|event| {
        let is_made = event.response_status.as_ref().is_some_and(|status| status.code == 201);
        event.verb == "create" && event.is_about("jobs") && is_made
    });
    assert_eq!(made.count(), 4, "two migrations, a backup and a restore");
    Ok(())
}

/// As when the cluster's state comes back without what the operator wrote into it.
#[tokio::test]
async fn a_restore_without_its_status_is_not_carried_out_again() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    lab.nodes.restores_succeed(1);
    ask(&lab, "one").await?;
    until_complete(&lab, "one", "True", "Restored").await?;
    until_serves(&lab, "crm_2").await?;
    let created = |lab: &Lab| {
        anyhow::Ok(
            lab.writes()?.iter().filter(|event| event.verb == "create" && event.is_about("jobs")).count(),
        )
    };
    let before = created(&lab)?;
    let nothing = Patch::Merge(json!({"status": null}));
    let restores: Api<TenantRestore> = Api::all(lab.client.clone());
    let tenants: Api<Tenant> = Api::all(lab.client.clone());
    tenants.patch_status("acme", &PatchParams::default(), &nothing).await?;
    restores.patch_status("one", &PatchParams::default(), &nothing).await?;
    until_complete(&lab, "one", "True", "Restored").await?;
    until_serves(&lab, "crm_2").await?;
    assert_eq!(created(&lab)?, before, "no Job was made");
    Ok(())
}
