//! The rules of `networking.k8s.io/v1` one by one, and which pod has which address.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{World, address, namespace, object, pod, pod_network, policy, tcp};
use crate::network_policy::{
    attachments::Attachments,
    endpoints::endpoints,
    ruleset::{Opening, Protocol, Ruleset},
};

/// Two pods in `a` (1 is an app, 2 a database), one in `b` (3), under one policy in `a`.
fn world(spec: &Value) -> World {
    World {
        pods: vec![
            pod("a", "app", 1, &json!({"app": "web"}), 80),
            pod("a", "database", 2, &json!({"app": "database"}), 8080),
            pod("b", "other", 3, &json!({"app": "web"}), 80),
        ],
        namespaces: vec![namespace("a", &json!({"tenant": "a"})), namespace("b", &json!({"tenant": "b"}))],
        policies: vec![policy("a", spec)],
    }
}

/// The pairs of pods of which the first may connect to the second on port 8080.
fn open_pairs(spec: &Value) -> Vec<(u8, u8)> {
    let ruleset = world(spec).ruleset();
    let pairs = (1..=3).flat_map(|from| (1..=3).map(move |to| (from, to))).filter(|(from, to)| from != to);
    pairs.filter(|(from, to)| ruleset.allows(&tcp(address(*from), address(*to), 8080))).collect()
}

#[test]
fn policies_mean_what_the_specification_says() {
    let database = json!({"matchLabels": {"app": "database"}});
    let web = json!({"matchLabels": {"app": "web"}});
    let table = [
        ("deny all in", json!({"podSelector": {}, "policyTypes": ["Ingress"]}), vec![(1, 3), (2, 3)]),
        ("deny all out", json!({"podSelector": {}, "policyTypes": ["Egress"]}), vec![(3, 1), (3, 2)]),
        ("no types, no egress rules: ingress only", json!({"podSelector": {}}), vec![(1, 3), (2, 3)]),
        ("no types, egress rules: both", json!({"podSelector": {}, "egress": [{}]}), vec![(1, 3), (2, 3)]),
        (
            "pods of the own namespace",
            json!({"podSelector": database, "ingress": [{"from": [{"podSelector": web}]}]}),
            vec![(1, 2), (1, 3), (2, 1), (2, 3), (3, 1)],
        ),
        (
            "pods of any namespace",
            json!({"podSelector": database, "ingress": [{"from": [{"namespaceSelector": {}, "podSelector": web}]}]}),
            vec![(1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2)],
        ),
        (
            "a whole namespace by its label",
            json!({"podSelector": {}, "ingress": [{"from": [
                {"namespaceSelector": {"matchExpressions": [{"key": "tenant", "operator": "In", "values": ["b"]}]}}]}]}),
            vec![(1, 3), (2, 3), (3, 1), (3, 2)],
        ),
        (
            "a named port is the receiver's",
            json!({"podSelector": {}, "ingress": [{"ports": [{"port": "http"}]}]}),
            vec![(1, 2), (1, 3), (2, 3), (3, 2)],
        ),
        (
            "a named port going out is each receiver's",
            json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"ports": [{"port": "http"}]}]}),
            vec![(1, 2), (3, 1), (3, 2)],
        ),
        (
            "a range of ports",
            json!({"podSelector": {}, "ingress": [{"ports": [{"port": 8000, "endPort": 8079}]}]}),
            vec![(1, 3), (2, 3)],
        ),
        (
            "a block with a hole",
            json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [
                {"ipBlock": {"cidr": "198.18.64.0/24", "except": ["198.18.64.2/31"]}}]}]}),
            vec![(2, 1), (3, 1), (3, 2)],
        ),
        (
            "an IPv6 block covers no pod",
            json!({"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "::/0"}}]}]}),
            vec![(1, 3), (2, 3)],
        ),
    ];
    for (case, spec, expected) in table {
        assert_eq!(open_pairs(&spec), expected, "{case}");
    }
}

#[test]
fn other_protocols_are_not_let_in_with_tcp() {
    let ruleset = world(&json!({"podSelector": {}, "ingress": [{"ports": [{"port": 8080}]}]})).ruleset();
    let opening = |protocol| Opening { protocol, ..tcp(address(3), address(1), 8080) };
    assert!(ruleset.allows(&opening(Protocol::Tcp)));
    assert!(!ruleset.allows(&opening(Protocol::Udp)));
}

#[test]
fn a_pod_reaches_itself_whatever_policies_say() {
    let ruleset = world(&json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})).ruleset();
    assert!(ruleset.allows(&tcp(address(1), address(1), 80)));
}

#[test]
fn an_address_of_no_known_pod_neither_sends_nor_receives() {
    let ruleset = Ruleset::closed(pod_network());
    let outside = [192, 0, 2, 1].into();
    assert!(!ruleset.allows(&tcp(address(1), outside, 80)));
    assert!(!ruleset.allows(&tcp(outside, address(1), 80)));
    assert!(ruleset.allows(&tcp(outside, [192, 0, 2, 2].into(), 80)));
}

/// Number of the pod behind each endpoint, as its address and its name have it.
fn owners(pods: &[Arc<Pod>], attached: &[(u8, &str)]) -> Vec<(u8, String)> {
    let mut attachments = Attachments::new();
    for (number, uid) in attached {
        attachments.entry(address(*number)).or_default().insert((*uid).to_owned());
    }
    endpoints(pods, &attachments).into_iter().map(|pod| (pod.address.octets()[3], pod.name)).collect()
}

#[test]
fn an_address_is_known_from_cni_before_the_status_has_it() {
    let starting: Arc<Pod> = object(json!({"metadata": {"namespace": "a", "name": "new", "uid": "uid-7"}}));
    assert_eq!(owners(std::slice::from_ref(&starting), &[]), []);
    assert_eq!(owners(&[starting], &[(7, "uid-7")]), [(7, "new".to_owned())]);
}

#[test]
fn an_address_that_was_given_out_again_belongs_to_the_new_pod() {
    let old = pod("a", "old", 7, &json!({}), 80);
    let new: Arc<Pod> = object(json!({"metadata": {"namespace": "b", "name": "new", "uid": "uid-8"}}));
    assert_eq!(owners(&[old.clone(), new.clone()], &[(7, "uid-8")]), [(7, "new".to_owned())]);
    // A record of another cluster's pod says nothing about ours.
    assert_eq!(owners(&[old, new], &[(7, "uid-of-a-stranger")]), [(7, "old".to_owned())]);
}

#[test]
fn pods_that_ended_or_use_the_nodes_network_have_no_address() {
    let with = |spec: Value, phase: &str| {
        object(json!({
            "metadata": {"namespace": "a", "name": "pod", "uid": "uid-7"},
            "spec": spec,
            "status": {"phase": phase, "podIP": "198.18.64.7"},
        }))
    };
    let plain = json!({"containers": []});
    assert_eq!(owners(&[with(plain.clone(), "Running")], &[]).len(), 1);
    assert_eq!(owners(&[with(plain.clone(), "Succeeded")], &[]), []);
    assert_eq!(owners(&[with(plain, "Failed")], &[(7, "uid-7")]), []);
    assert_eq!(owners(&[with(json!({"containers": [], "hostNetwork": true}), "Running")], &[]), []);
}
