//! Two operators on one cluster: one works, the other stands by and takes over.

use std::time::{Duration, Instant};

use anyhow::Result;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use operator::{api::Tenant, process::controllers};
use serde_json::json;

use crate::lab::{Lab, OPERATOR, Running, tenant};

/// Who wrote, in the order of time; each once for every uninterrupted stretch. Renewals of the lease are no work.
fn writers(lab: &Lab) -> Result<Vec<String>> {
    let events = lab.control_plane.audit_events()?.into_iter();
    let mut writers: Vec<String> = events
        .filter(|event| event.user.username == OPERATOR && event.is_mutation() && !event.is_about("leases"))
        .map(|event| event.user_agent)
        .collect();
    writers.dedup();
    Ok(writers)
}

async fn leader_and_standby() -> Result<(Lab, Running)> {
    let lab = Lab::start_as("first").await?;
    let standby = Running::start_as(&lab.control_plane, "second").await?;
    lab.operator.until_leader().await?;
    lab.create::<Tenant>(tenant("acme")).await?;
    lab.until_ready("acme").await?;
    assert!(standby.metric("tenantry_leader").await? < 0.5);
    assert_eq!(writers(&lab)?, ["first"]);
    Ok((lab, standby))
}

/// Something for whoever leads to do, and its end.
async fn work(lab: &Lab) -> Result<()> {
    lab.patch_tenant(json!({"spec": {"state": "Suspended"}})).await?;
    lab.until_reason("acme", "True", "Suspended").await?;
    Ok(())
}

#[tokio::test]
async fn a_leader_that_is_told_to_stop_hands_over_at_once() -> Result<()> {
    let (mut lab, standby) = leader_and_standby().await?;
    let first = std::mem::replace(&mut lab.operator, standby);
    let told = Instant::now();
    first.stop().await?;
    lab.operator.until_leader().await?;
    let took = told.elapsed();
    assert!(took <= Duration::from_secs(2), "it took {took:?}");
    work(&lab).await?;
    assert_eq!(writers(&lab)?, ["first", "second"]);
    Ok(())
}

#[tokio::test]
async fn a_leader_that_dies_is_succeeded_when_its_lease_has_run_out() -> Result<()> {
    let (mut lab, standby) = leader_and_standby().await?;
    let first = std::mem::replace(&mut lab.operator, standby);
    first.kill().await;
    let died = Instant::now();
    lab.operator.until_leader().await?;
    let took = died.elapsed();
    assert!(took <= Duration::from_secs(17), "it took {took:?}");
    assert!(Duration::from_secs(10) <= took, "others may take the dead for alive, so {took:?} is too soon");
    work(&lab).await?;
    assert_eq!(writers(&lab)?, ["first", "second"]);
    Ok(())
}

#[tokio::test]
async fn a_leader_that_loses_the_lease_ends_and_one_that_is_started_again_goes_on() -> Result<()> {
    let lab = Lab::start_as("first").await?;
    lab.operator.until_leader().await?;
    let Lab { control_plane, client, break_glass, nodes, operator } = lab;
    let leases: Api<Lease> = Api::namespaced(client.clone(), "tenantry-system");
    let holder = |name: &str| Patch::Merge(json!({"spec": {"holderIdentity": name}}));
    leases.patch("tenantry-operator", &PatchParams::default(), &holder("somebody")).await?;
    let told = Instant::now();
    let why = operator.end().await?;
    assert!(matches!(why, controllers::Error::LeaseLost(_)), "{why}");
    assert!(told.elapsed() < Duration::from_secs(10), "it took {:?}", told.elapsed());

    // A container that is started again in the same pod has the same name, and is the only one that has.
    leases.patch("tenantry-operator", &PatchParams::default(), &holder("first")).await?;
    let started = Instant::now();
    let operator = Running::start_as(&control_plane, "first").await?;
    operator.until_leader().await?;
    assert!(started.elapsed() < Duration::from_secs(10), "it took {:?}", started.elapsed());
    let lab = Lab { control_plane, client, break_glass, nodes, operator };
    lab.create::<Tenant>(tenant("acme")).await?;
    lab.until_ready("acme").await?;
    Ok(())
}
