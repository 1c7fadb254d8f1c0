//! Takes a native cluster away: processes, mounts, network namespaces, cgroups, sockets, state.
//!
//! Nothing here trusts what was written down while the cluster ran. What belongs to it is told by what it is: processes by
//! their network namespace or cgroup, mounts by their place, namespaces of pods by CNI's own records.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::mount::{UnmountFlags, unmount};
use serde_json::Value;
use tokio::process::Command;

use super::{cgroups, kernel, layout::Layout, netns, supervisor};
use crate::host::{command::run, process, progress};

/// Where libcni keeps the result of each attachment, with the namespace's path in it.
const CNI_RESULTS: &str = "/var/lib/cni/results";
/// Where containerd keeps a folder for each running container, in the cluster's state.
const BUNDLES: &str = "containerd/state/io.containerd.runtime.v2.task/k8s.io";
/// Where the kubelet links the logs of containers, for log shippers.
const CONTAINER_LOGS: &str = "/var/log/containers";

/// Removes everything that the cluster has left on this machine.
pub(super) async fn remove(layout: &Layout) -> Result<()> {
    supervisor::end(layout).await?;
    if let Some(network) = netns::identity(layout) {
        process::kill_all("the processes on the node", |process| process.network == network).await?;
    }
    cgroups::remove(layout).await?;
    // Both need state that is removed next.
    let namespaces = pod_namespaces(layout);
    remove_dead_shim_sockets(layout);
    unmount_all(layout)?;
    for namespace in namespaces {
        run(Command::new("ip").args(["netns", "delete", &namespace]), Duration::from_secs(10)).await?;
    }
    remove_cni_results(layout);
    remove_log_links(layout);
    netns::remove(layout).await?;
    kernel::restore(layout)?;
    if layout.root().exists() {
        fs::remove_dir_all(layout.root())
            .with_context(|| format!("cannot remove {}", layout.root().display()))?;
    }
    Ok(())
}

/// What is still there of the cluster, in words; empty after `remove`.
pub(super) fn leftovers(layout: &Layout) -> Vec<String> {
    let mut found = Vec::new();
    let network = netns::identity(layout);
    let ours = |process: &process::Process| {
        Some(process.network) == network || process.program.starts_with(layout.root())
    };
    found.extend(process::all().into_iter().filter(ours).map(|process| format!("process {process:?}")));
    found.extend(mounts_below(layout.root()).iter().map(|mount| format!("mount {}", mount.display())));
    found.extend(layout.netns().exists().then(|| format!("namespace {}", layout.machine_name())));
    found.extend(pod_namespaces(layout).iter().map(|name| format!("namespace {name}")));
    found.extend(cgroups::present(layout).iter().map(|group| format!("cgroup {}", group.display())));
    found.extend(layout.root().exists().then(|| format!("folder {}", layout.root().display())));
    found
}

fn unmount_all(layout: &Layout) -> Result<()> {
    for mount in mounts_below(layout.root()) {
        unmount(&mount, UnmountFlags::DETACH)
            .with_context(|| format!("cannot unmount {}", mount.display()))?;
    }
    // What is mounted there would be emptied with the folder.
    match mounts_below(layout.root()).first() {
        None => Ok(()),
        Some(mount) => bail!("{} is still mounted", mount.display()),
    }
}

/// Mount points in a folder, the deepest first.
fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut mounts: Vec<PathBuf> =
        table.lines().filter_map(mount_point).filter(|mount| mount.starts_with(folder)).collect();
    mounts.reverse();
    mounts
}

/// The mount point of a line of mountinfo, in which some characters are written as octal numbers.
fn mount_point(line: &str) -> Option<PathBuf> {
    let field = line.split(' ').nth(4)?;
    let unescaped =
        field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\");
    Some(PathBuf::from(unescaped))
}

/// Names of the network namespaces of our pods that are still there: from running containers and from CNI's records.
fn pod_namespaces(layout: &Layout) -> BTreeSet<String> {
    let from_specs =
        bundles(layout).into_iter().filter_map(|bundle| json(&bundle.join("config.json"))).flat_map(|spec| {
            let namespaces = spec["linux"]["namespaces"].as_array().cloned().unwrap_or_default();
            namespaces
                .into_iter()
                .filter_map(|namespace| Some(namespace["path"].as_str()?.to_owned()))
                .collect::<Vec<_>>()
        });
    let from_results = cni_results(layout).into_iter().filter_map(|path| json(&path)).flat_map(|record| {
        let interfaces = record["result"]["interfaces"].as_array().cloned().unwrap_or_default();
        interfaces
            .into_iter()
            .filter_map(|link| Some(link["sandbox"].as_str()?.to_owned()))
            .collect::<Vec<_>>()
    });
    from_specs
        .chain(from_results)
        .filter_map(|path| Some(Path::new(&path).file_name()?.to_str()?.to_owned()))
        .filter(|name| name.starts_with("cni-") && Path::new("/run/netns").join(name).exists())
        .collect()
}

/// CNI's records of attachments to the cluster's network; their names start with the network's.
fn cni_results(layout: &Layout) -> Vec<PathBuf> {
    let prefix = format!("{}-", layout.machine_name());
    let entries = fs::read_dir(CNI_RESULTS).into_iter().flatten().flatten().map(|entry| entry.path());
    let named = entries
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)));
    named
        .filter(|path| json(path).is_some_and(|record| record["networkName"] == layout.machine_name()))
        .collect()
}

/// Removes CNI's records of our pods, those of their loopback interfaces included, whose network is everybody's.
fn remove_cni_results(layout: &Layout) {
    for path in cni_results(layout) {
        if let Some(container) = json(&path).as_ref().and_then(|record| record["containerId"].as_str()) {
            let loopback = Path::new(CNI_RESULTS).join(format!("cni-loopback-{container}-lo"));
            if loopback.exists() {
                warn_on_error(&loopback, fs::remove_file(&loopback));
            }
        }
        warn_on_error(&path, fs::remove_file(&path));
    }
}

/// Removes the sockets of shims that were killed: they lie outside of containerd's own folders, and containerd forgets them.
pub(super) fn remove_dead_shim_sockets(layout: &Layout) {
    for bundle in bundles(layout) {
        let address = fs::read_to_string(bundle.join("address")).unwrap_or_default();
        if let Some(socket) = address.trim().strip_prefix("unix://").map(Path::new)
            && socket.exists()
            && UnixStream::connect(socket).is_err()
        {
            warn_on_error(socket, fs::remove_file(socket));
        }
    }
}

fn remove_log_links(layout: &Layout) {
    let links = fs::read_dir(CONTAINER_LOGS).into_iter().flatten().flatten().map(|entry| entry.path());
    for link in links.filter(|link| fs::read_link(link).is_ok_and(|target| target.starts_with(layout.root())))
    {
        warn_on_error(&link, fs::remove_file(&link));
    }
}

fn warn_on_error(path: &Path, result: std::io::Result<()>) {
    if let Err(error) = result {
        progress::say(&format!("cannot remove {}: {error}", path.display()));
    }
}

fn bundles(layout: &Layout) -> Vec<PathBuf> {
    fs::read_dir(layout.path(BUNDLES)).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_as_the_kernel_writes_them() {
        let line = r"36 35 98:0 / /var/lib/a\040b rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(mount_point(line), Some(PathBuf::from("/var/lib/a b")));
    }
}
