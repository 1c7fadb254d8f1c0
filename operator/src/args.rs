//! Every flag and environment variable of the process, read once.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;

use crate::{gateway, store};

mod routing;

pub use routing::{ParentGateway, Routing, RoutingArgs};

/// The Tenantry operator: one CRM per Tenant object.
#[derive(Debug, Parser)]
#[command(name = "operator", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What is logged, in the form of RUST_LOG.
    #[arg(long, env = "RUST_LOG", default_value = "info", global = true)]
    pub log: String,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Keep the cluster as the Tenant objects say.
    Run(RunArgs),
    /// Write the definitions of our kinds, to standard output or into a directory.
    Crds(CrdsArgs),
    /// Serve the tenants' web addresses.
    Gateway(gateway::Args),
    /// Be the door to the backup stores.
    Store(store::Args),
    /// List which tenants have backups in the stores; run it where the door runs.
    Inventory(store::InventoryArgs),
}

/// Where the definitions go.
#[derive(Debug, Args)]
pub struct CrdsArgs {
    /// Directory for one file per kind; without it, all go to standard output.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// How the operator runs.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Namespace of the operator itself.
    #[arg(long, env = "TENANTRY_NAMESPACE", default_value = "tenantry-system")]
    pub namespace: String,
    /// Namespace of the gateway, which holds the route table and the TLS Secrets.
    #[arg(long, env = "TENANTRY_GATEWAY_NAMESPACE", default_value = "tenantry-gateway")]
    pub gateway_namespace: String,
    /// Namespace of the keys that read the backups of deleted tenants.
    #[arg(long, env = "TENANTRY_KEYS_NAMESPACE", default_value = "tenantry-keys")]
    pub keys_namespace: String,
    /// Domain under which every tenant has an address.
    #[arg(long, env = "TENANTRY_BASE_DOMAIN", default_value = "crm.localhost")]
    pub base_domain: String,
    /// Scheme of the tenants' addresses.
    #[arg(long, env = "TENANTRY_PUBLIC_SCHEME", value_enum, default_value_t = Scheme::Https)]
    pub public_scheme: Scheme,
    /// Port of the tenants' addresses, when it is not the scheme's own.
    #[arg(long, env = "TENANTRY_PUBLIC_PORT")]
    pub public_port: Option<u16>,
    /// Image of PostgreSQL, by digest.
    #[arg(long, env = "TENANTRY_POSTGRES_IMAGE")]
    pub postgres_image: String,
    /// How requests reach the tenants.
    #[command(flatten)]
    pub routing: RoutingArgs,
    /// Address for /livez, /readyz and /metrics.
    #[arg(long, env = "TENANTRY_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Namespace whose pods may scrape the tenants' metrics.
    #[arg(long, env = "TENANTRY_MONITORING_NAMESPACE")]
    pub monitoring_namespace: Option<String>,
    /// Address range that no tenant may reach even with public egress: pods, services, nodes. Repeatable.
    #[arg(long = "private-cidr", env = "TENANTRY_PRIVATE_CIDR", value_delimiter = ',')]
    pub private_cidrs: Vec<IpNet>,
    /// Pull secret in the operator's namespace that is copied to every tenant. Repeatable.
    #[arg(long = "image-pull-secret", env = "TENANTRY_IMAGE_PULL_SECRET", value_delimiter = ',')]
    pub image_pull_secrets: Vec<String>,
    /// Work only while holding a lease, so that several replicas can stand by.
    #[arg(long, env = "TENANTRY_LEADER_ELECTION")]
    pub leader_election: bool,
    /// Name of this process in the lease, unlike that of any other; a process that is started again under it goes on at
    /// once. Without it, a random one.
    #[arg(long, env = "TENANTRY_IDENTITY")]
    pub identity: Option<String>,
    /// How many tenants are worked on at the same time.
    #[arg(long, env = "TENANTRY_CONCURRENCY", default_value_t = 16)]
    pub concurrency: u16,
}

impl RunArgs {
    /// Scheme and port around a host.
    pub fn url(&self, host: &str) -> String {
        let scheme = match self.public_scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        match (self.public_scheme, self.public_port) {
            (_, None) | (Scheme::Http, Some(80)) | (Scheme::Https, Some(443)) => format!("{scheme}://{host}"),
            (_, Some(port)) => format!("{scheme}://{host}:{port}"),
        }
    }

    /// Namespace of the pods that carry requests to the tenants.
    pub fn entrance_namespace(&self) -> &str {
        match self.routing.kind {
            Routing::Builtin => &self.gateway_namespace,
            Routing::Ingress | Routing::HttpRoute => {
                self.routing.controller_namespace.as_deref().unwrap_or(&self.gateway_namespace)
            }
        }
    }
}

/// Scheme of a web address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scheme {
    /// Without encryption, for demonstrations on one machine.
    Http,
    /// With TLS.
    Https,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_port_is_named_only_when_it_must_be() {
        let run = |extra: &[&str]| {
            let base = ["operator", "run", "--postgres-image", "p@sha256:1", "--routing", "Builtin"];
            match Cli::try_parse_from(base.iter().chain(extra)).unwrap().command {
                Command::Run(run) => run,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(run(&["--public-scheme", "http", "--public-port", "8080"]).url("a.b"), "http://a.b:8080");
        assert_eq!(run(&["--public-scheme", "http", "--public-port", "80"]).url("a.b"), "http://a.b");
        assert_eq!(run(&[]).url("a.b"), "https://a.b");
    }
}
