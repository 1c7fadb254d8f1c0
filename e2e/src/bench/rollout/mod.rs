//! A release that goes through a fleet in the waves of a channel: how long it takes, beside a bare loop that writes the same, and
//! how large the statuses become.
//!
//! The new release differs from the old one in its image only, so nothing takes long that is not the operator's or the API
//! server's doing. As in the benchmark of the operator, the operator is a process of its own with the rights of its service
//! account under the chart's roles and policies, and a stand-in plays the part of nodes.

mod floor;
mod report;
mod script;

use std::{
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use futures::StreamExt as _;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use operator::api::{Channel, Plan, Tenant};
use serde_json::json;
use tokio::time::timeout;

pub use self::report::Report;
use self::script::Script;
use super::operator::{
    lab::{self, Lab},
    subject::{Subject, Usage},
};
use crate::{bench::versions, host::progress, images};

/// Until a release has gone through all waves, on a busy machine.
const DEADLINE: Duration = Duration::from_mins(15);
const CHANNEL: &str = "stable";
/// The release that the channel brings, and the one that the bare loop brings.
const NEXT: &str = "r2";
const LAST: &str = "r3";

/// The command line of `e2e bench rollout`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// How many tenants.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(2..=9999))]
    tenants: u16,
    /// How many of them are upgraded at the same time.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=500))]
    parallel: u16,
    /// The tenants' plan has backups.
    #[arg(long)]
    backups: bool,
    /// The program to measure; without it, the operator of this checkout is built as for its image.
    #[arg(long, value_name = "PROGRAM")]
    operator: Option<PathBuf>,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// How many tenants there are.
    pub tenants: usize,
    /// How many of them are upgraded at the same time.
    pub parallel: usize,
    /// Whether their plan has backups.
    pub backups: bool,
}

/// Measures a rollout and prints all figures. Like the benchmark of the operator, in release builds of both programs.
pub(super) async fn run(args: &Args) -> Result<ExitCode> {
    let Some(operator) = &args.operator else {
        let built = images::release_binaries(&["operator", "e2e"]).await?;
        let mut command = Command::new(built.join("e2e"));
        command.args(["bench", "rollout", "--operator"]).arg(built.join("operator"));
        command.args([format!("--tenants={}", args.tenants), format!("--parallel={}", args.parallel)]);
        command.args(args.backups.then_some("--backups"));
        return Err(command.exec()).context("cannot start the release build of this program");
    };
    let scale = Scale { tenants: args.tenants.into(), parallel: args.parallel.into(), backups: args.backups };
    let report = Box::pin(measure(operator, "run", scale)).await?;
    println!("{report}");
    Ok(if report.missed().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures a rollout by an operator: a program, and the subcommand by which it becomes one.
pub async fn measure(executable: &Path, subcommand: &str, scale: Scale) -> Result<Report> {
    let lab = progress::step("starting a control plane", Box::pin(prepared(scale))).await?;
    let program = lab.program(executable, subcommand)?;
    let mut subject = Subject::start(&program)?;
    progress::step("the operator makes the fleet", populate(&lab, &mut subject, scale)).await?;
    let (before, mut log) = (subject.usage()?, lab.log()?);
    let mut sizes = Sizes::default();
    let rollout = roll_out(&lab.client, &mut sizes);
    let took = progress::step("a release goes through the fleet", rollout).await?;
    subject.until_steady(scale.tenants).await?;
    let usage = subject.usage()?;
    let script = Script::read(&mut log)?;
    // From here on nobody but the bare loop changes anything.
    drop(subject);
    let floor = Box::pin(floor::run(&lab, &script, scale));
    let floor = progress::step("a bare loop that writes the same", floor).await?;
    lab.stop().await?;
    let cpu = usage.cpu.saturating_sub(before.cpu);
    Ok(Report {
        scale,
        took,
        floor,
        writes: script.writes(),
        requests: script.requests,
        sizes,
        usage: Usage { cpu, ..usage },
    })
}

/// A cluster with three releases and a channel.
async fn prepared(scale: Scale) -> Result<Lab> {
    let plan = lab::plan()?;
    let plan = if scale.backups { plan } else { without_backups(plan) };
    let lab = Lab::with_plan(&plan).await?;
    for (name, digit) in [(NEXT, '8'), (LAST, '6')] {
        let release = lab::release_named(name, digit)?;
        Api::all(lab.client.clone()).create(&PostParams::default(), &release).await?;
    }
    let waves = json!([{"name": "canary", "percent": 5}, {"name": "early", "percent": 25}]);
    let channel: Channel = serde_json::from_value(json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "Channel", "metadata": {"name": CHANNEL},
        "spec": {"release": lab::RELEASE, "rollout": {
            "waves": waves, "maxParallel": scale.parallel, "bake": "0s",
        }},
    }))?;
    Api::all(lab.client.clone()).create(&PostParams::default(), &channel).await?;
    Ok(lab)
}

