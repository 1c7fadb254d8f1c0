//! What a tenant that fails again and again costs the others: the time that their edits take to settle.
//!
//! The tenant has lost its passwords, which nothing but a person can mend, and somebody edits it without pause, so that the
//! operator's growing pauses after a failure do not hide it: each edit is news of it. In turn with that, a tenant that is paused,
//! and so costs the operator nothing but a look, is edited at the same pace: the API server has as much to do with the one
//! as with the other, and what is left is what the failing costs.

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use operator::{
    api::Tenant,
    names::{self, child},
};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::{
    lab::{Lab, condition, is_ready},
    subject::Subject,
};
use crate::{
    bench::{statistics::Sample, versions},
    faults::number,
    host::wait::{Look, Wait},
};

/// Between two edits of what is edited without pause.
const PACE: Duration = Duration::from_millis(50);
/// How many edits of the others are under way at the same time.
const EDITS: usize = 4;
const DEADLINE: Duration = Duration::from_mins(1);
/// Why the tenant fails.
const REASON: &str = "SecretLost";

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Blocks of edits beside the failing tenant, and as many without.
    pub blocks: usize,
    /// Edits in each.
    pub edits: usize,
}

/// How long the edits of the others took to settle.
pub(super) struct Neighbours {
    pub(super) alone: Sample,
    pub(super) beside_failing: Sample,
    /// How often the failing tenant failed.
    pub(super) failures: f64,
}

/// Lets the first of the tenants fail and pauses the second, and edits the others.
pub(super) async fn measure(
    lab: &Lab,
    subject: &Subject,
    tenants: &[String],
    extent: Extent,
) -> Result<Neighbours> {
    let [failing, paused, others @ ..] = tenants else { bail!("there are too few tenants") };
    lose_passwords(lab, failing).await?;
    pause(lab, paused).await?;
    let all: Api<Tenant> = Api::all(lab.client.clone());
    let (settled, follow) = follow(lab.client.clone());

    let (mut alone, mut beside_failing) = (Vec::new(), Vec::new());
    let mut others = others.iter().cycle();
    let before = failures(subject).await?;
    let measured = async {
        for block in 0..2 * extent.blocks {
            let names: Vec<&String> = others.by_ref().take(extent.edits).collect();
            let edits = edit_all(&all, &settled, &names, block);
            // Which comes first takes turns, too.
            if matches!(block % 4, 0 | 3) {
                alone.extend(beside(edits, edit_without_pause(&all, paused)).await?);
            } else {
                beside_failing.extend(beside(edits, edit_without_pause(&all, failing)).await?);
            }
        }
        anyhow::Ok(())
    };
    beside(measured, follow).await?;
    let failures = failures(subject).await? - before;
    let sample = |durations| Sample::new(durations).context("nothing was edited");
    Ok(Neighbours { alone: sample(alone)?, beside_failing: sample(beside_failing)?, failures })
}

/// Takes away what the operator cannot make again, and waits until it says so.
async fn lose_passwords(lab: &Lab, tenant: &str) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(lab.client.clone(), &names::namespace_of(tenant));
    secrets.delete(child::DATABASE_CREDENTIALS, &DeleteParams::default()).await?;
    let tenants: Api<Tenant> = Api::all(lab.client.clone());
    touch(&tenants, tenant, 0).await?;
    until_ready_says(&tenants, tenant, REASON).await
}

async fn pause(lab: &Lab, tenant: &str) -> Result<()> {
    let tenants: Api<Tenant> = Api::all(lab.client.clone());
    let patch = json!({"spec": {"paused": true}});
    tenants.patch(tenant, &PatchParams::default(), &Patch::Merge(patch)).await?;
    until_ready_says(&tenants, tenant, "Paused").await
}

async fn until_ready_says(tenants: &Api<Tenant>, tenant: &str, reason: &str) -> Result<()> {
    Wait::new(format!("{tenant} to say {reason}"), DEADLINE)
        .until(async || {
            let ready = condition(&tenants.get(tenant).await?, "Ready").cloned();
            let is_said = ready.as_ref().is_some_and(|ready| ready.reason == reason);
            Ok(if is_said { Look::Done(()) } else { Look::NotYet(format!("{ready:?}")) })
        })
        .await
}

async fn failures(subject: &Subject) -> Result<f64> {
    let name = format!("tenantry_reconcile_errors_total{{reason=\"{REASON}\"}}");
    number(&subject.metrics().await?, &name).context("the tenant did not fail")
}

/// Does the work while something else goes on that never ends well.
async fn beside<T>(
    work: impl Future<Output = Result<T>>,
    other: impl Future<Output = Result<Infallible>>,
) -> Result<T> {
    tokio::select! {
        done = work => done,
        failed = other => match failed? {},
    }
}

async fn edit_without_pause(tenants: &Api<Tenant>, name: &str) -> Result<Infallible> {
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 1.. {
        ticks.tick().await;
        touch(tenants, name, number).await?;
    }
    bail!("out of numbers")
}

async fn touch(tenants: &Api<Tenant>, name: &str, number: u64) -> Result<()> {
    let patch = json!({"metadata": {"annotations": {"example.com/note": number.to_string()}}});
    tenants.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// The generation of each tenant's spec that was Ready last.
type Settled = watch::Receiver<BTreeMap<String, i64>>;

/// Follows which generation of each tenant's spec is Ready, as long as the future is polled.
fn follow(client: Client) -> (Settled, impl Future<Output = Result<Infallible>>) {
    let (tell, settled) = watch::channel(BTreeMap::new());
    let follow = async move {
        let mut changes = versions::of(Api::<Tenant>::all(client));
        while let Some(tenant) = changes.next().await {
            if let Some(generation) = tenant.metadata.generation.filter(|_| is_ready(&tenant)) {
                tell.send_modify(|settled| {
                    settled.insert(tenant.name_any(), generation);
                });
            }
        }
        bail!("the watch of tenants ended")
    };
    (settled, follow)
}

/// Gives each of the tenants another display name, and returns how long it took until it was Ready with it.
async fn edit_all(
    tenants: &Api<Tenant>,
    settled: &Settled,
    names: &[&String],
    block: usize,
) -> Result<Vec<Duration>> {
    stream::iter(names)
        .map(|name| edit(tenants, settled.clone(), name, block))
        .buffer_unordered(EDITS)
        .try_collect()
        .await
}

async fn edit(tenants: &Api<Tenant>, mut settled: Settled, name: &str, block: usize) -> Result<Duration> {
    let patch = json!({"spec": {"displayName": format!("Customer No. {block}")}});
    let begun = Instant::now();
    let edited = tenants.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    let wanted = edited.metadata.generation.context("the tenant has a generation")?;
    let is_settled =
        |settled: &BTreeMap<String, i64>| settled.get(name).is_some_and(|generation| wanted <= *generation);
    let in_time = timeout(DEADLINE, settled.wait_for(is_settled)).await;
    in_time.with_context(|| format!("the edit of {name} did not settle in time"))??;
    Ok(begun.elapsed())
}
