//! `cargo demo`: from nothing to a running fleet.

mod comeback;
mod report;
mod samples;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use futures::future::try_join_all;

use crate::{
    cluster::{self, Cluster as _},
    fleet::{self, Installed},
    images,
};

/// Port on 127.0.0.1 where the demo's gateway answers.
const PORT: u16 = 8080;
/// Port of the cluster that verification runs on, so that both can be up.
const VERIFY_PORT: u16 = 8180;
const READY: Duration = Duration::from_mins(2);

/// From nothing to a running fleet: a cluster, the images, the chart, and three customers' CRMs. Safe to run again.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Stop the demo and remove everything that it started.
    #[arg(long)]
    down: bool,
    /// Which cluster to use.
    #[command(flatten)]
    cluster: cluster::Choice,
}

/// Brings the demo up (or down) and prints what a visitor needs.
pub async fn run(args: Args) -> Result<ExitCode> {
    let begun = Instant::now();
    if args.down {
        cluster::choose(&args.cluster).await?.down().await?;
        println!("The demo is down; caches are kept, so the next start is quick.");
        return Ok(ExitCode::SUCCESS);
    }
    let installed = install_on(&args.cluster, PORT).await?;
    report::print(&installed, &samples::tenants(&installed)?, begun.elapsed()).await?;
    Ok(ExitCode::SUCCESS)
}

/// The demo's fleet on a cluster of another name, for verification.
pub async fn install(name: &str) -> Result<Installed> {
    install_on(&cluster::Choice::named(name), VERIFY_PORT).await
}

async fn install_on(choice: &cluster::Choice, port: u16) -> Result<Installed> {
    let cluster = cluster::choose(choice).await?;
    let images = images::build().await.context("cannot build the images")?;
    cluster.up().await?;
    println!("installing the chart");
    let installed = fleet::install(&choice.name, &cluster, &images, port).await?;
    samples::apply_plans(&installed).await?;
    let tenants = samples::tenants(&installed)?;
    println!("applying {} tenants", tenants.len());
    try_join_all(tenants.iter().map(|tenant| apply(&installed, tenant))).await?;
    Ok(installed)
}

/// Applies one tenant and waits until it is Ready.
async fn apply(installed: &Installed, tenant: &operator::api::Tenant) -> Result<()> {
    installed.apply(&comeback::as_it_begins(installed, tenant).await?).await?;
    let name = tenant.metadata.name.as_deref().context("a sample tenant has no name")?;
    let waited = installed.wait_ready(name, READY).await?;
    println!("  {name} is Ready after {:.1} s", waited.duration.as_secs_f64());
    Ok(())
}
