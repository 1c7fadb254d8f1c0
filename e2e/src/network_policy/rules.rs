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
    namespaces: BTreeMap<&'a str, &'a Labels>,
}

/// A policy with its selectors resolved, once for all pods that it selects.
struct Resolved<'a> {
    namespace: &'a str,
    pods: Selector,
    /// None when the policy does not speak about the direction.
    ingress: Option<Vec<Rule<'a>>>,
    egress: Option<Vec<Rule<'a>>>,
}

/// One rule of a policy.
struct Rule<'a> {
    peers: Peers,
    ports: &'a [NetworkPolicyPort],
}

/// The rules of all pods.
pub fn rules(
    pod_network: Ipv4Net,
    policies: &[Arc<NetworkPolicy>],
    endpoints: &[Endpoint],
    namespaces: &[Arc<Namespace>],
) -> Result<Ruleset> {
    let none = Labels::new();
    let named = namespaces.iter().filter_map(|namespace| {
        let metadata = &namespace.metadata;
        Some((metadata.name.as_deref()?, metadata.labels.as_ref().unwrap_or(&none)))
    });
    let world = World { endpoints, namespaces: named.collect() };
    let policies = policies.iter().map(|policy| resolve(&world, policy)).collect::<Result<Vec<_>>>()?;
    let pods = endpoints.iter().map(|pod| (pod.address, rules_of(&world, &policies, pod))).collect();
    Ok(Ruleset { pod_network, pods })
}

/// All that the policies allow a pod; policies only ever add.
fn rules_of(world: &World<'_>, policies: &[Resolved<'_>], pod: &Endpoint) -> PodRules {
    let selecting = || {
        policies.iter().filter(|policy| policy.namespace == pod.namespace && policy.pods.matches(&pod.labels))
    };
    let side = |rules: Vec<&Vec<Rule<'_>>>, allowed: &dyn Fn(&Rule<'_>) -> Vec<Allow>| {
        if rules.is_empty() {
            Side::Open
        } else {
            Side::Only(rules.into_iter().flatten().flat_map(allowed).collect())
        }
    };
    PodRules {
        name: format!("{}/{}", pod.namespace, pod.name),
        ingress: side(selecting().filter_map(|policy| policy.ingress.as_ref()).collect(), &|rule| {
            ingress(pod, rule)
        }),
        egress: side(selecting().filter_map(|policy| policy.egress.as_ref()).collect(), &|rule| {
            egress(world, rule)
        }),
    }
}

fn resolve<'a>(world: &World<'_>, policy: &'a NetworkPolicy) -> Result<Resolved<'a>> {
    let namespace = policy.metadata.namespace.as_deref().unwrap_or_default();
    let spec = policy.spec.as_ref();
    let types = spec.and_then(|spec| spec.policy_types.as_deref()).unwrap_or_default();
    let (ingress, egress) =
        spec.map(|spec| (spec.ingress.as_deref(), spec.egress.as_deref())).unwrap_or_default();
    let (ingress, egress) = (ingress.unwrap_or_default(), egress.unwrap_or_default());
    let resolve = |peers: Option<&[NetworkPolicyPeer]>, ports: Option<&'a [NetworkPolicyPort]>| {
        let peers = self::peers(world, namespace, peers.unwrap_or_default())?;
        anyhow::Ok(Rule { peers, ports: ports.unwrap_or_default() })
    };
    // Without a word about directions: ingress always, egress when there are such rules.
    let covers = |name: &str, by_default: bool| {
        if types.is_empty() { by_default } else { types.iter().any(|known| known == name) }
    };
    let ingress = covers("Ingress", true)
        .then(|| ingress.iter().map(|rule| resolve(rule.from.as_deref(), rule.ports.as_deref())).collect())
        .transpose()?;
    let egress = covers("Egress", !egress.is_empty())
        .then(|| egress.iter().map(|rule| resolve(rule.to.as_deref(), rule.ports.as_deref())).collect())
        .transpose()?;
    let pods = selector(spec.and_then(|spec| spec.pod_selector.as_ref()))?;
    Ok(Resolved { namespace, pods, ingress, egress })
}

