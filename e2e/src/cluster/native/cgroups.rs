//! The control groups of a native cluster: one subtree in every hierarchy, for all pods.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::process::Signal;
use walkdir::WalkDir;

use super::layout::Layout;
use crate::host::{
    process,
    wait::{Look, Wait},
};
use std::time::Duration;

const MOUNT: &str = "/sys/fs/cgroup";
/// Controllers that the kubelet sets limits with.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuset", "memory", "pids", "hugetlb", "io"];
/// The kernel frees a group soon after its last process has ended.
const DEADLINE: Duration = Duration::from_secs(10);

/// Makes the cluster's group in every hierarchy.
pub(super) fn create(layout: &Layout) -> Result<()> {
    let mount = Path::new(MOUNT);
    if is_version_2(mount) {
        delegate(mount)?;
    }
    for group in groups(mount, layout) {
        fs::create_dir_all(&group).with_context(|| format!("cannot make {}", group.display()))?;
        fill_cpuset(&group)?;
    }
    Ok(())
}

/// Ends all processes in the cluster's groups and removes the groups.
pub(super) async fn remove(layout: &Layout) -> Result<()> {
    let groups = groups(Path::new(MOUNT), layout);
    Wait::new(format!("the end of the processes in cgroup {}", layout.machine_name()), DEADLINE)
        .until(async || {
            let pids: Vec<i32> = groups.iter().flat_map(|group| members(group)).collect();
            for process in pids.iter().filter_map(|pid| process::read(*pid)) {
                process::signal(&process, Signal::KILL)?;
            }
            let left = groups.iter().find_map(|group| remove_tree(group).err());
            Ok(match left {
                None => Look::Done(()),
                Some(error) => Look::NotYet(format!("{} processes left; {error}", pids.len())),
            })
        })
        .await
}

/// The groups of the cluster that are there.
pub(super) fn present(layout: &Layout) -> Vec<PathBuf> {
    groups(Path::new(MOUNT), layout).into_iter().filter(|group| group.exists()).collect()
}

fn groups(mount: &Path, layout: &Layout) -> Vec<PathBuf> {
    hierarchies(mount).into_iter().map(|hierarchy| hierarchy.join(layout.machine_name())).collect()
}

/// Version 2 is one hierarchy; version 1 is one for each controller. Links to joined controllers would count twice.
fn hierarchies(mount: &Path) -> Vec<PathBuf> {
    if is_version_2(mount) {
        return vec![mount.to_path_buf()];
    }
    let entries = fs::read_dir(mount).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).filter(|folder| folder.join("cgroup.procs").exists()).collect()
}

fn is_version_2(mount: &Path) -> bool {
    mount.join("cgroup.controllers").exists()
}

/// Version 2: children have only the controllers that their parent hands down.
fn delegate(hierarchy: &Path) -> Result<()> {
    let available = fs::read_to_string(hierarchy.join("cgroup.controllers"))?;
    let control = hierarchy.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&control)?;
    for name in missing_controllers(&available, &enabled) {
        fs::write(&control, format!("+{name}"))
            .with_context(|| format!("cannot enable the {name} controller"))?;
    }
    Ok(())
}

fn missing_controllers<'a>(available: &'a str, enabled: &str) -> Vec<&'a str> {
    let wanted = available.split_whitespace().filter(|name| CONTROLLERS.contains(name));
    wanted.filter(|name| !enabled.split_whitespace().any(|other| other == *name)).collect()
}

/// Version 1: a cpuset without CPUs and memory nodes takes no process.
fn fill_cpuset(group: &Path) -> Result<()> {
    let Some(parent) = group.parent() else { return Ok(()) };
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let (from, to) = (parent.join(name), group.join(name));
        if from.exists() && fs::read_to_string(&to)?.trim().is_empty() {
            fs::write(&to, fs::read(&from)?).with_context(|| format!("cannot write {}", to.display()))?;
        }
    }
    Ok(())
}

fn members(group: &Path) -> Vec<i32> {
    WalkDir::new(group)
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_dir())
        .filter_map(|entry| fs::read_to_string(entry.path().join("cgroup.procs")).ok())
        .flat_map(|pids| pids.lines().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Removes a group with its children; the files in it are the kernel's and go with the folders.
fn remove_tree(group: &Path) -> io::Result<()> {
    if !group.exists() {
        return Ok(());
    }
    for entry in WalkDir::new(group).contents_first(true).into_iter().flatten() {
        if entry.file_type().is_dir() {
            match fs::remove_dir(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_is_told_by_its_controllers_file() {
        let mount = tempfile::tempdir().unwrap();
        fs::create_dir_all(mount.path().join("cpu")).unwrap();
        fs::write(mount.path().join("cpu/cgroup.procs"), "").unwrap();
        fs::create_dir_all(mount.path().join("not-a-hierarchy")).unwrap();
        assert_eq!(hierarchies(mount.path()), [mount.path().join("cpu")]);
        fs::write(mount.path().join("cgroup.controllers"), "cpu memory\n").unwrap();
        assert_eq!(hierarchies(mount.path()), [mount.path()]);
    }

    #[test]
    fn only_what_is_missing_is_enabled() {
        assert_eq!(missing_controllers("cpuset cpu io memory misc\n", "cpu\n"), ["cpuset", "io", "memory"]);
    }
}
