//! The table in the kernel: real connections between network namespaces that are wired as the CNI plugin `ptp` does it.

use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    process::Command as StdCommand,
    time::Duration,
};

use futures::future::join_all;
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use serde_json::json;
use tokio::process::Command;

use super::{World, address, generate, pod, policy, tcp};
use crate::{
    host::command,
    network_policy::{flows, nft::render, ruleset::Ruleset},
    probe::{PodNetwork, Reach},
    toolchain,
};

const PODS: u8 = 5;
const PORTS: [u16; 2] = [80, 8080];
/// A packet that is not dropped is answered in far less; so long is waited for what should not come.
const SILENCE: Duration = Duration::from_millis(250);
const DEADLINE: Duration = Duration::from_secs(10);
/// Random worlds that are tried.
const WORLDS: usize = 12;

/// A node with pods, all in namespaces that go when this is dropped.
struct Node {
    name: String,
    /// What answers in the pods.
    listeners: Vec<TcpListener>,
}

impl Drop for Node {
    fn drop(&mut self) {
        for name in (1..=PODS).map(|number| self.pod_name(number)).chain([self.name.clone()]) {
            let _ = StdCommand::new("ip").args(["netns", "del", &name]).status();
        }
    }
}

impl Node {
    async fn start(test: &str) -> Self {
        let name = format!("policy-{test}-{}", std::process::id());
        let mut node = Self { name, listeners: Vec::new() };
        node.add_namespace(&node.name.clone()).await;
        node.inside("echo 1 > /proc/sys/net/ipv4/ip_forward").await;
        for number in 1..=PODS {
            node.add_pod(number).await;
        }
        for number in 1..=PODS {
            for port in PORTS {
                let listen = move || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
                node.listeners.push(node.pod(number).run(listen).await.unwrap());
            }
        }
        node
    }

    fn pod_name(&self, number: u8) -> String {
        format!("{}-{number}", self.name)
    }

    async fn add_namespace(&self, name: &str) {
        command::run(Command::new("ip").args(["netns", "add", name]), DEADLINE).await.unwrap();
        command::run(Command::new("ip").args(["-n", name, "link", "set", "lo", "up"]), DEADLINE)
            .await
            .unwrap();
    }

    /// One link, the gateway's address at the node's end, a route to the pod alone.
    async fn add_pod(&self, number: u8) {
        let (pod, own, gateway) = (self.pod_name(number), address(number), address(254));
        self.add_namespace(&pod).await;
        let script = format!(
            "ip link add veth{number} type veth peer name eth0 netns {pod}
             ip addr add {gateway}/32 dev veth{number} && ip link set veth{number} up
             ip route add {own}/32 dev veth{number}
             ip -n {pod} addr add {own}/32 dev eth0 && ip -n {pod} link set eth0 up
             ip -n {pod} route add {gateway} dev eth0 && ip -n {pod} route add default via {gateway}"
        );
        self.inside(&script).await;
    }

    async fn inside(&self, script: &str) {
        let mut shell = Command::new("nsenter");
        shell.arg(format!("--net=/run/netns/{}", self.name)).args(["sh", "-ec", script]);
        command::run(&mut shell, DEADLINE).await.unwrap();
    }

    async fn apply(&self, ruleset: &Ruleset) {
        let mut nft = Command::new("nsenter");
        nft.arg(format!("--net=/run/netns/{}", self.name)).args(["nft", "-f", "-"]);
        let script = render(ruleset);
        command::run_with_input(&mut nft, &script, DEADLINE)
            .await
            .unwrap_or_else(|error| panic!("{error}\n{script}"));
    }

    fn pod(&self, number: u8) -> PodNetwork {
        PodNetwork::from(File::open(format!("/run/netns/{}", self.pod_name(number))).unwrap())
    }

    fn own(&self) -> PodNetwork {
        PodNetwork::from(File::open(format!("/run/netns/{}", self.name)).unwrap())
    }

    /// Whether a connection is opened; `expected` only says how long it is worth waiting.
    async fn reaches(&self, from: u8, to: Ipv4Addr, port: u16, expected: bool) -> bool {
        let deadline = if expected { DEADLINE } else { SILENCE };
        let reach = self.pod(from).connect(SocketAddr::from((to, port)), deadline).await.unwrap();
        assert_ne!(reach, Reach::Unreachable, "the test's own network is broken");
        reach == Reach::Connected
    }
}

/// Whether this machine lets the test make network namespaces.
async fn is_possible() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not tried: network namespaces need root");
        return false;
    }
    toolchain::debian_packages(&["nftables", "iproute2", "conntrack"]).await.unwrap();
    true
}

