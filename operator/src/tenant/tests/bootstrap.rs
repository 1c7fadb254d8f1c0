//! Tenants that begin from a backup.

use super::*;

const UID: &str = "0b7f8f0e-5a1b-4c3d-9e8f-001122334455";
const KEY: &str = "/api/v1/namespaces/tenant-acme/secrets/restore-identity";
const KEYS: &str = "/api/v1/namespaces/tenantry-keys/secrets";
/// As the Jobs of the world report it.
const RECORD: &str = "0b7f8f0e-5a1b-4c3d-9e8f-001122334455/19691231T000000Z-cd34ef/1969-12-31T00:00:00Z";

/// A world with a Tenant that begins from a backup, and no key yet.
fn world() -> World {
    let world = World::new();
    world.api.change(TENANT, |tenant| {
        tenant["spec"]["bootstrap"] = json!({"restore": {"tenant": "old", "tenantUID": UID}});
    });
    world
}

fn secret(namespace: &str, name: &str, identity: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "uid": format!("uid-{name}"), "resourceVersion": "1"},
        "data": {"identity": identity, "recipient": "YWdl"},
    })
}

fn put_recovery_key(world: &World) {
    let path = format!("{KEYS}/recovery-identity");
    world.api.put(&path, secret("tenantry-keys", "recovery-identity", "cmVjb3Zlcnk="));
}

/// The tombstone of the source, and its key.
fn bury(world: &World) {
    let tombstone = json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantTombstone",
        "metadata": {"name": "old-1", "uid": "uid-old-1", "resourceVersion": "1"},
        "spec": {
            "tenant": "old", "uid": UID, "deletedAt": "1970-01-01T00:00:00Z", "expiresAt": "1970-01-31T00:00:00Z",
            "store": "main", "finalBackup": "Verified", "keySecret": "old-1", "tenantSpec": {},
        },
    });
    world.api.put("/apis/tenantry.dev/v1alpha1/tenanttombstones/old-1", tombstone);
    world.api.put(&format!("{KEYS}/old-1"), secret("tenantry-keys", "old-1", "YnVyaWVk"));
}

/// The source as it lives.
fn give_life(world: &World, uid: &str) {
    let mut tenant = serde_json::to_value(crate::testing::tenant()).unwrap();
    tenant["metadata"]["name"] = json!("old");
    tenant["metadata"]["uid"] = json!(uid);
    world.api.put("/apis/tenantry.dev/v1alpha1/tenants/old", tenant);
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": "tenant-old", "uid": "uid-tenant-old", "resourceVersion": "1",
            "labels": {"tenantry.dev/tenant": "old", "tenantry.dev/tenant-uid": uid},
        },
    });
    world.api.put("/api/v1/namespaces/tenant-old", namespace);
    let path = "/api/v1/namespaces/tenant-old/secrets/backup-identity";
    world.api.put(path, secret("tenant-old", "backup-identity", "bGl2aW5n"));
}

fn annotation(world: &World, name: &str) -> Value {
    world.api.get(NAMESPACE).unwrap()["metadata"]["annotations"][name].clone()
}

fn jobs(world: &World, prefix: &str) -> Vec<Value> {
    let path = format!("/apis/batch/v1/namespaces/tenant-acme/jobs/{prefix}-");
    let objects = world.api.objects();
    objects.into_iter().filter(|(at, _)| at.starts_with(&path)).map(|(_, job)| job).collect()
}

fn key(world: &World) -> Value {
    world.api.get(KEY).unwrap_or_default()["data"].clone()
}

fn assert_begun(world: &World, what: &str) {
    assert_eq!(ready(world), ("True".into(), "AsExpected".into()), "{what}");
    assert_eq!(annotation(world, "tenantry.dev/restored-from"), RECORD, "{what}");
    assert_eq!(annotation(world, "tenantry.dev/restore-from"), Value::Null, "{what}");
    assert_eq!((key(world), jobs(world, "bootstrap")), (Value::Null, vec![]), "{what}");
    assert_eq!(jobs(world, "migrate").len(), 1, "{what}");
    let status = serde_json::to_value(world.tenant().status).unwrap();
    let from = json!({
        "tenantUID": UID, "backup": "19691231T000000Z-cd34ef", "createdAt": "1969-12-31T00:00:00Z",
    });
    assert_eq!((&status["restoredFrom"], &status["state"]), (&from, &json!("Active")), "{what}");
}

#[tokio::test]
async fn before_its_first_start_the_backup_is_restored_and_then_it_is_like_any_other() {
    let mut world = world();
    bury(&world);
    world.reconcile().await.unwrap();
    assert_eq!(annotation(&world, "tenantry.dev/restore-from"), format!("old/{UID}"));
    assert_eq!(key(&world), json!({"identity": "YnVyaWVk"}));
    assert_eq!(jobs(&world, "migrate"), Vec::<Value>::new());
    assert_eq!(world.api.get(DEPLOYMENT).unwrap()["spec"]["replicas"], 0);
    let status = serde_json::to_value(world.tenant().status).unwrap();
    assert_eq!((&status["state"], &status["restoredFrom"]), (&json!("Restoring"), &Value::Null));
    let job = jobs(&world, "bootstrap").remove(0).to_string();
    for words in [
        "--database-name=crm\"",
        "--current=crm\"",
        "--tenant=old\"",
        UID,
        "--backup=newest\"",
        "--request=Tenant/uid-acme\"",
        "restore-identity",
    ] {
        assert!(job.contains(words), "{words} is not in {job}");
    }
    let cron_jobs = "/apis/batch/v1/namespaces/tenant-acme/cronjobs/backup";
    world.settle().await;
    assert_begun(&world, "in the end");
    assert_eq!(world.api.get(cron_jobs).unwrap()["spec"]["suspend"], false);
    world.api.take_calls();
    world.reconcile().await.unwrap();
    let writes: Vec<_> = world.api.take_calls().into_iter().filter(Call::is_write).collect();
    assert_eq!(writes, [], "it is left alone");
}

