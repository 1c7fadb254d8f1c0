//! Tombstones that expire, in an API server in memory.

use std::sync::Arc;

use kube::runtime::{reflector, watcher};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::{
    process::metrics::Metrics,
    testing::fake_api::{Call, Failure, FakeApi},
};

const TOMBSTONE: &str = "/apis/tenantry.dev/v1alpha1/tenanttombstones/acme-1234abcd";
const KEY: &str = "/api/v1/namespaces/tenantry-keys/secrets/acme-1234abcd";

fn tombstone(store: Option<&str>) -> Value {
    json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantTombstone",
        "metadata": {"name": "acme-1234abcd", "uid": "uid-tombstone", "finalizers": ["tenantry.dev/tombstone"]},
        "spec": {
            "tenant": "acme", "uid": "uid-acme", "deletedAt": "1970-01-01T00:00:00Z", "expiresAt": "1970-01-01T01:00:00Z",
            "store": store, "finalBackup": "Verified", "keySecret": "acme-1234abcd", "recipient": "age1acme", "tenantSpec": {},
        },
    })
}

fn condition(type_: &str) -> Value {
    json!({"type": type_, "status": "True", "reason": "R", "message": "", "lastTransitionTime": "1970-01-01T00:00:00Z"})
}

struct World {
    api: FakeApi,
    cluster: Cluster,
}

impl World {
    fn new(store: Option<&str>) -> Self {
        let api = FakeApi::default();
        api.put(TOMBSTONE, tombstone(store));
        api.put(KEY, json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "acme-1234abcd"}}));
        let cluster = Cluster::new(api.client(), Arc::new(Metrics::new().unwrap()));
        Self { api, cluster }
    }

    /// One run, with all news known before.
    async fn settle(&self, second: i64) -> Result<(), Error> {
        let (known, mut writer) = reflector::store();
        if let Some(object) = self.api.get(TOMBSTONE) {
            writer.apply_watcher_event(&watcher::Event::Apply(serde_json::from_value(object).unwrap()));
        }
        settle(&self.cluster, &known, "tenantry-keys", Timestamp::from_second(second).unwrap()).await
    }

    fn key_is_there(&self) -> bool {
        self.api.get(KEY).is_some()
    }
}

#[tokio::test]
async fn nothing_happens_before_its_time() {
    let world = World::new(Some("main"));
    world.settle(3599).await.unwrap();
    assert!(world.key_is_there());
    assert_eq!(world.api.take_calls().into_iter().filter(Call::is_write).count(), 0);
}

#[tokio::test]
async fn then_the_key_goes_and_the_tombstone_waits_for_the_store() {
    let world = World::new(Some("main"));
    for _ in 0..3 {
        world.settle(3600).await.unwrap();
    }
    assert!(!world.key_is_there());
    let said = &world.api.get(TOMBSTONE).unwrap()["status"]["conditions"][0];
    assert_eq!((said["type"].as_str(), said["status"].as_str()), (Some(KEY_DESTROYED), Some("True")));
    assert!(said["message"].as_str().unwrap().contains("age1acme"), "{said}");

    let all = json!([said, condition(BACKUPS_REMOVED)]);
    world.api.change(TOMBSTONE, |tombstone| tombstone["status"]["conditions"] = all);
    world.settle(3601).await.unwrap();
    assert!(world.api.get(TOMBSTONE).is_none(), "{:#?}", world.api.get(TOMBSTONE));
    let objects = world.api.objects();
    let receipts = objects.values().filter(|object| object["reason"] == "Erased").collect::<Vec<_>>();
    assert!(receipts[0]["note"].as_str().unwrap().contains("BackupStore main"), "{receipts:?}");
}

#[tokio::test]
async fn without_a_store_nobody_is_waited_for() {
    let world = World::new(None);
    world.settle(3600).await.unwrap();
    world.settle(3600).await.unwrap();
    assert!(!world.key_is_there() && world.api.get(TOMBSTONE).is_none());
}

#[tokio::test]
async fn one_that_is_deleted_expires_at_once() {
    let world = World::new(Some("main"));
    world.api.change(TOMBSTONE, |tombstone| {
        tombstone["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:00:00Z");
    });
    world.settle(1).await.unwrap();
    assert!(!world.key_is_there() && world.api.get(TOMBSTONE).is_some());
}

/// Wherever it fails, the key is gone in the end, and so is the tombstone.
#[rstest]
#[tokio::test]
async fn each_request_may_fail_once(#[values(Failure::Before, Failure::After)] failure: Failure) {
    for number in 0..8 {
        let world = World::new(None);
        world.api.fail(number, failure);
        for _ in 0..6 {
            let _ = world.settle(3600).await;
        }
        assert!(!world.key_is_there() && world.api.get(TOMBSTONE).is_none(), "request {number}");
    }
}
