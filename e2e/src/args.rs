//! The command line of `e2e`.

use clap::{Args, Parser, Subcommand};

use e2e::{
    bench,
    cluster::{Choice, port_forward::HoldArgs},
    demo, faults, images,
    network_policy::AgentArgs,
    verify,
};

/// Runs Tenantry on a cluster of this machine and proves it.
#[derive(Debug, Parser)]
#[command(name = "e2e", version, disable_help_subcommand = true, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a cluster, or what is missing of it
    ///
    /// Repeat it as often as you like: what runs stays, what died is started again. The first time on a machine builds
    /// Kubernetes from source, about 12 minutes on two cores.
    Up(Choice),
    /// Stop a cluster and remove everything that `up` made
    Down(Choice),
    /// Show the parts of a cluster and how they are
    Status(Choice),
    /// Run kubectl on a cluster: `cargo e2e kubectl get pods -A`
    ///
    /// Options of the cluster come before kubectl's arguments: `cargo e2e kubectl --name verify get nodes`.
    Kubectl(Kubectl),
    /// Show the log of a part of a native cluster: `cargo e2e logs kubelet --follow`
    Logs(Logs),
    /// Reach a Service from this machine: `cargo e2e forward tenantry-gateway/gateway 80`
    ///
    /// Prints the address, which works until `down`; asking again gives the same one.
    Forward(Forward),
    /// From nothing to a running fleet: cluster, images, chart, three customers
    Demo(demo::Args),
    /// Check everything that CI checks
    Verify(verify::Args),
    /// Measure, beside floors of the same run
    Bench(bench::Args),
    /// Break things between an operator and an API server, and see whether tenants end as if nothing had happened
    Faults(faults::Args),
    /// Run a command with DATABASE_URL leading to a fresh PostgreSQL 17: `cargo e2e postgres -- cargo test -p crm-app`
    Postgres(images::PostgresArgs),
    /// Write `crm-app/.sqlx` anew, after a change of the CRM's SQL
    Queries,
    /// Enforce NetworkPolicies on the node of a native cluster
    #[command(hide = true)]
    NetworkPolicyAgent(AgentArgs),
    /// Be the operator that `faults` kills
    #[command(hide = true)]
    Operator(Box<faults::OperatorArgs>),
    /// Be the gateway that a test measures
    #[command(hide = true)]
    Gateway(Box<operator::gateway::Args>),
    /// Be the door to the backup stores that a test kills and measures
    #[command(hide = true)]
    Store(Box<operator::store::Args>),
    /// Hold a loopback port that leads into a cluster
    #[command(hide = true)]
    PortForward(HoldArgs),
    /// Keep the parts of a native cluster running
    #[command(hide = true)]
    Supervise {
        /// Name of the cluster.
        #[arg(long)]
        name: String,
    },
}

/// `e2e kubectl`.
#[derive(Debug, Args)]
pub(crate) struct Kubectl {
    /// The cluster.
    #[command(flatten)]
    pub(crate) cluster: Choice,
    /// What kubectl is to do
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<String>,
}

/// `e2e forward`.
#[derive(Debug, Args)]
pub(crate) struct Forward {
    /// The cluster.
    #[command(flatten)]
    pub(crate) cluster: Choice,
    /// The Service, as NAMESPACE/NAME
    #[arg(value_parser = service)]
    pub(crate) service: (String, String),
    /// Port of the Service
    pub(crate) port: u16,
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub(crate) local_port: u16,
}

fn service(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok((namespace.into(), name.into()))
        }
        _ => Err("write NAMESPACE/NAME".to_owned()),
    }
}

/// `e2e logs`.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Name of the part, as `status` shows it, or `supervisor` or `audit`; without it, the names
    pub(crate) part: Option<String>,
    /// Name of the cluster
    #[arg(long, default_value = "demo", env = "TENANTRY_CLUSTER")]
    pub(crate) name: String,
    /// Go on as the log grows
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// How many lines to start with
    #[arg(long, default_value_t = 100)]
    pub(crate) lines: usize,
}
