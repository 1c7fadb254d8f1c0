//! A second, naive reading of the specification: one connection at a time, straight from the objects.

use std::{collections::BTreeMap, net::Ipv4Addr};

use ipnet::Ipv4Net;
use k8s_openapi::{
    api::{
        core::v1::Pod,
        networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort},
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use proptest::prelude::*;

use super::{World, address, generate, pod_network};
use crate::network_policy::ruleset::{Opening, Protocol};

fn allowed(world: &World, opening: &Opening) -> bool {
    let pod_of = |address: Ipv4Addr| world.pods.iter().find(|pod| ip(pod) == address);
    let (source, destination) = (pod_of(opening.source), pod_of(opening.destination));
    let is_unknown = |address: Ipv4Addr, pod: Option<_>| pod_network().contains(&address) && pod.is_none();
    if is_unknown(opening.source, source.map(|_| ()))
        || is_unknown(opening.destination, destination.map(|_| ()))
    {
        return false;
    }
    if opening.source == opening.destination {
        return true;
    }
    let receiver = destination.map(AsRef::as_ref);
    let may_send = source.is_none_or(|pod| {
        side(world, pod, "Egress", |policy| {
            let rules = policy.spec.as_ref().unwrap().egress.iter().flatten();
            rules
                .map(|rule| (rule.to.clone().unwrap_or_default(), rule.ports.clone().unwrap_or_default()))
                .collect()
        })
        .is_none_or(|rules| {
            rules.iter().any(|rule| rule_matches(world, rule, opening.destination, receiver, opening))
        })
    });
    let may_receive = destination.is_none_or(|pod| {
        side(world, pod, "Ingress", |policy| {
            let rules = policy.spec.as_ref().unwrap().ingress.iter().flatten();
            rules
                .map(|rule| (rule.from.clone().unwrap_or_default(), rule.ports.clone().unwrap_or_default()))
                .collect()
        })
        .is_none_or(|rules| {
            rules.iter().any(|rule| rule_matches(world, rule, opening.source, receiver, opening))
        })
    });
    may_send && may_receive
}

/// A rule of either direction with the namespace of its policy.
type Rule = (String, Vec<NetworkPolicyPeer>, Vec<NetworkPolicyPort>);

/// The rules of all policies that isolate the pod in this direction; none when none does.
fn side(
    world: &World,
    pod: &Pod,
    direction: &str,
    rules: impl Fn(&NetworkPolicy) -> Vec<(Vec<NetworkPolicyPeer>, Vec<NetworkPolicyPort>)>,
) -> Option<Vec<Rule>> {
    let isolating: Vec<_> = world
        .policies
        .iter()
        .filter(|policy| policy.metadata.namespace == pod.metadata.namespace)
        .filter(|policy| {
            let selector = policy.spec.as_ref().unwrap().pod_selector.clone().unwrap_or_default();
            selects(&selector, pod.metadata.labels.as_ref())
        })
        .filter(|policy| {
            let spec = policy.spec.as_ref().unwrap();
            match &spec.policy_types {
                Some(types) if !types.is_empty() => types.iter().any(|name| name == direction),
                _ => direction == "Ingress" || !spec.egress.clone().unwrap_or_default().is_empty(),
            }
        })
        .collect();
    if isolating.is_empty() {
        return None;
    }
    let namespace = pod.metadata.namespace.clone().unwrap();
    let all = isolating.iter().flat_map(|policy| rules(policy));
    Some(all.map(|(peers, ports)| (namespace.clone(), peers, ports)).collect())
}

fn rule_matches(
    world: &World,
    (namespace, peers, ports): &Rule,
    peer: Ipv4Addr,
    receiver: Option<&Pod>,
    opening: &Opening,
) -> bool {
    let from =
        peers.is_empty() || peers.iter().any(|candidate| peer_matches(world, namespace, candidate, peer));
    let to = ports.is_empty() || ports.iter().any(|port| port_matches(port, receiver, opening));
    from && to
}

fn peer_matches(world: &World, own_namespace: &str, peer: &NetworkPolicyPeer, address: Ipv4Addr) -> bool {
    if let Some(block) = &peer.ip_block {
        let contains = |text: &String| text.parse::<Ipv4Net>().unwrap().contains(&address);
        return contains(&block.cidr) && !block.except.iter().flatten().any(contains);
    }
    let Some(pod) = world.pods.iter().find(|pod| ip(pod) == address) else { return false };
    let pod_namespace = pod.metadata.namespace.clone().unwrap();
    let in_namespace = match &peer.namespace_selector {
        None => pod_namespace == own_namespace,
        Some(selector) => world.namespaces.iter().any(|namespace| {
            namespace.metadata.name.as_ref() == Some(&pod_namespace)
                && selects(selector, namespace.metadata.labels.as_ref())
        }),
    };
    in_namespace
        && peer.pod_selector.as_ref().is_none_or(|selector| selects(selector, pod.metadata.labels.as_ref()))
}

fn port_matches(port: &NetworkPolicyPort, receiver: Option<&Pod>, opening: &Opening) -> bool {
    let protocol = match opening.protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    };
    if port.protocol.as_deref().unwrap_or("TCP") != protocol {
        return false;
    }
    let number = i32::from(opening.port);
    match &port.port {
        None => true,
        Some(IntOrString::Int(first)) => (*first..=port.end_port.unwrap_or(*first)).contains(&number),
        Some(IntOrString::String(name)) => receiver.is_some_and(|pod| {
            let containers = &pod.spec.as_ref().unwrap().containers;
            containers.iter().flat_map(|container| container.ports.iter().flatten()).any(|known| {
                known.name.as_ref() == Some(name)
                    && known.container_port == number
                    && known.protocol.as_deref().unwrap_or("TCP") == protocol
            })
        }),
    }
}

fn selects(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    let value = |key: &str| labels.and_then(|labels| labels.get(key));
    let equal = selector.match_labels.iter().flatten().all(|(key, wanted)| value(key) == Some(wanted));
    let expressions = selector.match_expressions.iter().flatten().all(|expression| {
        let listed = |value: &String| expression.values.iter().flatten().any(|candidate| candidate == value);
        match (expression.operator.as_str(), value(&expression.key)) {
            ("In", Some(value)) => listed(value),
            ("NotIn", Some(value)) => !listed(value),
            ("NotIn" | "DoesNotExist", None) | ("Exists", Some(_)) => true,
            _ => false,
        }
    });
    equal && expressions
}

fn ip(pod: &Pod) -> Ipv4Addr {
    pod.status.as_ref().unwrap().pod_ip.as_ref().unwrap().parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_ruleset_means_what_the_policies_say(world in generate::world()) {
        let ruleset = world.ruleset();
        // Pods, an address that no pod has yet, and two outside.
        let ends: Vec<Ipv4Addr> =
            (1..=5).chain([99]).map(address).chain([[10, 1, 2, 3].into(), [192, 0, 2, 1].into()]).collect();
        for source in &ends {
            for destination in &ends {
                for (protocol, port) in generate::PORTS {
                    let opening = Opening { source: *source, destination: *destination, protocol, port };
                    prop_assert_eq!(ruleset.allows(&opening), allowed(&world, &opening), "{:?}", opening);
                }
            }
        }
    }
}
