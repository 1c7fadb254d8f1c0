//! `ReadOnly` and `Suspended`: what people in charge say reaches the running app, and nothing is lost.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::{
    fleet::Crm,
    host::wait::{Look, Wait},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{READY, alone, owner};

/// What a write is answered with.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Written,
    ReadOnly,
    Unavailable,
}

async fn try_to_write(crm: &Crm) -> Result<Answer> {
    let reply = crm.send(Method::POST, "/companies", Some(json!({ "name": "Attempt" }))).await?;
    Ok(match (reply.status, reply.body["type"].as_str()) {
        (StatusCode::CREATED, _) => Answer::Written,
        (StatusCode::FORBIDDEN, Some("read-only")) => Answer::ReadOnly,
        (status, _) if status.is_server_error() => Answer::Unavailable,
        (status, _) => anyhow::bail!("a write was answered with {status}: {}", reply.body),
    })
}

/// Tries to write until the answer is the expected one, and tells how long that took; 5 s at most.
async fn answered(crm: &Crm, expected: &Answer) -> Result<Duration> {
    let begun = Instant::now();
    let wait = Wait::new(format!("writes to be answered with {expected:?}"), Duration::from_secs(5));
    wait.until(async || {
        let answer = try_to_write(crm).await?;
        Ok(if answer == *expected { Look::Done(()) } else { Look::NotYet(format!("{answer:?}")) })
    })
    .await?;
    Ok(begun.elapsed())
}

#[tokio::test]
async fn read_only_reaches_the_running_app_and_every_later_one() -> Result<()> {
    let (fleet, _turn) = alone().await?;
    let crm = owner(&fleet, "acme").await?;
    ensure!(try_to_write(&crm).await? == Answer::Written);

    fleet.patch("acme", &json!({ "spec": { "state": "ReadOnly" } })).await?;
    let took = answered(&crm, &Answer::ReadOnly).await?;
    println!("ReadOnly was obeyed {:.2} s after the patch", took.as_secs_f64());

    let pods: Api<Pod> = Api::namespaced(fleet.client().await?, "tenant-acme");
    let crm_pods = ListParams::default().labels("app.kubernetes.io/component=crm");
    let old: Vec<_> = pods.list(&crm_pods).await?.items.iter().filter_map(ResourceExt::uid).collect();
    pods.delete_collection(&DeleteParams::default(), &crm_pods).await?;
    // From the last answer of the old pod to the first of the new one, not a single write may be accepted.
    let mut accepted = false;
    let wait = Wait::new("a CRM pod that was born read-only and answers alone", READY);
    wait.until(async || {
        let answer = try_to_write(&crm).await?;
        accepted |= answer == Answer::Written;
        let pods = pods.list(&crm_pods).await?.items;
        let alone = pods.iter().all(|pod| is_ready(pod) && pod.uid().is_some_and(|uid| !old.contains(&uid)));
        let born = alone && !pods.is_empty() && answer == Answer::ReadOnly;
        Ok(if born || accepted { Look::Done(()) } else { Look::NotYet(format!("{answer:?}")) })
    })
    .await?;
    ensure!(!accepted, "a pod that was born read-only has accepted a write");

    fleet.patch("acme", &json!({ "spec": { "state": "Active" } })).await?;
    let took = answered(&crm, &Answer::Written).await?;
    println!("Active was obeyed {:.2} s after the patch", took.as_secs_f64());
    Ok(())
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[tokio::test]
async fn suspended_and_back_loses_nothing() -> Result<()> {
    let (fleet, _turn) = alone().await?;
    let crm = owner(&fleet, "bluesky").await?;
    let company = crm.create_company("杭州挂起测试有限公司").await?;

    fleet.patch("bluesky", &json!({ "spec": { "state": "Suspended" } })).await?;
    let suspended = fleet
        .wait("bluesky", "to be Ready with reason Suspended", READY, |tenant| {
            let conditions = tenant.status.iter().flat_map(|status| &status.conditions);
            conditions
                .into_iter()
                .any(|c| c.type_ == "Ready" && c.status == "True" && c.reason == "Suspended")
        })
        .await?;
    println!("Suspended after {:.1} s", suspended.duration.as_secs_f64());
    let pods: Api<Pod> = Api::namespaced(fleet.client().await?, "tenant-bluesky");
    let gone = Wait::new("all running pods of bluesky to be gone", Duration::from_mins(1));
    gone.until(async || {
        let pods = pods.list(&ListParams::default()).await?.items;
        let running = pods.iter().filter(|pod| phase(pod) == Some("Running")).count();
        Ok(if running == 0 { Look::Done(()) } else { Look::NotYet(format!("{running} pods are running")) })
    })
    .await?;
    let page = crm.send(Method::GET, "/session", None).await?;
    ensure!(page.status == StatusCode::SERVICE_UNAVAILABLE, "a suspended tenant answered {}", page.status);

    fleet.patch("bluesky", &json!({ "spec": { "state": "Active" } })).await?;
    let back = fleet.wait_ready("bluesky", READY).await?;
    println!("Active again after {:.1} s", back.duration.as_secs_f64());
    let path = format!("/companies/{}", company["id"].as_str().unwrap_or_default());
    let again = Wait::new("the company to be there again", Duration::from_secs(10));
    let found = again
        .until(async || {
            let reply = crm.send(Method::GET, &path, None).await?;
            let found = reply.status.is_success();
            Ok(if found { Look::Done(reply.body) } else { Look::NotYet(reply.status.to_string()) })
        })
        .await?;
    ensure!(found["name"] == company["name"], "the company came back as {found}");
    Ok(())
}