#[tokio::test]
async fn the_key_is_that_of_the_tombstone_or_of_the_living_tenant_or_of_the_stores() {
    let mut world = world();
    let error = world.reconcile().await.unwrap_err();
    assert!(error.message().contains("secret generic recovery-identity"), "{}", error.message());
    assert_eq!(ready(&world), ("False".into(), "RestoreKeyMissing".into()));
    assert_eq!(jobs(&world, "bootstrap"), Vec::<Value>::new(), "its pod would wait");
    give_life(&world, "another-uid");
    assert_eq!(world.reconcile().await.unwrap_err().reason(), "RestoreKeyMissing");
    put_recovery_key(&world);
    world.reconcile().await.unwrap();
    assert_eq!(key(&world), json!({"identity": "cmVjb3Zlcnk="}));
    world.settle().await;
    assert_begun(&world, "with the recovery key");

    let mut world = self::world();
    put_recovery_key(&world);
    give_life(&world, UID);
    world.reconcile().await.unwrap();
    assert_eq!(key(&world), json!({"identity": "bGl2aW5n"}));

    let mut world = self::world();
    put_recovery_key(&world);
    give_life(&world, UID);
    bury(&world);
    world.reconcile().await.unwrap();
    assert_eq!(key(&world), json!({"identity": "YnVyaWVk"}));
}

#[tokio::test]
async fn what_fails_keeps_the_tenant_from_starting_and_says_why() {
    let mut world = world();
    bury(&world);
    world.reconcile().await.unwrap();
    let name = jobs(&world, "bootstrap").remove(0)["metadata"]["name"].as_str().unwrap().to_owned();
    let path = format!("/apis/batch/v1/namespaces/tenant-acme/jobs/{name}");
    world
        .api
        .change(&path, |job| job["metadata"]["labels"]["app.kubernetes.io/component"] = json!("restore"));
    world.end_job(&path, &name, r#"{"code":"WrongKey"}"#, 1);
    world.settle().await;
    assert_eq!(ready(&world), ("False".into(), "RestoreFailed".into()));
    let status = world.tenant().status.unwrap();
    let message = &conditions::find(&status.conditions, "Ready").unwrap().message;
    assert!(message.contains("WrongKey. it is tried again at 1970-01-01T00:05:00Z"), "{message}");
    assert_eq!(jobs(&world, "migrate"), Vec::<Value>::new());
    assert_eq!(world.api.get(DEPLOYMENT).unwrap()["spec"]["replicas"], 0);
    assert_eq!(annotation(&world, "tenantry.dev/restored-from"), Value::Null);
}

#[tokio::test]
async fn it_is_not_done_again_whatever_is_lost_of_its_record() {
    let mut world = world();
    bury(&world);
    world.settle().await;
    let lose = |world: &World, status: bool, record: &[&str]| {
        if status {
            world.api.change(TENANT, |tenant| tenant["status"] = Value::Null);
        }
        world.api.change(NAMESPACE, |namespace| {
            let annotations = namespace["metadata"]["annotations"].as_object_mut().unwrap();
            annotations.retain(|name, _| record.iter().all(|lost| *name != format!("tenantry.dev/{lost}")));
        });
    };
    world.api.take_calls();
    lose(&world, true, &[]);
    world.settle().await;
    assert_begun(&world, "without its status");
    lose(&world, false, &["restored-from", "schema-version", "migrated"]);
    world = world.restarted_with(crate::testing::settings());
    world.settle().await;
    assert_eq!(annotation(&world, "tenantry.dev/restored-from"), RECORD, "as the status says");
    let made = world.api.take_calls().into_iter().filter(|call| call.path.contains("/jobs/bootstrap"));
    assert_eq!(made.count(), 0);
}

/// Whatever request fails, it begins once, and its CRM never before.
#[tokio::test]
async fn wherever_it_fails_it_begins_from_the_backup() {
    for failure in [Failure::Before, Failure::After] {
        for number in 0..90 {
            let mut world = world();
            bury(&world);
            world.api.fail(number, failure);
            for _ in 0..6 {
                let _ = world.reconcile().await;
                if let Some(app) = world.api.get(DEPLOYMENT)
                    && annotation(&world, "tenantry.dev/restored-from").is_null()
                {
                    assert_eq!(app["spec"]["replicas"], 0, "request {number}, {failure:?}");
                    assert_eq!(jobs(&world, "migrate"), Vec::<Value>::new(), "request {number}, {failure:?}");
                }
                world.nodes_work();
            }
            world.settle().await;
            assert_begun(&world, &format!("request {number}, {failure:?}"));
        }
    }
}
