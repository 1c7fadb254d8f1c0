//! A start asks little of the API server for what was left in order, and what was lost meanwhile is still found.

use anyhow::Result;
use e2e::{
    cluster::control_plane::AuditEvent,
    host::wait::{Look, Wait},
};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Secret, Service},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;

use crate::lab::{DEADLINE, Lab, NAMESPACE, OPERATOR, Running};

const CREDENTIALS: &str = "database-credentials";

#[tokio::test]
async fn what_was_left_in_order_is_read_later_and_what_was_lost_is_found() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    until_migrated(&lab).await?;
    let (lab, asked) = restarted(lab, async |_| Ok(())).await?;
    assert_eq!(asked, [] as [String; 0]);

    // Nobody sees it go, and nothing else is to be done: it is found by the next look, whatever brings it.
    let secrets: Api<Secret> = Api::namespaced(lab.break_glass.clone(), NAMESPACE);
    let mut kept = secrets.get(CREDENTIALS).await?;
    let (lab, asked) = restarted(lab, lose_passwords).await?;
    assert_eq!(asked, [] as [String; 0]);
    lab.until_ready("acme").await?;
    look_again(&lab, "1").await?;
    lab.until_reason("acme", "False", "SecretLost").await?;
    assert!(secrets.get_opt(CREDENTIALS).await?.is_none(), "nobody knows others");

    // The old ones are put back, and lost once more, with something that is seen.
    kept.metadata.resource_version = None;
    kept.metadata.uid = None;
    secrets.create(&PostParams::default(), &kept).await?;
    look_again(&lab, "2").await?;
    lab.until_ready("acme").await?;
    let both = async |client: Client| {
        lose_passwords(client.clone()).await?;
        let services: Api<Service> = Api::namespaced(client, NAMESPACE);
        services.delete("crm", &DeleteParams::default()).await?;
        Ok(())
    };
    let (lab, asked) = restarted(lab, both).await?;
    lab.until_reason("acme", "False", "SecretLost").await?;
    assert!(secrets.get_opt(CREDENTIALS).await?.is_none());
    let changed: Vec<_> = asked.iter().filter(|words| !words.starts_with("get ")).collect();
    assert!(asked.contains(&format!("get secrets {CREDENTIALS}")) && changed.is_empty(), "{asked:#?}");
    Ok(())
}

/// Stops the operator, does something while there is none, and starts it again; returns what it has asked for in the tenant's
/// namespace until it came to rest, but for lists and watches of all namespaces.
async fn restarted(
    lab: Lab,
    meanwhile: impl AsyncFnOnce(Client) -> Result<()>,
) -> Result<(Lab, Vec<String>)> {
    lab.operator.until_settled(0.0).await?;
    let Lab { control_plane, client, break_glass, nodes, operator } = lab;
    operator.stop().await?;
    meanwhile(break_glass.clone()).await?;
    let before = control_plane.audit_events()?.len();
    let operator = Running::start(&control_plane).await?;
    operator.until_settled(0.0).await?;
    let events = control_plane.audit_events()?.split_off(before);
    let asked = events.into_iter().filter(|event| event.user.username == OPERATOR).filter_map(inside);
    let asked = asked.collect();
    Ok((Lab { control_plane, client, break_glass, nodes, operator }, asked))
}

/// What is asked for inside the tenant's namespace, in words.
fn inside(event: AuditEvent) -> Option<String> {
    let object = event.object_ref.filter(|object| object.namespace == NAMESPACE)?;
    Some(format!("{} {} {}", event.verb, object.resource, object.name))
}

/// Waits until the last news of the first start have come: a CRM may answer before the Job has ended.
async fn until_migrated(lab: &Lab) -> Result<()> {
    let jobs: Api<Job> = Api::namespaced(lab.client.clone(), NAMESPACE);
    let has_ended = |job: &Job| job.status.as_ref().is_some_and(|status| status.completion_time.is_some());
    Wait::new("the end of the migration", DEADLINE)
        .until(async || {
            let jobs = jobs.list(&ListParams::default()).await?.items;
            let open: Vec<_> = jobs.iter().filter(|job| !has_ended(job)).map(ResourceExt::name_any).collect();
            let ended = !jobs.is_empty() && open.is_empty();
            Ok(if ended { Look::Done(()) } else { Look::NotYet(format!("not ended: {open:?}")) })
        })
        .await
}

async fn lose_passwords(client: Client) -> Result<()> {
    Api::<Secret>::namespaced(client, NAMESPACE).delete(CREDENTIALS, &DeleteParams::default()).await?;
    Ok(())
}

async fn look_again(lab: &Lab, note: &str) -> Result<()> {
    lab.patch_tenant(json!({"metadata": {"annotations": {"example.com/look": note}}})).await
}
