//! The parts of a native cluster and the keys by which they know each other.

use std::{net::IpAddr, path::Path};

use anyhow::Result;

use super::layout::{API, API_SERVICE, ETCD, ETCD_PEERS, Layout, NODE, NODE_ADDRESS, PODS, SERVICES};
use crate::{
    cluster::{
        kubeconfig,
        part::{Gate, Part},
        pki::{self, Leaf},
        server_parts::{self, ADMINISTRATORS, ApiServer, Authorities},
    },
    toolchain::{self, Tool},
};

/// Makes the certificates and kubeconfigs once; `api_port` is the loopback port on the host that leads to the API server.
pub(super) fn create_keys(layout: &Layout, api_port: u16) -> Result<()> {
    pki::once(&layout.path("pki"), |folder| {
        let addresses = [IpAddr::from([127, 0, 0, 1]), API_SERVICE.into(), NODE_ADDRESS.into()];
        let authorities = Authorities::create(folder, &layout.machine_name(), &addresses)?;
        let authority = &authorities.cluster;
        authority.server(NODE, &[NODE], &[NODE_ADDRESS.into()])?.write(folder, "kubelet")?;
        authority.client("kube-apiserver", None)?.write(folder, "kubelet-client")?;

        let inside = format!("https://{API}");
        let write = |path: &Path, server: &str, identity: &Leaf| {
            kubeconfig::write(path, &layout.machine_name(), server, authority.certificate(), identity)
        };
        let identities: [(&str, &str, Option<&str>); 5] = [
            ("kube-controller-manager", "system:kube-controller-manager", None),
            ("kube-scheduler", "system:kube-scheduler", None),
            ("kubelet", &format!("system:node:{NODE}"), Some("system:nodes")),
            ("kube-proxy", "system:kube-proxy", None),
            ("network-policy-agent", "network-policy-agent", None),
        ];
        for (part, user, group) in identities {
            let path = layout.path("config").join(format!("{part}.kubeconfig"));
            write(&path, &inside, &authority.client(user, group)?)?;
        }
        let administrator = authority.client("administrator", Some(ADMINISTRATORS))?;
        write(&layout.kubeconfig(), &format!("https://127.0.0.1:{api_port}"), &administrator)
    })
}

/// All parts, in the order in which `status` shows them.
pub(super) async fn all(layout: &Layout) -> Result<Vec<Part>> {
    let pki = layout.path("pki");
    let config = |part: &str| layout.path("config").join(format!("{part}.kubeconfig")).display().to_string();
    let containerd = Part::new("containerd", Path::new("/usr/bin/containerd"))
        .flag("config", layout.path("config/containerd.toml").display());
    let etcd = server_parts::etcd(
        &toolchain::binary(Tool::Etcd).await?,
        &pki,
        &layout.path("etcd"),
        ETCD,
        ETCD_PEERS,
    );
    let api_server = api_server(layout, &toolchain::binary(Tool::KubeApiserver).await?, &pki);
    let controller_manager = controller_manager(
        &toolchain::binary(Tool::KubeControllerManager).await?,
        &pki,
        &config("kube-controller-manager"),
    );
    let scheduler_config = config("kube-scheduler");
    let scheduler = Part::new("kube-scheduler", &toolchain::binary(Tool::KubeScheduler).await?)
        .flag("kubeconfig", &scheduler_config)
        .flag("authentication-kubeconfig", &scheduler_config)
        .flag("authorization-kubeconfig", &scheduler_config)
        .flag("leader-elect", false)
        .flag("bind-address", "127.0.0.1")
        .after(Gate::ApiServer);
    let kubelet = Part::new("kubelet", &toolchain::binary(Tool::Kubelet).await?)
        .flag("config", layout.path("config/kubelet.yaml").display())
        .flag("kubeconfig", config("kubelet"))
        .flag("root-dir", layout.path("kubelet").display())
        .flag("hostname-override", NODE)
        .flag("node-ip", NODE_ADDRESS)
        .after(Gate::Unix(layout.containerd_socket()))
        .after(Gate::ApiServer);
    let proxy = Part::new("kube-proxy", &toolchain::binary(Tool::KubeProxy).await?)
        .flag("config", layout.path("config/kube-proxy.yaml").display())
        .after(Gate::ApiServer);
    let agent = Part::new("network-policy-agent", &layout.supervisor())
        .arguments(["network-policy-agent"])
        .flag("kubeconfig", config("network-policy-agent"))
        .flag("pod-cidr", PODS)
        .after(Gate::ApiServer);
    Ok(vec![etcd, api_server, controller_manager, scheduler, containerd, kubelet, proxy, agent])
}

fn api_server(layout: &Layout, program: &Path, pki: &Path) -> Part {
    let server = ApiServer {
        program,
        pki,
        etcd: ETCD,
        listen: ([0, 0, 0, 0], API.port()).into(),
        advertise: NODE_ADDRESS.into(),
        services: SERVICES,
        audit_policy: &layout.path("config/audit-policy.yaml"),
        audit_log: &layout.path("logs/audit.log"),
    };
    let pki = pki.display();
    server
        .part()
        .flag("audit-log-maxsize", 100)
        .flag("audit-log-maxbackup", 2)
        .flag("kubelet-certificate-authority", format_args!("{pki}/ca.crt"))
        .flag("kubelet-client-certificate", format_args!("{pki}/kubelet-client.crt"))
        .flag("kubelet-client-key", format_args!("{pki}/kubelet-client.key"))
        .flag("kubelet-preferred-address-types", "InternalIP")
}

fn controller_manager(program: &Path, pki: &Path, kubeconfig: &str) -> Part {
    let pki = pki.display();
    Part::new("kube-controller-manager", program)
        .flag("kubeconfig", kubeconfig)
        .flag("authentication-kubeconfig", kubeconfig)
        .flag("authorization-kubeconfig", kubeconfig)
        .flag("service-account-private-key-file", format_args!("{pki}/service-account.key"))
        .flag("root-ca-file", format_args!("{pki}/ca.crt"))
        .flag("cluster-signing-cert-file", format_args!("{pki}/ca.crt"))
        .flag("cluster-signing-key-file", format_args!("{pki}/ca.key"))
        .flag("cluster-cidr", PODS)
        .flag("use-service-account-credentials", true)
        .flag("leader-elect", false)
        // There is no other node to take pods to. Without leader election this process outlives an etcd that is away, and
        // would take the node for lost before its first sign of life could be stored.
        .flag("node-monitor-grace-period", "5m")
        // A fleet of tenants is made of many objects; the default of 20 requests a second would be what is measured.
        .flag("kube-api-qps", 200)
        .flag("kube-api-burst", 400)
        .flag("bind-address", "127.0.0.1")
        .after(Gate::ApiServer)
}
