//! Tenants that begin from a backup, on a real cluster: one that was deleted comes back, and one that lives is copied.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    fleet::{Installed, small_tenant},
    host::wait::{Look, Wait},
};
use kube::{Api, ResourceExt as _, api::DeleteParams};
use operator::{
    api::{Bootstrap, BootstrapRestore, Tenant, TenantStatus},
    names,
};
use reqwest::Method;
use serde_json::json;

use crate::{PASSWORD, READY, backups::backed_up, beside_others, owner};

const DONE: Duration = Duration::from_mins(3);
const COMPANY: &str = "杭州归来有限公司";

/// Applies a tenant that begins from the newest backup of another, and waits until it serves.
pub(crate) async fn begun(fleet: &Installed, name: &str, source: &str, uid: &str) -> Result<TenantStatus> {
    let mut tenant = small_tenant(name, &fleet.release);
    let restore = BootstrapRestore {
        tenant: Some(source.to_owned()),
        tenant_uid: uid.to_owned(),
        backup: None,
        time: None,
    };
    tenant.spec.bootstrap = Some(Bootstrap { restore });
    let begun = Instant::now();
    fleet.apply(&tenant).await?;
    let ready = fleet.wait_ready(name, DONE).await?;
    println!("{name} began from a backup of {source} within {:.1} s", begun.elapsed().as_secs_f64());
    ready.tenant.status.context("a tenant that is ready has a status")
}

/// The companies that somebody sees who signs in with the password that the backup has.
pub(crate) async fn companies(fleet: &Installed, tenant: &str) -> Result<String> {
    let mut crm = fleet.crm(tenant)?;
    crm.sign_in("owner@tenantry.example", PASSWORD).await?;
    Ok(crm.send(Method::GET, "/companies", None).await?.body.to_string())
}

#[tokio::test]
async fn a_deleted_tenant_comes_back_with_its_data_and_a_copy_of_it_leaves_it_alone() -> Result<()> {
    let (fleet, _turn) = beside_others().await?;
    let name = "revenant";
    fleet.apply(&small_tenant(name, &fleet.release)).await?;
    fleet.wait_ready(name, READY).await?;
    owner(&fleet, name).await?.create_company(COMPANY).await?;
    let tenants: Api<Tenant> = Api::all(fleet.client().await?);
    let uid = tenants.get(name).await?.uid().context("a Tenant has a uid")?;
    fleet.patch(name, &json!({ "metadata": { "annotations": { names::CONFIRM_DELETE: name } } })).await?;
    tenants.delete(name, &DeleteParams::default()).await?;
    Wait::new("the end of the tenant", DONE)
        .until(async || {
            Ok(match tenants.get_opt(name).await? {
                None => Look::Done(()),
                Some(tenant) => Look::NotYet(format!("{:?}", tenant.status.unwrap_or_default().conditions)),
            })
        })
        .await?;

    let from = begun(&fleet, name, name, &uid).await?.restored_from.context("it says what it began with")?;
    ensure!(from.tenant_uid == uid, "{from:?}");
    ensure!(companies(&fleet, name).await?.contains(COMPANY), "its data is not there");

    let copy = "revenant-staging";
    let again = tenants.get(name).await?.uid().context("a Tenant has a uid")?;
    backed_up(&fleet, name).await?;
    begun(&fleet, copy, name, &again).await?;
    ensure!(companies(&fleet, copy).await?.contains(COMPANY), "the copy has not its data");
    let mut staging = fleet.crm(copy)?;
    staging.sign_in("owner@tenantry.example", PASSWORD).await?;
    staging.create_company("杭州试用有限公司").await?;
    ensure!(
        !companies(&fleet, name).await?.contains("杭州试用有限公司"),
        "what the copy writes is in the original"
    );

    fleet.delete(copy, DONE).await?;
    fleet.delete(name, DONE).await?;
    fleet.forget(name, &uid).await
}
