//! A native cluster is started twice, loses each of its parts in turn, recovers, and goes without a trace.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::BTreeSet,
    fs,
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
const POD_PARTS: [&str; 2] = ["/coredns", "/local-path-provisioner"];
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

/// Processes of pods of this cluster only: others may run beside it.
fn in_pods(cluster: &Native) -> Vec<Process> {
    let group = format!("/{}/", cluster.layout().machine_name());
    let ours = |process: &Process| {
        fs::read_to_string(format!("/proc/{}/cgroup", process.pid))
            .is_ok_and(|groups| groups.contains(&group))
    };
    process::all().into_iter().filter(ours).collect()
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

fn on_node(cluster: &Native) -> Vec<Process> {
    let network = process::inode(&cluster.layout().netns()).unwrap();
    process::all().into_iter().filter(|process| process.network == network).collect()
}

fn supervisor(cluster: &Native) -> Process {
    let program = cluster.layout().supervisor();
    let is_it = |process: &Process| process.program == program && process.subcommand() == Some("supervise");
    process::all().into_iter().find(is_it).unwrap()
}

/// Pods do not notice when the supervisor and with it the node's parts are replaced, and addresses stay.
async fn kill_supervisor_and_resume(cluster: &Native, address: SocketAddr, image: &str) {
    let pods: BTreeSet<i32> = in_pods(cluster).iter().map(|process| process.pid).collect();
    let before = supervisor(cluster);
    process::kill_all("the supervisor", |process| *process == before).await.unwrap();
    cluster.up().await.unwrap();
    assert_ne!(supervisor(cluster).pid, before.pid);
    let after: BTreeSet<i32> = in_pods(cluster).iter().map(|process| process.pid).collect();
    assert!(pods.is_subset(&after), "pods were started again: {pods:?} became {after:?}");
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

/// What a cluster has on the machine, found without the help of what is tested.
struct Belongings {
    processes: Vec<Process>,
    namespaces: Vec<String>,
    mounts: Vec<String>,
    cgroups: Vec<std::path::PathBuf>,
    root: std::path::PathBuf,
}

impl Belongings {
    fn of(cluster: &Native) -> Self {
        let layout = cluster.layout();
        let processes: Vec<Process> =
            on_node(cluster).into_iter().chain(in_pods(cluster)).chain([supervisor(cluster)]).collect();
        let networks: BTreeSet<u64> = in_pods(cluster).iter().map(|process| process.network).collect();
        let namespaces = entries("/run/netns")
            .into_iter()
            .filter(|name| {
                let path = Path::new("/run/netns").join(name);
                *name == layout.machine_name()
                    || process::inode(&path).is_some_and(|inode| networks.contains(&inode))
            })
            .collect();
        Self {
            processes,
            namespaces,
            mounts: mounts(layout.root()),
            cgroups: cgroups(&layout.machine_name()),
            root: layout.root().to_path_buf(),
        }
    }

    fn assert_gone(&self) {
        let left: Vec<_> = self
            .processes
            .iter()
            .filter(|process| process::read(process.pid).as_ref() == Some(process))
            .collect();
        assert!(left.is_empty(), "processes left: {left:?}");
        let names = entries("/run/netns");
        assert!(self.namespaces.len() > 1, "the node and a pod have namespaces: {:?}", self.namespaces);
        let left: Vec<_> = self.namespaces.iter().filter(|name| names.contains(*name)).collect();
        assert!(left.is_empty(), "network namespaces left: {left:?}");
        assert_eq!(mounts(&self.root), Vec::<String>::new(), "mounts left");
        assert!(self.cgroups.iter().all(|group| !group.exists()), "cgroups left: {:?}", self.cgroups);
        assert!(!self.root.exists(), "state left");
    }
}

fn mounts(root: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/mounts").unwrap();
    let root = root.to_str().unwrap();
    table
        .lines()
        .filter(|line| line.split(' ').nth(1).unwrap().starts_with(root))
        .map(str::to_owned)
        .collect()
}

fn cgroups(name: &str) -> Vec<std::path::PathBuf> {
    let mount = Path::new("/sys/fs/cgroup");
    let hierarchies = entries(mount).into_iter().map(|hierarchy| mount.join(hierarchy).join(name));
    hierarchies.chain([mount.join(name)]).filter(|group| group.exists()).collect()
}

/// What several clusters share on the machine.
struct Machine {
    tables: String,
    shim_sockets: BTreeSet<String>,
    attachments: BTreeSet<String>,
    log_links: BTreeSet<String>,
}

impl Machine {
    fn look() -> Self {
        let tables = std::process::Command::new("nft").args(["list", "tables"]).output().unwrap().stdout;
        Self {
            tables: String::from_utf8(tables).unwrap(),
            shim_sockets: entries("/run/containerd/s"),
            attachments: entries("/var/lib/cni/results"),
            log_links: entries("/var/log/containers"),
        }
    }

    /// Other clusters may come and go meanwhile, so only what is certainly ours is held against it.
    fn assert_nothing_new(&self) {
        let now = Self::look();
        assert_eq!(now.tables, self.tables, "nftables on the host");
        let of_others: Vec<String> =
            process::all().into_iter().flat_map(|process| process.arguments).collect();
        if of_others.iter().any(|argument| argument.contains("containerd-shim")) {
            return;
        }
        assert_eq!(now.shim_sockets, self.shim_sockets, "sockets of containerd's shims");
        assert_eq!(now.attachments, self.attachments, "CNI's records");
        assert_eq!(now.log_links, self.log_links, "links to logs");
    }
}

fn entries(folder: impl AsRef<Path>) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
