//! Whole restores in a world in memory.

use serde_json::{Value, json};

use super::{JOBS, is, settled};
use crate::{
    api::conditions,
    names::{self, Component},
    testing::{
        fake_api::{Call, Failure},
        settings,
        world::{DEPLOYMENT, NAMESPACE, World},
    },
};

const RESTORES: &str = "/apis/tenantry.dev/v1alpha1/tenantrestores";
const BACKUP: &str = "19691231T000000Z-cd34ef";
const CRON_JOB: &str = "/apis/batch/v1/namespaces/tenant-acme/cronjobs/backup";

/// Asks for a restore; its uid follows from its name.
fn ask(world: &World, name: &str) {
    ask_at(world, name, &format!("uid-{name}"), "1970-01-01T00:00:00Z");
}

fn ask_at(world: &World, name: &str, uid: &str, made: &str) {
    world.api.put(
        &format!("{RESTORES}/{name}"),
        json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantRestore",
            "metadata": {"name": name, "uid": uid, "generation": 1, "creationTimestamp": made},
            "spec": {"tenant": "acme", "from": {"latest": {}}, "confirm": "acme"},
        }),
    );
}

fn status(world: &World, name: &str) -> Value {
    world.api.get(&format!("{RESTORES}/{name}")).unwrap_or_default()["status"].clone()
}

fn complete(world: &World, name: &str) -> (String, String) {
    let complete = status(world, name)["conditions"][0].clone();
    let text = |field: &str| complete[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"))
}

fn job(component: Component, name: &str) -> String {
    format!("{JOBS}/{}", names::request_job(component, &format!("uid-{name}")))
}

fn annotation(world: &World, name: &str) -> Value {
    world.api.get(NAMESPACE).unwrap()["metadata"]["annotations"][format!("tenantry.dev/{name}")].clone()
}

/// Number of CRM pods that are wanted, and the database that they are to use.
fn crm(world: &World) -> (Value, String) {
    let spec = world.api.get(DEPLOYMENT).unwrap()["spec"].clone();
    let arguments = spec["template"]["spec"]["containers"][0]["args"].as_array().cloned().unwrap_or_default();
    let name = arguments.iter().filter_map(|text| text.as_str()?.strip_prefix("--database-name=")).collect();
    (spec["replicas"].clone(), name)
}

/// Reconciles, with the nodes working in between, until the restore is at that step.
async fn until_step(world: &mut World, name: &str, step: &str) {
    for _ in 0..10 {
        world.reconcile().await.unwrap();
        if status(world, name)["step"] == step {
            return;
        }
        world.nodes_work();
    }
    panic!("{name} does not come to step {step}: {}", status(world, name));
}

fn fail_job(world: &World, component: Component, name: &str, code: &str) {
    let path = job(component, name);
    let job_name = path.rsplit('/').next().unwrap_or_default().to_owned();
    world.end_job(&path, &job_name, &json!({ "code": code }).to_string(), 1);
}

/// The CRM works on that database, and nothing of a restore is left but its record.
fn assert_serves(world: &World, database: &str) {
    assert_eq!(crm(world), (json!(2), database.to_owned()));
    let cron_job = world.api.get(CRON_JOB).unwrap();
    assert_eq!(cron_job["spec"]["suspend"], false);
    assert!(cron_job.to_string().contains(&format!("--database-name={database}\"")), "{cron_job}");
    let tenant = world.tenant().status.unwrap_or_default();
    let ready = conditions::find(&tenant.conditions, conditions::READY).cloned().unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("True", "AsExpected"), "{}", ready.message);
    assert_eq!(serde_json::to_value(tenant.state).unwrap(), "Active");
}

