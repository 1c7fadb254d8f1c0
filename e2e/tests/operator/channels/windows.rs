//! Maintenance windows on the night on which summer time begins, by an operator whose clock the test sets.
//!
//! In London, on March 28 of 2027, the clocks go forward at 01:00 UTC (<https://www.gov.uk/when-do-the-clocks-change>), so a window from
//! 01:30 on begins in the hour that is left out: at 01:30 UTC, when the clock on the wall says 02:30.

use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use operator::api::{Channel, Release, Tenant, UpgradeStep};
use serde_json::json;

use super::{
    TENANTS, all_run, at, change, count, hold, let_go, populate, rolls, runs, says, so_far, told, until,
    without_waves,
};
use crate::lab::{Lab, OPERATOR, clock, release};

/// What the operator's clock is ahead of this machine's, in milliseconds.
static AHEAD: AtomicI64 = AtomicI64::new(0);

fn ahead() -> SignedDuration {
    SignedDuration::from_millis(AHEAD.load(Ordering::SeqCst))
}

fn operators_clock() -> Timestamp {
    clock() + ahead()
}

/// Sets the operator's clock, and has it look at the channel.
async fn set_clock(lab: &Lab, time: &str) -> Result<()> {
    let time: Timestamp = time.parse()?;
    AHEAD.store(i64::try_from(time.duration_since(clock()).as_millis())?, Ordering::SeqCst);
    let look = json!({"metadata": {"annotations": {"example.com/clock": time.to_string()}}});
    let channels: Api<Channel> = Api::all(lab.client.clone());
    channels.patch("stable", &PatchParams::default(), &Patch::Merge(look)).await?;
    Ok(())
}

fn awaits_window(channel: &Channel) -> bool {
    says(channel, "Progressing") == ("True".into(), "AwaitingWindow".into())
}

/// When the operator wrote a Deployment for the first time since that many requests, by its own clock.
fn first_roll(lab: &Lab, since: usize) -> Result<Timestamp> {
    let events = lab.control_plane.audit_events()?;
    let rolls = events.iter().skip(since).filter(|event| {
        event.user.username == OPERATOR && event.is_mutation() && event.is_about("deployments")
    });
    let first = rolls.map(|event| event.received).min().context("it has written none")?;
    Ok(first + ahead())
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_go_when_their_window_opens_and_it_moves_with_summer_time() -> Result<()> {
    let lab = Lab::start_by_clock(operators_clock).await?;
    let mut rollout = without_waves();
    rollout["window"] = json!({"start": "01:30", "duration": "2h"});
    populate(&lab, &TENANTS.map(str::to_owned), rollout).await?;
    let tenants: Api<Tenant> = Api::all(lab.client.clone());
    let in_london = json!({"spec": {"timeZone": "Europe/London"}});
    for name in TENANTS {
        tenants.patch(name, &PatchParams::default(), &Patch::Merge(&in_london)).await?;
    }

    // A minute before the hour that is left out, and ten seconds before the window opens.
    let before = so_far(&lab)?;
    set_clock(&lab, "2027-03-28T00:59:00Z").await?;
    change(&lab, json!({"release": "r2"})).await?;
    until(&lab, "all to wait for their window", |channel, _| awaits_window(channel)).await?;
    set_clock(&lab, "2027-03-28T01:29:50Z").await?;
    let tenants = until(&lab, "the same ten seconds before it opens", |channel, tenants| {
        awaits_window(channel) && told(tenants, "r2") == 0
    })
    .await?;
    ensure!(rolls(&lab, before)?.is_empty() && tenants.iter().all(|tenant| runs(tenant, "r1")));

    // Nothing happens but that time passes.
    let opening: Timestamp = "2027-03-28T01:30:00Z".parse()?;
    until(&lab, "all to run r2", all_run(TENANTS.len(), "r2")).await?;
    let first = first_roll(&lab, before)?;
    ensure!(opening <= first && first < opening + SignedDuration::from_mins(1), "the first went at {first}");

    // What has begun when it closes is brought to its end, and nothing else begins.
    lab.create::<Release>(release("r3", 1)).await?;
    set_clock(&lab, "2027-03-28T03:27:00Z").await?;
    hold(&lab, "r3").await?;
    change(&lab, json!({"release": "r3"})).await?;
    until(&lab, "two to be on their way", |_, tenants| {
        at(tenants, UpgradeStep::Rolling).len() == 2 && told(tenants, "r3") == 2
    })
    .await?;
    set_clock(&lab, "2027-03-28T03:30:00Z").await?;
    let_go(&lab, "r3").await?;
    let tenants = until(&lab, "the two to be done and the others to wait", |channel, tenants| {
        awaits_window(channel) && count(tenants, "r3") == 2
    })
    .await?;
    assert_eq!(told(&tenants, "r3"), 2);

    // The next night the clock on the wall is an hour ahead: half past one is 00:30.
    set_clock(&lab, "2027-03-29T00:30:00Z").await?;
    until(&lab, "all to run r3", all_run(TENANTS.len(), "r3")).await?;
    lab.operator.stop().await
}
