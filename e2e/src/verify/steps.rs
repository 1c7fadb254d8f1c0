//! The steps of `cargo verify`, in order: cheap ones that fail often come first.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use super::{command, tally::Tally};
use crate::{
    bench,
    cluster::{self, Choice, Cluster as _},
    demo, fleet, images,
    rights::{GATEWAY, OPERATOR, refused_for_good},
    toolchain,
};

/// Name of the cluster that verification runs on, so that a demo that is up is left alone.
const CLUSTER: &str = "verify";
/// Features of this crate that switch on the tests which need a cluster.
const CLUSTER_FEATURES: &str = "e2e/control-plane,e2e/fleet,e2e/cluster";
/// The CRM's feature that is off in products.
const TEST_RELEASES: &str = "crm-app/test-releases";
const COMPILE: Duration = Duration::from_mins(30);
const TEST: Duration = Duration::from_mins(20);

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Step {
    Format,
    FrontEnd,
    Lint,
    Licences,
    Tests,
    ControlPlane,
    Faults,
    Images,
    Install,
    Fleet,
    Browser,
    Onboarding,
    Rights,
    Cluster,
}

impl Step {
    pub(super) const ALL: [Self; 14] = [
        Self::Format,
        Self::FrontEnd,
        Self::Lint,
        Self::Licences,
        Self::Tests,
        Self::ControlPlane,
        Self::Faults,
        Self::Images,
        Self::Install,
        Self::Fleet,
        Self::Browser,
        Self::Onboarding,
        Self::Rights,
        Self::Cluster,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::FrontEnd => "front-end",
            Self::Lint => "lint",
            Self::Licences => "licences",
            Self::Tests => "tests",
            Self::ControlPlane => "control-plane",
            Self::Faults => "faults",
            Self::Images => "images",
            Self::Install => "install",
            Self::Fleet => "fleet",
            Self::Browser => "browser",
            Self::Onboarding => "onboarding",
            Self::Rights => "rights",
            Self::Cluster => "cluster",
        }
    }

    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Format => "the code is formatted",
            Self::FrontEnd => "types, tests and production build of the front end",
            Self::Lint => "clippy finds nothing",
            Self::Licences => "licences, sources and banned crates of all dependencies",
            Self::Tests => "unit, property, mock and database tests; generated files are fresh",
            Self::ControlPlane => {
                "kinds, operator, door, chart and policies on a real API server without nodes"
            }
            Self::Faults => "the operator killed at its writes; operators broken on purpose are caught",
            Self::Images => "the images build and keep to their sizes",
            Self::Install => "a cluster, the chart and three tenants, as in the demo",
            Self::Fleet => "isolation, states, failures, accidents and outages on the real cluster",
            Self::Browser => "a person in Chromium: one-time link, company, search, offline",
            Self::Onboarding => "ten tenants one by one, beside their floors",
            Self::Rights => "in all of this, the API server has refused nothing to operator and gateway",
            Self::Cluster => "the cluster survives kill -9 of each part and leaves nothing behind",
        }
    }

    /// A control plane without nodes counts as a cluster: with it, `--fast` would not be fast.
    pub(super) fn needs_cluster(self) -> bool {
        match self {
            Self::Format | Self::FrontEnd | Self::Lint | Self::Licences | Self::Tests => false,
            Self::ControlPlane
            | Self::Faults
            | Self::Images
            | Self::Install
            | Self::Fleet
            | Self::Browser
            | Self::Onboarding
            | Self::Rights
            | Self::Cluster => true,
        }
    }

    /// The steps without which this one cannot say anything.
    pub(super) fn builds_on(self) -> &'static [Self] {
        match self {
            Self::Images => &[Self::FrontEnd],
            Self::Install => &[Self::Images],
            Self::Fleet | Self::Browser | Self::Onboarding | Self::Rights => &[Self::Install],
            _ => &[],
        }
    }

    /// Whether it builds on the other step, also by way of a third.
    pub(super) fn needs(self, other: Self) -> bool {
        self.builds_on().iter().any(|step| *step == other || step.needs(other))
    }

    pub(super) async fn run(self) -> Result<Tally> {
        match self {
            Self::Format => cargo(&["fmt", "--all", "--check"], TEST).await,
            Self::FrontEnd => front_end().await,
            Self::Lint => lint().await,
            Self::Licences => licences().await,
            Self::Tests => tests().await,
            // Each test has an API server of its own, so two may run at once.
            Self::ControlPlane => {
                cluster_tests(&["api", "operator", "chart", "policies", "control_plane", "store"], 2).await
            }
            Self::Faults => cluster_tests(&["faults"], 1).await,
            Self::Images => images::build().await.map(|_| Tally::PASSED),
            Self::Install => demo::install(CLUSTER).await.map(|_| Tally::PASSED),
            // Mostly waiting; tests that cannot be side by side take turns by themselves.
            Self::Fleet => cluster_tests(&["fleet"], 4).await,
            Self::Browser => browser().await,
            Self::Onboarding => onboarding().await,
            Self::Rights => rights().await,
            Self::Cluster => cluster_tests(&["cluster"], 1).await,
        }
    }

    /// Stops the cluster of verification, if one is up.
    pub(super) async fn clean_up() {
        let down = async { cluster::choose(&Choice::named(CLUSTER)).await?.down().await };
        if let Err(error) = down.await {
            println!("  error: the cluster {CLUSTER} was not stopped: {error:#}");
        }
    }
}

