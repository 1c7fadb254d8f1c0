//! Whole tenants in a world in memory: made, left alone, broken at every request, removed.

use std::collections::BTreeMap;

use http::Method;
use rstest::rstest;
use serde_json::{Value, json};

mod backups;
mod bootstrap;
mod channels;
mod closing;
mod pods;
mod routes;
mod starts;

use super::*;
use crate::{
    api::conditions,
    testing::{
        fake_api::{Call, Failure},
        release,
        world::{DEPLOYMENT, NAMESPACE, TENANT, World},
    },
};

fn ready(world: &World) -> (String, String) {
    let status = world.tenant().status.unwrap_or_default();
    let ready = conditions::find(&status.conditions, conditions::READY).cloned();
    ready.map(|ready| (ready.status, ready.reason)).unwrap_or_default()
}

async fn settled() -> World {
    let mut world = World::new();
    world.settle().await;
    world
}

#[tokio::test]
async fn a_new_tenant_gets_its_children_in_order_and_then_a_status() {
    let mut world = World::new();
    world.reconcile().await.unwrap();
    let calls = world.api.take_calls();
    let at = |path: &str| calls.iter().position(|call| call.is_write() && call.path.ends_with(path));
    let order = [
        TENANT,
        NAMESPACE,
        "rolebindings/tenantry-operator",
        "tenant-acme/secrets",
        "persistentvolumeclaims/database",
        "statefulsets/database",
        "tenants/acme/status",
    ];
    let positions: Vec<_> =
        order.iter().map(|path| at(path).unwrap_or_else(|| panic!("{path} was not written"))).collect();
    assert!(positions.is_sorted(), "{order:?} came as {positions:?}");
    assert_eq!(ready(&world).0, "False");
}

#[tokio::test]
async fn a_tenant_becomes_ready_and_is_then_left_alone() {
    let mut world = settled().await;
    assert_eq!(ready(&world), ("True".into(), "AsExpected".into()));
    world.api.take_calls();
    world.reconcile().await.unwrap();
    let writes: Vec<_> = world.api.take_calls().into_iter().filter(Call::is_write).collect();
    assert_eq!(writes, []);
}

#[tokio::test]
async fn drift_costs_one_write() {
    let mut world = settled().await;
    let service = "/api/v1/namespaces/tenant-acme/services/crm";
    world.api.change(service, |service| service["spec"]["selector"] = json!({"app": "evil"}));
    world.api.take_calls();
    world.reconcile().await.unwrap();
    let writes: Vec<_> = world.api.take_calls().into_iter().filter(Call::is_write).collect();
    assert_eq!(writes.len(), 1, "{writes:?}");
    assert_eq!((&writes[0].method, writes[0].path.as_str()), (&Method::PATCH, service));
}

#[tokio::test]
async fn a_plan_that_cannot_be_read_freezes_its_tenants() {
    let mut world = settled().await;
    world.damage_plan();
    world.change_tenant(|tenant| tenant["spec"]["state"] = json!("Suspended"));
    world.api.take_calls();
    let error = world.reconcile().await.unwrap_err();
    assert!(error.message().contains("spec.seats: invalid type"), "{}", error.message());
    assert_eq!(ready(&world), ("False".into(), "PlanMalformed".into()));
    let calls = world.api.take_calls();
    let children = calls.iter().filter(|call| call.is_write() && call.path.contains("tenant-acme"));
    assert_eq!(children.count(), 0, "{calls:?}");
}

/// What was found for one version of a Tenant is not said of another, however late it arrives.
#[rstest]
#[case::another_state(|tenant: &mut Value| tenant["spec"]["state"] = json!("Suspended"))]
#[case::paused(|tenant: &mut Value| tenant["spec"]["paused"] = json!(true))]
#[case::an_annotation(|tenant: &mut Value| tenant["metadata"]["annotations"] = json!({"who": "somebody"}))]
#[case::a_later_status(|tenant: &mut Value| tenant["status"]["release"] = json!("r2"))]
#[tokio::test]
async fn a_status_is_said_only_of_the_version_that_it_was_found_for(#[case] change: fn(&mut Value)) {
    let mut world = settled().await;
    let mut old = world.tenant();
    old.status = None;
    world.api.change(TENANT, change);
    let changed = world.api.get(TENANT);
    world.api.take_calls();
    let next = world.reconcile_on_old_tenant(old).await.unwrap();
    assert_eq!(world.api.get(TENANT), changed);
    let tried = world.api.take_calls().into_iter().filter(|call| call.path.ends_with("acme/status"));
    assert_eq!((tried.count(), next), (1, Action::requeue(Duration::from_secs(1))));

    world.settle().await;
    let status = world.tenant().status.unwrap();
    assert_eq!(status.release.as_deref(), Some("r1"));
    assert_eq!(status.observed_generation, world.tenant().metadata.generation);
}

/// Nobody keeps a status from being said by writing to the Tenant all the time.
#[tokio::test]
async fn a_status_is_said_of_a_later_version_that_wants_the_same() {
    let mut world = settled().await;
    world.change_tenant(|tenant| tenant["spec"]["displayName"] = json!("Acme"));
    let old = world.tenant();
    world.api.change(TENANT, |tenant| tenant["metadata"]["annotations"] = json!({"who": "somebody"}));
    world.reconcile_on_old_tenant(old).await.unwrap();
    let live = world.tenant();
    assert_eq!(live.status.unwrap().observed_generation, live.metadata.generation);
}

