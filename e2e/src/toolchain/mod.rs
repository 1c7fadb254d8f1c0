//! What a machine lacks to run a cluster: Debian packages, and server binaries built from pinned Go modules.

pub mod cache;
mod cargo_tools;
mod go;
mod packages;

use std::path::{Path, PathBuf};

use anyhow::Result;

pub use cargo_tools::cargo_deny;
pub use go::{Module, Tool};
pub use packages::{NATIVE_CLUSTER, ensure as debian_packages, has_apt};

/// The path of a tool; its module is built when the cache does not have it.
pub async fn binary(tool: Tool) -> Result<PathBuf> {
    Ok(go::ensure(tool.module()).await?.join(tool.file_name()))
}

/// Builds the modules that the cache does not have, one after the other: one Go build fills the machine.
pub async fn ensure(modules: &[Module]) -> Result<()> {
    for module in modules {
        go::ensure(*module).await?;
    }
    Ok(())
}

/// The checkout that this program was compiled from.
pub fn workspace() -> &'static Path {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.parent().unwrap_or(crate_folder)
}
