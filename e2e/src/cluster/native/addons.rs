//! What makes a node a usable cluster: roles, DNS, volumes; and waiting until all of it works.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ContainerStatus, Node, Pod},
};
use kube::{Api, Client, api::ListParams};
use tokio::process::Command;

use super::{config, images::SystemImages, layout, layout::Layout, wait};
use crate::{
    cluster::kubeconfig,
    host::{command::run_with_input, wait::Look},
    toolchain::{self, Tool},
};

/// Deployments that have to be available: namespace, name, label of their pods.
const DEPLOYMENTS: [(&str, &str, &str); 2] = [
    ("kube-system", "coredns", "k8s-app=kube-dns"),
    ("volume-provisioner", "volume-provisioner", "app=volume-provisioner"),
];

/// Puts the objects into the cluster as soon as the API server takes them.
pub(super) async fn apply(layout: &Layout, images: &SystemImages) -> Result<()> {
    let client = kubeconfig::client(&layout.kubeconfig()).await?;
    wait(layout, "the API server", 60, "kube-apiserver")
        .until(async || {
            client.request_text(http::Request::get("/readyz").body(Vec::new())?).await?;
            Ok(Look::Done(()))
        })
        .await?;
    let mut kubectl = Command::new(toolchain::binary(Tool::Kubectl).await?);
    kubectl.arg("--kubeconfig").arg(layout.kubeconfig());
    kubectl.args([
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=tenantry-e2e",
        "--filename=-",
    ]);
    let manifests = config::manifests(layout, images)?;
    run_with_input(&mut kubectl, &manifests, Duration::from_mins(1)).await.map(|_| ())
}

/// Waits until pods can be scheduled, find names and get volumes.
pub(super) async fn wait_until_ready(layout: &Layout) -> Result<()> {
    let client = kubeconfig::client(&layout.kubeconfig()).await?;
    let nodes: Api<Node> = Api::all(client.clone());
    wait(layout, "the node to be ready", 60, "kubelet")
        .until(async || {
            let node = nodes.get(layout::NODE).await?;
            let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
            Ok(match conditions.into_iter().find(|condition| condition.type_ == "Ready") {
                Some(ready) if ready.status == "True" => Look::Done(()),
                Some(ready) => Look::NotYet(ready.message.unwrap_or_default()),
                None => Look::NotYet("registered, says nothing yet".to_owned()),
            })
        })
        .await?;
    for (namespace, name, pods) in DEPLOYMENTS {
        wait(layout, &format!("Deployment {namespace}/{name}"), 60, "kubelet")
            .until(async || look_at_deployment(&client, namespace, name, pods).await)
            .await?;
    }
    Ok(())
}

async fn look_at_deployment(client: &Client, namespace: &str, name: &str, pods: &str) -> Result<Look<()>> {
    let deployment = Api::<Deployment>::namespaced(client.clone(), namespace).get(name).await?;
    let observed = deployment.metadata.generation;
    let status = deployment.status.unwrap_or_default();
    let current = status.observed_generation == observed && status.updated_replicas.unwrap_or(0) > 0;
    if current && status.available_replicas.unwrap_or(0) > 0 {
        return Ok(Look::Done(()));
    }
    let pods =
        Api::<Pod>::namespaced(client.clone(), namespace).list(&ListParams::default().labels(pods)).await?;
    let statuses = pods.into_iter().filter_map(|pod| pod.status?.container_statuses).flatten();
    let words: Vec<String> = statuses.filter_map(|status| explain(&status)).collect();
    Ok(Look::NotYet(if words.is_empty() { "no container yet".to_owned() } else { words.join("; ") }))
}

/// Why a container does not run, with its last words.
fn explain(status: &ContainerStatus) -> Option<String> {
    let waiting = status.state.as_ref()?.waiting.as_ref();
    let reason = waiting.and_then(|waiting| waiting.reason.clone()).unwrap_or_else(|| "not ready".to_owned());
    let ended = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let words = ended.and_then(|ended| ended.message.clone()).or_else(|| waiting?.message.clone());
    Some(format!("{} {reason}: {}", status.name, words.unwrap_or_default().trim()))
}
