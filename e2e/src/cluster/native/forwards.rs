//! Loopback ports on the host that lead into the cluster. They are kept on disk, so that addresses survive the supervisor.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Mutex,
};
use tracing::{info, warn};

use super::{control::Target, layout::API, netns::Inside};
use crate::host::files;

/// A loopback port and where it leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    port: u16,
    target: Target,
}

/// The forwards on disk.
pub(super) fn read(path: &Path) -> Result<Vec<Stored>> {
    match fs::read(path) {
        Ok(content) => {
            serde_json::from_slice(&content).with_context(|| format!("{} is damaged", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn write(path: &Path, forwards: &[Stored]) -> Result<()> {
    files::write_atomically(path, &serde_json::to_vec_pretty(forwards)?)
}

/// The port for the API server: the one on disk, or a free one that is then kept.
pub(super) async fn api_port(path: &Path) -> Result<u16> {
    let mut forwards = read(path)?;
    if let Some(stored) = forwards.iter().find(|stored| stored.target == Target::ApiServer) {
        return Ok(stored.port);
    }
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?.port();
    forwards.push(Stored { port, target: Target::ApiServer });
    write(path, &forwards)?;
    Ok(port)
}

/// The open loopback ports of a running supervisor.
pub(super) struct Forwards {
    path: PathBuf,
    inside: Inside,
    client: Client,
    open: Mutex<Vec<Stored>>,
}

impl Forwards {
    /// Opens the ports that are on disk.
    pub(super) async fn open(path: PathBuf, inside: Inside, client: Client) -> Result<Arc<Self>> {
        let stored = read(&path)?;
        let forwards = Arc::new(Self { path, inside, client, open: Mutex::new(stored.clone()) });
        for Stored { port, target } in stored {
            // Without the port of the API server nothing works; another port that was taken meanwhile is said when it is asked for.
            match forwards.listen(port, &target).await {
                Ok(_) => {}
                Err(error) if target == Target::ApiServer => return Err(error),
                Err(error) => {
                    warn!("{error:#}");
                    forwards.open.lock().await.retain(|other| other.target != target);
                }
            }
        }
        Ok(forwards)
    }

    /// The loopback port that leads to `target`, opened when it is new.
    pub(super) async fn ensure(self: &Arc<Self>, target: Target, wanted: u16) -> Result<u16> {
        let mut open = self.open.lock().await;
        if let Some(stored) = open.iter().find(|stored| stored.target == target) {
            if wanted != 0 && wanted != stored.port {
                bail!("{target:?} is reached on port {} already, not on {wanted}", stored.port);
            }
            return Ok(stored.port);
        }
        let port = self.listen(wanted, &target).await?;
        open.push(Stored { port, target });
        write(&self.path, &open)?;
        Ok(port)
    }

    async fn listen(self: &Arc<Self>, port: u16, target: &Target) -> Result<u16> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| format!("cannot listen on 127.0.0.1:{port} for {target:?}"))?;
        let port = listener.local_addr()?.port();
        info!("127.0.0.1:{port} leads to {target:?}");
        let (forwards, target) = (self.clone(), target.clone());
        tokio::spawn(async move { forwards.accept(listener, target).await });
        Ok(port)
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, target: Target) {
        let address = Arc::new(Mutex::new(None));
        loop {
            let client = match listener.accept().await {
                Ok((client, _)) => client,
                // Out of file descriptors, or the client gave up while it was queued.
                Err(error) => {
                    warn!("cannot accept for {target:?}: {error}");
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            let (forwards, target, address) = (self.clone(), target.clone(), address.clone());
            tokio::spawn(async move {
                if let Err(error) = forwards.connect(client, &target, &address).await {
                    warn!("{target:?}: {error:#}");
                }
            });
        }
    }

    /// Connects a client with the address that worked last, or else with the one that the API server names now.
    async fn connect(
        &self,
        client: TcpStream,
        target: &Target,
        known: &Mutex<Option<SocketAddr>>,
    ) -> Result<()> {
        let mut client = client.into_std()?;
        let last = *known.lock().await;
        if let Some(address) = last {
            client = match self.inside.join(client, address).await? {
                Ok(()) => return Ok(()),
                Err(client) => client,
            };
        }
        let address = self.resolve(target).await?;
        match self.inside.join(client, address).await? {
            Ok(()) => *known.lock().await = Some(address),
            Err(_) => bail!("nothing answers at {address}"),
        }
        Ok(())
    }

    async fn resolve(&self, target: &Target) -> Result<SocketAddr> {
        let Target::Service { namespace, name, port } = target else { return Ok(API) };
        let service = Api::<Service>::namespaced(self.client.clone(), namespace).get(name).await?;
        let address = service.spec.and_then(|spec| spec.cluster_ip).unwrap_or_default();
        let address: IpAddr =
            address.parse().with_context(|| format!("Service {namespace}/{name} has no cluster address"))?;
        Ok(SocketAddr::new(address, *port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_port_of_the_api_server_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("forwards.json");
        let port = api_port(&path).await.unwrap();
        assert_ne!(port, 0);
        assert_eq!(api_port(&path).await.unwrap(), port);
    }
}
