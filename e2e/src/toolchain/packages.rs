//! Debian packages, installed when they are missing.

use std::{collections::BTreeSet, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::host::{command::run, files, progress};

use super::cache;

/// What the native cluster needs from Debian.
pub const NATIVE_CLUSTER: &[&str] = &[
    "buildah",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "iproute2",
    "nftables",
    "runc",
    "util-linux",
];

/// Makes sure that Debian packages are installed: installs them as root, otherwise says which command does.
pub async fn ensure(packages: &[&str]) -> Result<()> {
    let missing = missing(packages)?;
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !has_apt() {
        bail!("these Debian packages are needed, but this is no Debian or Ubuntu: {list}");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("Debian packages are missing; install them with:\n  sudo apt-get install -y {list}");
    }
    let _lock = files::lock(&cache::root()?.join("apt.lock"), "installs packages").await?;
    progress::step(&format!("installing Debian packages: {list}"), install(&missing)).await
}

/// Whether packages can be installed here.
pub fn has_apt() -> bool {
    Path::new("/usr/bin/apt-get").exists()
}

async fn install(packages: &[&str]) -> Result<()> {
    let install = || {
        let mut command = Command::new("apt-get");
        command
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    // The lists may be missing or old: only then are they fetched, since that takes long.
    if run(&mut install(), Duration::from_mins(10)).await.is_ok() {
        return Ok(());
    }
    run(Command::new("apt-get").args(["update", "-qq"]), Duration::from_mins(5)).await?;
    run(&mut install(), Duration::from_mins(10)).await.map(|_| ())
}

fn missing<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>> {
    if !has_apt() {
        return Ok(packages.to_vec());
    }
    let status = std::fs::read_to_string("/var/lib/dpkg/status").context("cannot read dpkg's status")?;
    let installed = installed(&status);
    Ok(packages.iter().copied().filter(|package| !installed.contains(package)).collect())
}

/// Names of the packages that dpkg has fully installed.
fn installed(status: &str) -> BTreeSet<&str> {
    status
        .split("\n\n")
        .filter(|paragraph| paragraph.lines().any(|line| line == "Status: install ok installed"))
        .filter_map(|paragraph| paragraph.lines().find_map(|line| line.strip_prefix("Package: ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_packages_count() {
        let status = "Package: nftables\nStatus: install ok installed\nVersion: 1\n\n\
                      Package: runc\nStatus: deinstall ok config-files\nVersion: 1\n";
        assert_eq!(installed(status), BTreeSet::from(["nftables"]));
    }
}
