//! Parses arguments, installs the TLS provider and logging, and runs what was asked for.

use std::{fs, io::Write};

use anyhow::{Context, anyhow};
use clap::Parser;
use kube::Config;
use operator::{
    api,
    args::{Cli, Command, CrdsArgs, RunArgs},
    cluster, definition_yaml, gateway,
    process::telemetry,
    store,
};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let mut runtime = match cli.command {
        // The operator waits for the API server most of the time. On one thread it needs a third less memory, since what one
        // thread frees is not kept for another, and the same on a large node as on a small one.
        // So does the door, which streams and waits.
        Command::Run(_) | Command::Crds(_) | Command::Store(_) | Command::Inventory(_) => {
            tokio::runtime::Builder::new_current_thread()
        }
        // The gateway works for every visitor.
        Command::Gateway(_) => tokio::runtime::Builder::new_multi_thread(),
    };
    runtime.enable_all().build().context("failed to start a runtime")?.block_on(start(cli))
}

async fn start(cli: Cli) -> anyhow::Result<()> {
    telemetry::start(&cli.log);
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow!("a TLS provider was installed before ours"))?;
    match cli.command {
        Command::Run(args) => run(args).await,
        Command::Crds(args) => crds(&args),
        Command::Gateway(args) => gateway::run(args).await.context("the gateway stopped"),
        Command::Store(args) => store::run(args).await.context("the door stopped"),
        Command::Inventory(args) => store::list(args).await.context("the stores were not listed"),
    }
}

async fn run(args: RunArgs) -> anyhow::Result<()> {
    let config = Config::infer().await.context("failed to find a cluster")?;
    let client = cluster::client(config).context("failed to make a client for the cluster")?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: finishing what is under way"),
            _ = interrupt.recv() => tracing::info!("SIGINT: finishing what is under way"),
        }
    };
    operator::run(client, args, shutdown).await.context("the operator stopped")
}

fn crds(args: &CrdsArgs) -> anyhow::Result<()> {
    for (file, definition) in api::definitions()? {
        let yaml = definition_yaml(&definition)?;
        match &args.out {
            Some(directory) => {
                fs::create_dir_all(directory)?;
                let path = directory.join(file);
                fs::write(&path, yaml).with_context(|| format!("failed to write {}", path.display()))?;
            }
            None => writeln!(std::io::stdout().lock(), "---\n{yaml}")?,
        }
    }
    Ok(())
}
