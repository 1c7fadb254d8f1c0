//! The processes of a control plane, and the thread that owns them.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{net::TcpStream, process::Child, sync::oneshot};

use super::Stop;
use crate::{
    cluster::{
        kubeconfig,
        part::Part,
        server_parts::{self, AUDIT_POLICY, ApiServer},
    },
    host::wait::{Look, Wait},
    toolchain::{self, Tool},
};

/// Nothing that waits on loopback waits longer.
const DEADLINE: Duration = Duration::from_mins(1);
/// Those controllers without which deleted objects, quotas and roles would not behave as in a cluster.
const CONTROLLERS: &str = "namespace-controller,garbage-collector-controller,resourcequota-controller,\
                           serviceaccount-controller,clusterrole-aggregation-controller,\
                           validatingadmissionpolicy-status-controller,\
                           persistentvolumeclaim-protection-controller";
/// How a part is wrapped: the kernel kills it when the thread that started it ends, however that comes about.
const WRAPPER: [&str; 3] = ["setpriv", "--pdeathsig", "KILL"];

/// Loopback ports of one control plane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) api: u16,
    etcd: u16,
    etcd_peers: u16,
}

impl Ports {
    /// Three ports that are free now. All are held until all are known, so that they differ.
    pub(super) fn free() -> Result<Self> {
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let (api, etcd, peers) = (bind()?, bind()?, bind()?);
        let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
        Ok(Self { api: port(&api)?, etcd: port(&etcd)?, etcd_peers: port(&peers)? })
    }
}

/// Owns the processes; dropping it ends them.
pub(super) struct Guard {
    stop: Option<oneshot::Sender<std::convert::Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Guard {
    /// Starts the processes from a thread of their own, since they live as long as the thread that starts them.
    pub(super) async fn start(folder: &Path, kubeconfig: &Path, ports: Ports) -> Result<Self> {
        let processes = parts(folder, ports).await?;
        let (stop, stopped) = oneshot::channel();
        let (ready, result) = oneshot::channel();
        let (folder, kubeconfig) = (folder.to_path_buf(), kubeconfig.to_path_buf());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new()
            .name("control-plane".to_owned())
            .spawn(move || runtime.block_on(own(&folder, &kubeconfig, processes, ready, stopped)))?;
        let guard = Self { stop: Some(stop), thread: Some(thread) };
        result.await.context("the thread of the control plane ended")??;
        Ok(guard)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported there.
            let _ = thread.join();
        }
    }
}

struct Parts {
    etcd: Part,
    etcd_address: SocketAddr,
    api_server: Part,
    controller_manager: Part,
}

pub(super) fn log(folder: &Path, part: &str) -> PathBuf {
    folder.join(format!("{part}.log"))
}

pub(super) fn controller_manager_kubeconfig(folder: &Path) -> PathBuf {
    folder.join("kube-controller-manager.kubeconfig")
}

async fn parts(folder: &Path, ports: Ports) -> Result<Parts> {
    let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let audit_policy = folder.join("audit-policy.yaml");
    std::fs::write(&audit_policy, AUDIT_POLICY)?;
    let etcd = toolchain::binary(Tool::Etcd).await?;
    let etcd =
        server_parts::etcd(&etcd, folder, &folder.join("etcd"), local(ports.etcd), local(ports.etcd_peers));
    let api_server = ApiServer {
        program: &toolchain::binary(Tool::KubeApiserver).await?,
        pki: folder,
        etcd: local(ports.etcd),
        listen: local(ports.api),
        advertise: Ipv4Addr::LOCALHOST.into(),
        services: "198.19.0.0/16",
        audit_policy: &audit_policy,
        audit_log: &log(folder, "audit"),
    };
    let api_server = api_server
        .part()
        // The endpoint of the Service `kubernetes` may not be a loopback address, and nobody uses it here.
        .flag("endpoint-reconciler-type", "none")
        // Whoever reads the audit log wants it whole; after 100 MB another file would be begun.
        .flag("audit-log-maxsize", 100_000);
    let controller_manager =
        Part::new("kube-controller-manager", &toolchain::binary(Tool::KubeControllerManager).await?)
            .flag("kubeconfig", controller_manager_kubeconfig(folder).display())
            .flag("controllers", CONTROLLERS)
            .flag("use-service-account-credentials", true)
            .flag("service-account-private-key-file", folder.join("service-account.key").display())
            .flag("leader-elect", false)
            .flag("secure-port", 0)
            .flag("kube-api-qps", 200)
            .flag("kube-api-burst", 400);
    Ok(Parts { etcd, etcd_address: local(ports.etcd), api_server, controller_manager })
}

/// Starts the parts, says how that went, and holds them until told to stop.
async fn own(
    folder: &Path,
    kubeconfig: &Path,
    parts: Parts,
    ready: oneshot::Sender<Result<()>>,
    mut stopped: Stop,
) {
    let mut children = Vec::new();
    let started = tokio::select! {
        started = start(folder, kubeconfig, &parts, &mut children) => started,
        _ = &mut stopped => Err(anyhow::anyhow!("stopped while it started")),
    };
    let runs = started.is_ok();
    // Whoever asked may have given up meanwhile; then the sender of `stopped` is gone too.
    let _ = ready.send(started);
    if runs {
        let _ = stopped.await;
    }
    end(children).await;
}

async fn start(folder: &Path, kubeconfig: &Path, parts: &Parts, children: &mut Vec<Child>) -> Result<()> {
    let mut etcd = spawn(folder, &parts.etcd)?;
    wait(folder, "etcd")
        .until(async || {
            if let Some(status) = etcd.try_wait()? {
                return Ok(Look::Never(format!("it ended with {status}")));
            }
            Ok(Look::Done(TcpStream::connect(parts.etcd_address).await?))
        })
        .await?;
    children.push(etcd);
    let mut api_server = spawn(folder, &parts.api_server)?;
    let client = kubeconfig::client(kubeconfig).await?;
    wait(folder, "kube-apiserver")
        .until(async || {
            if let Some(status) = api_server.try_wait()? {
                return Ok(Look::Never(format!("it ended with {status}")));
            }
            Ok(Look::Done(client.request_text(http::Request::get("/readyz").body(Vec::new())?).await?))
        })
        .await?;
    children.push(api_server);
    children.push(spawn(folder, &parts.controller_manager)?);
    Ok(())
}

fn spawn(folder: &Path, part: &Part) -> Result<Child> {
    let wrapper = WRAPPER.map(str::to_owned);
    let mut command = part.command(&wrapper, &log(folder, &part.name))?;
    command
        .current_dir(folder)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", part.name))
}

fn wait(folder: &Path, part: &str) -> Wait {
    Wait::new(part, DEADLINE).explained_by(&log(folder, part))
}

/// Kills the processes and waits for them. The API server first: without etcd it would fill the log.
async fn end(children: Vec<Child>) {
    for mut child in children.into_iter().rev() {
        if let Err(error) = child.kill().await {
            tracing::warn!("cannot end a part of the control plane: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ() {
        let Ports { api, etcd, etcd_peers } = Ports::free().unwrap();
        assert!(api != etcd && etcd != etcd_peers && api != etcd_peers);
    }
}