#[tokio::test]
async fn the_crm_stops_what_is_there_is_kept_and_the_backup_serves() {
    let mut world = settled().await;
    ask(&world, "r1");
    until_step(&mut world, "r1", "Stopping").await;
    assert_eq!(crm(&world), (json!(0), "crm".to_owned()));
    assert_eq!(world.api.get(CRON_JOB).unwrap()["spec"]["suspend"], true);
    assert!(world.api.get(&job(Component::Backup, "r1")).is_none(), "the CRM still runs");
    world.nodes_work();
    until_step(&mut world, "r1", "SafetyBackup").await;
    let safety = world.api.get(&job(Component::Backup, "r1")).unwrap().to_string();
    assert!(safety.contains("--reason=Safety") && safety.contains("--database-name=crm\""), "{safety}");
    let tenant = world.tenant().status.unwrap_or_default();
    assert_eq!(serde_json::to_value(tenant.state).unwrap(), "Restoring");
    let ready = conditions::find(&tenant.conditions, conditions::READY).cloned().unwrap();
    assert_eq!(ready.reason, "Restoring");
    world.nodes_work();
    until_step(&mut world, "r1", "Restoring").await;
    let restore = world.api.get(&job(Component::Restore, "r1")).unwrap().to_string();
    let flags = [
        "--database-name=crm_2\"",
        "--current=crm\"",
        "--volume-size=1073741824\"",
        "--backup=before:1970-01-01T00:00:00Z\"",
        "--request=TenantRestore/uid-r1\"",
    ];
    for flag in flags {
        assert!(restore.contains(flag), "{flag} in {restore}");
    }
    assert_eq!((annotation(&world, "database-generation"), crm(&world).0), (json!("1"), json!(0)));
    world.nodes_work();
    until_step(&mut world, "r1", "Starting").await;
    assert_eq!(annotation(&world, "database-generation"), "2");
    world.settle().await;
    assert_eq!(complete(&world, "r1"), is("True", "Restored"));
    assert_serves(&world, "crm_2");
    let status = status(&world, "r1");
    assert_eq!((&status["backup"], &status["databaseGeneration"]), (&json!(BACKUP), &json!(2)));
    assert_eq!(status["lost"], json!({"from": "1969-12-31T00:00:00Z", "to": "1970-01-01T00:00:00Z"}));
    assert_eq!(world.tenant().status.and_then(|status| status.database_generation), Some(2));
    for component in [Component::Backup, Component::Restore] {
        assert!(world.api.get(&job(component, "r1")).is_none(), "what is recorded needs no Job");
    }
    world.api.take_calls();
    world.reconcile().await.unwrap();
    let writes: Vec<_> = world.api.take_calls().into_iter().filter(Call::is_write).collect();
    assert_eq!(writes, []);
}

#[tokio::test]
async fn a_failure_before_the_switch_changes_nothing() {
    for (step, component) in [("SafetyBackup", Component::Backup), ("Restoring", Component::Restore)] {
        let mut world = settled().await;
        ask(&world, "r1");
        until_step(&mut world, "r1", step).await;
        fail_job(&world, component, "r1", "DoorUnreachable");
        world.settle().await;
        assert_eq!(complete(&world, "r1").0, "False", "{step}");
        let message = status(&world, "r1")["conditions"][0]["message"].to_string();
        assert!(message.contains("DoorUnreachable") && message.contains("Nothing was changed"), "{message}");
        assert_serves(&world, "crm");
        assert_eq!(annotation(&world, "database-generation"), "1");
    }
}

#[tokio::test]
async fn after_a_database_that_never_served_the_next_number_is_taken() {
    let mut world = settled().await;
    ask(&world, "r1");
    until_step(&mut world, "r1", "Restoring").await;
    fail_job(&world, Component::Restore, "r1", "DatabaseInUse");
    world.settle().await;
    assert_serves(&world, "crm");
    ask(&world, "r2");
    world.settle().await;
    assert_eq!(complete(&world, "r2"), is("True", "Restored"));
    assert_serves(&world, "crm_3");
    assert_eq!(annotation(&world, "oldest-database-generation"), "1");
}

