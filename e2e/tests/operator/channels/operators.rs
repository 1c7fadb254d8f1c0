//! Rollouts that outlive the operator that began them.

use anyhow::Result;
use operator::api::UpgradeStep;

use super::{
    TENANTS, all_run, at, count, fleet, in_the_middle, let_go, populate, rolls, so_far, until, without_waves,
};
use crate::{
    lab::{Lab, Running},
    replicas::writers,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_started_again_goes_on_where_the_other_was() -> Result<()> {
    let mut lab = fleet(without_waves()).await?;
    let before = so_far(&lab)?;
    let on_the_way = in_the_middle(&lab).await?;
    lab.operator.stop().await?;
    lab.operator = Running::start(&lab.control_plane).await?;
    let tenants = until(&lab, "the same two to be on their way", |_, tenants| {
        at(tenants, UpgradeStep::Rolling) == on_the_way
    })
    .await?;
    assert_eq!(count(&tenants, "r1"), 4);
    let_go(&lab, "r2").await?;
    until(&lab, "all to run r2", all_run(TENANTS.len(), "r2")).await?;
    assert!(rolls(&lab, before)?.values().all(|times| *times == 1), "{:?}", rolls(&lab, before)?);
    lab.operator.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_operators_one_rolls_out_and_the_other_ends_what_it_began() -> Result<()> {
    let mut lab = Lab::start_as("first").await?;
    let standby = Running::start_as(&lab.control_plane, "second").await?;
    populate(&lab, &TENANTS.map(str::to_owned), without_waves()).await?;
    let before = so_far(&lab)?;
    in_the_middle(&lab).await?;
    assert_eq!(writers(&lab)?, ["first"]);
    std::mem::replace(&mut lab.operator, standby).kill().await;
    lab.operator.until_leader().await?;
    let_go(&lab, "r2").await?;
    until(&lab, "all to run r2", all_run(TENANTS.len(), "r2")).await?;
    assert_eq!(writers(&lab)?, ["first", "second"]);
    assert!(rolls(&lab, before)?.values().all(|times| *times == 1), "{:?}", rolls(&lab, before)?);
    lab.operator.stop().await
}
