//! Two operators on one cluster: one works, the other stands by and takes over.

use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::{
    cluster::control_plane::AuditEvent,
    host::wait::{Look, Wait},
};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use operator::api::Tenant;
use serde_json::json;

use crate::lab::{DEADLINE, Lab, OPERATOR, Running, tenant};

/// Who wrote, in the order of time; each once for every uninterrupted stretch. Renewals of the lease are no work.
pub(crate) fn writers(lab: &Lab) -> Result<Vec<String>> {
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
async fn a_leader_that_loses_the_lease_stands_by_and_works_again_when_it_has_it_back() -> Result<()> {
    let lab = Lab::start_as("first").await?;
    lab.operator.until_leader().await?;
    let leases: Api<Lease> = Api::namespaced(lab.client.clone(), "tenantry-system");
    let holder = |name: &str| Patch::Merge(json!({"spec": {"holderIdentity": name}}));
    leases.patch("tenantry-operator", &PatchParams::default(), &holder("somebody")).await?;
    let told = Instant::now();
    lab.operator.until_standby().await?;
    assert!(told.elapsed() < Duration::from_secs(10), "it took {:?}", told.elapsed());
    let before = lab.writes()?.len();
    lab.create::<Tenant>(tenant("acme")).await?;
    // It looks at the lease every second; after two looks it would have begun.
    let looks = lease_reads(&lab)?;
    Wait::new("two more looks at the lease", DEADLINE)
        .until(async || {
            let now = lease_reads(&lab)?;
            Ok(if looks + 2 <= now { Look::Done(()) } else { Look::NotYet(format!("{looks}, {now}")) })
        })
        .await?;
    assert_eq!(lab.writes()?.len(), before, "it wrote while somebody else had the lease");
    leases.patch("tenantry-operator", &PatchParams::default(), &holder("")).await?;
    lab.operator.until_leader().await?;
    lab.until_ready("acme").await?;

    // A container that is started again in the same pod has the same name, and is the only one that has.
    let Lab { control_plane, client, break_glass, nodes, operator } = lab;
    operator.kill().await;
    let started = Instant::now();
    let operator = Running::start_as(&control_plane, "first").await?;
    operator.until_leader().await?;
    assert!(started.elapsed() < Duration::from_secs(10), "it took {:?}", started.elapsed());
    work(&Lab { control_plane, client, break_glass, nodes, operator }).await
}

/// How often the operator has read the lease.
fn lease_reads(lab: &Lab) -> Result<usize> {
    let events = lab.control_plane.audit_events()?.into_iter();
    let is_look = |event: &AuditEvent| event.user.username == OPERATOR && event.verb == "get";
    Ok(events.filter(|event| is_look(event) && event.is_about("leases")).count())
}
