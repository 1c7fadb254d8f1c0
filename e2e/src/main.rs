//! `e2e`: clusters, the demo, verification and benchmarks from the command line.

mod args;

use std::{
    io::{ErrorKind, Write},
    os::unix::process::CommandExt,
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use e2e::{
    bench,
    cluster::{self, Cluster, kubeconfig, native, port_forward},
    demo, faults, images, network_policy, queries,
    toolchain::{self, Tool},
    verify,
};
use tokio::runtime::Builder;
use tracing_subscriber::EnvFilter;

use crate::args::{Arguments, Command, Kubectl, Logs};

/// What is logged unless `RUST_LOG` says otherwise; the client library calls each look at a server that starts an error.
const LOG: &str = "info,kube_client::client::builder=off";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    kubeconfig::install_crypto();
    let mut runtime = match arguments.command {
        // On one thread, as `operator store` runs: its memory is measured.
        Command::Store(_) => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = runtime.enable_all().build().context("failed to start a runtime");
    match runtime.and_then(|runtime| runtime.block_on(run(arguments.command))) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(choice) => {
            let cluster = cluster::choose(&choice).await?;
            cluster.up().await?;
            println!("cluster {} is up; kubeconfig: {}", choice.name, cluster.kubeconfig().display());
        }
        Command::Down(choice) => cluster::choose(&choice).await?.down().await?,
        Command::Status(choice) => {
            let parts = cluster::choose(&choice).await?.status().await?;
            let width = parts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
            print(parts.iter().map(|(name, state)| format!("{name:width$}  {state}")))?;
        }
        Command::Kubectl(arguments) => kubectl(arguments).await?,
        Command::Forward(arguments) => forward(arguments).await?,
        Command::Logs(arguments) => logs(&arguments)?,
        Command::Demo(arguments) => return demo::run(arguments).await,
        Command::Verify(arguments) => return verify::run(arguments).await,
        Command::Bench(arguments) => return bench::run(arguments).await,
        Command::Faults(arguments) => return faults::run(arguments).await,
        Command::Operator(arguments) => faults::operator(*arguments).await?,
        Command::Gateway(arguments) => operator::gateway::run(*arguments).await?,
        Command::Store(arguments) => operator::store::run(*arguments).await?,
        Command::Postgres(arguments) => return images::run_postgres(arguments).await,
        Command::Queries => queries::write().await?,
        Command::NetworkPolicyAgent(arguments) => Box::pin(network_policy::run(arguments)).await?,
        Command::PortForward(arguments) => port_forward::hold(arguments).await?,
        Command::Supervise { name } => native::supervisor::run(&name).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Becomes kubectl: its input, output, signals and exit code need no passing on.
async fn kubectl(arguments: Kubectl) -> Result<()> {
    let cluster = cluster::choose(&arguments.cluster).await?;
    let error = std::process::Command::new(toolchain::binary(Tool::Kubectl).await?)
        .env("KUBECONFIG", cluster.kubeconfig())
        .args(arguments.arguments)
        .exec();
    Err(error).context("cannot start kubectl")
}

/// Prints lines. A reader that has seen enough, such as `head`, is no error.
fn print(lines: impl IntoIterator<Item = String>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        match writeln!(out, "{line}") {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            result => result?,
        }
    }
    Ok(())
}

async fn forward(arguments: args::Forward) -> Result<()> {
    let (namespace, service) = arguments.service;
    let forward =
        cluster::Forward { namespace, service, port: arguments.port, local_port: arguments.local_port };
    println!("{}", cluster::choose(&arguments.cluster).await?.forward(&forward).await?);
    Ok(())
}

/// Becomes `tail`.
fn logs(arguments: &Logs) -> Result<()> {
    let cluster = native::Native::new(&arguments.name)?;
    let layout = cluster.layout();
    let Some(part) = &arguments.part else {
        return print(layout.logs());
    };
    let log = layout.log(part);
    if !log.exists() {
        bail!("no part `{part}` has a log; there are: {}", layout.logs().join(", "));
    }
    let mut tail = std::process::Command::new("tail");
    tail.arg(format!("--lines={}", arguments.lines));
    if arguments.follow {
        tail.arg("--follow=name");
    }
    Err(tail.arg(log).exec()).context("cannot start tail")
}
