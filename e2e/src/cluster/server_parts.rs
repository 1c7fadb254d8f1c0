//! etcd and the API server, as both the native node and the bare control plane run them.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use anyhow::Result;

use super::{
    part::{Gate, Part},
    pki::{Authority, write_signing_key},
};

/// What every request leaves in the audit log.
pub(crate) const AUDIT_POLICY: &str = include_str!("../../cluster/node/audit-policy.yaml");
/// Group that the API server lets do everything, before any role exists.
pub(crate) const ADMINISTRATORS: &str = "system:masters";

/// The three authorities of a control plane.
pub(crate) struct Authorities {
    /// Signs the API server, its clients and kubelets.
    pub(crate) cluster: Authority,
    /// Signs etcd and its only client.
    pub(crate) etcd: Authority,
    /// Signs the API server as a proxy in front of other API servers.
    pub(crate) front_proxy: Authority,
}

impl Authorities {
    /// Makes the authorities and the certificates of etcd and the API server.
    pub(crate) fn create(folder: &Path, cluster: &str, addresses: &[IpAddr]) -> Result<Self> {
        let authorities = Self {
            cluster: Authority::new(&format!("{cluster}-ca"))?,
            etcd: Authority::new(&format!("{cluster}-etcd-ca"))?,
            front_proxy: Authority::new(&format!("{cluster}-front-proxy-ca"))?,
        };
        authorities.cluster.write(folder, "ca")?;
        authorities.etcd.write(folder, "etcd-ca")?;
        authorities.front_proxy.write(folder, "front-proxy-ca")?;
        let loopback = IpAddr::from([127, 0, 0, 1]);
        authorities.etcd.server("etcd", &["localhost"], &[loopback])?.write(folder, "etcd")?;
        authorities.etcd.client("kube-apiserver", None)?.write(folder, "etcd-client")?;
        authorities.front_proxy.client("front-proxy-client", None)?.write(folder, "front-proxy-client")?;
        let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        authorities.cluster.server("kube-apiserver", &names, addresses)?.write(folder, "kube-apiserver")?;
        write_signing_key(folder, "service-account")?;
        Ok(authorities)
    }
}

/// etcd, for the API server alone.
pub(crate) fn etcd(program: &Path, pki: &Path, data: &Path, clients: SocketAddr, peers: SocketAddr) -> Part {
    let pki = pki.display();
    Part::new("etcd", program)
        .flag("data-dir", data.display())
        .flag("listen-client-urls", format_args!("https://{clients}"))
        .flag("advertise-client-urls", format_args!("https://{clients}"))
        .flag("listen-peer-urls", format_args!("http://{peers}"))
        .flag("initial-advertise-peer-urls", format_args!("http://{peers}"))
        .flag("initial-cluster", format_args!("default=http://{peers}"))
        .flag("client-cert-auth", true)
        .flag("trusted-ca-file", format_args!("{pki}/etcd-ca.crt"))
        .flag("cert-file", format_args!("{pki}/etcd.crt"))
        .flag("key-file", format_args!("{pki}/etcd.key"))
        // The data need not survive the machine, and waiting for the disk is most of a write.
        .flag("unsafe-no-fsync", true)
        .flag("log-level", "warn")
}

/// What differs between API servers.
#[derive(Debug)]
pub(crate) struct ApiServer<'a> {
    /// The program.
    pub(crate) program: &'a Path,
    /// Folder of the keys.
    pub(crate) pki: &'a Path,
    /// Where etcd listens.
    pub(crate) etcd: SocketAddr,
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// The address that pods reach it at.
    pub(crate) advertise: IpAddr,
    /// Range of cluster addresses of Services.
    pub(crate) services: &'a str,
    /// What to record.
    pub(crate) audit_policy: &'a Path,
    /// Where to record it.
    pub(crate) audit_log: &'a Path,
}

impl ApiServer<'_> {
    /// The API server as a part.
    pub(crate) fn part(&self) -> Part {
        let pki = self.pki.display();
        Part::new("kube-apiserver", self.program)
            .flag("etcd-servers", format_args!("https://{}", self.etcd))
            .flag("etcd-cafile", format_args!("{pki}/etcd-ca.crt"))
            .flag("etcd-certfile", format_args!("{pki}/etcd-client.crt"))
            .flag("etcd-keyfile", format_args!("{pki}/etcd-client.key"))
            .flag("bind-address", self.listen.ip())
            .flag("secure-port", self.listen.port())
            .flag("advertise-address", self.advertise)
            .flag("tls-cert-file", format_args!("{pki}/kube-apiserver.crt"))
            .flag("tls-private-key-file", format_args!("{pki}/kube-apiserver.key"))
            .flag("client-ca-file", format_args!("{pki}/ca.crt"))
            .flag("requestheader-client-ca-file", format_args!("{pki}/front-proxy-ca.crt"))
            .flag("requestheader-allowed-names", "front-proxy-client")
            .flag("requestheader-username-headers", "X-Remote-User")
            .flag("requestheader-group-headers", "X-Remote-Group")
            .flag("requestheader-extra-headers-prefix", "X-Remote-Extra-")
            .flag("proxy-client-cert-file", format_args!("{pki}/front-proxy-client.crt"))
            .flag("proxy-client-key-file", format_args!("{pki}/front-proxy-client.key"))
            .flag("service-account-key-file", format_args!("{pki}/service-account.pub"))
            .flag("service-account-signing-key-file", format_args!("{pki}/service-account.key"))
            .flag("service-account-issuer", "https://kubernetes.default.svc")
            .flag("service-cluster-ip-range", self.services)
            .flag("authorization-mode", "Node,RBAC")
            .flag("enable-admission-plugins", "NodeRestriction")
            .flag("anonymous-auth", false)
            .flag("allow-privileged", true)
            .flag("profiling", false)
            .flag("audit-policy-file", self.audit_policy.display())
            .flag("audit-log-path", self.audit_log.display())
            // A test reads the log right after its request.
            .flag("audit-log-mode", "blocking")
            .after(Gate::Tcp(self.etcd))
    }
}
