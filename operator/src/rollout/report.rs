//! What a Channel and its tenants say of a rollout. Pure: an unchanged world gives an unchanged status.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt as _;

use crate::{
    api::{
        Channel, ChannelStatus, RolloutFailure, Tenant, UpgradeStep,
        conditions::{self, Verdict, reasons, set_condition},
    },
    cluster::truncated,
    rollout::{
        member,
        turn::{Halt, Stage, Turn},
        waves::Waves,
    },
};

/// As many failures are shown; the counts tell of all.
const SHOWN: usize = 20;
/// And so much of the words of each, so that a status stays below 20 kB; the tenant says it all.
const MAX_MESSAGE_BYTES: usize = 400;

/// What a channel says when its release or its waves cannot be used; what it said of its tenants stays.
pub fn unusable(channel: &Channel, message: &str, now: Timestamp) -> ChannelStatus {
    let mut status = channel.status.clone().unwrap_or_default();
    status.observed_generation = channel.metadata.generation;
    let verdict = Verdict::no(reasons::UNUSABLE, message);
    set_condition(&mut status.conditions, conditions::PROGRESSING, verdict, channel.metadata.generation, now);
    status
}

/// What a channel says.
pub fn channel_status(
    channel: &Channel,
    waves: &Waves,
    turn: &Turn,
    tenants: &[impl AsRef<Tenant>],
    now: Timestamp,
) -> ChannelStatus {
    let old = channel.status.clone().unwrap_or_default();
    let generation = channel.metadata.generation;
    let release = &channel.spec.release;
    let wave = turn.wave.map(|wave| waves.name(wave).to_owned());
    let halted = halted(channel, waves, turn);
    let mut all = old.conditions;
    for (type_, verdict) in [
        (conditions::UP_TO_DATE, up_to_date(release, turn)),
        (conditions::PROGRESSING, progressing(channel, wave.as_deref(), turn)),
        (conditions::HALTED, halted),
    ] {
        set_condition(&mut all, type_, verdict, generation, now);
    }
    let is_through = turn.wave.is_none() && turn.halt.is_none();
    ChannelStatus {
        observed_generation: generation,
        conditions: all,
        settled_release: if is_through { Some(release.clone()) } else { old.settled_release },
        wave,
        tenants: Some(turn.counts),
        failures: failures(tenants, release, now),
    }
}

fn up_to_date(release: &str, turn: &Turn) -> Verdict {
    let counts = &turn.counts;
    if counts.up_to_date + counts.set_aside == counts.total {
        return Verdict::yes(reasons::AS_EXPECTED, "");
    }
    let message =
        format!("{} of {} tenants run release {release} as their plans say", counts.up_to_date, counts.total);
    Verdict::no(reasons::ROLLING_OUT, message)
}

fn progressing(channel: &Channel, wave: Option<&str>, turn: &Turn) -> Verdict {
    let release = &channel.spec.release;
    if turn.halt.is_some() {
        return Verdict::no(reasons::HALTED, "no further tenant is upgraded: see the condition Halted");
    }
    let Some(wave) = wave else {
        return Verdict::no(reasons::ROLLED_OUT, format!("release {release} has gone through all waves"));
    };
    if channel.spec.paused {
        return Verdict::no(
            reasons::PAUSED,
            "spec.paused is set: no further tenant is upgraded; those under way are finished",
        );
    }
    if turn.awaits_approval {
        return Verdict::no(
            reasons::AWAITING_APPROVAL,
            format!(
                "wave {wave} needs somebody's word: add {{release: {release}, wave: {wave}}} to spec.rollout.approvals"
            ),
        );
    }
    if turn.awaits_windows {
        let next = turn.next_opening.map(|next| format!("; the next one opens at {next:.0}"));
        let message = format!(
            "the other tenants of wave {wave} wait for their maintenance windows{}",
            next.unwrap_or_default()
        );
        return Verdict::yes(reasons::AWAITING_WINDOW, message);
    }
    Verdict::yes(reasons::ROLLING_OUT, format!("wave {wave} is under way"))
}

fn halted(channel: &Channel, waves: &Waves, turn: &Turn) -> Verdict {
    let release = &channel.spec.release;
    let next = format!(
        "See status.failures. Then set spec.release to a release that is mended, or back to the one before; or have a tenant try again: kubectl annotate tenant NAME {}=1",
        crate::names::RETRY
    );
    match turn.halt {
        None => Verdict::no(reasons::NOT_HALTED, ""),
        Some(Halt::TooManyFailures) => Verdict::yes(
            reasons::TOO_MANY_FAILURES,
            format!(
                "{} tenants failed with release {release}, and spec.rollout.maxFailures allows {}. {next}",
                turn.failures, channel.spec.rollout.max_failures
            ),
        ),
        Some(Halt::NobodySucceeded { wave }) => Verdict::yes(
            reasons::NOBODY_SUCCEEDED,
            format!("no tenant of wave {} could run release {release}. {next}", waves.name(wave)),
        ),
    }
}

