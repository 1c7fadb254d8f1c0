//! A cluster in Docker, made by `kind`.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::process::Command;

use super::{
    Cluster, Forward, ImageArchive, nodes_status, port_forward, programs::Programs, state_directory,
};
use crate::host::{
    command::{run, run_with_file},
    files,
    progress::step,
};

/// The first time, the node image is downloaded.
const CREATE: Duration = Duration::from_mins(10);
/// Everything else.
const DEADLINE: Duration = Duration::from_mins(2);
/// What works answers so soon.
const QUICKLY: Duration = Duration::from_secs(5);

/// A cluster in Docker.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    name: String,
    state: PathBuf,
    kubeconfig: PathBuf,
    programs: Programs,
}

/// Whether Docker answers and `kind` is there.
pub(super) async fn is_available(programs: &Programs) -> bool {
    check(programs).await.is_ok()
}

/// Says what is missing.
async fn check(programs: &Programs) -> Result<()> {
    run(programs.command("kind").arg("version"), QUICKLY).await.context(
        "kind does not work here: install it (https://kind.sigs.k8s.io), or choose another --provider",
    )?;
    run(programs.command("docker").arg("info"), QUICKLY)
        .await
        .context("Docker does not answer: start it, or choose another --provider")?;
    Ok(())
}

impl Kind {
    /// The cluster of this name, whether it runs or not.
    pub(super) fn new(name: &str) -> Result<Self> {
        let state = state_directory(name)?;
        Ok(Self {
            name: format!("tenantry-{name}"),
            kubeconfig: state.join("kubeconfig"),
            state,
            programs: Programs::default(),
        })
    }

    fn kind(&self, words: &[&str]) -> Command {
        let mut command = self.programs.command("kind");
        command.args(words).args(["--name", &self.name]);
        command
    }

    async fn exists(&self) -> Result<bool> {
        let clusters = run(self.programs.command("kind").args(["get", "clusters"]), DEADLINE).await?;
        Ok(clusters.lines().any(|cluster| cluster == self.name))
    }

    /// Imports an archive into containerd of a node. `kind load` would not do: it names images by tag, and pods name them by
    /// digest.
    async fn import(&self, node: &str, image: &ImageArchive) -> Result<()> {
        let archive =
            fs::File::open(&image.path).with_context(|| format!("cannot read {}", image.path.display()))?;
        let mut import = self.programs.command("docker");
        import.args(["exec", "--interactive", node, "ctr", "--namespace=k8s.io", "images", "import"]).args([
            "--digests",
            "--base-name",
            &image.repository,
            "-",
        ]);
        run_with_file(&mut import, archive, DEADLINE)
            .await
            .with_context(|| format!("cannot import {} into {node}", image.repository))
            .map(drop)
    }
}

impl Cluster for Kind {
    async fn up(&self) -> Result<()> {
        check(&self.programs).await?;
        fs::create_dir_all(&self.state)?;
        let _lock = files::lock(&self.state.with_extension("lock"), "starts or stops this cluster").await?;
        let kubeconfig = self.kubeconfig.to_str().context("the cache folder's path is not UTF-8")?;
        if self.exists().await? {
            return run(&mut self.kind(&["export", "kubeconfig", "--kubeconfig", kubeconfig]), DEADLINE)
                .await
                .map(|_| ());
        }
        let mut create = self.kind(&["create", "cluster", "--wait", "5m", "--kubeconfig", kubeconfig]);
        step(&format!("creating kind cluster {}", self.name), run(&mut create, CREATE)).await.map(|_| ())
    }

    async fn down(&self) -> Result<()> {
        let _lock = files::lock(&self.state.with_extension("lock"), "starts or stops this cluster").await?;
        port_forward::end_all(&self.state).await?;
        let mut delete = self.kind(&["delete", "cluster"]);
        step(&format!("deleting kind cluster {}", self.name), run(&mut delete, DEADLINE)).await?;
        if self.state.exists() {
            fs::remove_dir_all(&self.state)?;
        }
        Ok(())
    }

    async fn status(&self) -> Result<Vec<(String, String)>> {
        if !self.exists().await? {
            return Ok(vec![(self.name.clone(), "down".to_owned())]);
        }
        nodes_status(&self.kubeconfig).await
    }

    fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    async fn load_images(&self, images: &[ImageArchive]) -> Result<()> {
        let nodes = run(&mut self.kind(&["get", "nodes"]), DEADLINE).await?;
        for image in images {
            for node in nodes.lines() {
                step(&format!("loading {} into {node}", image.repository), self.import(node, image)).await?;
            }
        }
        Ok(())
    }

    async fn forward(&self, forward: &Forward) -> Result<SocketAddr> {
        port_forward::ensure(&self.state, &self.kubeconfig, forward).await
    }
}

#[cfg(test)]
mod tests;
