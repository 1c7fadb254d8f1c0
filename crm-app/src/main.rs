//! Parses, starts logging, dispatches.

use std::process::ExitCode;

use clap::Parser as _;
use crm_app::{
    args::{Cli, Command},
    command, telemetry,
};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            // The subscriber may be what failed.
            eprintln!("crm-app: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    telemetry::init(&cli.log)?;
    #[cfg(feature = "test-releases")]
    crm_app::test_release::begin(cli.test_release);
    // Not one thread per core of the node: a tenant's CRM has little to do, and each thread costs memory.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(4)
        .enable_all()
        .build()?;
    let succeeded = runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => command::serve::run(args).await.map(|()| true),
            Command::Migrate(args) => Ok(command::migrate::run(args).await.is_ok()),
            Command::Doctor(args) => command::doctor::run(args).await,
            Command::Backup(args) => Ok(command::backup::run(args).await.is_ok()),
            Command::Drill(args) => Ok(command::drill::run(args).await.is_ok()),
            Command::Restore(args) => Ok(command::restore::run(args).await.is_ok()),
            Command::Export(args) => Ok(command::export::run(args).await.is_ok()),
            Command::DropDatabase(args) => Ok(command::drop_database::run(args).await.is_ok()),
        }
    })?;
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
