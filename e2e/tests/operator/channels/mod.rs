//! Tenants that follow a Channel, on a real API server: in waves, with approvals, back by themselves, and in the middle of it all.

mod bad;
mod middle;
mod operators;
mod pods;
mod waves;
mod windows;

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use e2e::{
    cluster::control_plane::{Outcome, Workload},
    host::wait::{Look, Wait},
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use operator::api::{Channel, Release, Tenant, UpgradeStep};
use serde_json::{Value, json};

use crate::lab::{Lab, OPERATOR, condition, release, tenant};

/// Until a fleet is made, on a busy machine.
const MADE: Duration = Duration::from_mins(2);
const TENANTS: [&str; 6] = ["t1", "t2", "t3", "t4", "t5", "t6"];

/// A sixth of six tenants is the wave `canary`; the others wait for somebody's word.
fn with_approval() -> Value {
    json!({
        "waves": [{"name": "canary", "percent": 17}, {"name": "all", "approval": "Required"}],
        "maxParallel": 2, "bake": "1s",
    })
}

/// All at once, two at a time.
fn without_waves() -> Value {
    json!({"maxParallel": 2, "bake": "1s"})
}

/// A fleet of six that runs r1 of the channel `stable`; r2 is there.
async fn fleet(rollout: Value) -> Result<Lab> {
    let lab = Lab::start().await?;
    populate(&lab, &TENANTS.map(str::to_owned), rollout).await?;
    Ok(lab)
}

/// Makes the channel `stable`, the release r2, and these tenants, which run r1.
async fn populate(lab: &Lab, names: &[String], rollout: Value) -> Result<()> {
    lab.create::<Release>(release("r2", 1)).await?;
    lab.create::<Channel>(json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "Channel",
        "metadata": {"name": "stable"},
        "spec": {"release": "r1", "rollout": rollout},
    }))
    .await?;
    for name in names {
        lab.create::<Tenant>(of_channel(name)).await?;
    }
    // A tenant that is ready may have been seen before its first migration has reported, and nobody waits for one that has not
    // run yet.
    until_within(MADE, lab, "the fleet to run r1", |channel, tenants| {
        let counts = channel.status.as_ref().and_then(|status| status.tenants).unwrap_or_default();
        all_run(names.len(), "r1")(channel, tenants) && counts.set_aside == 0
    })
    .await
    .map(drop)
}

fn of_channel(name: &str) -> Value {
    let mut tenant = tenant(name);
    tenant["spec"]["channel"] = json!("stable");
    tenant["spec"]["release"] = Value::Null;
    tenant
}

fn runs(tenant: &Tenant, release: &str) -> bool {
    let status = tenant.status.as_ref();
    let is_ready = condition(tenant, "Ready")["status"] == "True";
    is_ready && status.is_some_and(|status| status.release.as_deref() == Some(release))
}

/// How many run a release.
fn count(tenants: &[Tenant], release: &str) -> usize {
    tenants.iter().filter(|tenant| runs(tenant, release)).count()
}

/// How many are to run a release.
fn told(tenants: &[Tenant], release: &str) -> usize {
    let target = |tenant: &&Tenant| tenant.status.as_ref()?.target_release.clone();
    tenants.iter().filter(|tenant| target(tenant).as_deref() == Some(release)).count()
}

/// Names of those whose upgrade is at that step.
fn at(tenants: &[Tenant], step: UpgradeStep) -> Vec<String> {
    let is_there = |tenant: &&Tenant| {
        let upgrade = tenant.status.as_ref().and_then(|status| status.upgrade.as_ref());
        upgrade.is_some_and(|upgrade| upgrade.step == step)
    };
    tenants.iter().filter(is_there).map(ResourceExt::name_any).collect()
}

fn says(channel: &Channel, type_: &str) -> (String, String) {
    let conditions = channel.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let current = conditions.iter().find(|condition| {
        condition.type_ == type_ && condition.observed_generation == channel.metadata.generation
    });
    current.map(|found| (found.status.clone(), found.reason.clone())).unwrap_or_default()
}

fn is_up_to_date(channel: &Channel) -> bool {
    says(channel, "UpToDate").0 == "True"
}

/// That so many tenants run a release, that the channel says so, and that nothing is under way.
fn all_run(count: usize, release: &str) -> impl Fn(&Channel, &[Tenant]) -> bool {
    move |channel, tenants| {
        let is_over = |tenant: &Tenant| tenant.status.as_ref().is_some_and(|status| status.upgrade.is_none());
        is_up_to_date(channel)
            && tenants.len() == count
            && self::count(tenants, release) == count
            && tenants.iter().all(is_over)
    }
}

