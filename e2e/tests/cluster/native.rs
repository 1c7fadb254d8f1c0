//! A native cluster is started twice, loses each of its parts in turn, recovers, and goes without a trace.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use e2e::{
    cluster::{
        Cluster, Forward, kubeconfig,
        native::{Native, program_image},
    },
    host::{
        process::{self, Process},
        wait::{Look, Wait},
    },
    toolchain::Tool,
};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams},
};
use rustix::process::Signal;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::machine::{Belongings, Machine, in_pods, on_node, supervisor};

const NAME: &str = "self-test";
/// Parts that the supervisor runs.
const PARTS: [&str; 8] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
    "network-policy-agent",
];
/// Programs in pods of the node's own.
const POD_PARTS: [&str; 2] = ["/coredns", "/volume-provisioner"];
/// Within this time everything has recovered from anything.
const RECOVERY: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_survives_the_death_of_each_part_and_goes_without_a_trace() {
    kubeconfig::install_crypto();
    let cluster = Native::new(NAME).unwrap();
    cluster.down().await.unwrap();
    let before = Machine::look();

    cluster.up().await.unwrap();
    let node = node_uid(&cluster).await;
    let again = Instant::now();
    cluster.up().await.unwrap();
    println!("the second `up` took {:.1} s", again.elapsed().as_secs_f32());
    assert_eq!(node_uid(&cluster).await, node, "the second `up` made another cluster");

    let image = program_image("resolve", Tool::Resolve).await.unwrap();
    cluster.load_images(std::slice::from_ref(&image)).await.unwrap();
    let image = image.reference();
    pod_finds_a_name(&cluster, &image, "at-first").await;
    let address = forward_to_dns_health(&cluster).await;
    assert!(get(address, "/health").await.unwrap().contains("OK"));

    for part in PARTS {
        kill_part(&cluster, part).await;
        pod_finds_a_name(&cluster, &image, &format!("after-{part}")).await;
    }
    for program in POD_PARTS {
        kill_in_pods(&cluster, program).await;
        pod_finds_a_name(&cluster, &image, &format!("after-{}", program.trim_start_matches('/'))).await;
    }

    kill_supervisor_and_resume(&cluster, address, &image).await;
    kill_everything_and_resume(&cluster, address, &image).await;

    let belongings = Belongings::of(&cluster);
    assert!(
        !belongings.processes.is_empty() && !belongings.cgroups.is_empty() && !belongings.mounts.is_empty()
    );
    let start = Instant::now();
    cluster.down().await.unwrap();
    println!("`down` took {:.1} s", start.elapsed().as_secs_f32());
    assert_eq!(cluster.leftovers(), Vec::<String>::new());
    belongings.assert_gone();
    before.assert_nothing_new();
    assert_eq!(cluster.status().await.unwrap(), [("supervisor".to_owned(), "down".to_owned())]);
}

async fn client(cluster: &Native) -> Client {
    kubeconfig::client(cluster.kubeconfig()).await.unwrap()
}

async fn node_uid(cluster: &Native) -> String {
    let nodes = Api::<Node>::all(client(cluster).await).list(&ListParams::default()).await.unwrap();
    assert_eq!(nodes.items.len(), 1);
    nodes.items[0].metadata.uid.clone().unwrap()
}

/// A new pod is scheduled, started, connected and served by DNS; nearly every part takes part in that.
async fn pod_finds_a_name(cluster: &Native, image: &str, name: &str) {
    let start = Instant::now();
    let pods: Api<Pod> = Api::namespaced(client(cluster).await, "default");
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "OnFailure",
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "resolve",
                "image": image,
                "imagePullPolicy": "Never",
                "args": ["kubernetes.default.svc.cluster.local"],
            }],
        },
    }))
    .unwrap();
    Wait::new(format!("pod {name} to be taken"), RECOVERY)
        .until(async || match pods.create(&PostParams::default(), &pod).await {
            Ok(_) => Ok(Look::Done(())),
            // The answer to an earlier try was lost.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Look::Done(())),
            Err(error) => Err(error.into()),
        })
        .await
        .unwrap();
    Wait::new(format!("pod {name} to find a name"), RECOVERY)
        .until(async || {
            let status = pods.get(name).await?.status.unwrap_or_default();
            let statuses = status.container_statuses.unwrap_or_default();
            let ended = statuses.into_iter().find_map(|status| status.state?.terminated);
            Ok(match ended {
                Some(end) if end.exit_code == 0 => Look::Done(()),
                _ => Look::NotYet(status.phase.unwrap_or_default()),
            })
        })
        .await
        .unwrap();
    pods.delete(name, &DeleteParams::default()).await.unwrap();
    println!("{name}: a new pod works after {:.1} s", start.elapsed().as_secs_f32());
}

