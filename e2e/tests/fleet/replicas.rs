//! Two operators on a real cluster: one works; when it is cut off, the other takes over, and the first one, back, stands by.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{
    cluster::native::Native,
    fleet::Installed,
    host::wait::{Look, Wait},
    probe,
};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::Lease,
    core::v1::{Pod, Service},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    READY, alone,
    observed::{is_work, now, operator_requests, until_operator_rests},
    outage::Still,
};

const NAMESPACE: &str = "tenantry-system";
/// The duration of the lease, and what a standby needs to notice that it has run out.
const TAKEOVER: Duration = Duration::from_secs(17);
/// Within this time a damage is repaired by an operator that works.
const REPAIR: Duration = Duration::from_secs(5);

#[tokio::test]
async fn the_second_operator_takes_over_from_one_that_is_cut_off() -> Result<()> {
    let (fleet, _turn) = alone().await?;
    let node = Native::new(&fleet.cluster)?;
    scale(&fleet, 2).await?;
    let first = holder(&fleet).await?;
    let standby = pods(&fleet).await?.into_iter().find(|pod| pod.name_any() != first);
    let second = standby.context("there is no second operator")?.name_any();
    until_operator_rests(&node).await?;

    // As when its node is cut off: it says nothing more, and does not know it.
    let cut_off = now();
    let begun = Instant::now();
    let still = Still::hold(process_of(&fleet, &first).await?)?;
    let services: Api<Service> = Api::namespaced(fleet.client().await?, "tenant-acme");
    services.delete("crm-pods", &DeleteParams::default()).await?;
    Wait::new("the second operator to repair what was damaged", TAKEOVER + REPAIR)
        .until(async || {
            let repaired = services.get_opt("crm-pods").await?.is_some();
            Ok(if repaired { Look::Done(()) } else { Look::NotYet("the Service is not there".into()) })
        })
        .await?;
    println!(
        "  the second operator had repaired the damage {:.1?} after the first was cut off",
        begun.elapsed()
    );
    ensure!(holder(&fleet).await? == second, "the lease is {}'s", holder(&fleet).await?);

    let back = now();
    drop(still);
    until_it_looks(&fleet, &node, &first, back).await?;
    until_operator_rests(&node).await?;
    let writers = writers(&fleet, &node, cut_off).await?;
    ensure!(
        writers == [second.clone()],
        "changes were made by {writers:?}, but {second} alone held the lease"
    );

    scale(&fleet, 1).await?;
    let last = pods(&fleet).await?.pop().context("there is no operator")?.name_any();
    Wait::new(format!("the lease to be {last}'s"), TAKEOVER)
        .until(async || {
            let holder = holder(&fleet).await?;
            Ok(if holder == last { Look::Done(()) } else { Look::NotYet(format!("it is {holder:?}'s")) })
        })
        .await
}

async fn pods(fleet: &Installed) -> Result<Vec<Pod>> {
    let pods: Api<Pod> = Api::namespaced(fleet.client().await?, NAMESPACE);
    Ok(pods.list(&ListParams::default().labels("app.kubernetes.io/component=operator")).await?.items)
}

/// Who holds the lease: the name of a pod.
async fn holder(fleet: &Installed) -> Result<String> {
    let leases: Api<Lease> = Api::namespaced(fleet.client().await?, NAMESPACE);
    let lease = leases.get("tenantry-operator").await?;
    Ok(lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default())
}

/// Changes the number of replicas and waits until there are so many, and no other pods.
async fn scale(fleet: &Installed, replicas: usize) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(fleet.client().await?, NAMESPACE);
    let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
    deployments.patch("tenantry-operator", &PatchParams::default(), &patch).await?;
    Wait::new(format!("{replicas} operators"), READY)
        .until(async || {
            let pods = pods(fleet).await?;
            let ready = pods.iter().filter(|pod| is_ready(pod)).count();
            let done = ready == replicas && pods.len() == replicas;
            Ok(if done { Look::Done(()) } else { Look::NotYet(format!("{ready} of {} ready", pods.len())) })
        })
        .await
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

async fn process_of(fleet: &Installed, pod: &str) -> Result<e2e::host::process::Process> {
    let pods = pods(fleet).await?;
    let uid =
        pods.iter().find(|one| one.name_any() == pod).and_then(ResourceExt::uid).context("no such pod")?;
    let operator = probe::processes_of_pod(&uid).into_iter().find(|one| one.subcommand() == Some("run"));
    operator.with_context(|| format!("no operator runs in pod {pod}"))
}

async fn address_of(fleet: &Installed, pod: &str) -> Result<String> {
    let pods = pods(fleet).await?;
    let found = pods.into_iter().find(|one| one.name_any() == pod);
    found.and_then(|pod| pod.status?.pod_ip).with_context(|| format!("pod {pod} has no address"))
}

/// Waits until an operator that was cut off has seen who holds the lease now.
async fn until_it_looks(fleet: &Installed, node: &Native, pod: &str, since: Timestamp) -> Result<()> {
    let address = address_of(fleet, pod).await?;
    Wait::new(format!("{pod} to look at the lease"), Duration::from_secs(30))
        .until(async || {
            let requests = operator_requests(node, since)?;
            let looks = requests.iter().filter(|request| {
                request.is_about("leases") && request.verb == "get" && request.source_ips.contains(&address)
            });
            // The first may have been under way when it was held still.
            let looks = looks.count();
            Ok(if looks < 3 { Look::NotYet(format!("{looks} looks")) } else { Look::Done(()) })
        })
        .await
}

/// The operators that have changed something since then.
async fn writers(fleet: &Installed, node: &Native, since: Timestamp) -> Result<Vec<String>> {
    let mut writers = Vec::new();
    let changes: Vec<_> = operator_requests(node, since)?.into_iter().filter(is_work).collect();
    for pod in pods(fleet).await? {
        let address = address_of(fleet, &pod.name_any()).await?;
        if changes.iter().any(|change| change.source_ips.contains(&address)) {
            writers.push(pod.name_any());
        }
    }
    Ok(writers)
}
