//! Faults between the operator and the API server: it must end as if nothing had happened, wherever it is killed and
//! whatever the API server answers.
//!
//! A [`course`] is something that happens to a tenant. [`proxy`] stands between operator and API server; a run without
//! faults gives the trace of what the operator asks, and from the trace come the plans: each [`plan`] lets one thing go
//! wrong at one place. [`oracle`] compares what is in the cluster at the end with the undisturbed run, and the trace says
//! whether every object was made and deleted as often. The method is that of Sieve (OSDI 2022), see docs/RELIABILITY.md.

mod campaign;
mod course;
mod delivery;
mod harness;
mod oracle;
mod plan;
mod process;
mod proxy;
mod state;
mod trace;
mod watches;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};

use crate::host::progress;

pub(crate) use self::process::number;
pub use self::{campaign::Report, course::Course, harness::Harness};

/// How long a course with a fault may take: longer than the operator waits for an answer that never comes.
const PATIENCE: Duration = Duration::from_mins(1);
/// How many faults of each course there are without `--all`.
const KILLS: usize = 12;
const OTHERS: usize = 12;

/// Lets things go wrong between an operator and an API server without nodes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Every fault at every write, read and watch; takes about half an hour.
    #[arg(long)]
    all: bool,
    /// With --all: only these courses; may be given several times.
    #[arg(long, value_name = "COURSE", requires = "all")]
    course: Vec<Course>,
    /// With --all: only faults whose line in the report has these words, to try again what failed; may be given several times.
    #[arg(long, value_name = "WORDS", requires = "all")]
    matching: Vec<String>,
}

/// Runs the faults and prints what came of them.
pub async fn run(args: Args) -> Result<ExitCode> {
    let executable = std::env::current_exe().context("cannot find this program")?;
    let start = Box::pin(Harness::start(&executable, PATIENCE));
    let mut harness = progress::step("starting a control plane", start).await?;
    progress::step("a tenant's life without faults", harness.learn()).await?;
    progress::step("another one, which must be the same", harness.confirm()).await?;
    let courses = if args.course.is_empty() { Course::ALL.to_vec() } else { args.course };
    let report = if args.all {
        progress::step("faults", harness.run_all(&courses, &args.matching)).await?
    } else {
        progress::step("faults", harness.run_sample(KILLS, OTHERS)).await?
    };
    println!("{report}");
    let is_well = report.is_complete() && report.failures().is_empty();
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The operator as a process that the harness can kill.
#[derive(clap::Args, Debug)]
pub struct OperatorArgs {
    #[command(flatten)]
    run: operator::args::RunArgs,
    /// In which way it is broken on purpose.
    #[cfg(feature = "control-plane")]
    #[arg(long)]
    mutant: Option<operator::mutants::Mutant>,
}

/// Runs the operator until it is killed.
pub async fn operator(args: OperatorArgs) -> Result<()> {
    #[cfg(feature = "control-plane")]
    if let Some(mutant) = args.mutant {
        operator::mutants::choose(mutant);
    }
    let config = kube::Config::infer().await.context("failed to find a cluster")?;
    let client = operator::cluster::client(config).context("failed to make a client for the cluster")?;
    operator::run(client, args.run, std::future::pending()).await.context("the operator stopped")
}
