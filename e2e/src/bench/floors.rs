//! What the cluster itself costs: the floors that onboarding is measured against.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Namespace, Pod},
};
use kube::{Api, Client, api::PostParams, runtime::wait::await_condition};
use serde_json::{Value, json};
use tokio::{process::Command, time::timeout};

use super::{copy, milestones};
use crate::{fleet::Installed, toolchain};

const DEADLINE: Duration = Duration::from_mins(2);
/// `initdb` and the server as in a tenant's database pod, without anything of ours.
const INITDB_AND_SERVE: &str = "initdb -D /data/pg --no-sync -U postgres >/dev/null && \
    exec postgres -D /data/pg -c unix_socket_directories=/tmp -c listen_addresses=*";

/// A namespace for one measurement.
pub(super) async fn namespace(client: &Client, name: &str) -> Result<()> {
    let namespace = Namespace {
        metadata: kube::core::ObjectMeta { name: Some(name.into()), ..Default::default() },
        ..Default::default()
    };
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let created = namespaces.create(&PostParams::default(), &namespace).await;
    created.map(drop).with_context(|| format!("cannot create namespace {name}"))
}

/// A pod whose image is on the node, from POST to Ready.
pub(super) async fn bare_pod(client: &Client, namespace: &str, image: &str) -> Result<Duration> {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "name": "floor" },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{ "name": "floor", "image": image, "command": ["sleep", "infinity"] }],
        },
    }))?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let begun = Instant::now();
    pods.create(&PostParams::default(), &pod).await?;
    ready(pods, "floor").await?;
    Ok(begun.elapsed())
}

/// A StatefulSet with a new volume and `initdb`, from POST until its server accepts connections.
pub(super) async fn stateful_set(client: &Client, namespace: &str, image: &str) -> Result<Duration> {
    let probe = json!({ "exec": { "command": ["pg_isready", "-h", "/tmp"] }, "periodSeconds": 1 });
    let set: StatefulSet = serde_json::from_value(json!({
        "metadata": { "name": "floor" },
        "spec": {
            "serviceName": "floor",
            "selector": { "matchLabels": { "floor": "database" } },
            "template": {
                "metadata": { "labels": { "floor": "database" } },
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{
                        "name": "floor", "image": image, "command": ["sh", "-c", INITDB_AND_SERVE],
                        "readinessProbe": probe, "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                    }],
                },
            },
            "volumeClaimTemplates": [{
                "metadata": { "name": "data" },
                "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
            }],
        },
    }))?;
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
    let begun = Instant::now();
    sets.create(&PostParams::default(), &set).await?;
    ready(Api::namespaced(client.clone(), namespace), "floor-0").await?;
    Ok(begun.elapsed())
}

async fn ready(pods: Api<Pod>, name: &str) -> Result<()> {
    let is_ready = |pod: Option<&Pod>| {
        let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
    };
    let wait = await_condition(pods, name, is_ready);
    timeout(DEADLINE, wait).await.with_context(|| format!("pod {name} was not Ready in time"))??;
    Ok(())
}

/// The objects of a tenant that is Ready, to be applied again by [`kubectl_apply`].
pub(super) async fn objects_of(fleet: &Installed, tenant: &str, namespace: &str) -> Result<Value> {
    let selector = format!("tenantry.dev/tenant={tenant}");
    let words = [
        "get",
        copy::KINDS,
        "--namespace",
        &format!("tenant-{tenant}"),
        "--selector",
        &selector,
        "--output",
        "json",
    ];
    let output = kubectl(fleet).await?.args(words).output().await?;
    if !output.status.success() {
        bail!("kubectl get failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(copy::into_namespace(serde_json::from_slice(&output.stdout)?, namespace))
}

/// The same objects as a tenant's, applied by kubectl, from its start until the CRM's pods are ready.
pub(super) async fn kubectl_apply(
    fleet: &Installed,
    client: &Client,
    namespace: &str,
    objects: &Value,
) -> Result<Duration> {
    let file = tempfile::NamedTempFile::with_suffix(".json")?;
    std::fs::write(file.path(), serde_json::to_vec(objects)?)?;
    let begun = Instant::now();
    let follow = milestones::follow(client.clone(), namespace, begun, DEADLINE);
    let apply = async {
        let output = kubectl(fleet).await?.arg("apply").arg("--filename").arg(file.path()).output().await?;
        if !output.status.success() {
            bail!("kubectl apply failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    };
    tokio::try_join!(follow, apply)?;
    Ok(begun.elapsed())
}

async fn kubectl(fleet: &Installed) -> Result<Command> {
    let mut command = Command::new(toolchain::binary(toolchain::Tool::Kubectl).await?);
    command.env("KUBECONFIG", &fleet.kubeconfig).kill_on_drop(true);
    Ok(command)
}
