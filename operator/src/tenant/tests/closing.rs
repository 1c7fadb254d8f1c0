//! Tenants that are stopped or removed: what is made before, and what is left.

use super::*;
use crate::testing::nodes::BACKUP;

const DATABASE: &str = "/apis/apps/v1/namespaces/tenant-acme/statefulsets/database";
const IDENTITY: &str = "/api/v1/namespaces/tenant-acme/secrets/backup-identity";

fn suspend(world: &World, state: &str) {
    world.change_tenant(|tenant| tenant["spec"]["state"] = json!(state));
}

fn delete(world: &World, annotations: Value) {
    world.api.change(TENANT, |tenant| {
        tenant["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:00:00Z");
        tenant["metadata"]["annotations"] = annotations;
    });
}

fn confirmed() -> Value {
    json!({"tenantry.dev/confirm-delete": "acme"})
}

fn replicas(world: &World, path: &str) -> i64 {
    world.api.get(path).unwrap()["spec"]["replicas"].as_i64().unwrap()
}

fn named(world: &World, part: &str) -> Vec<Value> {
    world
        .api
        .objects()
        .into_iter()
        .filter(|(path, _)| path.contains(part))
        .map(|(_, object)| object)
        .collect()
}

fn final_backup(world: &World) -> Value {
    world.api.get(NAMESPACE).unwrap()["metadata"]["annotations"]["tenantry.dev/final-backup"].clone()
}

#[tokio::test]
async fn a_suspended_tenant_stops_its_database_after_a_last_backup() {
    let mut world = settled().await;
    suspend(&world, "Suspended");
    world.reconcile().await.unwrap();
    assert_eq!((replicas(&world, DEPLOYMENT), replicas(&world, DATABASE)), (0, 1));
    assert!(named(&world, "/jobs/backup-final").is_empty(), "the CRM is still there");
    world.nodes_work();
    world.reconcile().await.unwrap();
    assert_eq!(named(&world, "/jobs/backup-final").len(), 1);
    assert_eq!(ready(&world), ("False".into(), "FinalBackup".into()));
    assert_eq!(replicas(&world, DATABASE), 1, "it is not made yet");
    world.settle().await;
    assert_eq!(ready(&world), ("True".into(), "Suspended".into()));
    assert_eq!((final_backup(&world), replicas(&world, DATABASE)), (json!(BACKUP), 0));

    suspend(&world, "Active");
    world.settle().await;
    assert_eq!(ready(&world), ("True".into(), "AsExpected".into()));
    assert_eq!((final_backup(&world), replicas(&world, DATABASE)), (Value::Null, 1));
    assert!(named(&world, "/jobs/backup-final").is_empty(), "the next stop makes another");
}

#[tokio::test]
async fn without_its_store_a_suspended_tenant_keeps_its_database() {
    let mut world = settled().await;
    world.remove_store();
    suspend(&world, "Suspended");
    world.settle().await;
    assert_eq!((replicas(&world, DEPLOYMENT), replicas(&world, DATABASE)), (0, 1));
    assert_eq!(ready(&world), ("False".into(), "StoreNotFound".into()));
}

/// Whatever request fails, nothing is removed before tombstone and key are there.
#[tokio::test]
async fn tombstone_and_key_come_before_the_removal() {
    let reference = settled().await;
    let key = reference.api.get(IDENTITY).unwrap()["data"].clone();
    for number in 0..60 {
        let mut world = settled().await;
        delete(&world, confirmed());
        world.api.fail(number, Failure::After);
        for _ in 0..40 {
            if world.api.get(TENANT).is_none() {
                break;
            }
            let _ = world.reconcile().await;
            world.nodes_work_if_possible();
            let removed = world.api.get(IDENTITY).is_none() || world.api.get(DATABASE).is_none();
            let kept = named(&world, "/tenanttombstones/").len() + named(&world, "/tenantry-keys/").len();
            assert!(!removed || kept == 2, "request {number}");
        }
        assert!(world.api.get(TENANT).is_none() && world.api.get(NAMESPACE).is_none(), "request {number}");
        let tombstone = named(&world, "/tenanttombstones/").remove(0);
        let spec = &tombstone["spec"];
        assert_eq!((&spec["finalBackup"], &spec["backup"]["backup"]), (&json!("Verified"), &json!(BACKUP)));
        assert_eq!(
            (&spec["tenant"], &spec["uid"], &spec["store"]),
            (&json!("acme"), &json!("uid-acme"), &json!("main"))
        );
        assert_eq!(spec["expiresAt"], "1970-01-31T00:00:00Z");
        assert_eq!(named(&world, "/tenantry-keys/")[0]["data"], key);
    }
}

