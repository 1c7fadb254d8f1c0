//! Benchmarks: each prints its figures beside floors that were measured in the same run, so that a noisy machine cannot lie.

pub mod backup;
mod cleanup;
mod copy;
mod floors;
mod milestones;
pub mod onboarding;
pub mod operator;
pub mod rollout;
mod statistics;
mod versions;

use std::{os::unix::process::CommandExt as _, process::ExitCode};

use anyhow::{Context as _, Result};

use crate::{fleet::Installed, images};

/// Measurements beside floors of the same run.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Name of the cluster that `cargo demo` (or `cargo verify`) has brought up, where one is needed.
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
    /// Throughput, latency and memory of the gateway, beside the same requests without it. Needs no cluster.
    Gateway {
        /// How often everything is measured.
        #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
        rounds: u16,
    },
    /// The backup of a large database: memory, and time and size beside `pg_dump | zstd | age`. Needs no cluster.
    Backup(backup::Args),
    /// The operator with a large fleet, on a control plane of its own without nodes; takes about half an hour.
    Operator(operator::Args),
    /// A release that goes through a fleet, on a control plane of its own without nodes, beside a bare loop that writes the same.
    Rollout(rollout::Args),
}

/// Runs one benchmark and prints its report.
pub async fn run(args: Args) -> Result<ExitCode> {
    match args.benchmark {
        Benchmark::Onboarding { tenants } => {
            let fleet = Installed::load(&args.name)?;
            println!("{}", onboarding::run(&fleet, tenants).await?);
            Ok(ExitCode::SUCCESS)
        }
        Benchmark::Gateway { rounds } => {
            let (operator, bench) = (images::operator_binary().await?, images::gateway_bench().await?);
            let error = std::process::Command::new(bench)
                .arg(operator)
                .args(["--rounds", &rounds.to_string()])
                .exec();
            Err(error).context("cannot start gateway-bench")
        }
        Benchmark::Backup(args) => {
            let report = backup::run(&args).await?;
            println!("{report}");
            report.check().map(|()| ExitCode::SUCCESS)
        }
        Benchmark::Operator(args) => Box::pin(operator::run(&args)).await,
        Benchmark::Rollout(args) => Box::pin(rollout::run(&args)).await,
    }
}
