//! A stand-in for the internet: a host with a public address, in a network namespace of its own beside the node's.
//!
//! The address is of a range that is reserved for documentation (RFC 5737), and exists only inside these namespaces.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result};
use e2e::{host::command, probe::PodNetwork};
use tokio::process::Command;

const DEADLINE: Duration = Duration::from_secs(10);
/// Public address of the stand-in, and the ports on which it listens.
pub(crate) const ADDRESS: [u8; 4] = [203, 0, 113, 10];
pub(crate) const PORTS: [u16; 2] = [443, 8443];

/// Exists as long as this value.
pub(crate) struct Internet {
    namespace: String,
    _listeners: Vec<TcpListener>,
}

impl Internet {
    /// Makes the host and its link to the node of the named cluster.
    pub(crate) async fn beside(cluster: &str) -> Result<Self> {
        let namespace = format!("tenantry-{cluster}-public");
        remove(&namespace);
        sh(&format!(
            "ip netns add {namespace}
             nsenter --net=/run/netns/tenantry-{cluster} sh -euc '
                 ip link add public0 type veth peer name public1 netns {namespace}
                 ip address add 203.0.113.1/24 dev public0
                 ip link set public0 up'
             nsenter --net=/run/netns/{namespace} sh -euc '
                 ip address add 203.0.113.10/24 dev public1
                 ip link set public1 up
                 ip route add default via 203.0.113.1'"
        ))
        .await?;
        let file = PathBuf::from("/run/netns").join(&namespace);
        let inside =
            PodNetwork::from(File::open(&file).with_context(|| format!("cannot open {}", file.display()))?);
        let mut listeners = Vec::new();
        for port in PORTS {
            let address = SocketAddr::from((ADDRESS, port));
            // The kernel completes connections that nobody accepts: that is all a probe needs.
            listeners.push(inside.run(move || TcpListener::bind(address)).await??);
        }
        Ok(Self { namespace, _listeners: listeners })
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        remove(&self.namespace);
    }
}

/// Removes the namespace, and with it its end of the link, which takes the other end along.
fn remove(namespace: &str) {
    let deleted = std::process::Command::new("ip").args(["netns", "delete", namespace]).output();
    drop(deleted);
}

async fn sh(script: &str) -> Result<()> {
    command::run(Command::new("sh").args(["-euc", script]), DEADLINE).await.map(drop)
}
