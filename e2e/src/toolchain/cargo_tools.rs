//! Programs that come as crates, installed once into the cache.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use tokio::process::Command;

use crate::host::{command, files, progress};

use super::cache;

/// `cargo-deny` compiles for some minutes on two cores.
const DEADLINE: Duration = Duration::from_mins(30);
const DENY_VERSION: &str = "0.20.2";

/// The path of `cargo-deny`, installed when the cache does not have it.
pub async fn cargo_deny() -> Result<PathBuf> {
    let folder = cache::root()?.join("bin").join(format!("cargo-deny-{DENY_VERSION}"));
    let program = folder.join("bin/cargo-deny");
    if program.exists() {
        return Ok(program);
    }
    let _lock = files::lock(&folder.with_extension("lock"), "installs cargo-deny").await?;
    if !program.exists() {
        let mut cargo = Command::new("cargo");
        // Not optimised: that halves the wait, and the check takes seconds either way.
        cargo.args(["install", "--locked", "--debug", "--quiet", "--version", DENY_VERSION, "cargo-deny"]);
        cargo.arg("--root").arg(&folder);
        let install = async { command::run(&mut cargo, DEADLINE).await.map(drop) };
        progress::step("installing cargo-deny (about 3 minutes the first time)", install).await?;
    }
    Ok(program)
}
