//! The operator is started again, and finds a tenant as it was left, or not.

use std::collections::BTreeSet;

use super::*;
use crate::{
    process::backoff::Backoff,
    testing::{settings, settings_with, world::DATABASE},
};

const CREDENTIALS: &str = "/api/v1/namespaces/tenant-acme/secrets/database-credentials";
const SERVICE: &str = "/api/v1/namespaces/tenant-acme/services/crm";
const PODS: &str = "/api/v1/namespaces/tenant-acme/pods";
const RIGHTS: &str =
    "/apis/rbac.authorization.k8s.io/v1/namespaces/tenant-acme/rolebindings/tenantry-operator";

/// A tenant that is ready, and an operator that has just started.
async fn restarted() -> World {
    let world = settled().await.restarted_with(settings());
    world.api.take_calls();
    world
}

fn names_of(calls: &[Call]) -> BTreeSet<&str> {
    calls.iter().filter_map(|call| call.path.rsplit('/').next()).collect()
}

#[tokio::test]
async fn what_is_not_watched_is_left_for_a_moment_within_five_minutes() {
    let mut world = restarted().await;
    // Of the whole time a quarter is left.
    Arc::get_mut(&mut world.ctx).unwrap().backoff = Backoff::new(|| 0.75);
    let next = world.reconcile().await.unwrap();
    assert_eq!(world.api.take_calls(), []);
    assert_eq!(next, Action::requeue(RESYNC / 4));

    // Nothing has happened, and the time has come.
    let next = world.reconcile().await.unwrap();
    let calls = world.api.take_calls();
    assert_eq!(names_of(&calls), BTreeSet::from(UNWATCHED));
    assert!(!calls.iter().any(Call::is_write), "{calls:?}");
    assert_eq!(next, Action::requeue(RESYNC.mul_f64(1.0 - 0.75 / 4.0)));
}

/// What cannot be watched of a tenant with backups.
const UNWATCHED: [&str; 4] = ["backup-identity", "database-credentials", "database-init", "entitlement"];

/// Some news of a tenant at which there is nothing to do.
async fn news(world: &mut World) -> Action {
    world.api.take_calls();
    world.reconcile().await.unwrap()
}

#[tokio::test]
async fn what_was_read_is_not_read_again_within_five_minutes() {
    let mut world = settled().await;
    World::later(RESYNC / 3);
    assert_eq!(news(&mut world).await, Action::requeue(RESYNC / 3 * 2));
    assert_eq!(world.api.take_calls(), []);

    // The time is counted from when it was read.
    World::later(RESYNC / 3 * 2);
    news(&mut world).await;
    assert_eq!(names_of(&world.api.take_calls()), BTreeSet::from(UNWATCHED));
    news(&mut world).await;
    assert_eq!(world.api.take_calls(), []);

    world.api.change(TENANT, |it| it["metadata"]["annotations"] = json!({"example.com/look": "again"}));
    news(&mut world).await;
    assert_eq!(names_of(&world.api.take_calls()), BTreeSet::from(UNWATCHED), "somebody wants it looked at");
}

#[tokio::test]
async fn what_fails_is_read_again_at_every_look() {
    let mut world = settled().await;
    world.api.remove(CREDENTIALS);
    world.api.remove(SERVICE);
    for _ in 0..2 {
        world.api.take_calls();
        world.reconcile().await.unwrap_err();
        assert!(names_of(&world.api.take_calls()).contains("database-credentials"));
    }
}

/// The Tenant, its spec or what it says.
fn tenant(world: &World, change: fn(&mut Value)) {
    world.api.change(TENANT, change);
}

