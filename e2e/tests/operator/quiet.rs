//! A world that is as it should be is left alone.

use anyhow::Result;
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use serde_json::json;

use crate::lab::{Lab, Running};

#[tokio::test]
async fn a_second_reconcile_changes_nothing() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    lab.operator.until_settled(0.0).await?;
    let before = lab.writes()?.len();
    assert!(20 < before, "the first made the children: {before} writes");

    let seen = lab.operator.metric("tenantry_reconcile_duration_seconds_count").await?;
    lab.patch_tenant(json!({"metadata": {"annotations": {"example.com/note": "1"}}})).await?;
    lab.operator.until_settled(seen).await?;
    let after = lab.writes()?;
    assert_eq!(after.len(), before, "{:#?}", &after[before..]);

    // A new process knows nothing but what the API says, and that is enough.
    let Lab { control_plane, client, break_glass, nodes, operator } = lab;
    operator.stop().await?;
    let operator = Running::start(&control_plane).await?;
    operator.until_settled(0.0).await?;
    let lab = Lab { control_plane, client, break_glass, nodes, operator };
    let after = lab.writes()?;
    assert_eq!(after.len(), before, "after a restart: {:#?}", &after[before..]);

    // What others add is theirs.
    let seen = lab.operator.metric("tenantry_reconcile_duration_seconds_count").await?;
    lab.patch_child::<ServiceAccount>("crm", json!({"metadata": {"labels": {"example.com/team": "a"}}}))
        .await?;
    lab.patch_child::<Service>("crm", json!({"metadata": {"annotations": {"example.com/note": "1"}}}))
        .await?;
    lab.operator.until_settled(seen).await?;
    let after = lab.writes()?;
    assert_eq!(after.len(), before, "after additions of others: {:#?}", &after[before..]);
    Ok(())
}

#[tokio::test]
async fn secrets_and_config_maps_are_never_listed() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    let reads = lab.control_plane.audit_events()?;
    let listed = reads.iter().filter(|event| {
        event.user.username == crate::lab::OPERATOR
            && (event.is_about("secrets") || event.is_about("configmaps"))
            && matches!(event.verb.as_str(), "list" | "watch" | "deletecollection")
    });
    assert_eq!(listed.count(), 0);
    // Refusals in the moment after the rights were granted are few: one request finds out, not thirty.
    let refused = reads.iter().filter(|event| {
        event.user.username == crate::lab::OPERATOR
            && event.response_status.as_ref().is_some_and(|status| status.code == 403)
    });
    let refused: Vec<_> = refused.collect();
    assert!(refused.len() < 10, "{refused:#?}");
    Ok(())
}
