//! `cargo e2e bench backup`: backup and export of a large database, and beside the backup `pg_dump | zstd | age` in the same run.
//!
//! The CRM's release build is a process of its own, with the `pg_dump` that it starts; memory is that of both, as the kernel keeps
//! its highest mark. A stand-in takes the backup as the door does, and keeps nothing. The pipe beside it does the same work with
//! stock programs, and its result is only counted.

mod database;
mod door;
mod report;
mod subject;

use std::path::{Path, PathBuf};

use age::x25519::Identity;
use anyhow::{Context as _, Result};

pub use self::report::Report;
use self::{door::StandIn, report::Round, subject::Job};
use crate::{
    host::progress,
    images::{self, TestPostgres},
    toolchain,
};

/// The command line of `e2e bench backup`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// How large the tables are, in megabytes.
    #[arg(long, value_name = "MEGABYTES", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    size: u32,
    /// How often both are measured, in turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// The program to measure; without it, the CRM of this checkout is built as for its image.
    #[arg(long, value_name = "PROGRAM")]
    crm_app: Option<PathBuf>,
}

/// Measures and says how it went.
pub async fn run(args: &Args) -> Result<Report> {
    let program = match &args.crm_app {
        Some(program) => program.clone(),
        None => images::crm_binary().await?,
    };
    toolchain::debian_packages(&["age", "zstd"]).await?;
    let postgres = images::test_postgres().await?;
    let filling = database::fill(&postgres, &program, args.size);
    let bytes = progress::step(&format!("filling a database with {} MB", args.size), filling).await?;
    let mut rounds = Vec::new();
    for number in 1..=args.rounds {
        let round =
            progress::step(&format!("round {number} of {}", args.rounds), round(&postgres, &program)).await?;
        rounds.push(round);
    }
    Ok(Report { bytes, rounds })
}

async fn round(postgres: &TestPostgres, program: &Path) -> Result<Round> {
    let recipient = Identity::generate().to_public().to_string();
    let job = Job::new(postgres, &recipient).await?;
    let (floor, floor_size) = job.pipe().await.context("the pipe failed")?;
    let door = StandIn::start().await?;
    let ours = job.backup(program, door.port()).await.context("the backup failed")?;
    let export = job.export(program).await.context("the export failed")?;
    Ok(Round { floor, floor_size, ours, ours_size: door.data_size(), export })
}