#[rstest]
#[case::a_child_was_changed(|world: &mut World| {
    world.api.change(SERVICE, |it| it["spec"]["selector"] = json!({"app": "evil"}));
})]
#[case::a_child_is_gone(|world: &mut World| world.api.remove(SERVICE))]
#[case::the_database_is_gone(|world: &mut World| world.api.remove(DATABASE))]
#[case::a_child_is_on_its_way_out(|world: &mut World| {
    world.api.change(SERVICE, |it| it["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:00:00Z"));
})]
#[case::a_child_that_nobody_wants(|world: &mut World| {
    let mut another = world.api.get(SERVICE).unwrap();
    another["metadata"]["name"] = json!("another");
    another["metadata"]["uid"] = Value::Null;
    world.api.put(&SERVICE.replace("services/crm", "services/another"), another);
})]
#[case::a_job_that_nobody_wants(|world: &mut World| {
    let labels = json!({"tenantry.dev/tenant": "acme"});
    let metadata = json!({"name": "migrate-0000000000", "namespace": "tenant-acme", "labels": labels});
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata});
    world.api.put("/apis/batch/v1/namespaces/tenant-acme/jobs/migrate-0000000000", job);
})]
#[case::our_rights_were_changed(|world: &mut World| {
    world.api.change(RIGHTS, |it| it["subjects"] = json!([]));
})]
#[case::another_spec(|world: &mut World| {
    world.change_tenant(|it| it["spec"]["displayName"] = json!("Acme"));
})]
#[case::suspended(|world: &mut World| world.change_tenant(|it| it["spec"]["state"] = json!("Suspended")))]
#[case::no_status(|world: &mut World| tenant(world, |it| it["status"] = Value::Null))]
#[case::another_status(|world: &mut World| tenant(world, |it| it["status"]["schemaVersion"] = json!(7)))]
#[case::no_finalizer(|world: &mut World| tenant(world, |it| it["metadata"]["finalizers"] = json!([])))]
#[case::deleted(|world: &mut World| {
    tenant(world, |it| it["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:00:00Z"));
})]
#[case::another_plan(|world: &mut World| world.change_plan(|it| it["spec"]["seats"] = json!(11)))]
#[case::the_crm_does_not_answer(|world: &mut World| {
    world.api.change(DEPLOYMENT, |it| it["status"]["readyReplicas"] = json!(0));
})]
#[case::no_pods(|world: &mut World| {
    for number in [0, 1] {
        world.api.remove(&format!("{PODS}/crm-{number}"));
    }
})]
#[case::a_pod_that_was_told_nothing(|world: &mut World| {
    world.api.change(&format!("{PODS}/crm-1"), |it| it["metadata"]["annotations"] = json!({}));
})]
#[case::the_key_is_not_written_down(|world: &mut World| {
    world.api.change(NAMESPACE, |it| {
        it["metadata"]["annotations"].as_object_mut().unwrap().remove("tenantry.dev/backup-recipient");
    });
})]
#[case::a_request(|world: &mut World| {
    let metadata = json!({"name": "b1", "uid": "uid-b1"});
    let spec = json!({"tenant": "acme"});
    let backup = json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantBackup", "metadata": metadata, "spec": spec,
    });
    world.api.put("/apis/tenantry.dev/v1alpha1/tenantbackups/b1", backup);
})]
#[tokio::test]
async fn everything_is_read_before_anything_is_done(#[case] change: fn(&mut World)) {
    let mut world = restarted().await;
    change(&mut world);
    world.api.take_calls();
    let _ = world.reconcile().await;
    let calls = world.api.take_calls();
    let read = calls.iter().position(|call| call.path == CREDENTIALS);
    // Without our rights nothing could be read.
    let is_first =
        |call: &Call| call.is_write() && call.path.contains("/tenant-acme/") && call.path != RIGHTS;
    let written = calls.iter().position(is_first);
    assert!(read.is_some_and(|read| written.is_none_or(|written| read < written)), "{calls:#?}");
}

/// The manual says that a new start copies them at once.
#[tokio::test]
async fn pull_secrets_are_copied_at_once() {
    let settings = || settings_with(&["--image-pull-secret=registry"]);
    let source = "/api/v1/namespaces/tenantry-system/secrets/registry";
    let copy = "/api/v1/namespaces/tenant-acme/secrets/registry";
    let secret = |text: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "registry"}, "data": {".dockerconfigjson": text}});
    let mut world = World::with(settings());
    world.api.put(source, secret("b25l"));
    world.settle().await;
    world = world.restarted_with(settings());
    world.api.put(source, secret("dHdv"));
    world.reconcile().await.unwrap();
    assert_eq!(world.api.get(copy).unwrap()["data"][".dockerconfigjson"], "dHdv");
}

#[tokio::test]
async fn lost_passwords_are_found_by_the_next_look() {
    let mut world = restarted().await;
    world.api.remove(CREDENTIALS);
    world.reconcile().await.unwrap();
    assert_eq!(ready(&world), ("True".into(), "AsExpected".into()), "nobody has looked");
    world.reconcile().await.unwrap_err();
    assert_eq!(ready(&world), ("False".into(), "SecretLost".into()));
    assert!(world.api.get(CREDENTIALS).is_none());
}

/// Not read, not there, and not readable are three things.
#[tokio::test]
async fn lost_passwords_are_found_at_once_when_there_is_something_to_do() {
    for (failure, reason) in [(None, "SecretLost"), (Some(Failure::Before), "ReadFailed")] {
        let mut world = restarted().await;
        world.api.remove(CREDENTIALS);
        world.api.remove(SERVICE);
        if let Some(failure) = failure {
            world.api.fail(0, failure);
        }
        let error = world.reconcile().await.unwrap_err();
        assert_eq!(error.reason(), reason);
        assert!(world.api.get(CREDENTIALS).is_none() && world.api.get(SERVICE).is_none());
    }
}
