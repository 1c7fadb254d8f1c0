//! How the table is written.

use serde_json::json;

use super::{World, namespace, pod, pod_network, policy};
use crate::network_policy::{nft::render, ruleset::Ruleset};

#[test]
fn a_pod_under_policies_has_chains_of_its_own() {
    let spec = json!({
        "podSelector": {"matchLabels": {"app": "database"}},
        "ingress": [{
            "from": [
                {"podSelector": {"matchLabels": {"app": "web"}}},
                {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
            ],
            "ports": [{"port": 5432}, {"port": 6000, "endPort": 6010}, {"port": 6005, "endPort": 6020}, {"protocol": "UDP"}],
        }],
    });
    let world = World {
        pods: vec![
            pod("a", "app", 1, &json!({"app": "web"}), 80),
            pod("a", "db", 2, &json!({"app": "database"}), 80),
        ],
        namespaces: vec![namespace("a", &json!({}))],
        policies: vec![policy("a", &spec)],
    };
    let text = render(&world.ruleset());
    let ingress = text.split_once("\tchain ingress {").unwrap().1;
    let expected = r"
		ip daddr vmap { 198.18.64.1 : return, 198.18.64.2 : goto ingress-198.18.64.2 }
		drop
	}
	# a/db
	chain ingress-198.18.64.2 {
		ip saddr 198.18.64.2 return
		ip saddr { 198.18.64.1/32 } tcp dport { 5432, 6000-6020 } return
		ip saddr { 198.18.64.1/32 } meta l4proto udp return
		ip saddr { 10.0.0.0/8 } ip saddr != { 10.1.0.0/16 } tcp dport { 5432, 6000-6020 } return
		ip saddr { 10.0.0.0/8 } ip saddr != { 10.1.0.0/16 } meta l4proto udp return
		drop
	}
}
";
    assert_eq!(ingress, expected);
    assert!(
        text.contains("\t\tip saddr vmap { 198.18.64.1 : return, 198.18.64.2 : return }\n\t\tdrop"),
        "{text}"
    );
}

#[test]
fn without_pods_everything_of_the_pod_network_is_dropped() {
    let text = render(&Ruleset::closed(pod_network()));
    assert!(text.contains("\tchain egress {\n\t\tdrop\n\t}\n\tchain ingress {\n\t\tdrop\n\t}\n}"), "{text}");
}
