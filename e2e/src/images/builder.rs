//! The two programs that build Containerfiles here: Docker where it answers, buildah elsewhere.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use super::{
    base, directory,
    recipe::{Labels, Recipe},
    sources,
};
use crate::{
    host::{command, progress},
    toolchain,
};

/// Packages from the network are part of a build.
const BUILD: Duration = Duration::from_mins(10);
const QUERY: Duration = Duration::from_secs(20);
/// Intermediate images that buildah may keep before its storage is emptied: it has no limit of its own.
const LAYERS: usize = 150;

/// A program that builds images.
#[derive(Debug)]
pub(super) enum Builder {
    Docker,
    Buildah(Buildah),
}

/// buildah with a storage of its own, so that nothing of ours lies among the user's images.
#[derive(Debug)]
pub(super) struct Buildah {
    storage: PathBuf,
}

impl Builder {
    /// Docker when its daemon answers, otherwise buildah, installed when missing.
    pub(super) async fn choose() -> Result<Self> {
        let mut info = Command::new("docker");
        info.args(["info", "--format", "{{.ServerVersion}}"]);
        if command::succeeds(&mut info, QUERY).await {
            return Ok(Self::Docker);
        }
        if !rustix::process::geteuid().is_root() {
            bail!(
                "images are built with Docker, which does not answer (`docker info`), or by root with buildah"
            );
        }
        toolchain::debian_packages(&["buildah", "mmdebstrap"]).await?;
        Ok(Self::Buildah(Buildah { storage: directory()?.join("storage") }))
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Docker => "Docker",
            Self::Buildah(_) => "buildah",
        }
    }

    /// What of the builder decides about an image's content.
    pub(super) fn identity(&self) -> String {
        match self {
            Self::Docker => "docker".to_owned(),
            Self::Buildah(_) => format!("buildah on {}", base::key()),
        }
    }

    /// Builds an image into an OCI archive.
    pub(super) async fn build(&self, recipe: &Recipe, labels: &Labels, archive: &Path) -> Result<()> {
        let binaries = stage(&recipe.binaries)?;
        let containerfile = tempfile::NamedTempFile::new()?;
        fs::write(containerfile.path(), recipe.containerfile()?).context("cannot write the Containerfile")?;
        let tag = format!("{}:{}", recipe.repository(), labels.version);
        let arguments = [
            format!("--file={}", containerfile.path().display()),
            format!("--build-context=binaries={}", binaries.path().display()),
            format!("--label=org.opencontainers.image.version={}", labels.version),
            format!("--label=org.opencontainers.image.revision={}", labels.revision),
            format!("--tag={tag}"),
        ];
        match self {
            Self::Docker => docker(&arguments, &tag, archive).await,
            Self::Buildah(buildah) => buildah.build(&arguments, &tag, archive).await,
        }
    }
}

/// A directory with just the binaries, which becomes the build context of that name.
fn stage(binaries: &[PathBuf]) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    for binary in binaries {
        let name = binary.file_name().context("a binary has a name")?;
        fs::copy(binary, folder.path().join(name))
            .with_context(|| format!("cannot copy {}", binary.display()))?;
    }
    Ok(folder)
}

/// `docker save` writes an OCI layout since Docker 25; the exporter that writes one directly is not in every driver.
async fn docker(arguments: &[String], tag: &str, archive: &Path) -> Result<()> {
    let mut build = Command::new("docker");
    build.args(["buildx", "build", "--load", "--provenance=false", "--build-arg=SOURCE_DATE_EPOCH=0"]);
    command::run(build.args(arguments).arg(sources()), BUILD).await?;
    let mut save = Command::new("docker");
    command::run(save.args(["save", "--output"]).arg(archive).arg(tag), BUILD).await?;
    Ok(())
}

impl Buildah {
    async fn build(&self, arguments: &[String], tag: &str, archive: &Path) -> Result<()> {
        self.empty_when_full().await?;
        base::ensure(self).await?;
        // `--timestamp` makes layers of equal content equal: their digests do not depend on when they were built.
        let mut build = self.command();
        build.args(["build", "--pull-never", "--layers", "--force-rm", "--timestamp=0"]);
        self.run(build.args(arguments).arg(sources())).await?;
        let mut push = self.command();
        push.args(["push", "--quiet", tag]).arg(format!("oci-archive:{}:{tag}", archive.display()));
        self.run(&mut push).await?;
        Ok(())
    }

    /// buildah in a mount namespace of its own: what it leaves mounted goes with it.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation=private", "buildah", "--storage-driver=overlay"]);
        command.arg("--root").arg(&self.storage).arg("--runroot").arg(self.storage.with_extension("run"));
        // The default isolation needs more rights than a container that runs this may have.
        command.env("BUILDAH_ISOLATION", "chroot");
        command
    }

    pub(super) async fn run(&self, command: &mut Command) -> Result<String> {
        command::run(command, BUILD).await
    }

    async fn empty_when_full(&self) -> Result<()> {
        let images = self.run(self.command().args(["images", "--all", "--quiet"])).await?;
        if images.lines().count() > LAYERS {
            progress::say("buildah's storage has many old layers: emptying it");
            self.run(self.command().args(["rmi", "--all", "--force"])).await?;
        }
        Ok(())
    }
}
