//! The operator with a large fleet: memory, time to converge, restart, idleness, and what one bad tenant costs the others.
//!
//! The operator is a process of its own with the rights of its service account under the chart's roles and policies; there
//! are no nodes, and a stand-in plays their part. Writes are counted by the API server's audit log, memory and processor
//! time by the kernel. What could be the machine's fault is measured beside a floor of the same run.

pub(super) mod figures;
mod floor;
pub(super) mod lab;
mod neighbours;
mod report;
pub(super) mod subject;
mod unrelated;

use std::{
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

pub use self::{figures::Figure, neighbours::Extent, report::Report};
use self::{
    lab::{Lab, Requests},
    neighbours::Neighbours,
    subject::{Program, Subject, Usage},
};
use super::statistics::Sample;
use crate::{host::progress, images};

/// How often the operator is started again, before and after the unrelated Secrets.
const RESTARTS: usize = 3;
/// Unrelated Secrets, and the size of each.
const SECRETS: usize = 300;
const SECRET_BYTES: usize = 1_000_000;
/// Edits beside a tenant that fails.
const EXTENT: Extent = Extent { blocks: 20, edits: 50 };

/// The command line of `e2e bench operator`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// How many tenants.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(2..=9999))]
    tenants: u16,
    /// For how long nothing happens, in minutes: the operator looks at each tenant every five.
    #[arg(long, value_name = "MINUTES", default_value_t = 10)]
    idle: u64,
    /// The program to measure; without it, the operator of this checkout is built as for its image.
    #[arg(long, value_name = "PROGRAM")]
    operator: Option<PathBuf>,
}

/// When the floor for the time to converge is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floors {
    /// Before the operator's turn and after it, so that a machine whose load changes is noticed.
    BeforeAndAfter,
    /// Only before.
    Before,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// How many tenants there are.
    pub tenants: usize,
    /// When the floor is measured.
    pub floors: Floors,
    /// For how long nothing happens.
    pub idle: Duration,
    /// How often the operator is started again.
    pub restarts: usize,
    /// How many unrelated Secrets there are.
    pub secrets: usize,
    /// The size of each.
    pub secret_bytes: usize,
    /// Edits beside a tenant that fails.
    pub neighbours: Extent,
}

impl From<&Args> for Scale {
    fn from(args: &Args) -> Self {
        Self {
            tenants: args.tenants.into(),
            floors: Floors::BeforeAndAfter,
            idle: Duration::from_mins(args.idle),
            restarts: RESTARTS,
            secrets: SECRETS,
            secret_bytes: SECRET_BYTES,
            neighbours: EXTENT,
        }
    }
}

