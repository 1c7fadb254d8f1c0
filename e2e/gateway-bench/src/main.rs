//! Measures a gateway and says whether it keeps its limits.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use gateway_bench::Plan;

/// Measures `OPERATOR gateway` beside direct connections to the same backend.
#[derive(Debug, Parser)]
struct Arguments {
    /// The release build of `operator`.
    operator: PathBuf,
    /// How often everything is measured.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { operator, rounds } = Arguments::parse();
    let report = gateway_bench::run(&operator, &Plan::full(rounds.into())).await?;
    println!("{report}");
    report.check()
}
