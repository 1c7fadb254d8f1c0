//! How far a tenant is with its channel's release, from what its status says. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::{
        Channel, EffectiveState, State, Tenant, TenantStatus, UpgradeStatus, UpgradeStep,
        conditions::{self, Word},
    },
    rollout::turn::Stage,
    tenant::is_deleting,
    window::{Opening, opening},
};

/// A tenant that was told to go and cannot begin within this time gives its place to others.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);

/// How far a tenant is with that release.
pub fn stage(tenant: &Tenant, release: &str) -> Stage {
    let Some(status) = &tenant.status else { return Stage::Aside };
    let is_stopped = tenant.spec.state == State::Suspended || status.state == Some(EffectiveState::Suspended);
    // One that has never run begins with a release that has gone through all waves, and follows when it runs.
    let has_run = status.release.is_some() && status.schema_version.is_some();
    if !has_run || is_stopped || is_deleting(tenant) || tenant.spec.paused {
        return Stage::Aside;
    }
    match &status.upgrade {
        Some(upgrade) if upgrade.to == release => match upgrade.step {
            UpgradeStep::Checking
            | UpgradeStep::BackingUp
            | UpgradeStep::Rehearsing
            | UpgradeStep::Migrating
            | UpgradeStep::Rolling => Stage::Upgrading,
            UpgradeStep::Baking => Stage::Baking,
            UpgradeStep::GoingBack | UpgradeStep::Restoring | UpgradeStep::Failed => Stage::Failed,
        },
        Some(upgrade) if upgrade.step != UpgradeStep::Failed => Stage::Busy,
        _ if status.release.as_deref() == Some(release) => Stage::Done,
        _ if status.target_release.as_deref() == Some(release) => Stage::Upgrading,
        _ if !answers(status) => Stage::Aside,
        _ => Stage::Waiting,
    }
}

/// A tenant whose database does not answer is not upgraded, and nobody waits for it.
fn answers(status: &TenantStatus) -> bool {
    let database = conditions::find(&status.conditions, conditions::DATABASE_READY);
    database.is_none_or(|database| database.status == Word::True.as_str())
}

/// Whether it may begin now, by its own window or the channel's. One whose window cannot be read says so when it is asked.
pub fn is_open(tenant: &Tenant, channel: &Channel, now: Timestamp) -> bool {
    let window = tenant.spec.maintenance_window.as_ref().or(channel.spec.rollout.window.as_ref());
    let closed = |window| matches!(opening(window, &tenant.spec.time_zone, now), Ok(Opening::Closed { .. }));
    !window.is_some_and(closed)
}

/// Whether it has been waiting for too long to begin.
fn is_stuck(upgrade: &UpgradeStatus, now: Timestamp) -> bool {
    upgrade.started_at.0 + PATIENCE < now
}

/// The release that it is to be told, if not the one that it was told last. `goes`: its turn has come.
pub fn target<'a>(
    tenant: &'a Tenant,
    release: &'a str,
    settled: &'a str,
    goes: bool,
    now: Timestamp,
) -> Option<&'a str> {
    let status = tenant.status.as_ref();
    let told = status.and_then(|status| status.target_release.as_deref());
    let runs = status.and_then(|status| status.release.as_deref());
    let wanted = match status.and_then(|status| status.upgrade.as_ref()) {
        _ if goes => release,
        // What it waits for does not come; meanwhile others can have its place.
        Some(upgrade)
            if upgrade.step == UpgradeStep::Checking && upgrade.to == release && is_stuck(upgrade, now) =>
        {
            return (told != Some(&upgrade.from)).then_some(upgrade.from.as_str());
        }
        // What is under way is not wanted any more, and what is wanted is what it comes from.
        Some(upgrade) if upgrade.step != UpgradeStep::Failed && upgrade.from == release => release,
        None if runs.is_none() => settled,
        // Of what it runs already it can be told at any time.
        _ if runs == Some(release) => release,
        _ => return None,
    };
    (told != Some(wanted)).then_some(wanted)
}

#[cfg(test)]
mod tests;
