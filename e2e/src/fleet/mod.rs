//! Tenantry on a cluster: installing it, tenants on it, and talking to their CRMs as a browser would.

pub mod backups;
mod crm;
mod install;
mod releases;
mod tenants;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use anyhow::{Context as _, Result};
use kube::Client;
use serde::{Deserialize, Serialize};

pub use crm::{Crm, Reply};
pub use install::install;
pub use tenants::{Waited, sign_in_link, small_tenant};

use crate::{
    cluster::{self, kubeconfig},
    host::files,
    images::TestRelease,
};

/// Environment variable that names the cluster on which the fleet tests run.
pub const CLUSTER_VARIABLE: &str = "TENANTRY_CLUSTER";

/// Tenantry, installed on a cluster. Kept in the cluster's state directory, so that tests and benchmarks find it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Installed {
    /// Name of the cluster.
    pub cluster: String,
    /// Kubeconfig of the cluster's administrator.
    pub kubeconfig: PathBuf,
    /// Loopback address that leads to the gateway.
    pub gateway: SocketAddr,
    /// Domain under which each tenant has its name.
    pub base_domain: String,
    /// Name of the `Release` object of the CRM built from this checkout.
    pub release: String,
    /// Image of the CRM, by digest.
    pub crm_image: String,
    /// Image of PostgreSQL, by digest.
    pub postgres_image: String,
    /// Images of the releases that only tests run, by digest; none unless they were asked for.
    #[serde(default)]
    pub test_images: BTreeMap<TestRelease, String>,
}

impl Installed {
    /// What was installed on the cluster of this name.
    ///
    /// # Errors
    /// When nothing was installed there yet.
    pub fn load(cluster: &str) -> Result<Self> {
        let path = Self::path(cluster)?;
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!("Tenantry is not installed on the cluster {cluster:?} ({} is not there)", path.display())
        })?;
        serde_json::from_str(&text).with_context(|| format!("cannot read {}", path.display()))
    }

    fn save(&self) -> Result<()> {
        let path = Self::path(&self.cluster)?;
        files::write_atomically(&path, &serde_json::to_vec_pretty(self)?)
    }

    fn path(cluster: &str) -> Result<PathBuf> {
        Ok(cluster::state_directory(cluster)?.join("installed.json"))
    }

    /// A client with the administrator's rights.
    pub async fn client(&self) -> Result<Client> {
        kubeconfig::client(&self.kubeconfig).await
    }

    /// A client with the rights to do what the policies protect from.
    pub async fn break_glass(&self) -> Result<Client> {
        kubeconfig::break_glass(&self.kubeconfig).await
    }

    /// Host name of a tenant under the base domain.
    pub fn host(&self, tenant: &str) -> String {
        format!("{tenant}.{}", self.base_domain)
    }

    /// Address of a tenant's CRM as a browser on this machine reaches it.
    pub fn address(&self, tenant: &str) -> String {
        format!("http://{}:{}", self.host(tenant), self.gateway.port())
    }

    /// A client that talks to a tenant's CRM through the gateway, as a browser would.
    pub fn crm(&self, tenant: &str) -> Result<Crm> {
        Crm::new(&self.host(tenant), self.gateway)
    }
}