fn workspace() -> &'static Path {
    toolchain::workspace()
}

async fn cargo(words: &[&str], deadline: Duration) -> Result<Tally> {
    let mut command = Command::new("cargo");
    command.args(words).current_dir(workspace());
    command::run(command, deadline).await
}

async fn front_end() -> Result<Tally> {
    images::front_end().await.context("the front end does not build")?;
    let mut command = Command::new("npm");
    command.args(["run", "--silent", "check"]).current_dir(workspace().join("crm-app/web"));
    command::run(command, TEST).await
}

/// Twice, because the product is not what it is with the releases that only tests run.
async fn lint() -> Result<Tally> {
    let mut tally = Tally::default();
    for features in [CLUSTER_FEATURES.to_owned(), format!("{CLUSTER_FEATURES},{TEST_RELEASES}")] {
        let words = ["clippy", "--locked", "--workspace", "--all-targets", "--features", &features];
        tally += cargo(&[&words[..], &["--", "--deny", "warnings"]].concat(), COMPILE).await?;
    }
    Ok(tally)
}

async fn licences() -> Result<Tally> {
    let deny = toolchain::cargo_deny().await?;
    let mut command = Command::new(deny);
    command.args(["--all-features", "check", "bans", "licenses", "sources"]).current_dir(workspace());
    command::run(command, TEST).await
}

/// All tests that need no cluster. Those of the CRM get a PostgreSQL of the version that tenants run.
async fn tests() -> Result<Tally> {
    let postgres = images::test_postgres().await?;
    let environment = postgres.environment().await?;
    let mut tally = Tally::default();
    // What a product does is tried on products, and apart from it the releases that only tests run.
    for words in [&[][..], &["--features", TEST_RELEASES, "--test", "it", "--", "releases::"]] {
        let mut command = Command::new("cargo");
        command.args(["test", "--locked", "--workspace", "--no-fail-fast"]).args(words);
        command.envs(environment.clone()).env("SQLX_OFFLINE", "true").current_dir(workspace());
        tally += command::run(command, COMPILE).await?;
    }
    Ok(tally)
}

/// Test targets of this crate that bring up, or talk to, a real API server, so many tests of one target at a time.
async fn cluster_tests(targets: &[&str], at_once: u8) -> Result<Tally> {
    let mut command = Command::new("cargo");
    command.args(["test", "--locked", "--workspace", "--no-fail-fast", "--features", CLUSTER_FEATURES]);
    for target in targets {
        command.args(["--test", target]);
    }
    command.arg("--").arg(format!("--test-threads={at_once}"));
    command.env(fleet::CLUSTER_VARIABLE, CLUSTER).env("RUST_BACKTRACE", "0").current_dir(workspace());
    command::run(command, COMPILE).await
}

/// The front end's own end-to-end tests, against a tenant of the real cluster.
async fn browser() -> Result<Tally> {
    let fleet = fleet::Installed::load(CLUSTER)?;
    let link = fleet.new_sign_in_link("hangzhou").await?;
    toolchain::debian_packages(&["chromium", "fonts-noto-cjk"]).await?;
    let mut command = Command::new("npm");
    command.args(["run", "--silent", "e2e", "--", "--base-url", &fleet.address("hangzhou"), "--link", &link]);
    command.arg("--screenshots").arg(toolchain::cache::root()?.join("screenshots"));
    command.current_dir(workspace().join("crm-app/web"));
    command::run(command, TEST).await
}

async fn onboarding() -> Result<Tally> {
    let fleet = fleet::Installed::load(CLUSTER)?;
    let report = bench::onboarding::run(&fleet, 10).await?;
    println!("{report}");
    report.check()?;
    Ok(Tally::PASSED)
}

/// What the audit log of the real cluster says, over everything that was done there.
async fn rights() -> Result<Tally> {
    let cluster = cluster::choose(&Choice::named(CLUSTER)).await?;
    let Some(native) = cluster.native() else {
        println!("  skipped: only the native cluster has its audit log on this machine");
        return Ok(Tally::SKIPPED);
    };
    let events = native.audit_events(&[OPERATOR, GATEWAY])?;
    let refused = refused_for_good(&events);
    println!("  {} requests, of which {} kinds were refused: {refused:?}", events.len(), refused.len());
    ensure!(!events.is_empty() && refused.is_empty(), "operator or gateway lack rights, or ask for too much");
    Ok(Tally::PASSED)
}
