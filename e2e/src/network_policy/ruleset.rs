//! What each pod may receive and send, by address: the policies' meaning without their words.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;

/// The rules of all known pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    /// Addresses from which pods get theirs. One that is missing in `pods` can neither send nor receive.
    pub pod_network: Ipv4Net,
    /// Rules by the pod's address.
    pub pods: BTreeMap<Ipv4Addr, PodRules>,
}

/// The rules of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRules {
    /// Namespace and name, for people.
    pub name: String,
    /// What may reach the pod.
    pub ingress: Side,
    /// What the pod may reach.
    pub egress: Side,
}

/// One direction of a pod's traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// No policy covers it.
    Open,
    /// Only this, and the pod itself.
    Only(BTreeSet<Allow>),
}

/// Peers that are allowed on ports. Ports are always those of the receiver.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Allow {
    /// The other end.
    pub peers: Peers,
    /// Where the receiver listens.
    pub ports: Ports,
}

/// The other ends of allowed traffic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peers {
    /// Everybody.
    Any,
    /// These addresses.
    Blocks(BTreeSet<Block>),
}

/// A range of addresses with holes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block {
    /// The range.
    pub network: Ipv4Net,
    /// The holes.
    pub except: BTreeSet<Ipv4Net>,
}

/// The receiver's ports of allowed traffic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ports {
    /// Every port of every protocol.
    Any,
    /// These ranges.
    Ranges(BTreeSet<PortRange>),
}

/// Ports of a protocol, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the fields say it")]
pub struct PortRange {
    pub protocol: Protocol,
    pub first: u16,
    pub last: u16,
}

/// The protocols that NetworkPolicies know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the protocols' own names")]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// The name that nftables and conntrack use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// The protocol of a policy or a container port, where TCP is the default.
    pub fn parse(name: Option<&str>) -> Option<Self> {
        match name.unwrap_or("TCP") {
            "TCP" | "tcp" => Some(Self::Tcp),
            "UDP" | "udp" => Some(Self::Udp),
            "SCTP" | "sctp" => Some(Self::Sctp),
            _ => None,
        }
    }
}

/// A packet that opens a connection, with the receiver's real address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields say it")]
pub struct Opening {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub protocol: Protocol,
    pub port: u16,
}

impl Ruleset {
    /// Rules that know no pod yet.
    pub fn closed(pod_network: Ipv4Net) -> Self {
        Self { pod_network, pods: BTreeMap::new() }
    }

    /// Whether a connection may be opened.
    pub fn allows(&self, opening: &Opening) -> bool {
        let side = |address: Ipv4Addr, direction: fn(&PodRules) -> &Side| match self.pods.get(&address) {
            Some(pod) => direction(pod).allows(opening, address),
            None => !self.pod_network.contains(&address),
        };
        side(opening.source, |pod| &pod.egress) && side(opening.destination, |pod| &pod.ingress)
    }
}

impl Side {
    /// Whether the side of the pod with this address lets the packet through.
    fn allows(&self, opening: &Opening, own: Ipv4Addr) -> bool {
        let peer = if own == opening.source { opening.destination } else { opening.source };
        match self {
            Self::Open => true,
            Self::Only(allowed) => peer == own || allowed.iter().any(|allow| allow.covers(peer, opening)),
        }
    }
}

impl Allow {
    fn covers(&self, peer: Ipv4Addr, opening: &Opening) -> bool {
        let peers = match &self.peers {
            Peers::Any => true,
            Peers::Blocks(blocks) => blocks.iter().any(|block| block.contains(peer)),
        };
        peers
            && match &self.ports {
                Ports::Any => true,
                Ports::Ranges(ranges) => {
                    ranges.iter().any(|range| range.contains(opening.protocol, opening.port))
                }
            }
    }
}

impl Block {
    /// The block of one address.
    pub fn of(address: Ipv4Addr) -> Self {
        Self { network: address.into(), except: BTreeSet::new() }
    }

    /// Whether an address lies in the block and in none of its holes.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.network.contains(&address) && !self.except.iter().any(|hole| hole.contains(&address))
    }
}

impl PortRange {
    /// Whether a port lies in the range.
    pub fn contains(&self, protocol: Protocol, port: u16) -> bool {
        self.protocol == protocol && self.first <= port && port <= self.last
    }
}
