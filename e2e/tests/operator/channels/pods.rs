//! A changed Plan: its tenants' pods are replaced in waves, so many at a time, and not all at once.

use std::collections::BTreeMap;

use anyhow::Result;
use e2e::host::wait::{Look, Wait};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use operator::api::{Plan, Tenant};
use serde_json::{Value, json};

use super::{TENANTS, all_run, change, fleet, hold, let_go, rolls, says, so_far, until, without_waves};
use crate::lab::{DEADLINE, Lab};

async fn change_plan(lab: &Lab, spec: Value) -> Result<()> {
    let plans: Api<Plan> = Api::all(lab.client.clone());
    plans.patch("standard", &PatchParams::default(), &Patch::Merge(json!({"spec": spec}))).await?;
    Ok(())
}

/// How many may take other settings of their pods, and how many answer with those.
fn so_many(tenants: &[Tenant]) -> (usize, usize) {
    let told =
        |tenant: &&Tenant| tenant.status.as_ref().is_some_and(|status| status.target_pod_settings.is_some());
    let done = |tenant: &&Tenant| {
        let status = tenant.status.as_ref();
        status.is_some_and(|status| {
            status.target_pod_settings.is_some() && status.target_pod_settings == status.pod_settings
        })
    };
    (tenants.iter().filter(told).count(), tenants.iter().filter(done).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_plan_replaces_so_many_pods_at_a_time_and_each_once() -> Result<()> {
    let lab = fleet(without_waves()).await?;
    let before = so_far(&lab)?;
    hold(&lab, "r1").await?;
    change_plan(&lab, json!({"app": {"cpu": "60m"}})).await?;
    let tenants = until(&lab, "two to be told", |_, tenants| so_many(tenants) == (2, 0)).await?;
    assert_eq!(so_many(&tenants), (2, 0));
    // The others are looked at, and left as they are.
    change(&lab, json!({"paused": true})).await?;
    until(&lab, "the pause", |channel, _| says(channel, "Progressing").1 == "Paused").await?;
    let two = async || {
        let rolled = rolls(&lab, before)?;
        Ok(if rolled.len() < 2 { Look::NotYet(format!("{rolled:?}")) } else { Look::Done(rolled) })
    };
    assert_eq!(Wait::new("the two to be rolled", DEADLINE).until(two).await?.len(), 2);

    change(&lab, json!({"paused": false})).await?;
    let_go(&lab, "r1").await?;
    until(&lab, "all to run as their plan says", |channel, tenants| {
        all_run(TENANTS.len(), "r1")(channel, tenants) && so_many(tenants) == (6, 6)
    })
    .await?;
    let once: BTreeMap<String, usize> = TENANTS.map(|name| (name.to_owned(), 1)).into();
    assert_eq!(rolls(&lab, before)?, once);
    lab.operator.stop().await
}
