//! How far a tenant is with its channel's release, from what its status says. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::{
    api::{
        Channel, EffectiveState, State, Tenant, TenantStatus, UpgradeStatus, UpgradeStep,
        conditions::{self, Word},
    },
    rollout::turn::Stage,
    tenant::{is_deleting, upgrade::decide::HOPELESS},
    window::{Opening, opening},
};

/// A tenant that was told to go and cannot begin within this time gives its place to others.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);

/// Changed pods that do not answer by then do not answer.
const READY_WITHIN: SignedDuration = SignedDuration::from_mins(10);

/// How far a tenant is with that release, and with those settings of its pods; `None` when nobody knows what they are to be.
pub fn stage(tenant: &Tenant, release: &str, pods: Option<&str>, now: Timestamp) -> Stage {
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
        _ if status.release.as_deref() == Some(release) => of_pods(status, pods, now),
        _ if status.target_release.as_deref() == Some(release) => Stage::Upgrading,
        _ if !answers(status) => Stage::Aside,
        _ => Stage::Waiting,
    }
}

/// How far a tenant that runs the release is with the settings of its pods.
fn of_pods(status: &TenantStatus, wanted: Option<&str>, now: Timestamp) -> Stage {
    let (own, told) = (status.pod_settings.as_deref(), status.target_pod_settings.as_deref());
    if own.is_none() || wanted.is_none() || own == wanted {
        return Stage::Done;
    }
    match told == wanted {
        true if trouble_with_pods(status, now).is_some() => Stage::Failed,
        true => Stage::Upgrading,
        false if answers(status) => Stage::Waiting,
        false => Stage::Aside,
    }
}

/// What keeps the pods of one that is on its way to other settings of them from running: what no waiting mends, or anything after a
/// while. What was the matter before may be what the other settings mend, so it gets the same time.
pub fn trouble_with_pods(status: &TenantStatus, now: Timestamp) -> Option<&Condition> {
    if status.target_pod_settings.is_none() || status.target_pod_settings == status.pod_settings {
        return None;
    }
    let find = |type_| conditions::find(&status.conditions, type_);
    let announced = find(conditions::UP_TO_DATE).map_or(now, |said| said.last_transition_time.0);
    let is_failure = |part: &Condition| {
        let since = part.last_transition_time.0;
        let is_hopeless = HOPELESS.contains(&part.reason.as_str()) && announced <= since;
        is_hopeless || since.max(announced) + READY_WITHIN <= now
    };
    let parts = [conditions::DATABASE_READY, conditions::APP_READY].into_iter().filter_map(find);
    parts.filter(|part| part.status == Word::False.as_str()).find(|part| is_failure(part))
}

/// The settings of its pods that it is to be told, if not those that it was told last.
pub fn target_pods<'a>(tenant: &Tenant, pods: Option<&'a str>, goes: bool) -> Option<&'a str> {
    let status = tenant.status.as_ref()?;
    let told = status.target_pod_settings.as_deref();
    // One that was on its way to others comes back to what it had at once.
    let comes_back = told.is_some() && status.pod_settings.as_deref() == pods;
    pods.filter(|_| goes || comes_back).filter(|pods| told != Some(pods))
}

/// A tenant whose database does not answer is not upgraded, and nobody waits for it.
fn answers(status: &TenantStatus) -> bool {
    let database = conditions::find(&status.conditions, conditions::DATABASE_READY);
    database.is_none_or(|database| database.status == Word::True.as_str())
}

/// Whether it failed before with that release, and tries again.
pub fn retries(tenant: &Tenant, release: &str) -> bool {
    let upgrade = tenant.status.as_ref().and_then(|status| status.upgrade.as_ref());
    upgrade.is_some_and(|upgrade| upgrade.to == release && 1 < upgrade.attempts)
}

/// When it may begin, by its own window or the channel's; `None` if it may now. One whose window cannot be read says so when it is
/// asked.
pub fn opens_at(tenant: &Tenant, channel: &Channel, now: Timestamp) -> Option<Timestamp> {
    let window = tenant.spec.maintenance_window.as_ref().or(channel.spec.rollout.window.as_ref());
    match opening(window?, &tenant.spec.time_zone, now) {
        Ok(Opening::Closed { until }) => Some(until),
        Ok(Opening::Open { .. }) | Err(_) => None,
    }
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