fn without_backups(mut plan: Plan) -> Plan {
    plan.spec.backup = None;
    plan
}

/// Makes the fleet, and waits until nothing is left to be done.
async fn populate(lab: &Lab, subject: &mut Subject, scale: Scale) -> Result<()> {
    let tenants = lab::names_of(scale.tenants).into_iter().map(|name| {
        let mut tenant = lab::tenant(&name)?;
        tenant.spec.channel = Some(CHANNEL.to_owned());
        tenant.spec.release = None;
        Ok(tenant)
    });
    let tenants = tenants.collect::<Result<_>>()?;
    tokio::try_join!(lab.post_all(tenants), lab.until_ready(scale.tenants))?;
    until_settled(&lab.client, lab::RELEASE, scale.tenants).await?;
    subject.until_steady(scale.tenants).await
}

/// Changes the channel's one line, and waits until it says that all have followed.
async fn roll_out(client: &Client, sizes: &mut Sizes) -> Result<Duration> {
    let channels: Api<Channel> = Api::all(client.clone());
    let patch = Patch::Merge(json!({"spec": {"release": NEXT}}));
    let tenants = channels.get(CHANNEL).await?.status.and_then(|status| status.tenants);
    let tenants = usize::try_from(tenants.unwrap_or_default().total)?;
    let begun = Instant::now();
    tokio::select! {
        done = async {
            channels.patch(CHANNEL, &PatchParams::default(), &patch).await?;
            until_settled(client, NEXT, tenants).await
        } => done?,
        ended = sizes.follow(client) => ended?,
    }
    Ok(begun.elapsed())
}

/// Waits until a channel says that so many tenants run its release.
async fn until_settled(client: &Client, release: &str, tenants: usize) -> Result<()> {
    let channels: Api<Channel> = Api::all(client.clone());
    let mut changes = versions::of(channels);
    let mut last = None;
    let settled = async {
        while let Some(channel) = changes.next().await {
            let status = channel.status.unwrap_or_default();
            let counts = status.tenants.unwrap_or_default();
            let all = usize::try_from(counts.up_to_date) == Ok(tenants) && counts.total == counts.up_to_date;
            if all && status.settled_release.as_deref() == Some(release) {
                return Ok(());
            }
            last = Some(counts);
        }
        bail!("the watch of channels ended")
    };
    let in_time = timeout(DEADLINE, settled).await;
    in_time.with_context(|| format!("release {release} did not reach all tenants in time: {last:?}"))?
}

/// The largest statuses of a rollout, in bytes of JSON.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sizes {
    pub(super) channel: usize,
    pub(super) tenant: usize,
}

impl Sizes {
    /// Looks at each version of each status; ends only by failing.
    async fn follow(&mut self, client: &Client) -> Result<()> {
        let (channels, tenants) = (Api::<Channel>::all(client.clone()), Api::<Tenant>::all(client.clone()));
        let (mut channels, mut tenants) = (versions::of(channels), versions::of(tenants));
        loop {
            tokio::select! {
                Some(channel) = channels.next() => {
                    self.channel = self.channel.max(serde_json::to_vec(&channel.status)?.len());
                }
                Some(tenant) = tenants.next() => {
                    self.tenant = self.tenant.max(serde_json::to_vec(&tenant.status)?.len());
                }
                else => bail!("the watches of statuses ended"),
            }
        }
    }
}
