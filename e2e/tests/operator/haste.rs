//! Somebody who changes his mind a hundred times.

use anyhow::Result;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use crate::lab::{Lab, NAMESPACE};

#[tokio::test]
async fn a_hundred_edits_end_in_the_last_one() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    lab.operator.until_settled(0.0).await?;
    let before = lab.writes()?.len();
    for number in 0..100 {
        let state = if number % 2 == 0 { "ReadOnly" } else { "Active" };
        lab.patch_tenant(json!({ "spec": { "displayName": format!("No. {number}"), "state": state } }))
            .await?;
    }
    lab.patch_tenant(json!({ "spec": { "displayName": "The last", "state": "ReadOnly" } })).await?;
    lab.until_child::<ConfigMap>("entitlement", "says what was wanted last", |file| {
        file.is_some_and(|file| {
            let text = file["data"].to_string();
            text.contains("The last") && text.contains("ReadOnly")
        })
    })
    .await?;
    let tenant = lab.until_ready("acme").await?;
    assert_eq!(tenant.status.and_then(|status| status.observed_generation), tenant.metadata.generation);
    // Edits that come faster than reconciles are taken together: far fewer writes than edits times children.
    let writes = lab.writes()?.len() - before;
    println!("a hundred edits: {writes} writes in {NAMESPACE} and of the status");
    assert!(writes <= 500, "{writes} writes");
    Ok(())
}