/// Those that failed with this release, the newest first.
fn failures(tenants: &[impl AsRef<Tenant>], release: &str, now: Timestamp) -> Vec<RolloutFailure> {
    let mut failures: Vec<RolloutFailure> =
        tenants.iter().filter_map(|tenant| failure(tenant.as_ref(), release, now)).collect();
    failures.sort_by(|a, b| (b.at.0, &a.tenant).cmp(&(a.at.0, &b.tenant)));
    failures.truncate(SHOWN);
    failures
}

fn failure(tenant: &Tenant, release: &str, now: Timestamp) -> Option<RolloutFailure> {
    of_upgrade(tenant, release).or_else(|| of_pods(tenant, release, now))
}

/// One that runs the release, and whose pods do not answer with what its plan asks for.
fn of_pods(tenant: &Tenant, release: &str, now: Timestamp) -> Option<RolloutFailure> {
    let status = tenant.status.as_ref().filter(|status| status.release.as_deref() == Some(release))?;
    let trouble = member::trouble_with_pods(status, now)?;
    Some(RolloutFailure {
        tenant: tenant.name_any(),
        at: trouble.last_transition_time.clone(),
        reason: trouble.reason.clone(),
        message: truncated(&format!("changed pods do not run: {}", trouble.message), MAX_MESSAGE_BYTES),
    })
}

fn of_upgrade(tenant: &Tenant, release: &str) -> Option<RolloutFailure> {
    let upgrade = tenant.status.as_ref()?.upgrade.as_ref().filter(|upgrade| upgrade.to == release)?;
    let is_failed =
        matches!(upgrade.step, UpgradeStep::GoingBack | UpgradeStep::Restoring | UpgradeStep::Failed);
    let failure = upgrade.last_failure.as_ref().filter(|_| is_failed)?;
    Some(RolloutFailure {
        tenant: tenant.name_any(),
        at: Time(failure.at.0),
        reason: failure.reason.clone(),
        message: truncated(&failure.message, MAX_MESSAGE_BYTES),
    })
}

/// Whether it runs the release and is on no way, so that only what is in its pods can be missing.
fn is_about_pods(tenant: &Tenant, release: &str) -> bool {
    let status = tenant.status.as_ref();
    status.is_some_and(|status| status.upgrade.is_none() && status.release.as_deref() == Some(release))
}

/// What one says that runs the release, of the settings of its pods.
fn of_changed_pods(tenant: &Tenant, channel: &str, wave: &str, stage: Stage, now: Timestamp) -> Verdict {
    const WHAT: &str = "what its plan or the operator has changed in its pods";
    match stage {
        Stage::Done | Stage::Baking => Verdict::yes(reasons::AS_EXPECTED, ""),
        Stage::Waiting | Stage::Busy => {
            Verdict::no(reasons::WAITING, format!("{WHAT} comes with wave {wave} of channel {channel}"))
        }
        Stage::Upgrading => Verdict::no(reasons::ROLLING_OUT, format!("{WHAT} is on its way")),
        Stage::Failed => {
            let trouble = tenant.status.as_ref().and_then(|status| member::trouble_with_pods(status, now));
            let why = trouble.map(|trouble| trouble.message.as_str()).unwrap_or_default();
            Verdict::no(reasons::UPGRADE_FAILED, format!("{WHAT} does not run: {why}"))
        }
        Stage::Aside => Verdict::unknown(reasons::SET_ASIDE, format!("{WHAT} comes when the tenant runs")),
    }
}

/// What a tenant says of itself and its channel.
pub fn tenant_condition(
    tenant: &Tenant,
    channel: &str,
    release: &str,
    wave: &str,
    stage: Stage,
    now: Timestamp,
) -> Option<Condition> {
    let verdict = match stage {
        _ if is_about_pods(tenant, release) => of_changed_pods(tenant, channel, wave, stage, now),
        Stage::Done => Verdict::yes(reasons::AS_EXPECTED, ""),
        Stage::Waiting | Stage::Busy => Verdict::no(
            reasons::WAITING,
            format!("release {release} of channel {channel} comes with wave {wave}"),
        ),
        Stage::Upgrading => Verdict::no(reasons::ROLLING_OUT, format!("release {release} is on its way")),
        Stage::Baking => Verdict::no(reasons::BAKING, format!("release {release} runs and is watched")),
        Stage::Failed => {
            let upgrade = tenant.status.as_ref().and_then(|status| status.upgrade.as_ref());
            let failure = upgrade.and_then(|upgrade| upgrade.last_failure.as_ref());
            let why = failure.map(|failure| failure.message.as_str()).unwrap_or_default();
            Verdict::no(reasons::UPGRADE_FAILED, format!("release {release} failed: {why}"))
        }
        Stage::Aside => Verdict::unknown(
            reasons::SET_ASIDE,
            format!("release {release} of channel {channel} comes when the tenant runs"),
        ),
    };
    let mut all = tenant.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    set_condition(&mut all, conditions::UP_TO_DATE, verdict, tenant.metadata.generation, now);
    conditions::find(&all, conditions::UP_TO_DATE).cloned()
}

#[cfg(test)]
mod tests;
