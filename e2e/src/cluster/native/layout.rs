//! Names, addresses and paths of one native cluster.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use crate::toolchain::cache;

/// Name of the only node.
pub(super) const NODE: &str = "node1";
/// Address of the node. All of 198.18.0.0/15 is reserved for benchmarks and used nowhere, and it stays inside the namespace.
pub(super) const NODE_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// Addresses of pods.
pub(super) const PODS: &str = "198.18.64.0/18";
/// Addresses of Services.
pub(super) const SERVICES: &str = "198.19.0.0/16";
/// The first address of the range above belongs to the API server.
pub(super) const API_SERVICE: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);
/// Address of the Service `kube-dns`.
pub(super) const DNS: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 10);
/// Port of the API server on the node.
pub(super) const API_PORT: u16 = 6443;

/// Where etcd listens inside the namespace.
pub(super) const ETCD: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2379);
/// Where etcd would listen for its peers, of which there are none.
pub(super) const ETCD_PEERS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2380);
/// Where parts on the node reach the API server.
pub(super) const API: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), API_PORT);

/// Names and paths of a cluster: everything that it leaves on the machine can be told from here.
#[derive(Clone, Debug)]
pub struct Layout {
    name: String,
    root: PathBuf,
}

impl Layout {
    /// The layout of the cluster of this name.
    pub fn new(name: &str) -> Result<Self> {
        let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 30 || !name.chars().all(valid) || name.starts_with('-') {
            bail!("`{name}` is no name for a cluster: use at most 30 lower-case letters, digits and `-`");
        }
        let root = cache::root()?.join("run").join(name);
        // The kernel limits the path of a Unix socket to 107 bytes.
        let longest = root.join("containerd.sock.ttrpc");
        if longest.as_os_str().len() > 107 {
            bail!("{} is too long for a socket: set XDG_CACHE_HOME to a shorter path", longest.display());
        }
        Ok(Self { name: name.to_owned(), root })
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name of what the machine knows of the cluster: network namespace, cgroup, CNI network, kubeconfig context.
    pub fn machine_name(&self) -> String {
        format!("tenantry-{}", self.name)
    }

    /// The folder of everything that this cluster keeps on disk.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path in that folder.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Held while the cluster is brought up or down; outside the folder, which `down` removes.
    pub fn lock(&self) -> PathBuf {
        self.root.with_extension("lock")
    }

    /// The network namespace's file.
    pub fn netns(&self) -> PathBuf {
        Path::new("/run/netns").join(self.machine_name())
    }

    /// Log of a part.
    pub fn log(&self, part: &str) -> PathBuf {
        self.path("logs").join(format!("{part}.log"))
    }

    /// Names of the logs there are.
    pub fn logs(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("logs")).into_iter().flatten().flatten();
        let names =
            entries.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".log")?.to_owned()));
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// The copy of this program that supervises: rebuilding the original does not disturb it.
    pub fn supervisor(&self) -> PathBuf {
        self.path("bin/e2e")
    }

    /// The administrator's kubeconfig for the host.
    pub fn kubeconfig(&self) -> PathBuf {
        self.path("kubeconfig")
    }

    /// containerd's socket.
    pub fn containerd_socket(&self) -> PathBuf {
        self.path("containerd.sock")
    }

    /// The supervisor's socket.
    pub fn control_socket(&self) -> PathBuf {
        self.path("control.sock")
    }

    /// What the supervisor is to run.
    pub fn plan(&self) -> PathBuf {
        self.path("plan.json")
    }

    /// Loopback ports and where they lead.
    pub fn forwards(&self) -> PathBuf {
        self.path("forwards.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["demo", "verify", "a-1"] {
            assert!(Layout::new(good).is_ok(), "{good}");
        }
        for bad in ["", "Demo", "../x", "-a", "a_b", "a-name-that-is-longer-than-thirty"] {
            assert!(Layout::new(bad).is_err(), "{bad}");
        }
    }
}
