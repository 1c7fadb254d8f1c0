//! The `e2e` program as the background processes of a cluster run it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::host::files;

/// Name of the program that cargo builds.
const NAME: &str = "e2e";

/// Copies the program to `path`, so that rebuilding it does not disturb what runs. Says whether the copy is a new one.
pub(crate) fn install(path: &Path) -> Result<bool> {
    let content = fs::read(program()?).context("cannot read this program")?;
    if fs::read(path).is_ok_and(|present| present == content) {
        return Ok(false);
    }
    fs::create_dir_all(path.parent().context("a program has a folder")?)?;
    // The file of a running program cannot be written to, but it can be replaced.
    files::write_atomically(path, &content)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(true)
}

/// This program or, in a test, the one that cargo built beside the test.
fn program() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    if this.file_name().is_some_and(|name| name == NAME) {
        return Ok(this);
    }
    match this.ancestors().skip(1).take(2).map(|folder| folder.join(NAME)).find(|path| path.is_file()) {
        Some(program) => Ok(program),
        None => bail!("there is no program `{NAME}` beside {}: build it first", this.display()),
    }
}
