//! The whole product on a real cluster: states, isolation, failures that heal.
//!
//! `cargo verify` brings the cluster up and names it in `TENANTRY_CLUSTER`; the demo's cluster works as well.

mod failures;
mod internet;
mod isolation;
mod states;

use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::fleet::{CLUSTER_VARIABLE, Crm, Installed};

/// More than any start on this kind of machine should take.
pub(crate) const READY: Duration = Duration::from_mins(2);
/// A password that the CRM accepts.
pub(crate) const PASSWORD: &str = "correct horse battery staple 9";

/// Tenantry on the cluster that the environment names.
#[expect(clippy::disallowed_methods, reason = "a test has no args.rs: this is where its environment is read")]
pub(crate) fn installed() -> Result<Installed> {
    let name = std::env::var(CLUSTER_VARIABLE).with_context(|| {
        format!("set {CLUSTER_VARIABLE}=demo after `cargo demo`, or run `cargo verify --only fleet`")
    })?;
    Installed::load(&name)
}

/// The owner of a tenant, signed in by a new one-time link.
pub(crate) async fn owner(fleet: &Installed, tenant: &str) -> Result<Crm> {
    let link = fleet.new_sign_in_link(tenant).await?;
    let mut crm = fleet.crm(tenant)?;
    crm.welcome(&link, PASSWORD).await?;
    Ok(crm)
}