#[tokio::test]
async fn the_kernel_does_what_the_ruleset_means() {
    if !is_possible().await {
        return;
    }
    let node = Node::start("random").await;
    let mut runner = TestRunner::deterministic();
    for _ in 0..WORLDS {
        let ruleset = generate::world().new_tree(&mut runner).unwrap().current().ruleset();
        node.apply(&ruleset).await;
        let tries =
            (1..=PODS).flat_map(|from| (1..=PODS).flat_map(move |to| PORTS.map(|port| (from, to, port))));
        let outcomes = join_all(tries.map(async |(from, to, port)| {
            let expected = ruleset.allows(&tcp(address(from), address(to), port));
            (from, to, port, expected, node.reaches(from, address(to), port, expected).await)
        }));
        for (from, to, port, expected, seen) in outcomes.await {
            assert_eq!(seen, expected, "pod {from} → pod {to} port {port} under\n{}", render(&ruleset));
        }
    }
}

#[tokio::test]
async fn an_unknown_pod_reaches_nothing_and_nothing_reaches_it_but_the_node() {
    if !is_possible().await {
        return;
    }
    let node = Node::start("unknown").await;
    assert!(node.reaches(1, address(2), 80, true).await, "the test's own network is broken");
    let known = World { pods: vec![pod("a", "known", 1, &json!({}), 80)], ..World::default() };
    node.apply(&known.ruleset()).await;
    assert!(!node.reaches(1, address(2), 80, false).await);
    assert!(!node.reaches(2, address(1), 80, false).await);
    // The kubelet's probes.
    let probe = node.own().connect(SocketAddr::from((address(2), 80)), DEADLINE).await.unwrap();
    assert_eq!(probe, Reach::Connected);
}

#[tokio::test]
async fn a_pod_cannot_speak_for_another() {
    if !is_possible().await {
        return;
    }
    let node = Node::start("spoofed").await;
    let pods = (1..=3).map(|number| pod("a", &format!("pod-{number}"), number, &json!({}), 80)).collect();
    node.apply(&World { pods, ..World::default() }.ruleset()).await;
    // A datagram needs no answer, so a false sender would not keep it from arriving.
    let listen = || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 5000)).unwrap();
    let receiver = node.pod(2).run(listen).await.unwrap();
    receiver.set_read_timeout(Some(DEADLINE)).unwrap();
    let send = || UdpSocket::bind((address(1), 0)).unwrap().send_to(b"1", (address(2), 5000)).unwrap();
    node.pod(1).run(send).await.unwrap();
    let (_, sender) = receiver.recv_from(&mut [0]).unwrap();
    assert_eq!(sender.ip(), address(1));
    node.inside(&format!("ip -n {} addr add {}/32 dev eth0", node.pod_name(3), address(1))).await;
    node.pod(3).run(send).await.unwrap();
    receiver.set_read_timeout(Some(SILENCE)).unwrap();
    assert_eq!(receiver.recv_from(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_policy_also_ends_connections_that_are_open() {
    if !is_possible().await {
        return;
    }
    let node = Node::start("open").await;
    let pods =
        vec![pod("a", "client", 1, &json!({}), 80), pod("a", "server", 2, &json!({"app": "server"}), 80)];
    let mut world = World { pods, ..World::default() };
    node.apply(&world.ruleset()).await;
    let listener =
        node.pod(2).run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 7000)).unwrap()).await.unwrap();
    let mut client = node.pod(1).open(SocketAddr::from((address(2), 7000)), DEADLINE).await.unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut byte = [0];
    client.write_all(b"1").unwrap();
    server.read_exact(&mut byte).unwrap();

    world.policies = vec![policy("a", &json!({"podSelector": {"matchLabels": {"app": "server"}}}))];
    let ruleset = world.ruleset();
    node.apply(&ruleset).await;
    // conntrack speaks about the namespace in which it runs.
    let runtime = tokio::runtime::Handle::current();
    node.own().run(move || runtime.block_on(flows::end_forbidden(&ruleset))).await.unwrap().unwrap();
    server.set_read_timeout(Some(SILENCE)).unwrap();
    client.set_read_timeout(Some(SILENCE)).unwrap();
    client.write_all(b"2").unwrap();
    assert_eq!(server.read_exact(&mut byte).unwrap_err().kind(), ErrorKind::WouldBlock);
    // The server may open connections; what it sends here does not count as one.
    server.write_all(b"3").unwrap();
    assert_eq!(client.read_exact(&mut byte).unwrap_err().kind(), ErrorKind::WouldBlock);
}
