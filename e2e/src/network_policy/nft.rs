//! A ruleset as a script for `nft -f`, which replaces the table in one transaction.

use std::{collections::BTreeSet, fmt::Write as _, net::Ipv4Addr, time::Duration};

use anyhow::Result;
use ipnet::Ipv4Net;
use tokio::process::Command;

use super::{
    TABLE,
    ruleset::{Allow, Block, Peers, PortRange, Ports, Protocol, Ruleset, Side},
};
use crate::host::command;

const DEADLINE: Duration = Duration::from_secs(10);

/// Puts a script into force, in the network namespace of this process.
pub async fn apply(script: &str) -> Result<()> {
    command::run_with_input(Command::new("nft").args(["-f", "-"]), script, DEADLINE).await?;
    Ok(())
}

/// Whether the table is in force.
pub async fn is_applied() -> bool {
    command::succeeds(Command::new("nft").args(["list", "table", "inet", TABLE]), DEADLINE).await
}

/// The direction in which a chain looks.
#[derive(Clone, Copy)]
enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    /// Name of the chain and the map, and prefix of the pods' own chains.
    fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    /// Where a packet names the pod whose rules are asked, and where its peer.
    fn own_and_peer(self) -> (&'static str, &'static str) {
        match self {
            Self::Ingress => ("ip daddr", "ip saddr"),
            Self::Egress => ("ip saddr", "ip daddr"),
        }
    }
}

/// The whole table.
///
/// - A chain of a pod *returns* what is allowed: `accept` would end the hook before the other end's rules are asked.
/// - Connections that are open go on; `flows` ends those that a change forbids. TCP that starts in the middle is no
///   connection: the reply to one that was ended would otherwise open it anew, in the direction that is allowed.
/// - Pods have IPv4 addresses only; by IPv6 they could talk to the node past all rules.
pub fn render(ruleset: &Ruleset) -> String {
    let network = ruleset.pod_network;
    let mut text = format!(
        r#"table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
	chain spoofed {{
		type filter hook prerouting priority raw; policy accept;
		iifname "veth*" meta nfproto ipv6 drop
		iifname "veth*" fib saddr . iif oif missing drop
	}}
	chain forward {{
		type filter hook forward priority filter; policy accept;
		ct state established,related accept
		ip saddr {network} jump opening
		ip daddr {network} jump opening
		ip saddr {network} jump egress
		ip daddr {network} jump ingress
	}}
	chain input {{
		type filter hook input priority filter; policy accept;
		iifname "lo" accept
		ct state established,related accept
		ip saddr {network} jump opening
		ip saddr {network} jump egress
	}}
	chain opening {{
		ct state invalid drop
		tcp flags & (fin | syn | rst | ack) != syn drop
	}}
"#
    );
    for direction in [Direction::Egress, Direction::Ingress] {
        dispatch(&mut text, ruleset, direction);
        for (address, pod) in &ruleset.pods {
            if let Side::Only(allowed) = pod.side(direction) {
                pod_chain(&mut text, direction, *address, &pod.name, allowed);
            }
        }
    }
    text.push_str("}\n");
    text
}

impl super::ruleset::PodRules {
    fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

/// The chain that leads to each pod's own. `goto`, so that a pod's `return` leaves this chain too.
fn dispatch(text: &mut String, ruleset: &Ruleset, direction: Direction) {
    let (name, (own, _)) = (direction.name(), direction.own_and_peer());
    let verdicts: Vec<String> = ruleset
        .pods
        .iter()
        .map(|(address, pod)| match pod.side(direction) {
            Side::Open => format!("{address} : return"),
            Side::Only(_) => format!("{address} : goto {name}-{address}"),
        })
        .collect();
    line(text, 1, &format!("chain {name} {{"));
    if !verdicts.is_empty() {
        line(text, 2, &format!("{own} vmap {{ {} }}", verdicts.join(", ")));
    }
    line(text, 2, "drop");
    line(text, 1, "}");
}

fn pod_chain(text: &mut String, direction: Direction, own: Ipv4Addr, name: &str, allowed: &BTreeSet<Allow>) {
    let (_, peer) = direction.own_and_peer();
    line(text, 1, &format!("# {name}"));
    line(text, 1, &format!("chain {}-{own} {{", direction.name()));
    line(text, 2, &format!("{peer} {own} return"));
    for allow in allowed {
        for from in peer_matches(peer, &allow.peers) {
            for to in port_matches(&allow.ports) {
                line(text, 2, format!("{from} {to} return").trim_start());
            }
        }
    }
    line(text, 2, "drop");
    line(text, 1, "}");
}

/// What to look for in the peer's address: one match for all plain ranges, one for each range with holes.
fn peer_matches(peer: &str, peers: &Peers) -> Vec<String> {
    let Peers::Blocks(blocks) = peers else { return vec![String::new()] };
    let (plain, with_holes): (Vec<&Block>, Vec<&Block>) =
        blocks.iter().partition(|block| block.except.is_empty());
    let mut matches: Vec<String> = Vec::new();
    if !plain.is_empty() {
        matches.push(address_match(peer, "", plain.iter().map(|block| block.network)));
    }
    matches.extend(with_holes.iter().map(|block| {
        let inside = address_match(peer, "", [block.network]);
        format!("{inside} {}", address_match(peer, "!= ", block.except.iter().copied()))
            .trim_start()
            .to_owned()
    }));
    matches
}

/// Ranges that overlap are merged: nftables refuses them in one set. All addresses need no match.
fn address_match(peer: &str, operator: &str, networks: impl IntoIterator<Item = Ipv4Net>) -> String {
    let merged = Ipv4Net::aggregate(&networks.into_iter().collect());
    if operator.is_empty() && merged.iter().any(|network| network.prefix_len() == 0) {
        return String::new();
    }
    let merged: Vec<String> = merged.iter().map(ToString::to_string).collect();
    format!("{peer} {operator}{{ {} }}", merged.join(", "))
}

fn port_matches(ports: &Ports) -> Vec<String> {
    let Ports::Ranges(ranges) = ports else { return vec![String::new()] };
    [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
        .into_iter()
        .filter_map(|protocol| {
            let merged = merge(ranges.iter().filter(|range| range.protocol == protocol));
            let name = protocol.name();
            match merged.as_slice() {
                [] => None,
                [(0, u16::MAX)] => Some(format!("meta l4proto {name}")),
                ranges => {
                    let written = ranges.iter().map(|(first, last)| {
                        if first == last { first.to_string() } else { format!("{first}-{last}") }
                    });
                    Some(format!("{name} dport {{ {} }}", written.collect::<Vec<_>>().join(", ")))
                }
            }
        })
        .collect()
}

/// Ranges without overlaps, in order.
fn merge<'a>(ranges: impl Iterator<Item = &'a PortRange>) -> Vec<(u16, u16)> {
    // The set is ordered by protocol and first port.
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some((_, last)) if range.first <= last.saturating_add(1) => *last = range.last.max(*last),
            _ => merged.push((range.first, range.last)),
        }
    }
    merged
}

fn line(text: &mut String, depth: usize, content: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{}{content}", "\t".repeat(depth));
}