#[tokio::test]
async fn a_status_that_was_emptied_begins_nothing_anew() {
    let mut world = settled().await;
    ask(&world, "r1");
    world.settle().await;
    ask(&world, "r2");
    until_step(&mut world, "r2", "Restoring").await;
    fail_job(&world, Component::Restore, "r2", "WrongKey");
    world.settle().await;
    assert_serves(&world, "crm_2");
    for path in world.api.objects().into_keys().filter(|path| path.starts_with(JOBS)) {
        world.api.remove(&path);
    }
    for name in ["r1", "r2"] {
        world.api.change(&format!("{RESTORES}/{name}"), |request| request["status"] = Value::Null);
    }
    world.api.change(crate::testing::world::TENANT, |tenant| tenant["status"] = Value::Null);
    world.api.take_calls();
    world.settle().await;
    assert_eq!((complete(&world, "r1").0.as_str(), complete(&world, "r2").0.as_str()), ("True", "False"));
    assert_serves(&world, "crm_2");
    assert!(world.api.objects().into_keys().all(|path| !path.starts_with(&format!("{JOBS}/restore-"))));
}

#[tokio::test]
async fn a_copy_of_a_restore_and_one_from_long_ago_are_refused() {
    let mut world = settled().await;
    ask(&world, "r1");
    world.settle().await;
    ask_at(&world, "r1", "uid-of-a-copy", "1970-01-01T00:00:00Z");
    world.settle().await;
    assert_eq!(complete(&world, "r1"), is("False", "AlreadyCarriedOut"));
    ask_at(&world, "old", "uid-old", "1969-12-31T22:00:00Z");
    world.settle().await;
    assert_eq!(complete(&world, "old"), is("False", "Expired"));
    assert_serves(&world, "crm_2");
}

#[tokio::test]
async fn a_restore_that_is_deleted_meanwhile_is_over() {
    let mut world = settled().await;
    ask(&world, "r1");
    until_step(&mut world, "r1", "Restoring").await;
    world.api.remove(&format!("{RESTORES}/r1"));
    world.reconcile().await.unwrap();
    assert!(world.api.get(&job(Component::Restore, "r1")).is_none(), "nobody wants its result");
    world.settle().await;
    assert_serves(&world, "crm");
}

#[tokio::test]
async fn backups_wait_and_restores_queue() {
    let mut world = settled().await;
    ask(&world, "r1");
    ask(&world, "r2");
    until_step(&mut world, "r1", "Restoring").await;
    super::ask(&world, 1, "acme");
    world.reconcile().await.unwrap();
    assert_eq!(super::complete(&world, 1), is("Unknown", "Restoring"));
    assert_eq!(complete(&world, "r2"), is("Unknown", "Queued"));
    world.settle().await;
    assert_eq!(super::complete(&world, 1), is("True", "BackedUp"));
    assert_eq!(complete(&world, "r2"), is("True", "Restored"));
    assert_serves(&world, "crm_3");
}

#[tokio::test]
async fn a_record_that_cannot_be_read_freezes_the_tenant() {
    let mut world = settled().await;
    world.api.change(NAMESPACE, |namespace| {
        namespace["metadata"]["annotations"]["tenantry.dev/database-generation"] = json!("two");
    });
    world.api.take_calls();
    let error = world.reconcile().await.unwrap_err();
    assert_eq!(error.reason(), "DatabaseUnknown");
    let writes = world.api.take_calls().into_iter().filter(Call::is_write);
    assert_eq!(writes.filter(|call| call.path.contains("tenant-acme")).count(), 0);
}

#[tokio::test]
async fn a_record_that_was_taken_away_or_back_never_brings_the_old_database_back() {
    let mut world = settled().await;
    ask(&world, "r1");
    world.settle().await;
    let change = |world: &World, change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        world.api.change(NAMESPACE, |namespace| {
            change(namespace["metadata"]["annotations"].as_object_mut().unwrap());
        });
    };
    let generation = "tenantry.dev/database-generation";
    change(&world, &|annotations| drop(annotations.insert(generation.to_owned(), json!("1"))));
    assert_eq!(world.reconcile().await.unwrap_err().reason(), "DatabaseUnknown");
    assert_eq!(crm(&world).1, "crm_2");
    change(&world, &|annotations| drop(annotations.remove(generation)));
    assert_eq!(world.reconcile().await.unwrap_err().reason(), "DatabaseUnknown");
    change(&world, &|annotations| annotations.retain(|name, _| !name.starts_with("tenantry.dev/")));
    world.settle().await;
    assert_serves(&world, "crm_2");
    assert_eq!(annotation(&world, "database-generation"), "2");
}

