//! Tenants that follow a channel.

use super::*;
use crate::{
    api::UpgradeStep,
    rollout,
    testing::{
        channel,
        nodes::{UPGRADE_BACKUP, metrics_text},
    },
};

pub(super) const CHANNEL: &str = "/apis/tenantry.dev/v1alpha1/channels/stable";

/// A tenant of the channel `stable`, whose release is r1.
pub(super) fn world() -> World {
    let mut world = World::new();
    world.api.change(TENANT, |tenant| {
        tenant["spec"]["channel"] = json!("stable");
        tenant["spec"].as_object_mut().unwrap().remove("release");
    });
    world.add_release(release("r2", 1));
    let mut stable = serde_json::to_value(channel("r1", None)).unwrap();
    stable["spec"]["rollout"] = json!({"bake": "0s"});
    stable.as_object_mut().unwrap().remove("status");
    world.api.put(CHANNEL, stable);
    world
}

/// The channel and the tenant go on until neither has anything to write.
pub(super) async fn settle(world: &mut World) {
    for _ in 0..10 {
        world.bring_news();
        let before = world.api.objects();
        rollout::settle(&world.ctx).await.unwrap();
        world.settle().await;
        if world.api.objects() == before {
            return;
        }
    }
    panic!("they do not come to rest: {:#?}", world.tenant().status);
}

pub(super) fn wants(world: &World, release: &str) {
    world.api.change(CHANNEL, |channel| channel["spec"]["release"] = json!(release));
}

/// The names of the Jobs whose names begin so.
fn jobs(world: &World, prefix: &str) -> Vec<String> {
    let jobs = world.api.objects().into_values().filter(|object| object["kind"] == "Job");
    let names = jobs.map(|job| job["metadata"]["name"].as_str().unwrap_or_default().to_owned());
    names.filter(|name| name.starts_with(prefix)).collect()
}

/// What runs, what is wanted, and how far the way is.
fn so_far(world: &World) -> (String, String, Option<UpgradeStep>) {
    let status = world.tenant().status.unwrap_or_default();
    let name = Option::unwrap_or_default;
    (name(status.release), name(status.target_release), status.upgrade.map(|upgrade| upgrade.step))
}