/// Measures an operator and prints all figures.
///
/// Without one, the operator of this checkout is built as for its image, and this program as well: a bare loop in a debug
/// build would be no floor for an operator in a release build.
pub(super) async fn run(args: &Args) -> Result<ExitCode> {
    let Some(operator) = &args.operator else {
        let built = images::release_binaries(&["operator", "e2e"]).await?;
        let mut command = Command::new(built.join("e2e"));
        command.args(["bench", "operator", "--operator"]).arg(built.join("operator"));
        command.args([format!("--tenants={}", args.tenants), format!("--idle={}", args.idle)]);
        return Err(command.exec()).context("cannot start the release build of this program");
    };
    let report = Box::pin(measure(operator, "run", args.into())).await?;
    println!("{report}");
    Ok(if report.missed().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures an operator: a program, and the subcommand by which it becomes one.
pub async fn measure(executable: &Path, subcommand: &str, scale: Scale) -> Result<Report> {
    let names = lab::names_of(scale.tenants);
    let mut floors = Vec::new();
    let bare_loop =
        || progress::step("a bare loop that posts the same objects", Box::pin(floor::run(&names)));
    floors.push(bare_loop().await?);
    let lab = progress::step("starting a control plane", Lab::start()).await?;
    let program = lab.program(executable, subcommand)?;
    let mut bench = Bench::start(&lab, &program, &names).await?;
    let converged = progress::step("the operator makes the fleet", bench.converge()).await?;
    if scale.floors == Floors::BeforeAndAfter {
        // The cluster at rest costs the machine little; what it does cost makes the floor a bit too high.
        floors.push(bare_loop().await?);
    }
    let idle = progress::step("nothing happens", bench.idle(scale.idle)).await?;
    let restarts = progress::step("starting it again", bench.restart(scale.restarts)).await?;
    let unrelated = unrelated::make_secrets(&lab.client, scale.secrets, scale.secret_bytes);
    progress::step("making unrelated Secrets", unrelated).await?;
    let crowded = progress::step("starting it again", bench.restart(scale.restarts)).await?;
    let neighbours = progress::step("editing", Box::pin(bench.neighbours(scale.neighbours))).await?;
    let last = bench.subject.usage()?;
    drop(bench);
    lab.stop().await?;
    Ok(Report { scale, floors, converged, idle, restarts, crowded, neighbours, last })
}

/// How the fleet was made.
pub(super) struct Converged {
    took: Duration,
    usage: Usage,
    requests: usize,
    writes: usize,
}

/// A stretch of time in which nothing happened.
pub(super) struct Idle {
    requests: usize,
    writes: Vec<String>,
    cpu: Duration,
    usage: Usage,
}

/// Starts of an operator whose fleet is as it should be.
pub(super) struct Restarts {
    took: Sample,
    /// The most memory that each ever had, in bytes.
    peaks: Vec<u64>,
    writes: Vec<String>,
}

/// An operator at work.
struct Bench<'a> {
    lab: &'a Lab,
    program: &'a Program,
    names: &'a [String],
    subject: Subject,
    requests: Requests,
}

impl<'a> Bench<'a> {
    async fn start(lab: &'a Lab, program: &'a Program, names: &'a [String]) -> Result<Self> {
        let requests = lab.requests()?;
        let mut subject = Subject::start(program)?;
        subject.until_steady(0).await?;
        Ok(Self { lab, program, names, subject, requests })
    }

    /// Posts the tenants and waits until all are Ready and the operator has nothing left to do.
    async fn converge(&mut self) -> Result<Converged> {
        let begun = Instant::now();
        tokio::try_join!(self.lab.post(self.names), self.lab.until_ready(self.names.len()))?;
        let took = begun.elapsed();
        self.subject.until_steady(self.names.len()).await?;
        let count = self.requests.count()?;
        Ok(Converged { took, usage: self.subject.usage()?, requests: count.all, writes: count.writes.len() })
    }

    async fn idle(&mut self, time: Duration) -> Result<Idle> {
        // What the nodes' last words led to is over, and counted elsewhere.
        self.subject.until_steady(self.names.len()).await?;
        self.requests.count()?;
        let before = self.subject.usage()?;
        tokio::time::sleep(time).await;
        let (usage, count) = (self.subject.usage()?, self.requests.count()?);
        let cpu = usage.cpu.saturating_sub(before.cpu);
        Ok(Idle { requests: count.all, writes: count.writes, cpu, usage })
    }

    /// Stops the operator and starts it again, so many times. What was written since the last count is needless, too.
    async fn restart(&mut self, times: usize) -> Result<Restarts> {
        let (mut took, mut peaks) = (Vec::new(), Vec::new());
        for _ in 0..times {
            self.subject.restart(self.program).await?;
            self.subject.until_steady(self.names.len()).await?;
            took.push(self.subject.started().elapsed());
            peaks.push(self.subject.usage()?.peak);
        }
        let writes = self.requests.count()?.writes;
        Ok(Restarts { took: Sample::new(took).context("it was not started again")?, peaks, writes })
    }

    async fn neighbours(&self, extent: Extent) -> Result<Neighbours> {
        neighbours::measure(self.lab, &self.subject, self.names, extent).await
    }
}
