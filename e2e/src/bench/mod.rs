//! Benchmarks: each prints its figures beside floors that were measured in the same run, so that a noisy machine cannot lie.

mod cleanup;
mod copy;
mod floors;
mod milestones;
pub mod onboarding;
mod statistics;

use std::process::ExitCode;

use anyhow::Result;

use crate::fleet::Installed;

/// Benchmarks of a cluster that `cargo demo` (or `cargo verify`) has brought up.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Name of the cluster.
    #[arg(long, default_value = "demo")]
    name: String,
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(clap::Subcommand, Debug)]
enum Benchmark {
    /// From an applied Tenant to Ready, step by step, beside a bare pod, a StatefulSet and the same objects by kubectl.
    Onboarding {
        /// How many tenants, one after the other.
        #[arg(long, default_value_t = 10)]
        tenants: usize,
    },
}

/// Runs one benchmark and prints its report.
pub async fn run(args: Args) -> Result<ExitCode> {
    let fleet = Installed::load(&args.name)?;
    match args.benchmark {
        Benchmark::Onboarding { tenants } => println!("{}", onboarding::run(&fleet, tenants).await?),
    }
    Ok(ExitCode::SUCCESS)
}
