//! The whole product on a real cluster: states, isolation, failures that heal, accidents, and parts of it that go away.
//!
//! `cargo verify` brings the cluster up and names it in `TENANTRY_CLUSTER`; the demo's cluster works as well. Tests that only
//! look after tenants of their own run side by side; those that touch what all share run alone.

mod accidents;
mod backups;
mod bootstrap;
mod deletion;
mod exports;
mod failures;
mod internet;
mod isolation;
mod killed;
mod observed;
mod outage;
mod rebuild;
mod replicas;
mod restores;
mod rollouts;
mod runbook;
mod secrets;
mod shipping;
mod states;
mod visitors;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use e2e::fleet::{CLUSTER_VARIABLE, Crm, Installed};
use futures::future::try_join_all;
use tokio::sync::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// More than any start on this kind of machine should take.
pub(crate) const READY: Duration = Duration::from_mins(2);
/// A password that the CRM accepts.
pub(crate) const PASSWORD: &str = "correct horse battery staple 9";

/// What all tests of this program share: the cluster, the operator, the gateway and the demo's tenants.
static SHARED: RwLock<()> = RwLock::const_new(());

/// Tenantry, for a test that looks after tenants of its own.
pub(crate) async fn beside_others() -> Result<(Installed, RwLockReadGuard<'static, ()>)> {
    Ok((installed()?, SHARED.read().await))
}

/// Tenantry, for a test that disturbs what others use.
pub(crate) async fn alone() -> Result<(Installed, RwLockWriteGuard<'static, ()>)> {
    Ok((installed()?, SHARED.write().await))
}

/// Tenantry on the cluster that the environment names.
#[expect(clippy::disallowed_methods, reason = "a test has no args.rs: this is where its environment is read")]
fn installed() -> Result<Installed> {
    let name = std::env::var(CLUSTER_VARIABLE).with_context(|| {
        format!("set {CLUSTER_VARIABLE}=demo after `cargo demo`, or run `cargo verify --only fleet`")
    })?;
    Installed::load(&name)
}

/// For how many seconds parts of the control plane are away. Unless `TENANTRY_OUTAGE` says otherwise, just long enough for
/// the operator to lose its lease.
#[expect(clippy::disallowed_methods, reason = "a test has no args.rs: this is where its environment is read")]
pub(crate) fn outage() -> Result<Duration> {
    let seconds = std::env::var("TENANTRY_OUTAGE").unwrap_or_else(|_| "11".to_owned());
    Ok(Duration::from_secs(seconds.parse().context("TENANTRY_OUTAGE is a number of seconds")?))
}

/// How many tenants a release goes through: 3, unless `TENANTRY_FLEET` says otherwise.
#[expect(clippy::disallowed_methods, reason = "a test has no args.rs: this is where its environment is read")]
pub(crate) fn fleet_size() -> Result<usize> {
    let tenants = std::env::var("TENANTRY_FLEET").unwrap_or_else(|_| "3".to_owned());
    tenants.parse().context("TENANTRY_FLEET is a number of tenants")
}

/// Owners who have signed in.
static OWNERS: Mutex<BTreeMap<String, Crm>> = Mutex::const_new(BTreeMap::new());

/// The owner of a tenant, signed in by a new one-time link the first time.
pub(crate) async fn owner(fleet: &Installed, tenant: &str) -> Result<Crm> {
    let known = OWNERS.lock().await.get(tenant).cloned();
    match known {
        Some(owner) => Ok(fleet.crm(tenant)?.in_the_session_of(&owner)),
        None => welcomed(fleet, tenant, &fleet.new_sign_in_link(tenant).await?).await,
    }
}

/// The owner of a tenant, signed in by this link; a new password ends the sessions that there were.
pub(crate) async fn welcomed(fleet: &Installed, tenant: &str, link: &str) -> Result<Crm> {
    let mut crm = fleet.crm(tenant)?;
    crm.welcome(link, PASSWORD).await?;
    OWNERS.lock().await.insert(tenant.to_owned(), crm.clone());
    Ok(crm)
}

/// Owners of two tenants, who go on working while something is done to the whole fleet.
pub(crate) async fn customers(fleet: &Installed) -> Result<Vec<Crm>> {
    try_join_all(["acme", "bluesky"].map(|tenant| owner(fleet, tenant))).await
}
