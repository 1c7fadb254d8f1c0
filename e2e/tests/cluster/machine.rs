//! What a cluster has on the machine, found without the help of what is tested.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use e2e::{
    cluster::native::Native,
    host::process::{self, Process},
};

/// Processes of pods of this cluster only: others may run beside it.
pub(crate) fn in_pods(cluster: &Native) -> Vec<Process> {
    let group = format!("/{}/", cluster.layout().machine_name());
    let ours = |process: &Process| {
        fs::read_to_string(format!("/proc/{}/cgroup", process.pid))
            .is_ok_and(|groups| groups.contains(&group))
    };
    process::all().into_iter().filter(ours).collect()
}

pub(crate) fn on_node(cluster: &Native) -> Vec<Process> {
    let network = process::inode(&cluster.layout().netns()).unwrap();
    process::all().into_iter().filter(|process| process.network == network).collect()
}

pub(crate) fn supervisor(cluster: &Native) -> Process {
    let program = cluster.layout().supervisor();
    let is_it = |process: &Process| process.program == program && process.subcommand() == Some("supervise");
    process::all().into_iter().find(is_it).unwrap()
}

/// What a cluster has on the machine, found without the help of what is tested.
pub(crate) struct Belongings {
    pub(crate) processes: Vec<Process>,
    namespaces: Vec<String>,
    pub(crate) mounts: Vec<String>,
    pub(crate) cgroups: Vec<PathBuf>,
    root: PathBuf,
}

impl Belongings {
    pub(crate) fn of(cluster: &Native) -> Self {
        let layout = cluster.layout();
        let processes: Vec<Process> =
            on_node(cluster).into_iter().chain(in_pods(cluster)).chain([supervisor(cluster)]).collect();
        let networks: BTreeSet<u64> = in_pods(cluster).iter().map(|process| process.network).collect();
        let namespaces = entries("/run/netns")
            .into_iter()
            .filter(|name| {
                let path = Path::new("/run/netns").join(name);
                *name == layout.machine_name()
                    || process::inode(&path).is_some_and(|inode| networks.contains(&inode))
            })
            .collect();
        Self {
            processes,
            namespaces,
            mounts: mounts(layout.root()),
            cgroups: cgroups(&layout.machine_name()),
            root: layout.root().to_path_buf(),
        }
    }

    pub(crate) fn assert_gone(&self) {
        let left: Vec<_> = self
            .processes
            .iter()
            .filter(|process| process::read(process.pid).as_ref() == Some(process))
            .collect();
        assert!(left.is_empty(), "processes left: {left:?}");
        let names = entries("/run/netns");
        assert!(self.namespaces.len() > 1, "the node and a pod have namespaces: {:?}", self.namespaces);
        let left: Vec<_> = self.namespaces.iter().filter(|name| names.contains(*name)).collect();
        assert!(left.is_empty(), "network namespaces left: {left:?}");
        assert_eq!(mounts(&self.root), Vec::<String>::new(), "mounts left");
        assert!(self.cgroups.iter().all(|group| !group.exists()), "cgroups left: {:?}", self.cgroups);
        assert!(!self.root.exists(), "state left");
    }
}

fn mounts(root: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/mounts").unwrap();
    let root = root.to_str().unwrap();
    table
        .lines()
        .filter(|line| line.split(' ').nth(1).unwrap().starts_with(root))
        .map(str::to_owned)
        .collect()
}

fn cgroups(name: &str) -> Vec<PathBuf> {
    let mount = Path::new("/sys/fs/cgroup");
    let hierarchies = entries(mount).into_iter().map(|hierarchy| mount.join(hierarchy).join(name));
    hierarchies.chain([mount.join(name)]).filter(|group| group.exists()).collect()
}

/// What several clusters share on the machine.
pub(crate) struct Machine {
    tables: String,
    shim_sockets: BTreeSet<String>,
    attachments: BTreeSet<String>,
    log_links: BTreeSet<String>,
    restart_after_panic: String,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let tables = std::process::Command::new("nft").args(["list", "tables"]).output().unwrap().stdout;
        Self {
            tables: String::from_utf8(tables).unwrap(),
            shim_sockets: entries("/run/containerd/s"),
            attachments: entries("/var/lib/cni/results"),
            log_links: entries("/var/log/containers"),
            // One of the settings that the kubelet changes.
            restart_after_panic: fs::read_to_string("/proc/sys/kernel/panic").unwrap(),
        }
    }

    /// Other clusters may come and go meanwhile, so only what is certainly ours is held against it.
    pub(crate) fn assert_nothing_new(&self) {
        let now = Self::look();
        assert_eq!(now.tables, self.tables, "nftables on the host");
        let of_others: Vec<String> =
            process::all().into_iter().flat_map(|process| process.arguments).collect();
        if of_others.iter().any(|argument| argument.contains("containerd-shim")) {
            return;
        }
        assert_eq!(now.shim_sockets, self.shim_sockets, "sockets of containerd's shims");
        assert_eq!(now.attachments, self.attachments, "CNI's records");
        assert_eq!(now.restart_after_panic, self.restart_after_panic, "kernel.panic");
        assert_eq!(now.log_links, self.log_links, "links to logs");
    }
}

fn entries(folder: impl AsRef<Path>) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
