//! The images of the product: built from this checkout, kept by the content that went into them.
//!
//! [`build`] makes what a cluster needs: the front end, the release binaries that embed it, and the three images of
//! `deploy/images`. Docker builds them where it answers, buildah elsewhere. Everything is keyed by a hash of its inputs, so
//! that a second call finds its archives in the cache. [`test_releases`] makes releases of the CRM that only tests run, on demand.
//! [`test_postgres`] runs the PostgreSQL that tenants run, without a cluster, for tests.

mod archive;
mod base;
mod binaries;
mod builder;
mod front_end;
mod postgres;
mod recipe;
mod test_releases;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use self::{builder::Builder, recipe::Recipe};
use crate::{
    cluster::ImageArchive,
    host::files,
    toolchain::{self, cache},
};

pub use binaries::build as release_binaries;
pub use front_end::front_end;
pub use postgres::{PostgresArgs, TestPostgres, run_postgres, test_postgres};
pub use test_releases::{Schema, TestImage, TestRelease, product_schema, test_releases};

/// Prefix of the directories with a root file system of the postgres image.
const POSTGRES_ROOT: &str = "postgres-";

/// The images of one checkout.
#[derive(Clone, Debug)]
pub struct Images {
    /// Operator and gateway.
    pub operator: ImageArchive,
    /// The CRM with PostgreSQL's client tools.
    pub crm_app: ImageArchive,
    /// PostgreSQL 17.
    pub postgres: ImageArchive,
}

/// Builds the front end, the binaries and the images, as far as they have changed.
pub async fn build() -> Result<Images> {
    front_end().await.context("cannot build the front end")?;
    let binaries = binaries::build(&["operator", "crm-app"]).await?;
    let builder = Builder::choose().await?;
    let _lock = files::lock(&directory()?.join("lock"), "builds images").await?;
    Ok(Images {
        operator: recipe::archive(&Recipe::operator(&binaries), &builder).await?,
        crm_app: recipe::archive(&Recipe::crm_app(&binaries), &builder).await?,
        postgres: recipe::archive(&Recipe::postgres(), &builder).await?,
    })
}

/// The release build of `operator`, as it goes into the image.
pub async fn operator_binary() -> Result<PathBuf> {
    // All that is shipped is built at once, so that this is the same build.
    front_end().await.context("cannot build the front end")?;
    Ok(binaries::build(&["operator", "crm-app"]).await?.join("operator"))
}

/// The release build of `crm-app`, as it goes into the image.
pub async fn crm_binary() -> Result<PathBuf> {
    Ok(operator_binary().await?.with_file_name("crm-app"))
}

/// The release build of `gateway-bench`, which measures the gateway.
pub async fn gateway_bench() -> Result<PathBuf> {
    Ok(binaries::build(&["gateway-bench"]).await?.join("gateway-bench"))
}

/// The directory that holds a root file system of the postgres image, unpacked when it is not there.
pub async fn postgres_root() -> Result<PathBuf> {
    let builder = Builder::choose().await?;
    let _lock = files::lock(&directory()?.join("lock"), "builds images").await?;
    let image = recipe::archive(&Recipe::postgres(), &builder).await?;
    // By its files: a new label makes a new image, but no new root.
    let layer = archive::inspect(&image.path).await?.only_layer()?.short_name();
    let roots = cache::root()?;
    let root = roots.join(format!("{POSTGRES_ROOT}{layer}"));
    if !root.exists() {
        remove_unused(&roots)?;
        archive::unpack(&image.path, &root).await.context("cannot unpack the postgres image")?;
    }
    Ok(root)
}

/// Removes root file systems of earlier images from which nothing runs.
fn remove_unused(roots: &Path) -> Result<()> {
    for entry in fs::read_dir(roots)?.flatten() {
        let is_root = entry.file_name().to_string_lossy().starts_with(POSTGRES_ROOT);
        // A database that runs has its data there.
        let is_idle =
            || fs::read_dir(entry.path().join("var/tmp")).is_ok_and(|mut data| data.next().is_none());
        if is_root && is_idle() {
            fs::remove_dir_all(entry.path())
                .with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Where archives, the base and buildah's layers are kept.
fn directory() -> Result<PathBuf> {
    Ok(cache::root()?.join("images"))
}

/// The Containerfiles.
fn sources() -> PathBuf {
    toolchain::workspace().join("deploy/images")
}