/// As long as the old database is kept, something is still to be done.
#[tokio::test]
async fn an_operator_that_starts_before_the_old_database_is_dropped_reads_everything() {
    let mut world = settled().await;
    ask(&world, "r1");
    world.settle().await;
    assert_serves(&world, "crm_2");
    world = world.restarted_with(settings());
    world.api.take_calls();
    world.reconcile().await.unwrap();
    let calls = world.api.take_calls();
    assert!(calls.iter().any(|call| call.path.ends_with("/secrets/database-credentials")), "{calls:?}");
}

/// Fails each write of a restore in turn, before and after it was carried out.
#[tokio::test]
async fn wherever_it_fails_the_end_is_the_same() {
    const ROUNDS: usize = 7;
    let run = async |failing: Option<(usize, usize, Failure)>| {
        let mut world = settled().await;
        ask(&world, "r1");
        let mut writes = Vec::new();
        for round in 0..ROUNDS {
            world.api.take_calls();
            if let Some((_, number, failure)) = failing.filter(|(at, ..)| *at == round) {
                world.api.fail(number, failure);
            }
            let _ = world.reconcile().await;
            let calls = world.api.take_calls();
            let is_write = |call: &Call| call.is_write() && !call.path.contains("/events");
            writes.extend(
                (0..).zip(&calls).filter(|(_, call)| is_write(call)).map(|(number, _)| (round, number)),
            );
            world.nodes_work();
        }
        world.settle().await;
        assert_eq!(complete(&world, "r1"), is("True", "Restored"), "{failing:?}");
        assert_serves(&world, "crm_2");
        assert_eq!(status(&world, "r1")["backup"], BACKUP, "{failing:?}");
        assert_eq!(annotation(&world, "restores"), "r1/uid-r1/2", "{failing:?}");
        writes
    };
    let writes = run(None).await;
    assert!(10 < writes.len(), "{writes:?}");
    for (round, number) in writes {
        for failure in [Failure::Before, Failure::After] {
            run(Some((round, number, failure))).await;
        }
    }
}

/// Without the Plan nothing can be made, the CRM neither: so the tenant stays as it is, and says that it is stopped.
#[tokio::test]
async fn a_plan_that_cannot_be_read_meanwhile_holds_it_up_and_changes_nothing_about_its_end() {
    for (step, is_stopped) in
        [("Stopping", true), ("SafetyBackup", true), ("Restoring", true), ("Starting", false)]
    {
        let mut world = settled().await;
        ask(&world, "r1");
        until_step(&mut world, "r1", step).await;
        let (before, generation) = (crm(&world), annotation(&world, "database-generation"));
        world.damage_plan();
        for _ in 0..3 {
            world.reconcile().await.unwrap_err();
            world.nodes_work();
        }
        assert_eq!((crm(&world), annotation(&world, "database-generation")), (before, generation), "{step}");
        assert_eq!(complete(&world, "r1"), is("Unknown", "TenantNotReady"), "{step}");
        let message = status(&world, "r1")["conditions"][0]["message"].to_string();
        assert!(message.contains("spec.seats"), "{step}: {message}");
        assert_eq!(message.contains("The CRM stays stopped until then"), is_stopped, "{step}: {message}");
        let tenant = world.tenant().status.unwrap_or_default();
        assert_eq!(serde_json::to_value(tenant.state).unwrap(), "Restoring", "visitors are told so");

        world.change_plan(|_| ());
        world.settle().await;
        assert_eq!(complete(&world, "r1"), is("True", "Restored"), "{step}");
        assert_eq!(status(&world, "r1")["step"], "Starting", "also when nobody has said so on the way");
        assert_serves(&world, "crm_2");
    }
}
