//! The base image on machines that cannot pull it: Debian 13 made from its packages, under the name that Containerfiles use.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result};
use tokio::process::Command;

use super::{builder::Buildah, directory};
use crate::{
    host::{command, progress},
    toolchain::cache,
};

/// The name in the Containerfiles' `FROM`.
const NAME: &str = "docker.io/library/debian:trixie-slim";
/// A tag that says from which recipe the base in buildah's storage was made.
const RECORD: &str = "localhost/tenantry-base";
const DEADLINE: Duration = Duration::from_mins(10);

/// What mmdebstrap is told: the packages of `trixie-slim`, from the same three archives, without manuals.
const RECIPE: &[&str] = &[
    "--variant=minbase",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "trixie",
];
const ARCHIVES: &[&str] = &[
    "deb http://deb.debian.org/debian trixie main",
    "deb http://deb.debian.org/debian trixie-updates main",
    "deb http://deb.debian.org/debian-security trixie-security main",
];
const CONTAINERFILE: &str = "FROM scratch\nADD base.tar /\nCMD [\"bash\"]\n";

/// The content hash of the recipe.
pub(super) fn key() -> String {
    let parts = RECIPE.iter().chain(ARCHIVES).chain(&[CONTAINERFILE]);
    cache::content_hash(parts.map(|part| part.as_bytes()))
}

/// Makes sure that buildah's storage has the base under its name.
pub(super) async fn ensure(buildah: &Buildah) -> Result<()> {
    let record = format!("{RECORD}:{}", key());
    let known = buildah
        .run(buildah.command().args(["images", "--quiet", "--filter"]).arg(format!("reference={record}")))
        .await?;
    if known.trim().is_empty() {
        progress::step("making the base image from Debian's packages", make(buildah, &record)).await?;
    }
    buildah.run(buildah.command().args(["tag", &record, NAME])).await?;
    Ok(())
}

async fn make(buildah: &Buildah, record: &str) -> Result<()> {
    let tar = directory()?.join(format!("base-{}.tar", key()));
    if !tar.exists() {
        bootstrap(&tar).await?;
    }
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("Containerfile"), CONTAINERFILE)?;
    fs::copy(&tar, folder.path().join("base.tar"))
        .with_context(|| format!("cannot copy {}", tar.display()))?;
    let mut build = buildah.command();
    build.args(["build", "--layers", "--force-rm", "--timestamp=0", "--tag", record]).arg(folder.path());
    buildah.run(&mut build).await?;
    Ok(())
}

/// Writes the root file system to a file that has its final name only when it is complete.
async fn bootstrap(tar: &Path) -> Result<()> {
    let new = tar.with_extension("new");
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.arg("--format=tar").args(RECIPE).arg(&new).args(ARCHIVES).env("SOURCE_DATE_EPOCH", "0");
    command::run(&mut mmdebstrap, DEADLINE).await?;
    fs::rename(&new, tar).with_context(|| format!("cannot keep {}", tar.display()))
}
