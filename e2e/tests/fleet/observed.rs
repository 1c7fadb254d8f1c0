//! What is seen of the fleet as a whole, before something is done to it and after.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use e2e::{
    cluster::{control_plane::AuditEvent, native::Native},
    fleet::Installed,
    host::wait::{Look, Wait},
    rights::OPERATOR,
};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{Api, ResourceExt as _, api::ListParams};
use operator::api::Tenant;

/// The time as the audit log tells it.
#[expect(clippy::disallowed_methods, reason = "moments of a test are compared with times in a log")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Whether a pod is one of ours: of a tenant, the operator or the gateway.
pub(crate) fn is_ours(namespace: &str) -> bool {
    ["tenant-", "tenantry-"].iter().any(|prefix| namespace.starts_with(prefix))
}

/// The pods of operator, gateway and tenants, those that have ended included.
pub(crate) async fn our_pods(fleet: &Installed) -> Result<Vec<Pod>> {
    let pods = Api::<Pod>::all(fleet.client().await?).list(&ListParams::default()).await?;
    Ok(pods.into_iter().filter(|pod| is_ours(&pod.namespace().unwrap_or_default())).collect())
}

/// A Job's pod ends by itself, and goes with its Job.
pub(crate) fn is_a_jobs(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.restart_policy.as_deref() == Some("Never"))
}

/// Each of our pods that are to run for ever, with its uid, and each of its containers with how often it was started again.
pub(crate) async fn runs(fleet: &Installed) -> Result<BTreeMap<String, i32>> {
    let mut runs = BTreeMap::new();
    for pod in our_pods(fleet).await? {
        if is_a_jobs(&pod) {
            continue;
        }
        let name = format!("{}/{} {:?}", pod.namespace().unwrap_or_default(), pod.name_any(), pod.uid());
        let containers = pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
        runs.extend(containers.into_iter().map(|one| (format!("{name} {}", one.name), one.restart_count)));
    }
    ensure!(runs.len() > 5, "where are the pods? {runs:?}");
    Ok(runs)
}

/// The conditions of all tenants, with the times of their last changes.
pub(crate) async fn conditions(fleet: &Installed) -> Result<BTreeMap<String, Vec<Condition>>> {
    let tenants = Api::<Tenant>::all(fleet.client().await?).list(&ListParams::default()).await?;
    let conditions = |tenant: &Tenant| tenant.status.clone().unwrap_or_default().conditions;
    Ok(tenants.iter().map(|tenant| (tenant.name_any(), conditions(tenant))).collect())
}

/// What the operator has asked of the API server since then.
pub(crate) fn operator_requests(node: &Native, since: Timestamp) -> Result<Vec<AuditEvent>> {
    let mut requests = node.audit_events(&[OPERATOR])?;
    // A watch is told of when it begins and again when it ends.
    let is_new = |request: &AuditEvent| (request.stage == "ResponseStarted") == (request.verb == "watch");
    requests.retain(|request| since <= request.received && is_new(request));
    Ok(requests)
}

/// A change of the world: everything that asks for one, but for the lease.
pub(crate) fn is_work(request: &AuditEvent) -> bool {
    request.is_mutation() && !request.is_about("leases")
}

/// Waits until the operator has had nothing to do for two seconds.
pub(crate) async fn until_operator_rests(node: &Native) -> Result<()> {
    let rest = jiff::SignedDuration::from_secs(2);
    Wait::new("two seconds in which the operator changes nothing", Duration::from_mins(1))
        .until(async || {
            let busy: Vec<_> = operator_requests(node, now() - rest)?
                .into_iter()
                .filter(is_work)
                .map(|event| event.uri)
                .collect();
            Ok(if busy.is_empty() { Look::Done(()) } else { Look::NotYet(format!("{busy:?}")) })
        })
        .await
}