pub(super) fn channel_says(world: &World, type_: &str) -> (String, String) {
    let channel = world.api.get(CHANNEL).unwrap();
    let conditions = channel["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.into_iter().find(|condition| condition["type"] == type_).unwrap_or_default();
    (found["status"].to_string(), found["reason"].to_string())
}

#[tokio::test]
async fn a_new_tenant_begins_with_the_release_of_its_channel() {
    let mut world = world();
    world.reconcile().await.unwrap_err();
    assert_eq!(ready(&world), ("False".into(), "NotToldYet".into()));
    settle(&mut world).await;
    assert_eq!(so_far(&world), ("r1".into(), "r1".into(), None));
    assert_eq!(ready(&world), ("True".into(), "AsExpected".into()));
    let channel = world.api.get(CHANNEL).unwrap();
    assert_eq!(channel["status"]["settledRelease"], "r1");
    assert_eq!(channel["status"]["tenants"]["upToDate"], 1);
}

#[tokio::test]
async fn it_follows_its_channel_there_and_back() {
    let mut world = world();
    settle(&mut world).await;
    wants(&world, "r2");
    settle(&mut world).await;
    assert_eq!(so_far(&world), ("r2".into(), "r2".into(), None));
    let says = |image: &Value| image.as_str().unwrap().ends_with(&hex::encode("r2"));
    assert!(says(&world.api.get(DEPLOYMENT).unwrap()["spec"]["template"]["spec"]["containers"][0]["image"]));
    assert_eq!(channel_says(&world, "UpToDate"), ("\"True\"".into(), "\"AsExpected\"".into()));
    wants(&world, "r1");
    settle(&mut world).await;
    assert_eq!(so_far(&world), ("r1".into(), "r1".into(), None));
}

#[tokio::test]
async fn a_paused_channel_tells_nobody() {
    let mut world = world();
    settle(&mut world).await;
    world.api.change(CHANNEL, |channel| channel["spec"]["paused"] = json!(true));
    wants(&world, "r2");
    settle(&mut world).await;
    assert_eq!(so_far(&world), ("r1".into(), "r1".into(), None));
    assert_eq!(channel_says(&world, "Progressing").1, "\"Paused\"");
}

#[tokio::test]
async fn an_unchanged_fleet_costs_no_write() {
    let mut world = world();
    settle(&mut world).await;
    world.bring_news();
    world.api.take_calls();
    rollout::settle(&world.ctx).await.unwrap();
    world.reconcile().await.unwrap();
    let writes: Vec<_> = world.api.take_calls().into_iter().filter(Call::is_write).collect();
    assert_eq!(writes, []);
}

#[tokio::test]
async fn an_emptied_status_is_said_anew_and_changes_nothing_that_runs() {
    let mut world = world();
    settle(&mut world).await;
    wants(&world, "r2");
    world.api.change(CHANNEL, |channel| channel["spec"]["paused"] = json!(true));
    let deployment = world.api.get(DEPLOYMENT);
    world.api.change(TENANT, |tenant| drop(tenant.as_object_mut().unwrap().remove("status")));
    settle(&mut world).await;
    assert_eq!(world.api.get(DEPLOYMENT), deployment);
    assert_eq!(so_far(&world).0, "r1");
}

#[tokio::test]
async fn a_channel_that_is_gone_leaves_all_as_it_is() {
    let mut world = world();
    settle(&mut world).await;
    let deployment = world.api.get(DEPLOYMENT);
    world.api.remove(CHANNEL);
    world.reconcile().await.unwrap_err();
    assert_eq!(ready(&world), ("False".into(), "ChannelNotFound".into()));
    assert_eq!(world.api.get(DEPLOYMENT), deployment);
}

#[tokio::test]
async fn one_that_leaves_its_channel_is_told_nothing_any_more() {
    let mut world = world();
    settle(&mut world).await;
    world.change_tenant(|tenant| {
        tenant["spec"].as_object_mut().unwrap().remove("channel");
        tenant["spec"]["release"] = json!("r2");
    });
    settle(&mut world).await;
    assert_eq!(so_far(&world), ("r2".into(), String::new(), None));
    let status = world.tenant().status.unwrap();
    assert!(conditions::find(&status.conditions, conditions::UP_TO_DATE).is_none());
}

/// The new release's pods crash as soon as they start.
#[tokio::test]
async fn one_that_moves_to_another_channel_follows_that_in_its_turn() {
    const EARLY: &str = "/apis/tenantry.dev/v1alpha1/channels/early";
    let mut world = world();
    settle(&mut world).await;
    let mut early = serde_json::to_value(channel("r2", Some("r2"))).unwrap();
    early["metadata"]["name"] = json!("early");
    early["metadata"]["uid"] = json!("uid-early");
    early["spec"]["rollout"] = json!({"bake": "0s"});
    early["spec"]["paused"] = json!(true);
    world.api.put(EARLY, early);
    world.change_tenant(|tenant| tenant["spec"]["channel"] = json!("early"));
    settle(&mut world).await;
    assert_eq!(so_far(&world), ("r1".into(), "r1".into(), None), "it moves, and runs what it ran");
    let members = |path| world.api.get(path).unwrap()["status"]["tenants"]["total"].clone();
    assert_eq!((members(CHANNEL), members(EARLY)), (json!(0), json!(1)));
    world.api.change(EARLY, |channel| channel["spec"]["paused"] = json!(false));
    settle(&mut world).await;
    assert_eq!(so_far(&world), ("r2".into(), "r2".into(), None));
}

#[tokio::test]
async fn a_release_that_crashes_is_undone_remembered_and_halts_the_channel() {
    let mut world = world();
    settle(&mut world).await;
    wants(&world, "r2");
    world.bring_news();
    rollout::settle(&world.ctx).await.unwrap();
    world.crashing = Some(hex::encode("r2"));
    settle(&mut world).await;
    assert_eq!(so_far(&world), ("r1".into(), "r2".into(), Some(UpgradeStep::Failed)));
    assert_eq!(ready(&world), ("True".into(), "AsExpected".into()));
    assert_eq!(channel_says(&world, "Halted"), ("\"True\"".into(), "\"TooManyFailures\"".into()));
    let channel = world.api.get(CHANNEL).unwrap();
    assert_eq!(channel["status"]["failures"][0]["reason"], "CrashLooping");
    assert_eq!(channel["status"]["settledRelease"], "r1");
}

#[tokio::test]
async fn before_the_data_are_touched_they_are_backed_up_and_the_release_is_tried_on_the_copy() {
    let mut world = world();
    settle(&mut world).await;
    wants(&world, "r2");
    let image = |job: &Value| {
        job["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()
    };
    let mut made = BTreeMap::new();
    for _ in 0..20 {
        world.bring_news();
        rollout::settle(&world.ctx).await.unwrap();
        world.reconcile().await.unwrap();
        for job in world.api.objects().into_values().filter(|object| object["kind"] == "Job") {
            let name = job["metadata"]["name"].as_str().unwrap_or_default();
            made.insert(name.split_at(name.rfind('-').unwrap_or_default()).0.to_owned(), image(&job));
        }
        world.nodes_work();
    }
    assert!(made["backup-upgrade"].ends_with(&hex::encode("r1")), "what runs backs up");
    assert!(made["drill-upgrade"].ends_with(&hex::encode("r2")), "the new one is tried");
    assert!(jobs(&world, "backup-upgrade").is_empty() && jobs(&world, "drill-upgrade").is_empty());
    assert_eq!(so_far(&world), ("r2".into(), "r2".into(), None));
}

/// The record on the Namespace, that the new release runs, is written before its Deployment is.
#[tokio::test]
async fn an_operator_killed_between_the_two_takes_old_pods_for_no_proof() {
    let mut world = world();
    settle(&mut world).await;
    let deployment = world.api.get(DEPLOYMENT).unwrap();
    wants(&world, "r2");
    for _ in 0..20 {
        world.bring_news();
        rollout::settle(&world.ctx).await.unwrap();
        world.reconcile().await.unwrap();
        if world.api.get(NAMESPACE).unwrap()["metadata"]["annotations"]["tenantry.dev/release"] == "r2" {
            break;
        }
        world.nodes_work();
    }
    // The Deployment was not written.
    world.api.change(DEPLOYMENT, |now| *now = deployment.clone());
    world.reconcile().await.unwrap();
    assert_eq!(so_far(&world), ("r2".into(), "r2".into(), Some(UpgradeStep::Rolling)));
    settle(&mut world).await;
    assert_eq!(so_far(&world), ("r2".into(), "r2".into(), None));
}

#[tokio::test]
async fn a_release_that_answers_with_errors_is_undone() {
    let mut world = world();
    world.api.change(CHANNEL, |channel| channel["spec"]["rollout"]["bake"] = json!("10m"));
    settle(&mut world).await;
    wants(&world, "r2");
    settle(&mut world).await;
    assert_eq!(so_far(&world), ("r2".into(), "r2".into(), Some(UpgradeStep::Baking)));
    *world.metrics.lock().unwrap() = Some(metrics_text(100, 50, false));
    settle(&mut world).await;
    assert_eq!(so_far(&world), ("r1".into(), "r2".into(), Some(UpgradeStep::Failed)));
    let channel = world.api.get(CHANNEL).unwrap();
    assert_eq!(channel["status"]["failures"][0]["reason"], "TooManyErrors");
}

#[tokio::test]
async fn what_nobody_can_tell_neither_ends_nor_undoes_it() {
    let mut world = world();
    world.api.change(CHANNEL, |channel| channel["spec"]["rollout"]["bake"] = json!("10m"));
    settle(&mut world).await;
    wants(&world, "r2");
    *world.metrics.lock().unwrap() = None;
    settle(&mut world).await;
    assert_eq!(so_far(&world), ("r2".into(), "r2".into(), Some(UpgradeStep::Baking)));
}

/// The old app cannot work on the schema of the new release, and the new one crashes.
#[tokio::test]
async fn on_a_one_way_street_the_way_back_is_the_backup() {
    let mut world = world();
    let mut r3 = release("r3", 2);
    r3.spec.schema.min_app_schema = Some(2);
    world.add_release(r3);
    settle(&mut world).await;
    wants(&world, "r3");
    settle(&mut world).await;
    let status = world.tenant().status.unwrap();
    assert_eq!(status.upgrade.as_ref().unwrap().step, UpgradeStep::BackingUp, "somebody may still write");
    assert_eq!(status.state, Some(crate::api::EffectiveState::ReadOnly));
    assert!(jobs(&world, "backup-upgrade-").is_empty());
    *world.metrics.lock().unwrap() = Some(metrics_text(100, 0, true));
    world.crashing = Some(hex::encode("r3"));
    settle(&mut world).await;
    assert_eq!(so_far(&world), ("r1".into(), "r3".into(), Some(UpgradeStep::Failed)));
    let status = world.tenant().status.unwrap();
    assert_eq!(status.database_generation, Some(2), "the backup serves");
    assert_eq!(status.upgrade.as_ref().unwrap().backup.as_deref(), Some(UPGRADE_BACKUP));
    assert_eq!(status.upgrade.unwrap().lost, None, "nobody could write");
    assert_eq!(status.state, Some(crate::api::EffectiveState::Active));
    assert_eq!(ready(&world), ("True".into(), "AsExpected".into()));
}
