//! The key of the backups and their CronJob, through a tenant's life.

use serde_json::{Value, json};

use super::{ready, settled};
use crate::{
    api::conditions,
    tenant::RESYNC,
    testing::{
        fake_api::Call,
        nodes::BACKUP,
        world::{NAMESPACE, TENANT, World},
    },
};

const IDENTITY: &str = "/api/v1/namespaces/tenant-acme/secrets/backup-identity";
const CRON_JOB: &str = "/apis/batch/v1/namespaces/tenant-acme/cronjobs/backup";
const RECIPIENT: &str = "tenantry.dev/backup-recipient";

fn annotation(world: &World) -> Value {
    world.api.get(NAMESPACE).unwrap()["metadata"]["annotations"][RECIPIENT].clone()
}

fn backup_recent(world: &World) -> (String, String) {
    let status = world.tenant().status.unwrap_or_default();
    let recent = conditions::find(&status.conditions, conditions::BACKUP_RECENT).cloned();
    recent.map(|recent| (recent.status, recent.reason)).unwrap_or_default()
}

#[tokio::test]
async fn the_key_is_written_down_before_anything_is_encrypted_to_it() {
    let mut world = World::new();
    world.reconcile().await.unwrap();
    assert!(world.api.get(IDENTITY).is_some());
    assert!(world.api.get(CRON_JOB).is_none(), "what is not written down could be lost without a word");
    world.settle().await;
    let key = annotation(&world);
    assert!(key.as_str().unwrap().starts_with("age1"));
    let template = world.api.get(CRON_JOB).unwrap()["spec"]["jobTemplate"]["spec"]["template"].clone();
    let recipients = template["metadata"]["annotations"]["tenantry.dev/backup-recipients"].clone();
    assert_eq!(recipients, json!(format!("{}\nage1recovery", key.as_str().unwrap())));
    assert_eq!(backup_recent(&world), ("Unknown".into(), "FirstBackupDue".into()));
}

#[tokio::test]
async fn a_lost_key_is_told_of_and_never_made_anew() {
    let mut world = settled().await;
    let key = annotation(&world);
    let kept = world.api.get(IDENTITY).unwrap();
    world.api.remove(IDENTITY);
    World::later(RESYNC);
    for _ in 0..3 {
        let error = world.reconcile().await.unwrap_err();
        assert!(error.message().contains(key.as_str().unwrap()), "{}", error.message());
    }
    assert_eq!(ready(&world), ("False".into(), "SecretLost".into()));
    assert!(world.api.get(IDENTITY).is_none() && world.api.get(CRON_JOB).is_some());

    let mut another = kept.clone();
    another["data"]["recipient"] = json!("YWdlMWFub3RoZXI=");
    world.api.put(IDENTITY, another);
    world.reconcile().await.unwrap_err();
    assert_eq!(annotation(&world), key, "another key is not the one that was written down");

    world.api.put(IDENTITY, kept);
    world.settle().await;
    assert_eq!(ready(&world), ("True".into(), "AsExpected".into()));
}

#[tokio::test]
async fn without_the_store_the_backups_stay_as_they_are() {
    let mut world = settled().await;
    let before = world.api.get(CRON_JOB).unwrap();
    world.remove_store();
    world.api.take_calls();
    world.reconcile().await.unwrap();
    let children = world.api.take_calls().into_iter().filter(Call::is_write);
    assert_eq!(children.filter(|call| call.path.contains("tenant-acme")).count(), 0);
    assert_eq!(world.api.get(CRON_JOB).unwrap(), before);
    assert_eq!(backup_recent(&world), ("False".into(), "StoreNotFound".into()));
    assert_eq!(ready(&world), ("True".into(), "AsExpected".into()), "people can work");
}

#[tokio::test]
async fn a_plan_without_backups_removes_the_schedule_and_keeps_the_key() {
    let mut world = settled().await;
    world.change_plan(|plan| plan["spec"]["backup"] = Value::Null);
    world.settle().await;
    assert!(world.api.get(CRON_JOB).is_none());
    assert!(world.api.get(IDENTITY).is_some(), "there may be backups that only this key can read");
    assert_eq!(backup_recent(&world), ("Unknown".into(), "NoBackups".into()));
    world.change_plan(|_| ());
    world.settle().await;
    assert!(world.api.get(CRON_JOB).is_some());
}

/// The Job of a CronJob, which ends well at once, and is removed by it.
fn run(world: &World, component: &str) -> String {
    let path = format!("/apis/batch/v1/namespaces/tenant-acme/jobs/{component}-29000000");
    let labels = json!({"tenantry.dev/tenant": "acme", "app.kubernetes.io/component": component});
    world.api.put(
        &path,
        json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": format!("{component}-29000000"), "namespace": "tenant-acme", "uid": component, "labels": labels},
        }),
    );
    world.nodes_work();
    path
}

#[tokio::test]
async fn the_newest_backup_and_drill_are_read_back_after_their_pods_are_gone_and_the_status_was_emptied() {
    let mut world = settled().await;
    let jobs = ["backup", "drill"].map(|component| run(&world, component));
    world.api.take_calls();
    world.settle().await;
    let told = world.tenant().status.unwrap();
    assert_eq!(told.last_backup.as_ref().map(|last| last.backup.as_str()), Some(BACKUP));
    assert_eq!(told.last_drill.as_ref().map(|last| last.result.as_str()), Some("Verified"));
    for job in &jobs {
        world.api.remove(job);
    }
    world.settle().await;

    world.api.change(TENANT, |tenant| tenant["status"] = Value::Null);
    world.api.take_calls();
    world.reconcile().await.unwrap();
    let namespace_writes =
        world.api.take_calls().into_iter().filter(|call| call.is_write() && call.path == NAMESPACE);
    assert_eq!(namespace_writes.count(), 0, "what is read is not written again");
    let back = world.tenant().status.unwrap();
    assert_eq!((&back.last_backup, &back.last_drill), (&told.last_backup, &told.last_drill));
    assert_eq!(backup_recent(&world), ("True".into(), "BackedUp".into()));
}

#[tokio::test]
async fn what_is_reported_costs_the_namespace_one_write() {
    let mut world = settled().await;
    run(&world, "backup");
    world.api.take_calls();
    world.reconcile().await.unwrap();
    let writes: Vec<_> =
        world.api.take_calls().into_iter().filter(Call::is_write).map(|call| call.path).collect();
    assert_eq!(writes, [NAMESPACE.to_owned(), format!("{TENANT}/status")]);
    world.reconcile().await.unwrap();
    assert!(!world.api.take_calls().iter().any(Call::is_write));
}

#[tokio::test]
async fn backups_of_an_earlier_tenant_of_the_name_are_not_those_of_the_one_that_took_over() {
    let mut world = settled().await;
    let job = run(&world, "backup");
    world.settle().await;
    world.api.remove(&job);
    world.nodes_work();
    world.api.change(TENANT, |tenant| {
        tenant["metadata"]["uid"] = json!("uid-made-anew");
        tenant["status"] = Value::Null;
    });
    world.api.change(NAMESPACE, |namespace| {
        namespace["metadata"]["annotations"]["tenantry.dev/adopt"] = json!("uid-made-anew");
    });
    world.settle().await;
    assert_eq!(world.tenant().status.unwrap().last_backup, None);
    assert_eq!(backup_recent(&world), ("Unknown".into(), "FirstBackupDue".into()));
    let annotations = world.api.get(NAMESPACE).unwrap()["metadata"]["annotations"].clone();
    assert_eq!(annotations["tenantry.dev/last-backup"], Value::Null);
}
