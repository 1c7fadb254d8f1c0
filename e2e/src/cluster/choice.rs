//! Which cluster a command is about.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::{
    Cluster, Forward, ImageArchive, existing::Existing, kind, kind::Kind, native::Native, programs::Programs,
};
use crate::{
    host::files,
    toolchain::{self, cache},
};

/// Which cluster a command is about.
#[derive(Clone, Debug, Args)]
pub struct Choice {
    /// Name of the cluster; several run side by side
    #[arg(long, default_value = "demo", env = "TENANTRY_CLUSTER")]
    pub name: String,
    /// Kind of cluster [default: existing with --context, else kind if Docker answers, else native]
    #[arg(long, env = "TENANTRY_PROVIDER")]
    pub provider: Option<Provider>,
    /// Context of your kubeconfig: use that cluster
    #[arg(long, env = "TENANTRY_CONTEXT")]
    pub context: Option<String>,
    /// Registry that images for that cluster are pushed to, for example registry.example/team
    #[arg(long, env = "TENANTRY_REGISTRY", requires = "context")]
    pub registry: Option<String>,
}

/// Kind of cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Provider {
    /// A one-node Kubernetes in a network namespace of this machine; needs root on Debian or Ubuntu
    Native,
    /// A cluster in Docker; needs `docker` and `kind`
    Kind,
    /// Any cluster that you have; needs --context
    Existing,
}

/// What was chosen when the cluster was started, so that later commands need not say it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chosen {
    provider: Provider,
    context: Option<String>,
    registry: Option<String>,
}

/// A cluster of any kind.
#[derive(Clone, Debug)]
pub struct AnyCluster {
    chosen: Chosen,
    record: PathBuf,
    cluster: Kinds,
}

#[derive(Clone, Debug)]
enum Kinds {
    Native(Native),
    Kind(Kind),
    Existing(Existing),
}

impl Choice {
    /// The cluster of this name, of the kind that fits the machine.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), provider: None, context: None, registry: None }
    }
}

/// The cluster that is meant, whether it runs or not.
pub async fn choose(choice: &Choice) -> Result<AnyCluster> {
    let record = state_directory(&choice.name)?.join("provider.json");
    let chosen = match explicit(choice)? {
        Some(chosen) => chosen,
        None => match recorded(&record)? {
            Some(chosen) => chosen,
            None => Chosen { provider: fitting().await?, context: None, registry: None },
        },
    };
    let cluster = match chosen.provider {
        Provider::Native => Kinds::Native(Native::new(&choice.name)?),
        Provider::Kind => Kinds::Kind(Kind::new(&choice.name)?),
        Provider::Existing => {
            let context = chosen.context.as_deref().context("--provider existing needs --context")?;
            Kinds::Existing(Existing::new(&choice.name, context, chosen.registry.as_deref())?)
        }
    };
    Ok(AnyCluster { chosen, record, cluster })
}

/// Where a cluster of this name keeps its state until `down`.
pub fn state_directory(name: &str) -> Result<PathBuf> {
    Ok(cache::root()?.join("run").join(name))
}

fn explicit(choice: &Choice) -> Result<Option<Chosen>> {
    let provider = match (choice.provider, &choice.context) {
        (None, None) => return Ok(None),
        (None | Some(Provider::Existing), Some(_)) => Provider::Existing,
        (Some(Provider::Existing), None) => bail!("--provider existing needs --context"),
        (Some(_), Some(_)) => bail!("--context is for --provider existing"),
        (Some(provider), None) => provider,
    };
    Ok(Some(Chosen { provider, context: choice.context.clone(), registry: choice.registry.clone() }))
}

fn recorded(record: &Path) -> Result<Option<Chosen>> {
    match fs::read(record) {
        Ok(content) => Ok(Some(
            serde_json::from_slice(&content).with_context(|| format!("{} is damaged", record.display()))?,
        )),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", record.display())),
    }
}

