//! Clusters to run on, behind one small trait.

mod choice;
pub mod control_plane;
mod existing;
mod kind;
pub mod kubeconfig;
pub mod native;
mod part;
mod pki;
pub mod port_forward;
mod program;
mod programs;
pub(crate) mod server_parts;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Result;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, ResourceExt, api::ListParams};

pub use choice::{AnyCluster, Choice, Provider, choose, state_directory};
pub use control_plane::ControlPlane;

/// An image archive on disk, ready to be put on a cluster.
#[derive(Clone, Debug)]
pub struct ImageArchive {
    /// OCI archive (tar) with one image.
    pub path: PathBuf,
    /// Repository name the image gets on the cluster, for example `docker.io/tenantry/crm-app`.
    pub repository: String,
    /// Manifest digest, `sha256:` and 64 hexadecimal digits.
    pub digest: String,
}

impl ImageArchive {
    /// The immutable reference by which pods name the image.
    pub fn reference(&self) -> String {
        format!("{}@{}", self.repository, self.digest)
    }
}

/// A loopback address that leads to a Service in the cluster.
#[derive(Clone, Debug)]
pub struct Forward {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub service: String,
    /// Port of the Service.
    pub port: u16,
    /// Port on 127.0.0.1; 0 takes a free one.
    pub local_port: u16,
}

/// A Kubernetes cluster that the demo and the end-to-end tests run on.
///
/// Every call is idempotent, has a deadline, and fails with what it waited for.
pub trait Cluster {
    /// Starts the cluster, or what is missing of it.
    fn up(&self) -> impl Future<Output = Result<()>>;
    /// Stops the cluster and removes everything that `up` made.
    fn down(&self) -> impl Future<Output = Result<()>>;
    /// One line per part: name and state.
    fn status(&self) -> impl Future<Output = Result<Vec<(String, String)>>>;
    /// The administrator's kubeconfig, valid from this host.
    fn kubeconfig(&self) -> &Path;
    /// How pods of this cluster name an image.
    fn image_reference(&self, image: &ImageArchive) -> String {
        image.reference()
    }
    /// Puts images where the nodes find them, under their digest.
    fn load_images(&self, images: &[ImageArchive]) -> impl Future<Output = Result<()>>;
    /// Makes a Service reachable on the loopback interface until `down`; asking again for the same returns the same address.
    fn forward(&self, forward: &Forward) -> impl Future<Output = Result<SocketAddr>>;
}

/// The nodes of a cluster of which only the API is ours to see.
async fn nodes_status(kubeconfig: &Path) -> Result<Vec<(String, String)>> {
    let nodes = Api::<Node>::all(kubeconfig::client(kubeconfig).await?).list(&ListParams::default()).await?;
    let state = |node: &Node| {
        let conditions =
            node.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
        let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
        match ready {
            Some(ready) if ready.status == "True" => "ready".to_owned(),
            Some(ready) => format!("not ready: {}", ready.message.as_deref().unwrap_or_default()),
            None => "not ready".to_owned(),
        }
    };
    Ok(nodes.iter().map(|node| (format!("node {}", node.name_any()), state(node))).collect())
}
