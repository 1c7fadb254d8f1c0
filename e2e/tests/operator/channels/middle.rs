//! What happens while a wave is under way: a pause, another wish, tenants that come and go.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use e2e::host::wait::{Look, Wait};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use operator::api::{Channel, Release, Tenant};
use serde_json::json;

use super::{
    TENANTS, all_run, change, count, fleet, in_the_middle, let_go, of_channel, rolls, runs, says, so_far,
    told, until, without_waves,
};
use crate::lab::{DEADLINE, Lab, condition, release};

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_lets_what_is_under_way_be_finished_and_begins_nothing() -> Result<()> {
    let lab = fleet(without_waves()).await?;
    let before = so_far(&lab)?;
    in_the_middle(&lab).await?;
    change(&lab, json!({"paused": true})).await?;
    let is_paused = |channel: &Channel| says(channel, "Progressing") == ("False".into(), "Paused".into());
    until(&lab, "the pause", |channel, _| is_paused(channel)).await?;
    let_go(&lab, "r2").await?;
    until(&lab, "the two to be done", |channel, tenants| {
        let counts = channel.status.as_ref().and_then(|status| status.tenants).unwrap_or_default();
        let rest = counts.upgrading + counts.baking + counts.waiting;
        is_paused(channel) && counts.up_to_date == 2 && rest == counts.waiting && count(tenants, "r2") == 2
    })
    .await?;
    // More of them could go now, if anybody could.
    change(&lab, json!({"rollout": {"maxParallel": 6}})).await?;
    let tenants = until(&lab, "the pause to go on", |channel, _| is_paused(channel)).await?;
    assert_eq!((told(&tenants, "r2"), rolls(&lab, before)?.len()), (2, 2));

    change(&lab, json!({"paused": false})).await?;
    until(&lab, "all to run r2", all_run(TENANTS.len(), "r2")).await?;
    assert!(rolls(&lab, before)?.values().all(|times| *times == 1), "{:?}", rolls(&lab, before)?);
    lab.operator.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_release_takes_the_place_of_one_that_is_under_way() -> Result<()> {
    let lab = fleet(without_waves()).await?;
    lab.create::<Release>(release("r3", 1)).await?;
    let before = so_far(&lab)?;
    let on_the_way = in_the_middle(&lab).await?;
    change(&lab, json!({"release": "r3"})).await?;
    until(&lab, "all to run r3", all_run(TENANTS.len(), "r3")).await?;
    // What is known to run makes the backup before the next one, and that is not what hangs.
    let expected = |name: &str| if on_the_way.iter().any(|other| other == name) { 3 } else { 1 };
    let expected: BTreeMap<String, usize> =
        TENANTS.iter().map(|name| ((*name).to_owned(), expected(name))).collect();
    assert_eq!(rolls(&lab, before)?, expected);
    lab.operator.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_release_is_taken_back_by_those_that_had_left_it() -> Result<()> {
    let lab = fleet(without_waves()).await?;
    let before = so_far(&lab)?;
    let on_the_way = in_the_middle(&lab).await?;
    change(&lab, json!({"release": "r1"})).await?;
    until(&lab, "all to be where they were", all_run(TENANTS.len(), "r1")).await?;
    let there_and_back: BTreeMap<String, usize> = on_the_way.into_iter().map(|name| (name, 2)).collect();
    assert_eq!(rolls(&lab, before)?, there_and_back);
    lab.operator.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_come_and_go_while_a_wave_is_under_way() -> Result<()> {
    let lab = fleet(without_waves()).await?;
    let on_the_way = in_the_middle(&lab).await?;
    // The release has not gone through all waves, so it is not for those that begin.
    lab.create::<Tenant>(of_channel("t7")).await?;
    let tenant = lab.until_ready("t7").await?;
    assert!(runs(&tenant, "r1"), "{:?}", tenant.status);
    let leaving = on_the_way.first().context("two are on their way")?;
    let waiting = TENANTS.into_iter().find(|name| on_the_way.iter().all(|other| other != name));
    for name in [leaving, waiting.context("four wait")?] {
        remove(&lab, name).await?;
    }
    // The place of the one that left is taken by another one.
    let tenants = until(&lab, "two to be told", |_, tenants| told(tenants, "r2") == 2).await?;
    assert!(tenants.iter().all(|tenant| tenant.name_any() != *leaving));
    let_go(&lab, "r2").await?;
    until(&lab, "the five to run r2", |channel, tenants| {
        let counts = channel.status.as_ref().and_then(|status| status.tenants).unwrap_or_default();
        all_run(5, "r2")(channel, tenants) && (counts.total, counts.up_to_date) == (5, 5)
    })
    .await?;
    lab.operator.stop().await
}

/// Removes a tenant with its data, and waits until it is gone.
async fn remove(lab: &Lab, name: &str) -> Result<()> {
    let tenants: Api<Tenant> = Api::all(lab.client.clone());
    let confirm = json!({"metadata": {"annotations": {"tenantry.dev/confirm-delete": name}}});
    tenants.patch(name, &PatchParams::default(), &Patch::Merge(confirm)).await?;
    tenants.delete(name, &DeleteParams::default()).await?;
    Wait::new(format!("the end of {name}"), DEADLINE)
        .until(async || {
            Ok(match tenants.get_opt(name).await? {
                None => Look::Done(()),
                Some(tenant) => Look::NotYet(condition(&tenant, "Ready").to_string()),
            })
        })
        .await
}
