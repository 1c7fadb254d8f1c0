//! Releases that fail: they are stopped in the first wave, and undone by themselves.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use e2e::cluster::control_plane::{Outcome, Workload};

use jiff::Timestamp;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use operator::api::{Release, Tenant, UpgradeStep};
use serde_json::{Value, json};

use super::{
    MADE, TENANTS, all_run, approve, at, change, count, crash, fleet, populate, rolls, says, so_far, told,
    until, until_within, with_approval,
};
use crate::lab::{Lab, condition, migrations_succeed, release};

/// Of these a twentieth is one.
const FLEET: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_crashes_touches_one_in_twenty_and_is_undone_within_a_minute() -> Result<()> {
    let lab = Lab::start().await?;
    let names: Vec<String> = (1..=FLEET).map(|number| format!("t{number:02}")).collect();
    let rollout = json!({"waves": [{"name": "canary", "percent": 5}], "maxParallel": 5, "bake": "1s"});
    populate(&lab, &names, rollout).await?;
    lab.create::<Release>(release("bad", 1)).await?;
    crash(&lab, "bad").await?;
    let before = so_far(&lab)?;
    change(&lab, json!({"release": "bad"})).await?;
    let tenants = until(&lab, "the rollout to be halted, and the tenant to be back", |channel, tenants| {
        says(channel, "Halted").0 == "True"
            && at(tenants, UpgradeStep::Failed).len() == 1
            && count(tenants, "r1") == FLEET
    })
    .await?;
    let [failed] = <[String; 1]>::try_from(at(&tenants, UpgradeStep::Failed)).expect("one failed");
    // There and back.
    assert_eq!(rolls(&lab, before)?, BTreeMap::from([(failed.clone(), 2)]));
    assert_eq!(told(&tenants, "bad"), 1);
    let undone = tenants.iter().find(|tenant| tenant.metadata.name.as_ref() == Some(&failed));
    let undone = undone.context("it is there")?;
    let failure = undone.status.clone().and_then(|status| status.upgrade?.last_failure);
    let failure = failure.context("it says why")?;
    assert_eq!(failure.reason, "CrashLooping");
    let back: Timestamp =
        condition(undone, "Ready")["lastTransitionTime"].as_str().context("when")?.parse()?;
    let took = back.duration_since(failure.at.0);
    assert!(took.as_secs() <= 60, "it took {took}");

    // The mended one is tried by the same tenant, although it failed before.
    change(&lab, json!({"release": "r2"})).await?;
    until_within(MADE, &lab, "all to run r2", all_run(FLEET, "r2")).await?;
    lab.operator.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_fails_is_remembered_until_somebody_says_retry() -> Result<()> {
    let lab = fleet(with_approval()).await?;
    let image = lab.create::<Release>(release("r3", 2)).await?.spec.image;
    let report = json!({"code": "MigrationFailed", "migration": 2, "sqlstate": "23505"}).to_string();
    lab.nodes.on_image(Workload::Job, &image, Outcome::Exits { code: 1, message: report });
    change(&lab, json!({"release": "r3"})).await?;
    until(&lab, "the rollout to be halted", |channel, tenants| {
        says(channel, "Halted").0 == "True" && count(tenants, "r1") == TENANTS.len()
    })
    .await?;
    lab.nodes.reset();
    migrations_succeed(&lab.nodes, 2);
    lab.nodes.backups_succeed();
    let retry = |value: Value| json!({"metadata": {"annotations": {"tenantry.dev/retry": value}}});
    let tenants: Api<Tenant> = Api::all(lab.client.clone());
    for name in TENANTS {
        tenants.patch(name, &PatchParams::default(), &Patch::Merge(retry(json!("1")))).await?;
    }
    change(&lab, approve("all", "r3")).await?;
    until(&lab, "all to run r3", all_run(TENANTS.len(), "r3")).await?;
    lab.operator.stop().await
}