fn peers(world: &World<'_>, own_namespace: &str, peers: &[NetworkPolicyPeer]) -> Result<Peers> {
    if peers.is_empty() {
        return Ok(Peers::Any);
    }
    let mut blocks = BTreeSet::new();
    for peer in peers {
        match &peer.ip_block {
            Some(block) => blocks.extend(block_of(block)?),
            None => blocks.extend(selected(world, own_namespace, peer)?),
        }
    }
    Ok(Peers::Blocks(blocks))
}

/// The pods that a peer's selectors pick, in the policy's own namespace unless it selects namespaces.
fn selected(world: &World<'_>, own_namespace: &str, peer: &NetworkPolicyPeer) -> Result<Vec<Block>> {
    let pods = selector(peer.pod_selector.as_ref())?;
    let namespaces: BTreeSet<&str> = match &peer.namespace_selector {
        None => BTreeSet::from([own_namespace]),
        Some(by_labels) => {
            let by_labels = selector(Some(by_labels))?;
            let picked = world.namespaces.iter().filter(|(_, labels)| by_labels.matches(labels));
            picked.map(|(name, _)| *name).collect()
        }
    };
    let picked = world.endpoints.iter().filter(|pod| namespaces.contains(pod.namespace.as_str()));
    Ok(picked.filter(|pod| pods.matches(&pod.labels)).map(|pod| Block::of(pod.address)).collect())
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

/// A rule that reaches nobody or no port allows nothing.
fn allow(peers: Peers, ports: Ports) -> Option<Allow> {
    let nobody = matches!(&peers, Peers::Blocks(blocks) if blocks.is_empty());
    let no_port = matches!(&ports, Ports::Ranges(ranges) if ranges.is_empty());
    (!nobody && !no_port).then_some(Allow { peers, ports })
}

/// An ingress rule: a name means the port that this receiver calls so.
fn ingress(receiver: &Endpoint, rule: &Rule<'_>) -> Vec<Allow> {
    if rule.ports.is_empty() {
        return allow(rule.peers.clone(), Ports::Any).into_iter().collect();
    }
    let ranges = rule.ports.iter().filter_map(range).chain(named_on(receiver, rule.ports));
    allow(rule.peers.clone(), Ports::Ranges(ranges.collect())).into_iter().collect()
}

/// An egress rule: a name means another port at each receiver, so it becomes a rule for each.
fn egress(world: &World<'_>, rule: &Rule<'_>) -> Vec<Allow> {
    if rule.ports.is_empty() {
        return allow(rule.peers.clone(), Ports::Any).into_iter().collect();
    }
    let by_number = Ports::Ranges(rule.ports.iter().filter_map(range).collect());
    let by_name = world.endpoints.iter().filter(|pod| rule.peers.include(pod)).filter_map(|receiver| {
        let only_it = Peers::Blocks(BTreeSet::from([Block::of(receiver.address)]));
        allow(only_it, Ports::Ranges(named_on(receiver, rule.ports).collect()))
    });
    allow(rule.peers.clone(), by_number).into_iter().chain(by_name).collect()
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

/// The ports of a receiver that are meant by name.
fn named_on(receiver: &Endpoint, ports: &[NetworkPolicyPort]) -> impl Iterator<Item = PortRange> {
    let names = ports.iter().filter_map(|port| match &port.port {
        Some(IntOrString::String(name)) => Some((name, Protocol::parse(port.protocol.as_deref())?)),
        _ => None,
    });
    names.flat_map(|(name, protocol)| {
        let so_named =
            receiver.ports.iter().filter(move |port| port.name == *name && port.protocol == protocol);
        so_named.map(move |port| PortRange { protocol, first: port.number, last: port.number })
    })
}

/// A selector that is not there selects everything, as an empty one does.
fn selector(labels: Option<&LabelSelector>) -> Result<Selector> {
    Selector::try_from(labels.cloned().unwrap_or_default()).context("cannot read a label selector")
}