#[tokio::test]
async fn a_removal_waits_for_the_store_unless_somebody_says_otherwise() {
    let mut world = settled().await;
    world.remove_store();
    delete(&world, confirmed());
    world.settle().await;
    assert_eq!(ready(&world), ("False".into(), "StoreNotFound".into()));
    assert_eq!(replicas(&world, DATABASE), 1);
    delete(&world, json!({"tenantry.dev/confirm-delete": "acme", "tenantry.dev/skip-final-backup": "acme"}));
    for _ in 0..20 {
        if world.api.get(TENANT).is_none() {
            break;
        }
        world.reconcile().await.unwrap();
        world.nodes_work_if_possible();
    }
    assert!(world.api.get(NAMESPACE).is_none());
    assert_eq!(named(&world, "/tenanttombstones/")[0]["spec"]["finalBackup"], "Skipped");
    assert_eq!(named(&world, "/tenantry-keys/").len(), 1, "earlier backups can still be read");
}

#[tokio::test]
async fn a_tenant_that_was_stopped_is_removed_with_the_backup_it_has() {
    let mut world = settled().await;
    suspend(&world, "Suspended");
    world.settle().await;
    delete(&world, confirmed());
    world.reconcile().await.unwrap();
    assert_eq!(replicas(&world, DATABASE), 0);
    assert_eq!(named(&world, "/jobs/drill-final").len(), 1);
}

/// In the store the backups of its predecessor lie under another uid, where no trial of this one would find them.
#[tokio::test]
async fn one_that_took_a_stopped_namespace_over_is_removed_with_a_backup_of_its_own() {
    let mut world = settled().await;
    suspend(&world, "Suspended");
    world.settle().await;
    world.change_tenant(|tenant| tenant["metadata"]["uid"] = json!("uid-again"));
    world.api.change(NAMESPACE, |namespace| {
        namespace["metadata"]["annotations"]["tenantry.dev/adopt"] = json!("uid-again");
    });
    world.settle().await;
    assert_eq!(ready(&world), ("True".into(), "Suspended".into()));
    assert_eq!((final_backup(&world), replicas(&world, DATABASE)), (Value::Null, 0));
    assert!(named(&world, "/jobs/backup-final").is_empty(), "it was its predecessor's");

    delete(&world, confirmed());
    world.reconcile().await.unwrap();
    assert_eq!((named(&world, "/jobs/backup-final").len(), replicas(&world, DATABASE)), (1, 1));
    for _ in 0..40 {
        if world.api.get(TENANT).is_none() {
            break;
        }
        world.reconcile().await.unwrap();
        world.nodes_work_if_possible();
    }
    let spec = named(&world, "/tenanttombstones/").remove(0)["spec"].clone();
    assert_eq!((&spec["uid"], &spec["finalBackup"]), (&json!("uid-again"), &json!("Verified")));
}

#[tokio::test]
async fn a_name_whose_backups_are_kept_is_not_taken_again() {
    let mut world = settled().await;
    delete(&world, confirmed());
    for _ in 0..40 {
        if world.api.get(TENANT).is_none() {
            break;
        }
        world.reconcile().await.unwrap();
        world.nodes_work_if_possible();
    }
    let mut again = serde_json::to_value(crate::testing::tenant()).unwrap();
    again["metadata"]["uid"] = json!("uid-again");
    world.api.put(TENANT, again);
    let error = world.reconcile().await.unwrap_err();
    assert!(error.is_terminal());
    assert_eq!(ready(&world), ("False".into(), "TombstoneExists".into()));
    assert!(world.api.get(NAMESPACE).is_none());
}
