//! Small worlds by chance: few names, so that policies meet pods.

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use super::{World, namespace, object, pod};
use crate::network_policy::ruleset::Protocol;

/// The ports that are tried: named and unnamed, inside and outside of ranges.
pub(super) const PORTS: [(Protocol, u16); 6] = [
    (Protocol::Tcp, 80),
    (Protocol::Tcp, 8080),
    (Protocol::Tcp, 8443),
    (Protocol::Udp, 53),
    (Protocol::Udp, 80),
    (Protocol::Sctp, 80),
];

/// Five pods in two namespaces under up to four policies.
pub(super) fn world() -> impl Strategy<Value = World> {
    let pods = vec((select(vec!["a", "b"]), labels(), select(vec![80_u16, 8080])), 5);
    (vec(labels(), 2), pods, vec(policy(), 0..5)).prop_map(|(namespaces, pods, policies)| World {
        namespaces: namespaces.iter().zip(["a", "b"]).map(|(labels, name)| namespace(name, labels)).collect(),
        pods: pods
            .iter()
            .zip(1..)
            .map(|((namespace, labels, http), number)| {
                pod(namespace, &format!("pod-{number}"), number, labels, *http)
            })
            .collect(),
        policies: policies.into_iter().map(object).collect(),
    })
}

fn labels() -> impl Strategy<Value = Value> {
    (option::of(select(vec!["x", "y"])), option::of(select(vec!["p", "q"]))).prop_map(|(app, tier)| {
        let pairs = [("app", app), ("tier", tier)];
        pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), json!(value?)))).collect()
    })
}

fn selector() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => Just(json!({})),
        3 => labels().prop_map(|labels| json!({"matchLabels": labels})),
        2 => (select(vec!["app", "tier"]), select(vec!["In", "NotIn"]), vec(select(vec!["x", "y", "p"]), 1..3))
            .prop_map(|(key, operator, values)| expression(&json!({"key": key, "operator": operator, "values": values}))),
        1 => (select(vec!["app", "tier"]), select(vec!["Exists", "DoesNotExist"]))
            .prop_map(|(key, operator)| expression(&json!({"key": key, "operator": operator}))),
    ]
}

fn expression(requirement: &Value) -> Value {
    json!({"matchExpressions": [requirement]})
}

fn policy() -> impl Strategy<Value = Value> {
    let types = select(vec![
        None,
        Some(json!(["Ingress"])),
        Some(json!(["Egress"])),
        Some(json!(["Ingress", "Egress"])),
    ]);
    let rules = || option::of(vec((vec(peer(), 0..3), vec(port(), 0..3)), 0..3));
    (select(vec!["a", "b"]), selector(), types, rules(), rules()).prop_map(
        |(namespace, selector, types, ingress, egress)| {
            let written = |peers: &str, rules: Option<Vec<(Vec<Value>, Vec<Value>)>>| {
                rules.map(|rules| {
                    rules
                        .into_iter()
                        .map(|(who, ports)| json!({peers: who, "ports": ports}))
                        .collect::<Vec<_>>()
                })
            };
            json!({"metadata": {"namespace": namespace, "name": "policy"}, "spec": {
                "podSelector": selector,
                "policyTypes": types,
                "ingress": written("from", ingress),
                "egress": written("to", egress),
            }})
        },
    )
}

fn peer() -> impl Strategy<Value = Value> {
    let blocks = select(vec![
        json!({"cidr": "0.0.0.0/0"}),
        json!({"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "198.18.64.2/32", "198.18.64.0/30"]}),
        json!({"cidr": "198.18.64.0/30"}),
        json!({"cidr": "198.18.64.4/32"}),
        json!({"cidr": "10.1.0.0/16", "except": ["10.1.2.0/24"]}),
    ]);
    prop_oneof![
        selector().prop_map(|pods| json!({"podSelector": pods})),
        selector().prop_map(|namespaces| json!({"namespaceSelector": namespaces})),
        (selector(), selector())
            .prop_map(|(namespaces, pods)| json!({"namespaceSelector": namespaces, "podSelector": pods})),
        blocks.prop_map(|block| json!({"ipBlock": block})),
    ]
}

fn port() -> impl Strategy<Value = Value> {
    select(vec![
        json!({"port": 80}),
        json!({"port": 80, "protocol": "UDP"}),
        json!({"port": 8080, "endPort": 8443}),
        json!({"port": 8000, "endPort": 8100}),
        json!({"port": "http"}),
        json!({"port": "dns", "protocol": "UDP"}),
        json!({"port": "http", "protocol": "UDP"}),
        json!({"protocol": "UDP"}),
        json!({"port": 80, "protocol": "SCTP"}),
    ])
}
