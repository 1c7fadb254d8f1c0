//! Which pod has which address.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Container, Pod};

use super::ruleset::Protocol;

/// A pod with an address in the pod network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The ports that its containers name.
    pub ports: Vec<NamedPort>,
}

/// A port that a container names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields say it")]
pub struct NamedPort {
    pub name: String,
    pub protocol: Protocol,
    pub number: u16,
}

/// The endpoints of all pods.
///
/// `attached` are the addresses that CNI gave out on this node, with the UID of the pod. They are known before the pod's
/// containers start, the status in the API only some time after. Where the two disagree, CNI is right: an address is given
/// out again as soon as a pod is gone from the node, which the API may learn later.
pub fn endpoints(pods: &[Arc<Pod>], attached: &BTreeMap<Ipv4Addr, BTreeSet<String>>) -> Vec<Endpoint> {
    let known: BTreeSet<&str> = pods.iter().filter_map(|pod| pod.metadata.uid.as_deref()).collect();
    // Other clusters on this machine record their pods in the same place.
    let mut owners: BTreeMap<Ipv4Addr, &str> = BTreeMap::new();
    for (address, uids) in attached {
        if let Some(uid) = uids.iter().map(String::as_str).find(|uid| known.contains(uid)) {
            owners.insert(*address, uid);
        }
    }
    pods.iter().filter(|pod| is_on_the_pod_network(pod)).flat_map(|pod| of_pod(pod, &owners)).collect()
}

fn of_pod(pod: &Pod, owners: &BTreeMap<Ipv4Addr, &str>) -> Vec<Endpoint> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let given = owners.iter().filter(|(_, owner)| **owner == uid).map(|(address, _)| *address);
    let reported = reported_addresses(pod).into_iter().filter(|address| !owners.contains_key(address));
    let addresses: BTreeSet<Ipv4Addr> = given.chain(reported).collect();
    addresses
        .into_iter()
        .map(|address| Endpoint {
            address,
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            ports: named_ports(pod),
        })
        .collect()
}

/// Pods on the node's network are beyond policies, and pods that have ended may have lost their address to another.
fn is_on_the_pod_network(pod: &Pod) -> bool {
    let on_the_node = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false);
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !on_the_node && !matches!(phase, Some("Succeeded" | "Failed"))
}

fn reported_addresses(pod: &Pod) -> Vec<Ipv4Addr> {
    let Some(status) = &pod.status else { return Vec::new() };
    let all =
        status.pod_ips.iter().flatten().map(|address| address.ip.as_str()).chain(status.pod_ip.as_deref());
    all.filter_map(|address| address.parse().ok()).collect()
}

fn named_ports(pod: &Pod) -> Vec<NamedPort> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    // An init container that is restarted for ever is a sidecar.
    let is_sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten().filter(is_sidecar));
    containers
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            Some(NamedPort {
                name: port.name.clone()?,
                protocol: Protocol::parse(port.protocol.as_deref())?,
                number: u16::try_from(port.container_port).ok()?,
            })
        })
        .collect()
}
