//! Policies in the words of `networking.k8s.io/v1` → what each pod may receive and send.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::{Context, Result};
use ipnet::Ipv4Net;
use k8s_openapi::{
    api::{
        core::v1::Namespace,
        networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort},
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kube::core::{Selector, SelectorExt};

use super::{
    endpoints::Endpoint,
    ruleset::{Allow, Block, Peers, PodRules, PortRange, Ports, Protocol, Ruleset, Side},
};

type Labels = BTreeMap<String, String>;

/// What policies speak about.
struct World<'a> {
    endpoints: &'a [Endpoint],
    namespaces: BTreeMap<&'a str, Labels>,
}

/// The two directions, in the words of `policyTypes`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Ingress,
    Egress,
}

/// The rules of all pods.
pub fn rules(
    pod_network: Ipv4Net,
    policies: &[Arc<NetworkPolicy>],
    endpoints: &[Endpoint],
    namespaces: &[Arc<Namespace>],
) -> Result<Ruleset> {
    let world = World {
        endpoints,
        namespaces: namespaces
            .iter()
            .filter_map(|namespace| {
                Some((
                    namespace.metadata.name.as_deref()?,
                    namespace.metadata.labels.clone().unwrap_or_default(),
                ))
            })
            .collect(),
    };
    let mut pods = BTreeMap::new();
    for pod in endpoints {
        let selecting = selecting(policies, pod)?;
        let rules = PodRules {
            name: format!("{}/{}", pod.namespace, pod.name),
            ingress: side(&world, pod, &selecting, Direction::Ingress)?,
            egress: side(&world, pod, &selecting, Direction::Egress)?,
        };
        pods.insert(pod.address, rules);
    }
    Ok(Ruleset { pod_network, pods })
}

/// The policies that select a pod.
fn selecting<'a>(policies: &'a [Arc<NetworkPolicy>], pod: &Endpoint) -> Result<Vec<&'a NetworkPolicy>> {
    let mut selecting = Vec::new();
    for policy in policies {
        let same_namespace = policy.metadata.namespace.as_deref() == Some(pod.namespace.as_str());
        let selector = policy.spec.as_ref().and_then(|spec| spec.pod_selector.as_ref());
        if same_namespace && selector.is_none_or_matches(&pod.labels)? {
            selecting.push(policy.as_ref());
        }
    }
    Ok(selecting)
}

/// All that the policies allow in one direction; policies only ever add.
fn side(
    world: &World<'_>,
    pod: &Endpoint,
    selecting: &[&NetworkPolicy],
    direction: Direction,
) -> Result<Side> {
    let covering: Vec<_> = selecting.iter().filter(|policy| covers(policy, direction)).collect();
    if covering.is_empty() {
        return Ok(Side::Open);
    }
    let mut allowed = BTreeSet::new();
    for policy in covering {
        let Some(spec) = &policy.spec else { continue };
        match direction {
            Direction::Ingress => {
                for rule in spec.ingress.iter().flatten() {
                    let peers = peers(world, &pod.namespace, rule.from.as_deref().unwrap_or_default())?;
                    allowed
                        .extend(allow(peers, receiver_ports(pod, rule.ports.as_deref().unwrap_or_default())));
                }
            }
            Direction::Egress => {
                for rule in spec.egress.iter().flatten() {
                    let peers = peers(world, &pod.namespace, rule.to.as_deref().unwrap_or_default())?;
                    allowed.extend(egress(world, &peers, rule.ports.as_deref().unwrap_or_default()));
                }
            }
        }
    }
    Ok(Side::Only(allowed))
}

/// Whether a policy speaks about a direction: as it says, or else ingress always and egress when it has such rules.
fn covers(policy: &NetworkPolicy, direction: Direction) -> bool {
    let Some(spec) = &policy.spec else { return false };
    match (spec.policy_types.as_deref().unwrap_or_default(), direction) {
        ([], Direction::Ingress) => true,
        ([], Direction::Egress) => spec.egress.as_ref().is_some_and(|rules| !rules.is_empty()),
        (types, Direction::Ingress) => types.iter().any(|name| name == "Ingress"),
        (types, Direction::Egress) => types.iter().any(|name| name == "Egress"),
    }
}

fn peers(world: &World<'_>, own_namespace: &str, peers: &[NetworkPolicyPeer]) -> Result<Peers> {
    if peers.is_empty() {
        return Ok(Peers::Any);
    }
    let mut blocks = BTreeSet::new();
    for peer in peers {
        if let Some(block) = &peer.ip_block {
            blocks.extend(block_of(block)?);
        } else {
            for pod in world.endpoints {
                if is_selected(world, own_namespace, peer, pod)? {
                    blocks.insert(Block::of(pod.address));
                }
            }
        }
    }
    Ok(Peers::Blocks(blocks))
}