/// Waits until channel and tenants are so, and returns the tenants.
async fn until(lab: &Lab, what: &str, holds: impl Fn(&Channel, &[Tenant]) -> bool) -> Result<Vec<Tenant>> {
    until_within(MADE, lab, what, holds).await
}

async fn until_within(
    deadline: Duration,
    lab: &Lab,
    what: &str,
    holds: impl Fn(&Channel, &[Tenant]) -> bool,
) -> Result<Vec<Tenant>> {
    let (channels, tenants) =
        (Api::<Channel>::all(lab.client.clone()), Api::<Tenant>::all(lab.client.clone()));
    Wait::new(what, deadline)
        .until(async || {
            let channel = channels.get("stable").await?;
            let fleet = tenants.list(&ListParams::default()).await?.items;
            let seen = || format!("{:?}; {}", channel.status, fleet.iter().map(in_short).collect::<String>());
            Ok(if holds(&channel, &fleet) { Look::Done(fleet) } else { Look::NotYet(seen()) })
        })
        .await
}

fn in_short(tenant: &Tenant) -> String {
    let ready = condition(tenant, "Ready");
    let status = tenant.status.clone().unwrap_or_default();
    let (runs, told) = (status.release.unwrap_or_default(), status.target_release.unwrap_or_default());
    let upgrade = status.upgrade.map(|upgrade| (upgrade.to, upgrade.step, upgrade.last_failure));
    format!("\n{}: {} {runs}, told {told}, {upgrade:?}", tenant.name_any(), ready["reason"])
}

async fn change(lab: &Lab, spec: Value) -> Result<()> {
    let channels: Api<Channel> = Api::all(lab.client.clone());
    channels.patch("stable", &PatchParams::default(), &Patch::Merge(json!({"spec": spec}))).await?;
    Ok(())
}

fn approve(wave: &str, release: &str) -> Value {
    json!({"rollout": {"approvals": [{"release": release, "wave": wave}]}})
}

/// From now on nothing answers in that release, and nothing says that it never will.
async fn hold(lab: &Lab, release: &str) -> Result<()> {
    let (reason, message) = ("ImagePullBackOff".into(), "no such image".into());
    lab.nodes.on_image(Workload::Deployment, &image(lab, release).await?, Outcome::Waits { reason, message });
    Ok(())
}

/// From now on pods of that release crash.
async fn crash(lab: &Lab, release: &str) -> Result<()> {
    let crashes = Outcome::Exits { code: 1, message: "it crashes".into() };
    lab.nodes.on_image(Workload::Deployment, &image(lab, release).await?, crashes);
    Ok(())
}

/// From now on that release answers.
async fn let_go(lab: &Lab, release: &str) -> Result<()> {
    lab.nodes.on_image(Workload::Deployment, &image(lab, release).await?, Outcome::works());
    Ok(())
}

async fn image(lab: &Lab, release: &str) -> Result<String> {
    Ok(Api::<Release>::all(lab.client.clone()).get(release).await?.spec.image)
}

/// Lets a rollout of r2 come to the point where two tenants are on their way, and stay there; returns their names.
async fn in_the_middle(lab: &Lab) -> Result<Vec<String>> {
    hold(lab, "r2").await?;
    change(lab, json!({"release": "r2"})).await?;
    let tenants = until(lab, "two to be on their way", |_, tenants| {
        at(tenants, UpgradeStep::Rolling).len() == 2 && told(tenants, "r2") == 2
    })
    .await?;
    Ok(at(&tenants, UpgradeStep::Rolling))
}

/// How often the operator wrote the Deployment of each tenant since that many requests: once brings one release.
fn rolls(lab: &Lab, since: usize) -> Result<BTreeMap<String, usize>> {
    let mut rolls = BTreeMap::new();
    for event in lab.control_plane.audit_events()?.into_iter().skip(since) {
        let is_done = event.response_status.as_ref().is_some_and(|answer| answer.code < 300);
        if event.user.username == OPERATOR && event.is_mutation() && event.is_about("deployments") && is_done
        {
            let namespace = event.object_ref.map(|object| object.namespace).unwrap_or_default();
            *rolls.entry(namespace.trim_start_matches("tenant-").to_owned()).or_default() += 1;
        }
    }
    Ok(rolls)
}

/// How many requests there were.
fn so_far(lab: &Lab) -> Result<usize> {
    Ok(lab.control_plane.audit_events()?.len())
}