/// Makes a Service for CoreDNS's health page and a forward to it.
async fn forward_to_dns_health(cluster: &Native) -> SocketAddr {
    let services: Api<Service> = Api::namespaced(client(cluster).await, "kube-system");
    let service = serde_json::from_value(json!({
        "metadata": {"name": "dns-health"},
        "spec": {"selector": {"k8s-app": "kube-dns"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }))
    .unwrap();
    services.create(&PostParams::default(), &service).await.unwrap();
    let forward = Forward {
        namespace: "kube-system".to_owned(),
        service: "dns-health".to_owned(),
        port: 80,
        local_port: 0,
    };
    let address = cluster.forward(&forward).await.unwrap();
    assert_eq!(cluster.forward(&forward).await.unwrap(), address, "asking again gives the same address");
    address
}

async fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    Wait::new(format!("{address}{path}"), RECOVERY)
        .until(async || {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok(if answer.is_empty() {
                Look::NotYet("an empty answer".to_owned())
            } else {
                Look::Done(answer)
            })
        })
        .await
}

/// Kills a part and waits until the supervisor runs another process for it.
async fn kill_part(cluster: &Native, part: &str) {
    let before = running(cluster, part).await;
    process::signal(&before, Signal::KILL).unwrap();
    Wait::new(format!("{part} to run again"), RECOVERY)
        .until(async || {
            let now = state(cluster, part).await?;
            let again = pid(&now).is_some_and(|pid| pid != before.pid);
            Ok(if again { Look::Done(()) } else { Look::NotYet(now) })
        })
        .await
        .unwrap();
}

async fn state(cluster: &Native, part: &str) -> anyhow::Result<String> {
    let parts = cluster.status().await?;
    Ok(parts.into_iter().find(|(name, _)| name == part).map(|(_, state)| state).unwrap_or_default())
}

/// The process of a part, from a state such as `running, pid 42, 1 restarts`.
fn pid(state: &str) -> Option<i32> {
    state.split(", ").find_map(|word| word.strip_prefix("pid ")?.parse().ok())
}

async fn running(cluster: &Native, part: &str) -> Process {
    Wait::new(format!("{part} to run"), RECOVERY)
        .until(async || {
            let now = state(cluster, part).await?;
            Ok(match pid(&now).and_then(process::read) {
                Some(process) => Look::Done(process),
                None => Look::NotYet(now),
            })
        })
        .await
        .unwrap()
}

async fn kill_in_pods(cluster: &Native, program: &str) {
    let of_program = || in_pods(cluster).into_iter().find(|process| process.program == Path::new(program));
    let before = of_program().unwrap();
    process::signal(&before, Signal::KILL).unwrap();
    Wait::new(format!("{program} to run again"), RECOVERY)
        .until(async || {
            Ok(match of_program() {
                Some(process) if process.pid != before.pid => Look::Done(()),
                _ => Look::NotYet("not there".to_owned()),
            })
        })
        .await
        .unwrap();
}

/// Processes of the pods that do not end by themselves.
fn lasting_pods(cluster: &Native) -> Vec<Process> {
    let lasting = |process: &Process| POD_PARTS.iter().any(|program| process.program == Path::new(program));
    in_pods(cluster).into_iter().filter(lasting).collect()
}

/// Pods do not notice when the supervisor and with it the node's parts are replaced, and addresses stay.
async fn kill_supervisor_and_resume(cluster: &Native, address: SocketAddr, image: &str) {
    let pods = lasting_pods(cluster);
    let before = supervisor(cluster);
    process::kill_all("the supervisor", |process| *process == before).await.unwrap();
    cluster.up().await.unwrap();
    assert_ne!(supervisor(cluster).pid, before.pid);
    assert_eq!(lasting_pods(cluster), pods, "pods were started again");
    assert!(get(address, "/health").await.unwrap().contains("OK"));
    pod_finds_a_name(cluster, image, "after-the-supervisor").await;
}

/// As after a crash of the machine, but for the network namespace.
async fn kill_everything_and_resume(cluster: &Native, address: SocketAddr, image: &str) {
    let before = supervisor(cluster);
    process::kill_all("the supervisor", |process| *process == before).await.unwrap();
    let ours: BTreeSet<i32> =
        on_node(cluster).into_iter().chain(in_pods(cluster)).map(|process| process.pid).collect();
    process::kill_all("all processes of the cluster", |process| ours.contains(&process.pid)).await.unwrap();
    cluster.up().await.unwrap();
    assert!(get(address, "/health").await.unwrap().contains("OK"));
    pod_finds_a_name(cluster, image, "after-everything").await;
}
