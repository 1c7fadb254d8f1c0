//! The front end of the CRM, which the binary `crm-app` embeds.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::process::Command;
use walkdir::WalkDir;

use super::directory;
use crate::{
    host::{command, files, progress},
    toolchain::{self, cache},
};

const DEADLINE: Duration = Duration::from_mins(10);
/// Made by npm, not sources.
const MADE: [&str; 2] = ["node_modules", "dist"];

/// Installs the packages and builds `crm-app/web/dist`, each when its inputs have changed.
pub async fn front_end() -> Result<()> {
    let web = toolchain::workspace().join("crm-app/web");
    let _lock = files::lock(&directory()?.join("front-end.lock"), "builds the front end").await?;
    // In here, because `npm ci` empties the directory: packages that are gone take their stamps along.
    let modules = web.join("node_modules");
    let packages = Stamp::new(modules.join(".packages.stamp"), lock_files(&web)?);
    if !packages.is_current() {
        let install = npm(&web, &["ci", "--no-audit", "--no-fund"]);
        progress::step("installing the front end's packages", install).await?;
        packages.write()?;
    }
    let sources = Stamp::new(modules.join(".dist.stamp"), tree(&web)?);
    if !sources.is_current() || !web.join("dist/index.html").exists() {
        progress::step("building the front end", npm(&web, &["run", "build"])).await?;
        sources.write()?;
    }
    Ok(())
}

async fn npm(web: &Path, words: &[&str]) -> Result<()> {
    let mut npm = Command::new("npm");
    npm.current_dir(web).args(words);
    command::run(&mut npm, DEADLINE).await.context("Node 20 or newer with npm builds the front end")?;
    Ok(())
}

/// A file that names the inputs from which something was made.
struct Stamp {
    path: PathBuf,
    hash: String,
}

impl Stamp {
    fn new(path: PathBuf, hash: String) -> Self {
        Self { path, hash }
    }

    fn is_current(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|known| known == self.hash)
    }

    fn write(&self) -> Result<()> {
        fs::write(&self.path, &self.hash).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

fn lock_files(web: &Path) -> Result<String> {
    let read =
        |name: &str| fs::read(web.join(name)).with_context(|| format!("cannot read {name} of the front end"));
    let (package, lock) = (read("package.json")?, read("package-lock.json")?);
    Ok(cache::content_hash([package.as_slice(), lock.as_slice()]))
}

/// A hash of the names and contents of all sources.
fn tree(web: &Path) -> Result<String> {
    let mut parts = Vec::new();
    let entries = WalkDir::new(web).sort_by_file_name().into_iter();
    for entry in entries
        .filter_entry(|entry| entry.depth() != 1 || !MADE.iter().any(|made| entry.file_name() == *made))
    {
        let entry = entry?;
        if entry.file_type().is_file() {
            parts.push(entry.path().strip_prefix(web)?.to_string_lossy().into_owned().into_bytes());
            parts.push(
                fs::read(entry.path()).with_context(|| format!("cannot read {}", entry.path().display()))?,
            );
        }
    }
    Ok(cache::content_hash(parts.iter().map(Vec::as_slice)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_follows_sources_and_not_what_is_made_from_them() {
        let web = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = web.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("src/main.tsx", "1");
        let first = tree(web.path()).unwrap();
        write("dist/index.html", "made");
        write("node_modules/react/index.js", "made");
        assert_eq!(tree(web.path()).unwrap(), first);
        write("src/main.tsx", "2");
        assert_ne!(tree(web.path()).unwrap(), first);
        write("src/main.tsx", "1");
        write("src/dist/kept.ts", "a source");
        assert_ne!(tree(web.path()).unwrap(), first);
    }
}
