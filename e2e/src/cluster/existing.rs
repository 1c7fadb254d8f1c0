//! A cluster that is there already and belongs to somebody else: nothing but our own objects is made or removed on it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{
    Cluster, Forward, ImageArchive, nodes_status, port_forward, programs::Programs, state_directory,
};
use crate::host::{command::run, files, progress::step};

/// Pushing goes over somebody's network.
const PUSH: Duration = Duration::from_mins(15);
/// Everything else.
const DEADLINE: Duration = Duration::from_secs(30);

/// A cluster known by a context of the user's kubeconfig.
#[derive(Clone, Debug)]
pub(super) struct Existing {
    context: String,
    registry: Option<String>,
    state: PathBuf,
    kubeconfig: PathBuf,
    programs: Programs,
}

impl Existing {
    /// The cluster of a context; `registry` is where its nodes pull from and we may push to, for example
    /// `registry.example/team`.
    pub(super) fn new(name: &str, context: &str, registry: Option<&str>) -> Result<Self> {
        let state = state_directory(name)?;
        Ok(Self {
            context: context.to_owned(),
            registry: registry.map(|registry| registry.trim_end_matches('/').to_owned()),
            kubeconfig: state.join("kubeconfig"),
            state,
            programs: Programs::default(),
        })
    }

    fn registry(&self) -> Result<&str> {
        self.registry.as_deref().context("images have to be pushed somewhere: say where with --registry")
    }
}

/// The name of an image in a registry: its own last word below the registry's.
fn pushed_name(registry: &str, repository: &str) -> String {
    format!("{registry}/{}", repository.rsplit('/').next().unwrap_or(repository))
}

impl Cluster for Existing {
    /// Copies the context's credentials, so that a later change of the user's own kubeconfig does not lead us elsewhere.
    async fn up(&self) -> Result<()> {
        fs::create_dir_all(&self.state)?;
        let mut view = self.programs.kubectl().await?;
        view.args(["config", "view", "--raw", "--minify", "--flatten", "--context", &self.context]);
        let kubeconfig = run(&mut view, DEADLINE).await?;
        files::write_atomically(&self.kubeconfig, kubeconfig.as_bytes())?;
        let mut probe = self.programs.kubectl().await?;
        probe.arg("--kubeconfig").arg(&self.kubeconfig).args(["get", "--raw=/readyz"]);
        let probe = run(&mut probe, DEADLINE).await;
        probe.with_context(|| format!("the cluster of context {} is not ready", self.context)).map(|_| ())
    }

    async fn down(&self) -> Result<()> {
        port_forward::end_all(&self.state).await?;
        if self.state.exists() {
            fs::remove_dir_all(&self.state)?;
        }
        Ok(())
    }

    async fn status(&self) -> Result<Vec<(String, String)>> {
        if !self.kubeconfig.exists() {
            return Ok(vec![(self.context.clone(), "unused; `up` connects".to_owned())]);
        }
        nodes_status(&self.kubeconfig).await
    }

    fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    fn image_reference(&self, image: &ImageArchive) -> String {
        match &self.registry {
            Some(registry) => format!("{}@{}", pushed_name(registry, &image.repository), image.digest),
            None => image.reference(),
        }
    }

    async fn load_images(&self, images: &[ImageArchive]) -> Result<()> {
        let registry = self.registry()?;
        // skopeo copies an image bit by bit; docker and buildah would pack it anew, under another digest.
        self.programs.ensure_packages(&["skopeo"]).await?;
        for image in images {
            let Some(tag) = image.digest.strip_prefix("sha256:").and_then(|digits| digits.get(..12)) else {
                bail!("{} is no digest", image.digest);
            };
            let name = pushed_name(registry, &image.repository);
            let mut copy = self.programs.command("skopeo");
            copy.args(["copy", "--quiet", "--preserve-digests"]);
            if registry.starts_with("localhost") || registry.starts_with("127.0.0.1") {
                copy.arg("--dest-tls-verify=false");
            }
            copy.arg(format!("oci-archive:{}", image.path.display())).arg(format!("docker://{name}:{tag}"));
            step(&format!("pushing {name}"), run(&mut copy, PUSH)).await?;
        }
        Ok(())
    }

    async fn forward(&self, forward: &Forward) -> Result<SocketAddr> {
        port_forward::ensure(&self.state, &self.kubeconfig, forward).await
    }
}

#[cfg(test)]
mod tests;