/// Fails each request of the whole life in turn, before and after it was carried out. The end must always be the same.
#[tokio::test]
async fn wherever_it_fails_the_end_is_the_same() {
    let reference = end_state(&settled().await);
    let mut world = World::new();
    world.api.take_calls();
    world.reconcile().await.unwrap();
    let first = world.api.take_calls().len();
    world.nodes_work();
    world.reconcile().await.unwrap();
    let second = world.api.take_calls().len();
    assert!(30 <= first && 3 < second, "{first} and {second} requests");
    for failure in [Failure::Before, Failure::After] {
        for number in 0..first {
            let mut world = World::new();
            world.api.fail(number, failure);
            let _ = world.reconcile().await;
            world.settle().await;
            assert_eq!(end_state(&world), reference, "request {number} of the first reconcile, {failure:?}");
        }
        for number in 0..second {
            let mut world = World::new();
            world.reconcile().await.unwrap();
            world.nodes_work();
            world.api.fail(number, failure);
            let _ = world.reconcile().await;
            world.settle().await;
            assert_eq!(end_state(&world), reference, "request {number} of the second reconcile, {failure:?}");
        }
    }
}

/// All objects without what differs from run to run: identities, versions, and the salt of the verifiers.
fn end_state(world: &World) -> BTreeMap<String, Value> {
    let mut objects = world.api.objects();
    objects.retain(|path, _| !path.contains("/events/"));
    for (path, object) in &mut objects {
        for field in ["uid", "resourceVersion", "managedFields", "creationTimestamp"] {
            object["metadata"][field] = Value::Null;
        }
        if path.ends_with("database-credentials") {
            object["data"] = object["data"]
                .as_object()
                .map(|data| json!(data.keys().collect::<Vec<_>>()))
                .unwrap_or_default();
        }
    }
    objects
}

#[tokio::test]
async fn a_confirmed_deletion_removes_in_order_even_when_each_request_fails_once() {
    let mut world = settled().await;
    let delete = |world: &World| {
        world.api.change(TENANT, |tenant| {
            tenant["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:00:00Z");
            tenant["metadata"]["annotations"] = json!({"tenantry.dev/confirm-delete": "acme"});
        });
    };
    delete(&world);
    let mut removed = Vec::new();
    for _ in 0..20 {
        if world.api.get(TENANT).is_none() {
            break;
        }
        world.reconcile().await.unwrap();
        world.nodes_work_if_possible();
        removed.extend(
            world
                .api
                .take_calls()
                .into_iter()
                .filter(|call| call.method == Method::DELETE)
                .map(|call| call.path),
        );
    }
    let kinds: Vec<_> = removed.iter().map(|path| path.rsplit('/').nth(1).unwrap_or_default()).collect();
    assert_eq!(
        kinds,
        [
            "deployments",
            "cronjobs",
            "cronjobs",
            "jobs",
            "jobs",
            "jobs",
            "statefulsets",
            "persistentvolumeclaims",
            "namespaces"
        ]
    );
    let kept = ["/events/", "/tenanttombstones/", "/tenantry-keys/"];
    let left = world.api.objects();
    assert!(left.keys().all(|path| kept.iter().any(|kept| path.contains(kept))), "{:?}", left.keys());

    for number in 0..60 {
        let mut world = settled().await;
        delete(&world);
        world.api.fail(number, Failure::After);
        for _ in 0..40 {
            if world.api.get(TENANT).is_none() {
                break;
            }
            let _ = world.reconcile().await;
            world.nodes_work_if_possible();
        }
        assert!(world.api.get(TENANT).is_none() && world.api.get(NAMESPACE).is_none(), "request {number}");
    }
}

#[tokio::test]
async fn an_unconfirmed_deletion_keeps_serving() {
    let mut world = settled().await;
    world
        .api
        .change(TENANT, |tenant| tenant["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:00:00Z"));
    world.settle().await;
    assert_eq!(ready(&world), ("False".into(), "DeletionUnconfirmed".into()));
    world.api.change(DEPLOYMENT, |app| app["spec"]["replicas"] = json!(0));
    world.settle().await;
    assert_eq!(world.api.get(DEPLOYMENT).unwrap()["spec"]["replicas"], 2);
}

#[tokio::test]
async fn an_unknown_release_freezes_and_heals() {
    let mut world = settled().await;
    let before = world.api.get(DEPLOYMENT);
    world.change_tenant(|tenant| {
        tenant["spec"]["release"] = json!("r2");
        tenant["spec"]["state"] = json!("Suspended");
    });
    let error = world.reconcile().await.unwrap_err();
    assert!(error.is_terminal() && error.message().contains("one of: r1"), "{}", error.message());
    assert_eq!(ready(&world), ("False".into(), "ReleaseNotFound".into()));
    assert_eq!(world.api.get(DEPLOYMENT), before);
    world.add_release(release("r2", 1));
    world.settle().await;
    assert_eq!(ready(&world), ("True".into(), "Suspended".into()));
}

#[tokio::test]
async fn a_foreign_namespace_is_not_touched() {
    let mut world = World::new();
    world.api.put(
        NAMESPACE,
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant-acme"}}),
    );
    let error = world.reconcile().await.unwrap_err();
    assert_eq!(error.reason(), "ForeignNamespace");
    let writes: Vec<_> =
        world.api.take_calls().into_iter().filter(Call::is_write).map(|call| call.path).collect();
    assert!(writes.iter().all(|path| !path.contains("tenant-acme")), "{writes:?}");
}
