//! Requests for backups in a world in memory.

mod exports;
mod restores;

use std::collections::BTreeSet;

use http::Method;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::testing::{
    fake_api::{Call, Failure},
    world::{NAMESPACE, TENANT, World},
};

const BACKUPS: &str = "/apis/tenantry.dev/v1alpha1/tenantbackups";
const JOBS: &str = "/apis/batch/v1/namespaces/tenant-acme/jobs";

/// Asks for a backup; the number is also when.
fn ask(world: &World, number: u32, tenant: &str) {
    let name = format!("b{number:02}");
    world.api.put(
        &format!("{BACKUPS}/{name}"),
        json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantBackup",
            "metadata": {
                "name": name, "uid": format!("uid-{name}"), "generation": 1,
                "creationTimestamp": format!("1970-01-01T00:00:{number:02}Z"),
            },
            "spec": {"tenant": tenant, "reason": "before the import"},
        }),
    );
}

fn status(world: &World, number: u32) -> Value {
    world.api.get(&format!("{BACKUPS}/b{number:02}")).unwrap_or_default()["status"].clone()
}

/// Status and reason of the condition.
fn complete(world: &World, number: u32) -> (String, String) {
    let complete = status(world, number)["conditions"][0].clone();
    let text = |field: &str| complete[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"))
}

fn is(word: &str, reason: &str) -> (String, String) {
    (word.to_owned(), reason.to_owned())
}

fn job(number: u32) -> String {
    format!("{JOBS}/{}", names::request_job(names::Component::Backup, &format!("uid-b{number:02}")))
}

async fn settled() -> World {
    let mut world = World::new();
    world.settle().await;
    world
}

#[tokio::test]
async fn one_job_at_a_time_the_oldest_request_first() {
    let mut world = settled().await;
    ask(&world, 2, "acme");
    ask(&world, 1, "acme");
    world.reconcile().await.unwrap();
    let made = world.api.get(&job(1)).unwrap();
    assert_eq!(made["metadata"]["labels"]["tenantry.dev/request"], "uid-b01");
    let arguments = made["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
    assert!(arguments.contains("--reason=OnDemand"), "{arguments}");
    assert_eq!(complete(&world, 1), is("Unknown", "Running"));
    assert_eq!(complete(&world, 2), is("Unknown", "Queued"));
    assert!(world.api.get(&job(2)).is_none());
    world.settle().await;
    for number in [1, 2] {
        assert_eq!(complete(&world, number), is("True", "BackedUp"));
        assert_eq!(status(&world, number)["backup"], "19700101T000000Z-ab12cd");
        assert!(world.api.get(&job(number)).is_none(), "what is recorded needs no Job");
    }
}

#[tokio::test]
async fn it_waits_while_there_is_no_database_to_back_up() {
    let mut world = settled().await;
    world.change_tenant(|tenant| tenant["spec"]["state"] = json!("Suspended"));
    ask(&world, 1, "acme");
    world.settle().await;
    assert_eq!(complete(&world, 1), is("Unknown", "Suspended"));
    world.change_tenant(|tenant| tenant["spec"]["state"] = json!("Active"));
    world.change_tenant(|tenant| tenant["spec"]["paused"] = json!(true));
    world.settle().await;
    assert_eq!(complete(&world, 1), is("Unknown", "Paused"));
    world.change_tenant(|tenant| tenant["spec"]["paused"] = json!(false));
    world.remove_store();
    world.settle().await;
    assert_eq!(complete(&world, 1), is("Unknown", "StoreNotFound"));
    assert!(world.api.get(&job(1)).is_none());
}

#[tokio::test]
async fn a_tenant_that_is_not_in_order_is_left_alone() {
    let mut world = settled().await;
    world.damage_plan();
    ask(&world, 1, "acme");
    world.reconcile().await.unwrap_err();
    assert_eq!(complete(&world, 1), is("Unknown", "TenantNotReady"));
    let message = status(&world, 1)["conditions"][0]["message"].to_string();
    assert!(message.contains("spec.seats: invalid type"), "{message}");
}

#[tokio::test]
async fn a_failure_is_final_and_its_job_stays_for_the_log() {
    let mut world = settled().await;
    ask(&world, 1, "acme");
    world.reconcile().await.unwrap();
    let name = job(1).rsplit('/').next().unwrap_or_default().to_owned();
    world.api.change(&job(1), |job| job["metadata"]["labels"]["kept"] = json!("yes"));
    world.end_job(&job(1), &name, r#"{"code":"DoorUnreachable"}"#, 1);
    world.settle().await;
    assert_eq!(complete(&world, 1), is("False", "BackupFailed"));
    assert_eq!(status(&world, 1)["backup"], Value::Null);
    assert_eq!(world.api.get(&job(1)).unwrap()["metadata"]["labels"]["kept"], "yes");
    ask(&world, 2, "acme");
    world.settle().await;
    assert_eq!(complete(&world, 2), is("True", "BackedUp"), "one that failed does not hold up the next");
}

#[tokio::test]
async fn a_job_that_is_gone_is_no_success_and_is_not_made_again() {
    let mut world = settled().await;
    ask(&world, 1, "acme");
    world.reconcile().await.unwrap();
    world.api.remove(&job(1));
    world.settle().await;
    assert_eq!(complete(&world, 1), is("False", "ResultUnknown"));
    assert!(world.api.get(&job(1)).is_none());
}

#[tokio::test]
async fn old_news_of_a_request_begins_nothing() {
    let mut world = settled().await;
    ask(&world, 1, "acme");
    let old = world.api.get(&format!("{BACKUPS}/b01")).unwrap();
    world.settle().await;
    assert_eq!(complete(&world, 1), is("True", "BackedUp"));
    world.api.take_calls();
    world.reconcile_on_old_news(&old).await.unwrap();
    let writes: Vec<_> = world.api.take_calls().into_iter().filter(Call::is_write).collect();
    assert_eq!(writes, []);
}

#[tokio::test]
async fn the_ten_newest_that_have_ended_are_kept() {
    let mut world = settled().await;
    for number in 1..=12 {
        ask(&world, number, "acme");
        world.settle().await;
    }
    let left: Vec<_> = (1..=12).filter(|number| !status(&world, *number).is_null()).collect();
    assert_eq!(left, (3..=12).collect::<Vec<_>>());
}

#[rstest]
#[case("bluesky", "TenantNotFound")]
#[case("acme", "")]
#[tokio::test]
async fn a_request_without_a_tenant_says_so(#[case] tenant: &str, #[case] reason: &str) {
    let mut world = settled().await;
    ask(&world, 1, tenant);
    world.bring_news();
    settle_orphans(&world.ctx).await.unwrap();
    assert_eq!(complete(&world, 1).1, reason);
    world.bring_news();
    world.api.take_calls();
    settle_orphans(&world.ctx).await.unwrap();
    assert_eq!(world.api.take_calls(), [], "it is said once");
}

#[tokio::test]
async fn of_a_tenant_that_goes_the_results_stay_and_the_rest_waits() {
    let mut world = settled().await;
    ask(&world, 1, "acme");
    world.settle().await;
    ask(&world, 2, "acme");
    world.api.change(TENANT, |tenant| {
        tenant["metadata"]["annotations"] = json!({"tenantry.dev/confirm-delete": "acme"});
        tenant["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:00:00Z");
    });
    world.reconcile().await.unwrap();
    assert_eq!(complete(&world, 1), is("True", "BackedUp"));
    assert_eq!(complete(&world, 2), is("Unknown", "Deleting"));
}

/// Fails each request to the API server in turn, before and after it was carried out.
#[tokio::test]
async fn wherever_it_fails_the_end_is_the_same() {
    let run = async |failing: Option<(usize, Failure, u32)>| {
        let mut world = settled().await;
        ask(&world, 1, "acme");
        let mut counts = Vec::new();
        for round in 0..3 {
            world.api.take_calls();
            if let Some((number, failure, _)) = failing.filter(|(_, _, at)| *at == round) {
                world.api.fail(number, failure);
            }
            let _ = world.reconcile().await;
            counts.push(world.api.take_calls().len());
            world.nodes_work();
        }
        world.settle().await;
        let jobs = |path: &String| path.starts_with(JOBS) || path.starts_with(NAMESPACE);
        let left: BTreeSet<_> = world.api.objects().into_keys().filter(jobs).collect();
        (counts, left, complete(&world, 1), status(&world, 1)["backup"].clone())
    };
    let (counts, left, complete, backup) = run(None).await;
    assert_eq!(complete, is("True", "BackedUp"));
    for (round, count) in (0..).zip(counts) {
        for number in 0..count {
            for failure in [Failure::Before, Failure::After] {
                let end = run(Some((number, failure, round))).await;
                let expected = (&left, &complete, &backup);
                assert_eq!(
                    (&end.1, &end.2, &end.3),
                    expected,
                    "request {number} of round {round}, {failure:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn an_unchanged_world_costs_no_write() {
    let mut world = settled().await;
    world.change_tenant(|tenant| tenant["spec"]["state"] = json!("Suspended"));
    ask(&world, 1, "acme");
    world.settle().await;
    world.api.take_calls();
    world.reconcile().await.unwrap();
    let calls = world.api.take_calls();
    assert!(calls.iter().all(|call| call.method == Method::GET), "{calls:?}");
}
