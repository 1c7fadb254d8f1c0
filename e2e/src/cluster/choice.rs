//! Which cluster a command is about.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::{Cluster, Forward, ImageArchive, native::Native};
use crate::toolchain::cache;

/// Which cluster a command is about.
#[derive(Clone, Debug, Args)]
pub struct Choice {
    /// Name of the cluster; several run side by side
    #[arg(long, default_value = "demo", env = "TENANTRY_CLUSTER")]
    pub name: String,
    /// Kind of cluster [default: existing with --context, else kind if Docker answers, else native]
    #[arg(long, env = "TENANTRY_PROVIDER")]
    pub provider: Option<Provider>,
}

/// Kind of cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Provider {
    /// A one-node Kubernetes in a network namespace of this machine; needs root
    Native,
}

/// A cluster of any kind.
#[derive(Clone, Debug)]
pub enum AnyCluster {
    /// On this machine.
    Native(Native),
}

impl Choice {
    /// The cluster of this name, of the kind that fits the machine.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), provider: None }
    }
}

/// The cluster that is meant, whether it runs or not.
pub async fn choose(choice: &Choice) -> Result<AnyCluster> {
    Ok(AnyCluster::Native(Native::new(&choice.name)?))
}

/// Where a cluster of this name keeps its state until `down`.
pub fn state_directory(name: &str) -> Result<PathBuf> {
    Ok(cache::root()?.join("run").join(name))
}

impl Cluster for AnyCluster {
    async fn up(&self) -> Result<()> {
        match self {
            Self::Native(cluster) => cluster.up().await,
        }
    }

    async fn down(&self) -> Result<()> {
        match self {
            Self::Native(cluster) => cluster.down().await,
        }
    }

    async fn status(&self) -> Result<Vec<(String, String)>> {
        match self {
            Self::Native(cluster) => cluster.status().await,
        }
    }

    fn kubeconfig(&self) -> &Path {
        match self {
            Self::Native(cluster) => cluster.kubeconfig(),
        }
    }

    async fn load_images(&self, images: &[ImageArchive]) -> Result<()> {
        match self {
            Self::Native(cluster) => cluster.load_images(images).await,
        }
    }

    async fn forward(&self, forward: &Forward) -> Result<SocketAddr> {
        match self {
            Self::Native(cluster) => cluster.forward(forward).await,
        }
    }
}
