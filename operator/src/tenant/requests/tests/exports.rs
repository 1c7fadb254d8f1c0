//! Whole exports in a world in memory.

use std::collections::BTreeSet;

use rstest::rstest;
use serde_json::{Value, json};

use super::{JOBS, is, settled};
use crate::{
    names::{self, Component},
    testing::{
        fake_api::{Call, Failure},
        world::{DATABASE, DEPLOYMENT, NAMESPACE, TENANT, World},
    },
};

const EXPORTS: &str = "/apis/tenantry.dev/v1alpha1/tenantexports";
const KEY: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

/// Asks for an exit bundle; its uid follows from its name.
fn ask(world: &World, name: &str) {
    world.api.put(
        &format!("{EXPORTS}/{name}"),
        json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantExport",
            "metadata": {
                "name": name, "uid": format!("uid-{name}"), "generation": 1, "creationTimestamp": "1970-01-01T00:00:00Z",
            },
            "spec": {"tenant": "acme", "recipients": [KEY], "reason": "the contract ends"},
        }),
    );
}

fn status(world: &World, name: &str) -> Value {
    world.api.get(&format!("{EXPORTS}/{name}")).unwrap_or_default()["status"].clone()
}

fn complete(world: &World, name: &str) -> (String, String) {
    let complete = status(world, name)["conditions"][0].clone();
    let text = |field: &str| complete[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"))
}

fn job(name: &str) -> String {
    format!("{JOBS}/{}", names::request_job(Component::Export, &format!("uid-{name}")))
}

fn fail_job(world: &World, name: &str, report: &str) {
    let path = job(name);
    world.end_job(&path, path.rsplit('/').next().unwrap_or_default(), report, 1);
}

async fn in_state(state: &str) -> World {
    let mut world = settled().await;
    world.change_tenant(|tenant| tenant["spec"]["state"] = json!(state));
    world.settle().await;
    world
}

fn replicas(world: &World, path: &str) -> Value {
    world.api.get(path).unwrap()["spec"]["replicas"].clone()
}

#[rstest]
#[case("Active")]
#[case("ReadOnly")]
#[tokio::test]
async fn the_bundle_is_made_and_the_status_says_where_it_is(#[case] state: &str) {
    let mut world = in_state(state).await;
    ask(&world, "first");
    ask(&world, "second");
    world.reconcile().await.unwrap();
    assert_eq!(complete(&world, "first"), is("Unknown", "Running"));
    assert_eq!(complete(&world, "second"), is("Unknown", "Queued"));
    let made = world.api.get(&job("first")).unwrap();
    assert_eq!(made["metadata"]["labels"]["tenantry.dev/request"], "uid-first");
    let pod = &made["spec"]["template"];
    assert_eq!(pod["metadata"]["annotations"]["tenantry.dev/backup-recipients"], KEY);
    assert_eq!(pod["spec"]["serviceAccountName"], "store");
    let mounted = pod["spec"]["volumes"].to_string();
    assert!(mounted.contains("backup-password") && !mounted.contains("owner-password"), "{mounted}");
    world.settle().await;
    for name in ["first", "second"] {
        assert_eq!(complete(&world, name), is("True", "Exported"));
        let uid = world.tenant().metadata.uid.unwrap();
        let path = format!("/v1/main/acme/{uid}/exports/19700101T000000Z-ab12cd.zip.age");
        assert_eq!(status(&world, name)["path"], path);
        assert_eq!(status(&world, name)["keptUntil"], "1970-01-15T00:00:00Z");
        assert_eq!(status(&world, name)["sha256"], "a".repeat(64));
        assert!(world.api.get(&job(name)).is_none(), "what is recorded needs no Job");
    }
}

/// Whatever becomes of the export, the database stops after it, and at no time there is a CRM.
#[rstest]
#[case::done("")]
#[case::failed("fails")]
#[case::withdrawn("is withdrawn")]
#[tokio::test]
async fn a_suspended_tenant_gets_its_database_for_it_and_nothing_else(#[case] fate: &str) {
    let mut world = in_state("Suspended").await;
    assert_eq!(replicas(&world, DATABASE), 0);
    ask(&world, "leaving");
    world.reconcile().await.unwrap();
    assert_eq!((replicas(&world, DATABASE), replicas(&world, DEPLOYMENT)), (json!(1), json!(0)));
    assert_eq!(complete(&world, "leaving"), is("Unknown", "StartingDatabase"));
    assert!(world.api.get(&job("leaving")).is_none(), "the database is not there yet");
    world.nodes_work();
    world.reconcile().await.unwrap();
    assert_eq!(complete(&world, "leaving"), is("Unknown", "Running"));
    assert_eq!((replicas(&world, DATABASE), replicas(&world, DEPLOYMENT)), (json!(1), json!(0)));
    world.reconcile().await.unwrap();
    let ready =
        world.tenant().status.unwrap().conditions.into_iter().find(|one| one.type_ == "Ready").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("True", "Suspended"));
    assert!(ready.message.contains("TenantExport leaving"), "{}", ready.message);
    match fate {
        "fails" => fail_job(&world, "leaving", r#"{"code":"DoorUnreachable"}"#),
        "is withdrawn" => world.api.remove(&format!("{EXPORTS}/leaving")),
        _ => (),
    }
    world.settle().await;
    assert_eq!((replicas(&world, DATABASE), replicas(&world, DEPLOYMENT)), (json!(0), json!(0)));
    let expected = match fate {
        "fails" => is("False", "ExportFailed"),
        "is withdrawn" => is("", ""),
        _ => is("True", "Exported"),
    };
    assert_eq!(complete(&world, "leaving"), expected);
    if fate == "is withdrawn" {
        assert!(world.api.get(&job("leaving")).is_none(), "nobody wants its result");
    }
}

#[tokio::test]
async fn a_failure_is_final_names_its_cause_and_holds_nobody_up() {
    let mut world = settled().await;
    ask(&world, "one");
    world.reconcile().await.unwrap();
    fail_job(&world, "one", r#"{"code":"DumpFailed","status":1,"sqlstate":"42501"}"#);
    world.settle().await;
    assert_eq!(complete(&world, "one"), is("False", "ExportFailed"));
    let message = status(&world, "one")["conditions"][0]["message"].to_string();
    assert!(message.contains("there is no bundle: DumpFailed, SQLSTATE 42501"), "{message}");
    assert!(message.contains("Make another TenantExport"), "{message}");
    assert_eq!(status(&world, "one")["path"], Value::Null);
    assert!(world.api.get(&job("one")).is_some(), "its log stays");
    ask(&world, "two");
    world.settle().await;
    assert_eq!(complete(&world, "two"), is("True", "Exported"));
}

#[rstest]
#[case::no_report("")]
#[case::no_sum(r#"{"code":"Delivered","export":"19700101T000000Z-ab12cd","store":"main","createdAt":"1970-01-01T00:00:00Z","size":5000,"sha256":"a","sumsSha256":"b"}"#)]
#[case::another_path(r#"{"code":"Delivered","export":"../../blue","store":"main","createdAt":"1970-01-01T00:00:00Z","size":5000,"sha256":"SUM","sumsSha256":"SUM"}"#)]
#[case::another_store(r#"{"code":"Delivered","export":"19700101T000000Z-ab12cd","store":"../main","createdAt":"1970-01-01T00:00:00Z","size":5000,"sha256":"SUM","sumsSha256":"SUM"}"#)]
#[tokio::test]
async fn what_cannot_be_believed_is_no_bundle(#[case] report: &str) {
    let mut world = settled().await;
    ask(&world, "one");
    world.reconcile().await.unwrap();
    let path = job("one");
    let report = report.replace("SUM", &"a".repeat(64));
    world.end_job(&path, path.rsplit('/').next().unwrap_or_default(), &report, 0);
    world.settle().await;
    let (word, _) = complete(&world, "one");
    assert_ne!(word, "True", "{}", status(&world, "one"));
    assert_eq!(status(&world, "one")["path"], Value::Null);
}

#[tokio::test]
async fn it_waits_for_what_it_needs_and_starts_no_database_meanwhile() {
    let mut world = in_state("Suspended").await;
    world.remove_store();
    ask(&world, "one");
    world.settle().await;
    assert_eq!(complete(&world, "one"), is("Unknown", "StoreNotFound"));
    assert_eq!(replicas(&world, DATABASE), 0);
    world.api.change(TENANT, |tenant| {
        tenant["metadata"]["annotations"] = json!({"tenantry.dev/confirm-delete": "acme"});
        tenant["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:00:00Z");
    });
    world.reconcile().await.unwrap();
    assert_eq!(complete(&world, "one"), is("Unknown", "Deleting"));
}

/// Fails each request to the API server in turn, before and after it was carried out. A suspended tenant has all the steps.
#[tokio::test]
async fn wherever_it_fails_the_end_is_the_same() {
    let run = async |failing: Option<(usize, Failure, u32)>| {
        let mut world = in_state("Suspended").await;
        ask(&world, "one");
        let mut counts = Vec::new();
        for round in 0..3 {
            world.api.take_calls();
            if let Some((number, failure, _)) = failing.filter(|(_, _, at)| *at == round) {
                world.api.fail(number, failure);
            }
            let _ = world.reconcile().await;
            counts.push(world.api.take_calls().len());
            assert_eq!(replicas(&world, DEPLOYMENT), 0, "a CRM was started");
            world.nodes_work();
        }
        world.settle().await;
        let jobs = |path: &String| path.starts_with(JOBS) || path.starts_with(NAMESPACE);
        let left: BTreeSet<_> = world.api.objects().into_keys().filter(jobs).collect();
        let path = status(&world, "one")["path"].clone();
        (counts, (left, complete(&world, "one"), path, replicas(&world, DATABASE)))
    };
    let (counts, expected) = Box::pin(run(None)).await;
    assert_eq!(expected.1, is("True", "Exported"));
    for (round, count) in (0..).zip(counts) {
        for number in 0..count {
            for failure in [Failure::Before, Failure::After] {
                let (_, end) = Box::pin(run(Some((number, failure, round)))).await;
                assert_eq!(end, expected, "request {number} of round {round}, {failure:?}");
            }
        }
    }
}

#[rstest]
#[case("Active")]
#[case("Suspended")]
#[tokio::test]
async fn what_is_done_costs_no_write(#[case] state: &str) {
    let mut world = in_state(state).await;
    ask(&world, "one");
    world.settle().await;
    world.api.take_calls();
    world.reconcile().await.unwrap();
    let writes: Vec<_> = world.api.take_calls().into_iter().filter(Call::is_write).collect();
    assert_eq!(writes, []);
}
