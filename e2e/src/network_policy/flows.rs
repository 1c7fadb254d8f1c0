//! Connections that are open although they may no longer be: the kernel checks only how they begin.

use std::{
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use anyhow::Result;
use futures::{StreamExt, stream};
use tokio::process::Command;
use tracing::info;

use super::ruleset::{Opening, Protocol, Ruleset};
use crate::host::command;

const DEADLINE: Duration = Duration::from_secs(10);
/// Connections that are ended side by side, each by a process.
const AT_ONCE: usize = 8;

/// One tracked connection.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Flow {
    /// As the client sees it: its peer may be a Service.
    original: Tuple,
    /// As the answers come: from the real receiver.
    reply: Tuple,
    protocol: Protocol,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tuple {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    source_port: u16,
    destination_port: u16,
}

impl Flow {
    fn opening(&self) -> Opening {
        Opening {
            source: self.original.source,
            destination: self.reply.source,
            protocol: self.protocol,
            port: self.reply.source_port,
        }
    }
}

/// Ends all connections that the rules forbid.
pub(super) async fn end_forbidden(ruleset: &Ruleset) -> Result<()> {
    let listed = command::run(Command::new("conntrack").args(["-L", "-f", "ipv4"]), DEADLINE).await?;
    let flows = listed.lines().filter(|line| is_alive(line)).filter_map(parse);
    let forbidden = flows.filter(|flow| !may_stay(flow, ruleset));
    stream::iter(forbidden).for_each_concurrent(AT_ONCE, end).await;
    Ok(())
}

async fn end(flow: Flow) {
    info!(?flow, "ending a connection that is no longer allowed");
    let Tuple { source, destination, source_port, destination_port } = flow.original;
    let mut delete = Command::new("conntrack");
    delete.args(["-D", "-p", flow.protocol.name()]);
    delete.args(["-s", &source.to_string(), "-d", &destination.to_string()]);
    delete.args(["--sport", &source_port.to_string(), "--dport", &destination_port.to_string()]);
    // It fails when the connection ended meanwhile.
    let _ = command::run(&mut delete, DEADLINE).await;
}

/// What is remembered of a closed connection lets no packet through.
fn is_alive(line: &str) -> bool {
    !line.split_whitespace().any(|word| word == "TIME_WAIT" || word == "CLOSE")
}

/// What the node itself opens is beyond policies.
fn may_stay(flow: &Flow, ruleset: &Ruleset) -> bool {
    ruleset.allows(&flow.opening()) || is_local(flow.original.source)
}

/// Whether an address belongs to this network namespace: only then can a socket have it.
fn is_local(address: Ipv4Addr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// One line of `conntrack -L`; none for protocols without ports.
fn parse(line: &str) -> Option<Flow> {
    let protocol = Protocol::parse(line.split_whitespace().next())?;
    let mut fields = line.split_whitespace().filter_map(|word| word.split_once('='));
    let mut tuple = || {
        let mut value = |name: &str| fields.find(|(key, _)| *key == name).map(|(_, value)| value);
        Some(Tuple {
            source: value("src")?.parse().ok()?,
            destination: value("dst")?.parse().ok()?,
            source_port: value("sport")?.parse().ok()?,
            destination_port: value("dport")?.parse().ok()?,
        })
    };
    Some(Flow { original: tuple()?, reply: tuple()?, protocol })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_to_a_service_is_judged_by_its_real_receiver() {
        let line = "tcp      6 431999 ESTABLISHED src=198.18.64.2 dst=198.19.0.7 sport=40000 dport=80 \
                    src=198.18.64.9 dst=198.18.64.2 sport=8080 dport=40000 [ASSURED] mark=0 use=1";
        let opening = Opening {
            source: [198, 18, 64, 2].into(),
            destination: [198, 18, 64, 9].into(),
            protocol: Protocol::Tcp,
            port: 8080,
        };
        assert_eq!(parse(line).unwrap().opening(), opening);
    }

    #[test]
    fn a_request_without_an_answer_is_read_too() {
        let line = "udp      17 29 src=198.18.64.2 dst=198.18.64.3 sport=5000 dport=53 [UNREPLIED] \
                    src=198.18.64.3 dst=198.18.64.2 sport=53 dport=5000 mark=0 use=1";
        assert_eq!(parse(line).unwrap().opening().port, 53);
    }

    #[test]
    fn other_protocols_are_passed_over() {
        assert_eq!(
            parse("icmp     1 29 src=1.1.1.1 dst=2.2.2.2 type=8 code=0 id=1 src=2.2.2.2 dst=1.1.1.1"),
            None
        );
        assert_eq!(parse(""), None);
    }

    #[test]
    fn loopback_is_local_and_documentation_is_not() {
        assert!(is_local(Ipv4Addr::LOCALHOST));
        assert!(!is_local([192, 0, 2, 1].into()));
    }
}
