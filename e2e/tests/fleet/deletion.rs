//! A tenant that goes: what it leaves, and that nothing of it is left when that expires.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    fleet::small_tenant,
    host::wait::{Look, Wait},
};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use operator::{
    api::{FinalBackup, Tenant, TenantTombstone},
    names,
};
use serde_json::json;

use crate::{READY, backups::kept, beside_others, owner};

/// From the confirmed deletion until nothing is left of the namespace, and from the end of the tombstone until nothing is left
/// in the store.
const GONE: Duration = Duration::from_mins(3);

#[tokio::test]
async fn a_deleted_tenant_leaves_a_proven_backup_and_in_the_end_nothing() -> Result<()> {
    let (fleet, _turn) = beside_others().await?;
    let name = "leaving";
    fleet.apply(&small_tenant(name, &fleet.release)).await?;
    fleet.wait_ready(name, READY).await?;
    owner(&fleet, name).await?.create_company("杭州后会有期有限公司").await?;
    let client = fleet.client().await?;
    let tenants: Api<Tenant> = Api::all(client.clone());
    let uid = tenants.get(name).await?.uid().context("a Tenant has a uid")?;

    let begun = Instant::now();
    let confirmed = json!({ "metadata": { "annotations": { names::CONFIRM_DELETE: name } } });
    fleet.patch(name, &confirmed).await?;
    tenants.delete(name, &DeleteParams::default()).await?;
    Wait::new("the end of the tenant", GONE)
        .until(async || {
            Ok(match tenants.get_opt(name).await? {
                None => Look::Done(()),
                Some(tenant) => Look::NotYet(format!("{:?}", tenant.status.unwrap_or_default().conditions)),
            })
        })
        .await?;
    println!("removed with a proven backup after {:.1} s", begun.elapsed().as_secs_f64());

    let tombstones: Api<TenantTombstone> = Api::all(client.clone());
    let tombstone = names::tombstone(name, &uid);
    let left = tombstones.get(&tombstone).await?.spec;
    ensure!(left.final_backup == FinalBackup::Verified, "{left:?}");
    let backup = left.backup.context("it names the backup")?.backup;
    let keys: Api<Secret> = Api::namespaced(client.clone(), "tenantry-keys");
    let key = keys.get(&tombstone).await?.data.unwrap_or_default();
    ensure!(key.contains_key("identity"), "the key is not there");
    let stored = kept(&fleet, name, &uid).await?;
    ensure!(stored.contains(&backup), "{backup} is not in the store: {stored:?}");

    fleet.apply(&small_tenant(name, &fleet.release)).await?;
    let refused = fleet.wait_unready(name, "TombstoneExists", READY).await?;
    ensure!(refused.contains(&tombstone), "{refused}");

    let past = json!({ "spec": { "expiresAt": "2026-01-01T00:00:00Z" } });
    tombstones.patch(&tombstone, &PatchParams::default(), &Patch::Merge(past)).await?;
    Wait::new("the end of the tombstone", GONE)
        .until(async || {
            Ok(match tombstones.get_opt(&tombstone).await? {
                None => Look::Done(()),
                Some(left) => Look::NotYet(format!("{:?}", left.status.unwrap_or_default().conditions)),
            })
        })
        .await?;
    ensure!(keys.get_opt(&tombstone).await?.is_none(), "the key is still there");
    let stored = kept(&fleet, name, &uid).await?;
    ensure!(stored.is_empty(), "the store still has {stored:?}");
    fleet.wait_ready(name, READY).await?;
    fleet.delete(name, READY).await
}
