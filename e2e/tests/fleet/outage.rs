//! The API server away, then etcd: customers notice nothing, nothing is started again, and no storm follows.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{
    cluster::native::Native,
    fleet::Installed,
    host::{
        process::{self, Process},
        wait::{Look, Wait},
    },
};
use jiff::{SignedDuration, Timestamp};
use kube::api::ListParams;
use operator::api::Tenant;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::{
    alone, customers,
    observed::{conditions, is_work, now, operator_requests, runs, until_operator_rests},
    outage,
    visitors::Visitors,
};

/// A storm would be in the first moments after the return.
const STORM: Duration = Duration::from_secs(10);
/// What an operator that starts afresh asks: a list and a watch for each of its kinds, its lease, and a few reads by name for
/// each tenant. More than this on a fleet of three is a storm.
const CALM: usize = 150;

#[tokio::test]
async fn nobody_notices_that_the_api_server_is_away() -> Result<()> {
    without("kube-apiserver").await
}

#[tokio::test]
async fn nobody_notices_that_etcd_is_away() -> Result<()> {
    without("etcd").await
}

/// Holds a part of the control plane still while customers work, and looks at what comes of it.
async fn without(part: &str) -> Result<()> {
    let (fleet, _turn) = alone().await?;
    let node = Native::new(&fleet.cluster)?;
    let customers = customers(&fleet).await?;
    until_operator_rests(&node).await?;
    let before = (runs(&fleet).await?, conditions(&fleet).await?);

    let visitors = Visitors::start(customers);
    let (begun, length) = (now(), outage()?);
    let still = Still::hold(node.process_of(part).await?)?;
    sleep(length).await;
    drop(still);
    let returned = now();
    let late = until_api_server_answers(&fleet).await?;
    // As long again is watched: whoever comes late comes in this time.
    sleep(length.max(STORM)).await;
    let served = visitors.end().await?;

    println!("  {part} was away for {} s, and the API server answered {late:.1?} later", length.as_secs());
    println!("  {served}");
    the_operator_kept_calm(&node, begun, returned)?;
    let after = (runs(&fleet).await?, conditions(&fleet).await?);
    ensure!(after.0 == before.0, "pods were started again: {:#?}\n{:#?}", before.0, after.0);
    ensure!(after.1 == before.1, "conditions flapped: {:#?}\n{:#?}", before.1, after.1);
    Ok(())
}

/// No change was asked for, and no flood of questions after the return.
fn the_operator_kept_calm(node: &Native, begun: Timestamp, returned: Timestamp) -> Result<()> {
    let asked = operator_requests(node, begun)?;
    let storm = SignedDuration::try_from(STORM)?;
    let since = |request: Timestamp| request.duration_since(returned);
    let soon =
        asked.iter().filter(|request| (SignedDuration::ZERO..storm).contains(&since(request.received)));
    let soon: Vec<_> = soon.map(|request| format!("{} {}", request.verb, request.uri)).collect();
    let later = asked.iter().filter(|request| storm <= since(request.received)).count();
    println!("  the operator sent {} requests in the {STORM:?} after the return, {later} later", soon.len());
    ensure!(soon.len() <= CALM, "a storm of {}: {soon:#?}", soon.len());
    ensure!(!soon.is_empty(), "the operator did not come back");
    let changes: Vec<_> = asked.iter().filter(|request| is_work(request)).collect();
    ensure!(changes.is_empty(), "there was nothing to change, but the operator asked for {changes:#?}");
    Ok(())
}

/// How long the API server takes until it answers from etcd.
async fn until_api_server_answers(fleet: &Installed) -> Result<Duration> {
    let begun = Instant::now();
    let tenants: kube::Api<Tenant> = kube::Api::all(fleet.client().await?);
    Wait::new("an answer of the API server", Duration::from_secs(30))
        .until(async || {
            let list = tenants.list(&ListParams::default()).await?;
            Ok(if list.items.is_empty() { Look::NotYet("no tenants".to_owned()) } else { Look::Done(()) })
        })
        .await?;
    Ok(begun.elapsed())
}

/// A process that is held still: it keeps its connections and says nothing, which is worse than being gone.
pub(crate) struct Still(Process);

impl Still {
    pub(crate) fn hold(process: Process) -> Result<Self> {
        process::signal(&process, Signal::STOP).context("cannot hold the process still")?;
        Ok(Self(process))
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        if let Err(error) = process::signal(&self.0, Signal::CONT) {
            println!("process {} is still held still: {error:#}", self.0.pid);
        }
    }
}
