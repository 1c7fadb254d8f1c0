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
    images::{self, TestImage},
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
    /// Also build and load the releases of the CRM that only tests run.
    #[arg(long, conflicts_with = "down")]
    test_releases: bool,
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
    let test_images = if args.test_releases { test_releases().await? } else { Vec::new() };
    let installed = install_on(&args.cluster, &test_images, PORT).await?;
    report::print(&installed, &samples::tenants(&installed)?, begun.elapsed()).await?;
    Ok(ExitCode::SUCCESS)
}

/// The demo's fleet on a cluster of another name, for verification, with the releases that only tests run.
pub async fn install(name: &str) -> Result<Installed> {
    let test_images = test_releases().await?;
    install_on(&cluster::Choice::named(name), &test_images, VERIFY_PORT).await
}

/// Before the product's images: cargo leaves the program that it has built last in the place of both.
async fn test_releases() -> Result<Vec<TestImage>> {
    images::front_end().await.context("cannot build the front end")?;
    images::test_releases().await.context("cannot build the releases for tests")
}

async fn install_on(choice: &cluster::Choice, test_images: &[TestImage], port: u16) -> Result<Installed> {
    let cluster = cluster::choose(choice).await?;
    let images = images::build().await.context("cannot build the images")?;
    cluster.up().await?;
    println!("installing the chart");
    let installed = fleet::install(&choice.name, &cluster, &images, test_images, port).await?;
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
