//! The door at work has exactly the rights that it needs.

use std::collections::BTreeSet;

use anyhow::Result;
use e2e::rights::{granted, refused_for_good, uses};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use serde_json::json;

use crate::{
    lab::{Lab, ids},
    past::{ago, whole},
};

const DOOR: &str = "system:serviceaccount:tenantry-system:tenantry-store";

#[tokio::test]
async fn every_right_of_the_door_is_needed_and_none_is_missing() -> Result<()> {
    let lab = Lab::start().await?;
    let acme = lab.customer("acme", "standard").await?;
    let newest = ids().0.to_owned();
    lab.put_backup(&acme, "volume", &newest, b"data").await?;
    lab.plant("volume", &acme, ago(9, 0), "Scheduled")?;
    lab.plan("standard", "volume", json!({"daily": 1, "weekly": 0, "monthly": 0})).await?;
    lab.until_kept("volume", &acme, &whole(&[&newest])).await?;
    let gone = lab.tenant("bluesky", "0b7f8f0e-5a1b-4c3d-9e8f-000000000002").await?;
    lab.plant("volume", &gone, ago(9, 0), "Final")?;
    lab.bury_for_good(&gone, "volume").await?;

    let roles: Api<ClusterRole> = Api::all(lab.client.clone());
    let mut unused = granted(roles.get("tenantry-store").await?.rules);
    let events = lab.control_plane.audit_events()?;
    let refused = refused_for_good(&events);
    let refused: Vec<_> = refused.iter().filter(|refused| refused.starts_with(DOOR)).collect();
    assert!(refused.is_empty(), "{refused:?}");
    for event in events.iter().filter(|event| event.user.username == DOOR) {
        for right in uses(event) {
            unused.remove(&right);
        }
    }
    assert_eq!(unused, BTreeSet::new(), "what the door never made use of");
    Ok(())
}
