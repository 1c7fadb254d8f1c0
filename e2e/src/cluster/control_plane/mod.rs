//! A real API server without nodes, for tests: it starts in two seconds, needs no root, and several run side by side.
//!
//! etcd, the API server (audit log on) and those controllers without which objects do not go away. What nodes would do is
//! done by a [`StandIn`], as the test's script says.

pub(super) mod audit;
mod processes;
mod stand_in;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kube::Client;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::{kubeconfig, server_parts::Authorities};
use crate::toolchain::{self, Module};

pub use self::{
    audit::{AuditEvent, AuditTail},
    stand_in::{BACKUP, Outcome, RESTORED, StandIn, Traffic, Workload},
};

/// Name of the cluster in kubeconfigs.
const CONTEXT: &str = "control-plane";

/// A running control plane; dropping it ends it and removes its state, and so does the death of this process.
pub struct ControlPlane {
    folder: TempDir,
    authorities: Authorities,
    server: String,
    kubeconfig: PathBuf,
    guard: processes::Guard,
}

impl ControlPlane {
    /// Starts a control plane of its own for the caller.
    pub async fn start() -> Result<Self> {
        toolchain::ensure(&[Module::Etcd, Module::Kubernetes]).await?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            match Self::try_start().await {
                // Between being found free and being used, a port can go to somebody else.
                Err(error) if attempts < 3 && format!("{error:#}").contains("address already in use") => {}
                result => return result,
            }
        }
    }

    async fn try_start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("tenantry-control-plane-").tempdir()?;
        let loopback = [std::net::IpAddr::from([127, 0, 0, 1])];
        let authorities = Authorities::create(folder.path(), CONTEXT, &loopback)?;
        let ports = processes::Ports::free()?;
        let server = format!("https://127.0.0.1:{}", ports.api);
        let kubeconfig = folder.path().join("kubeconfig");
        let authority = &authorities.cluster;
        let administrator = authority.client("administrator", Some(super::server_parts::ADMINISTRATORS))?;
        kubeconfig::write(&kubeconfig, CONTEXT, &server, authority.certificate(), &administrator)?;
        let controllers = authority.client("system:kube-controller-manager", None)?;
        let path = processes::controller_manager_kubeconfig(folder.path());
        kubeconfig::write(&path, CONTEXT, &server, authority.certificate(), &controllers)?;
        let guard = processes::Guard::start(folder.path(), &kubeconfig, ports).await?;
        Ok(Self { folder, authorities, server, kubeconfig, guard })
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client with all rights. It belongs to the calling runtime: a client must not outlive the runtime it was made in.
    pub async fn client(&self) -> Result<Client> {
        kubeconfig::client(&self.kubeconfig).await
    }

    /// A kubeconfig for somebody else, known to the API server by name and group. Service accounts have names and groups too:
    /// see [`ControlPlane::kubeconfig_for_service_account`].
    pub fn kubeconfig_for(&self, user: &str, group: Option<&str>) -> Result<PathBuf> {
        let authority = &self.authorities.cluster;
        let identity = authority.client(user, group)?;
        let path = self.folder.path().join(format!("{}.kubeconfig", user.replace([':', '/'], "-")));
        kubeconfig::write(&path, CONTEXT, &self.server, authority.certificate(), &identity)?;
        Ok(path)
    }

    /// A kubeconfig with the rights of a service account. It lacks the group of all service accounts, to which Kubernetes
    /// grants nothing but the discovery of the token issuer.
    pub fn kubeconfig_for_service_account(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let user = format!("system:serviceaccount:{namespace}:{name}");
        self.kubeconfig_for(&user, Some(&format!("system:serviceaccounts:{namespace}")))
    }

    /// A client with exactly the rights of a service account.
    pub async fn client_as_service_account(&self, namespace: &str, name: &str) -> Result<Client> {
        kubeconfig::client(&self.kubeconfig_for_service_account(namespace, name)?).await
    }

    /// The log of all requests; an event is there before its request is answered.
    pub fn audit_log(&self) -> PathBuf {
        processes::log(self.folder.path(), "audit")
    }

    /// All requests so far. To look at a stretch of time only, remember how many there were at its start.
    pub fn audit_events(&self) -> Result<Vec<AuditEvent>> {
        audit::read(&self.audit_log())
    }

    /// Ends the control plane and waits until it is gone; dropping it does the same while blocking the thread.
    pub async fn stop(self) -> Result<()> {
        let Self { folder, guard, .. } = self;
        tokio::task::spawn_blocking(move || {
            drop(guard);
            folder.close()
        })
        .await?
        .context("cannot remove the state of the control plane")
    }
}

impl std::fmt::Debug for ControlPlane {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ControlPlane").field("server", &self.server).finish_non_exhaustive()
    }
}

/// Told to a thread by dropping the sender.
type Stop = oneshot::Receiver<std::convert::Infallible>;