/// A block of IPv4 addresses; pods have no others.
fn block_of(block: &IPBlock) -> Result<Option<Block>> {
    if block.cidr.contains(':') {
        return Ok(None);
    }
    let parse =
        |text: &str| text.parse::<Ipv4Net>().with_context(|| format!("{text:?} is no range of addresses"));
    let except = block.except.iter().flatten().map(|hole| parse(hole)).collect::<Result<_>>()?;
    Ok(Some(Block { network: parse(&block.cidr)?, except }))
}

fn is_selected(
    world: &World<'_>,
    own_namespace: &str,
    peer: &NetworkPolicyPeer,
    pod: &Endpoint,
) -> Result<bool> {
    let namespace = match &peer.namespace_selector {
        None => pod.namespace == own_namespace,
        Some(selector) => match world.namespaces.get(pod.namespace.as_str()) {
            Some(labels) => matches(selector, labels)?,
            None => false,
        },
    };
    Ok(namespace && peer.pod_selector.as_ref().is_none_or_matches(&pod.labels)?)
}

/// A rule that reaches nobody or no port allows nothing.
fn allow(peers: Peers, ports: Ports) -> Option<Allow> {
    let nobody = matches!(&peers, Peers::Blocks(blocks) if blocks.is_empty());
    let no_port = matches!(&ports, Ports::Ranges(ranges) if ranges.is_empty());
    (!nobody && !no_port).then_some(Allow { peers, ports })
}

/// The ports of an ingress rule: a name means the port that this receiver calls so.
fn receiver_ports(receiver: &Endpoint, ports: &[NetworkPolicyPort]) -> Ports {
    if ports.is_empty() {
        return Ports::Any;
    }
    let named =
        ports.iter().filter_map(name_of).flat_map(|(name, protocol)| named_on(receiver, name, protocol));
    Ports::Ranges(ports.iter().filter_map(range).chain(named).collect())
}

/// An egress rule: a name means another port at each receiver, so it becomes a rule for each.
fn egress(world: &World<'_>, peers: &Peers, ports: &[NetworkPolicyPort]) -> Vec<Allow> {
    if ports.is_empty() {
        return allow(peers.clone(), Ports::Any).into_iter().collect();
    }
    let by_number = Ports::Ranges(ports.iter().filter_map(range).collect());
    let mut allowed: Vec<Allow> = allow(peers.clone(), by_number).into_iter().collect();
    for receiver in world.endpoints.iter().filter(|pod| peers.include(pod)) {
        let named =
            ports.iter().filter_map(name_of).flat_map(|(name, protocol)| named_on(receiver, name, protocol));
        let only_it = Peers::Blocks(BTreeSet::from([Block::of(receiver.address)]));
        allowed.extend(allow(only_it, Ports::Ranges(named.collect())));
    }
    allowed
}

impl Peers {
    fn include(&self, pod: &Endpoint) -> bool {
        match self {
            Self::Any => true,
            Self::Blocks(blocks) => blocks.iter().any(|block| block.contains(pod.address)),
        }
    }
}

/// A port or range given by number, or all ports of a protocol.
fn range(port: &NetworkPolicyPort) -> Option<PortRange> {
    let protocol = Protocol::parse(port.protocol.as_deref())?;
    match &port.port {
        None => Some(PortRange { protocol, first: 0, last: u16::MAX }),
        Some(IntOrString::Int(first)) => {
            let last = port.end_port.unwrap_or(*first);
            Some(PortRange { protocol, first: u16::try_from(*first).ok()?, last: u16::try_from(last).ok()? })
        }
        Some(IntOrString::String(_)) => None,
    }
}

fn name_of(port: &NetworkPolicyPort) -> Option<(&str, Protocol)> {
    match &port.port {
        Some(IntOrString::String(name)) => Some((name, Protocol::parse(port.protocol.as_deref())?)),
        _ => None,
    }
}

fn named_on(receiver: &Endpoint, name: &str, protocol: Protocol) -> Vec<PortRange> {
    let so_named = receiver.ports.iter().filter(|port| port.name == name && port.protocol == protocol);
    so_named.map(|port| PortRange { protocol, first: port.number, last: port.number }).collect()
}

fn matches(selector: &LabelSelector, labels: &Labels) -> Result<bool> {
    Ok(Selector::try_from(selector.clone()).context("cannot read a label selector")?.matches(labels))
}

/// A selector that is not there selects everything, as an empty one does.
trait OptionalSelector {
    fn is_none_or_matches(&self, labels: &Labels) -> Result<bool>;
}

impl OptionalSelector for Option<&LabelSelector> {
    fn is_none_or_matches(&self, labels: &Labels) -> Result<bool> {
        self.map_or(Ok(true), |selector| matches(selector, labels))
    }
}