async fn fitting() -> Result<Provider> {
    if kind::is_available(&Programs::default()).await {
        return Ok(Provider::Kind);
    }
    if rustix::process::geteuid().is_root() && toolchain::has_apt() {
        return Ok(Provider::Native);
    }
    bail!(
        "there is no cluster to use here. Any of these will do:\n  \
         - a cluster of yours: --context NAME --registry HOST/PATH\n  \
         - Docker with kind (https://kind.sigs.k8s.io)\n  \
         - root on Debian or Ubuntu: run this again with sudo"
    )
}

/// Calls the same method of whichever cluster it is.
macro_rules! each {
    ($self:ident, $cluster:ident => $call:expr) => {
        match &$self.cluster {
            Kinds::Native($cluster) => $call,
            Kinds::Kind($cluster) => $call,
            Kinds::Existing($cluster) => $call,
        }
    };
}

impl AnyCluster {
    /// The cluster, if it is one on this machine, where more can be seen than its API.
    pub fn native(&self) -> Option<&Native> {
        match &self.cluster {
            Kinds::Native(native) => Some(native),
            Kinds::Kind(_) | Kinds::Existing(_) => None,
        }
    }
}

impl Cluster for AnyCluster {
    async fn up(&self) -> Result<()> {
        if let Some(running) = recorded(&self.record)?
            && running.provider != self.chosen.provider
        {
            bail!(
                "a cluster of this name runs already, as {:?}: use another --name, or `down` first",
                running.provider
            );
        }
        fs::create_dir_all(self.record.parent().context("a record has a folder")?)?;
        files::write_atomically(&self.record, &serde_json::to_vec_pretty(&self.chosen)?)?;
        let result = each!(self, cluster => cluster.up().await);
        // Nothing was made: a wrong context should not be remembered.
        if result.is_err() && matches!(self.cluster, Kinds::Existing(_)) {
            self.down().await?;
        }
        result
    }

    async fn down(&self) -> Result<()> {
        each!(self, cluster => cluster.down().await)
    }

    async fn status(&self) -> Result<Vec<(String, String)>> {
        each!(self, cluster => cluster.status().await)
    }

    fn kubeconfig(&self) -> &Path {
        each!(self, cluster => cluster.kubeconfig())
    }

    fn image_reference(&self, image: &ImageArchive) -> String {
        each!(self, cluster => cluster.image_reference(image))
    }

    async fn load_images(&self, images: &[ImageArchive]) -> Result<()> {
        each!(self, cluster => cluster.load_images(images).await)
    }

    async fn forward(&self, forward: &Forward) -> Result<SocketAddr> {
        each!(self, cluster => cluster.forward(forward).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(provider: Option<Provider>, context: Option<&str>) -> Choice {
        Choice { provider, context: context.map(str::to_owned), ..Choice::named("test") }
    }

    #[test]
    fn a_context_means_an_existing_cluster_and_nothing_else() {
        let provider = |choice: &Choice| explicit(choice).unwrap().map(|chosen| chosen.provider);
        assert_eq!(provider(&choice(None, None)), None);
        assert_eq!(provider(&choice(None, Some("prod"))), Some(Provider::Existing));
        assert_eq!(provider(&choice(Some(Provider::Kind), None)), Some(Provider::Kind));
        assert!(explicit(&choice(Some(Provider::Native), Some("prod"))).is_err());
        assert!(explicit(&choice(Some(Provider::Existing), None)).is_err());
    }

    #[test]
    fn what_was_chosen_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("provider.json");
        assert_eq!(recorded(&record).unwrap(), None);
        let chosen =
            Chosen { provider: Provider::Existing, context: Some("prod".to_owned()), registry: None };
        fs::write(&record, serde_json::to_vec(&chosen).unwrap()).unwrap();
        assert_eq!(recorded(&record).unwrap(), Some(chosen));
        fs::write(&record, "{").unwrap();
        assert!(recorded(&record).is_err());
    }
}
