//! A tenant of which the cluster has lost everything, brought back by the words of `docs/runbooks/rebuild-cluster.md`.
//!
//! There is one real cluster, so it is one tenant that is lost as if with a cluster: its object, its namespace, its volume, its
//! Secrets, and no tombstone was ever made. The store is left, and the recovery key outside of the cluster.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use e2e::{
    fleet::{Installed, backups, small_tenant},
    host::wait::{Look, Wait},
};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use operator::{
    api::{Tenant, TenantTombstone},
    names,
};
use serde_json::json;

use crate::{
    READY,
    accidents::scale_operator,
    alone,
    backups::backed_up,
    bootstrap::{begun, companies},
    owner,
    runbook::{STAFF, Shell},
};

const TENANT: &str = "rebuilt";
const COMPANY: &str = "杭州东山再起有限公司";

/// Nothing of the tenant is left in the cluster.
async fn lose(fleet: &Installed) -> Result<()> {
    scale_operator(fleet, 0).await?;
    let tenants: Api<Tenant> = Api::all(fleet.client().await?);
    let confirmed = json!({ "metadata": { "annotations": { names::CONFIRM_DELETE: TENANT } } });
    fleet.patch(TENANT, &confirmed).await?;
    tenants.delete(TENANT, &DeleteParams::default()).await?;
    let let_go = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    tenants.patch(TENANT, &PatchParams::default(), &let_go).await?;
    let namespaces: Api<Namespace> = Api::all(fleet.break_glass().await?);
    let namespace = format!("tenant-{TENANT}");
    namespaces.delete(&namespace, &DeleteParams::default()).await?;
    Wait::new("the end of the namespace", READY)
        .until(async || {
            Ok(match namespaces.get_opt(&namespace).await? {
                None => Look::Done(()),
                Some(left) => Look::NotYet(format!("{:?}", left.status)),
            })
        })
        .await?;
    let tombstones = Api::<TenantTombstone>::all(fleet.client().await?).list(&ListParams::default()).await?;
    let left = tombstones.iter().find(|tombstone| tombstone.spec.tenant == TENANT);
    ensure!(left.is_none(), "a lost cluster leaves no tombstone: {left:?}");
    scale_operator(fleet, 1).await
}

/// The private recovery key, as `age-keygen` writes it.
fn recovery_key(fleet: &Installed) -> Result<String> {
    let public = backups::recovery_key(&fleet.cluster)?.to_public();
    let private = fs::read_to_string(backups::recovery_key_file(&fleet.cluster)?)?;
    Ok(format!("# created: 2026-11-22T12:00:00Z\n# public key: {public}\n{}\n", private.trim()))
}

#[tokio::test]
async fn the_store_and_yaml_are_enough_to_come_back() -> Result<()> {
    let (fleet, _turn) = alone().await?;
    fleet.apply(&small_tenant(TENANT, &fleet.release)).await?;
    fleet.wait_ready(TENANT, READY).await?;
    owner(&fleet, TENANT).await?.create_company(COMPANY).await?;
    let backup = backed_up(&fleet, TENANT).await?;
    let uid = Api::<Tenant>::all(fleet.client().await?).get(TENANT).await?.uid();
    lose(&fleet).await?;

    let shell = Shell::open(&fleet, "rebuild-cluster", &[]).await?;
    fs::write(shell.folder.path().join("recovery.key"), recovery_key(&fleet)?)?;
    shell.follow(STAFF, &["The cluster", "The key", "What there is"], &[]).await?;
    let inventory = fs::read_to_string(shell.folder.path().join("inventory.txt"))?;
    println!("{inventory}");
    let line = inventory.lines().find(|line| line.split_whitespace().nth(1) == Some(TENANT));
    let columns: Vec<_> = line.context("the tenant is in the list")?.split_whitespace().collect();
    ensure!(columns[2..4] == [uid.as_deref().unwrap_or_default(), &backup], "{columns:?}");

    begun(&fleet, TENANT, TENANT, columns[2]).await?;
    let said = shell.follow(STAFF, &["The tenants"], &[]).await?;
    println!("{said}");
    ensure!(said.lines().any(|line| line.starts_with(TENANT) && line.contains(&backup)), "{said}");
    ensure!(companies(&fleet, TENANT).await?.contains(COMPANY), "its data is not there");
    shell.follow(STAFF, &["In the end"], &[]).await?;
    let keys: Api<Secret> = Api::namespaced(fleet.client().await?, "tenantry-keys");
    ensure!(keys.get_opt("recovery-identity").await?.is_none(), "the recovery key is still there");
    fleet.delete(TENANT, READY).await
}
