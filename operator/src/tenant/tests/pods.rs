//! What is in the pods besides the release: it changes in waves, and not all at once.

use std::sync::Arc;

use super::{
    channels::{CHANNEL, channel_says, settle, world},
    *,
};
use crate::testing::world::DATABASE;

/// How much processor time the CRM's pods ask for.
fn cpu(world: &World) -> Value {
    let deployment = world.api.get(DEPLOYMENT).unwrap();
    deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"].clone()
}

#[tokio::test]
async fn a_changed_plan_restarts_nobody_before_the_channel_says_so() {
    let mut world = world();
    settle(&mut world).await;
    let settings = world.tenant().status.unwrap().pod_settings;
    world.api.change(CHANNEL, |channel| channel["spec"]["paused"] = json!(true));
    world.change_plan(|plan| plan["spec"]["app"]["cpu"] = json!("75m"));
    settle(&mut world).await;
    assert_eq!((cpu(&world), world.tenant().status.unwrap().pod_settings), (json!("50m"), settings.clone()));
    assert_eq!(channel_says(&world, "UpToDate"), ("\"False\"".into(), "\"RollingOut\"".into()));

    world.api.change(CHANNEL, |channel| channel["spec"]["paused"] = json!(false));
    settle(&mut world).await;
    assert_eq!(cpu(&world), json!("75m"));
    let status = world.tenant().status.unwrap();
    assert!(
        status.pod_settings != settings && status.pod_settings == status.target_pod_settings,
        "{status:?}"
    );
    assert_eq!(channel_says(&world, "UpToDate"), ("\"True\"".into(), "\"AsExpected\"".into()));
}

#[tokio::test]
async fn another_plan_for_one_tenant_comes_at_once() {
    let mut world = world();
    settle(&mut world).await;
    world.api.change(CHANNEL, |channel| channel["spec"]["paused"] = json!(true));
    world.change_plan(|plan| {
        plan["metadata"]["name"] = json!("large");
        plan["spec"]["app"]["cpu"] = json!("75m");
    });
    world.api.change(TENANT, |tenant| tenant["spec"]["plan"] = json!("large"));
    settle(&mut world).await;
    assert_eq!(cpu(&world), json!("75m"));
}

/// An operator of that number takes the place of the one before.
fn upgrade_operator(world: &mut World, template: u32) {
    Arc::get_mut(&mut world.ctx).unwrap().template_revision = template;
}

fn has_hook(world: &World) -> bool {
    let deployment = world.api.get(DEPLOYMENT).unwrap();
    !deployment["spec"]["template"]["spec"]["containers"][0]["lifecycle"].is_null()
}

#[tokio::test]
async fn a_new_operator_changes_no_pods_before_the_channel_says_so() {
    let mut world = world();
    upgrade_operator(&mut world, 1);
    settle(&mut world).await;
    assert!(has_hook(&world));
    let (deployment, database) = (world.api.get(DEPLOYMENT), world.api.get(DATABASE));
    world.api.change(CHANNEL, |channel| channel["spec"]["paused"] = json!(true));
    upgrade_operator(&mut world, 2);
    settle(&mut world).await;
    assert_eq!((world.api.get(DEPLOYMENT), world.api.get(DATABASE)), (deployment, database));
    world.api.change(CHANNEL, |channel| channel["spec"]["paused"] = json!(false));
    settle(&mut world).await;
    assert!(!has_hook(&world));
}

#[tokio::test]
async fn a_pinned_tenant_takes_the_pods_of_a_new_operator_with_its_next_release() {
    let mut world = World::new();
    upgrade_operator(&mut world, 1);
    world.settle().await;
    upgrade_operator(&mut world, 2);
    world.settle().await;
    assert!(has_hook(&world));
    world.add_release(release("r2", 1));
    world.api.change(TENANT, |tenant| tenant["spec"]["release"] = json!("r2"));
    world.settle().await;
    assert!(!has_hook(&world));
    assert_eq!(ready(&world), ("True".into(), "AsExpected".into()));
}
