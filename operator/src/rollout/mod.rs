//! Rollouts: `Channel.spec.release` reaches the tenants in waves.
//!
//! One task looks at all channels whenever a channel or a tenant has changed. It only tells a tenant which release is wanted
//! (`status.targetRelease`) and what its channel says of it (`UpToDate`); the way from one release to the next is the tenant's own
//! (`tenant/upgrade.rs`). Whose turn it is follows from what the tenants say, so nothing is kept in memory.

pub mod member;
pub mod report;
pub mod turn;
pub mod waves;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{ResourceExt as _, runtime::reflector::ObjectRef};

use crate::{
    api::{Channel, ChannelStatus, Release, Tenant, conditions},
    cluster::{Error, write::Told},
    rollout::{
        turn::{Limits, Member, Stage, Turn, turn},
        waves::{Fleet, Waves},
    },
    tenant::{Context, pods::PodSettings},
};

/// Brings every channel and its tenants a step further, and says when a maintenance window opens for which somebody waits. What fails for
/// one keeps none of the others; the first failure is returned.
pub async fn settle(ctx: &Context) -> Result<Option<Duration>, Error> {
    let mut channels = ctx.channels.state();
    channels.sort_by_key(|channel| channel.name_any());
    let mut members = BTreeMap::<String, Vec<Arc<Tenant>>>::new();
    let (mut done, mut next) = (Ok(()), None);
    for tenant in ctx.tenants.state() {
        match &tenant.spec.channel {
            Some(channel) => members.entry(channel.clone()).or_default().push(ctx.freshest(tenant)),
            None if was_told(&tenant) => done = done.and(write(ctx, &tenant, &Told::default(), None).await),
            None => (),
        }
    }
    for channel in &channels {
        let mut members = members.remove(&channel.name_any()).unwrap_or_default();
        members.sort_by_key(|tenant| tenant.name_any());
        match roll_out(ctx, channel, &members).await {
            Ok(opening) => next = next.into_iter().chain(opening).min(),
            Err(error) => done = done.and(Err(error)),
        }
    }
    let wait =
        |opening: Timestamp| Duration::try_from(opening.duration_since((ctx.now)())).unwrap_or_default();
    done.map(|()| next.map(wait))
}

/// One channel; when the next maintenance window opens for which a tenant of it waits.
async fn roll_out(
    ctx: &Context,
    channel: &Channel,
    members: &[Arc<Tenant>],
) -> Result<Option<Timestamp>, Error> {
    let waves = match usable(ctx, channel) {
        Ok(waves) => waves,
        Err(message) => {
            let status = report::unusable(channel, &message, (ctx.now)());
            return say(ctx, channel, &status).await.map(|()| None);
        }
    };
    let pods = Pods::wanted(ctx, members);
    let (turn, staged) = look(channel, &waves, members, &pods, (ctx.now)());
    let rollout = Rollout { channel, waves, pods, turn };
    let mut done = Ok(());
    for (tenant, member) in members.iter().zip(&staged) {
        done = done.and(rollout.tell(ctx, tenant, member).await);
    }
    let status = report::channel_status(channel, &rollout.waves, &rollout.turn, members, (ctx.now)());
    done.and(say(ctx, channel, &status).await).map(|()| rollout.turn.next_opening)
}

/// What is to be in the pods of tenants besides the release, by the names of their plans.
struct Pods(BTreeMap<String, String>);

impl Pods {
    fn wanted(ctx: &Context, members: &[Arc<Tenant>]) -> Self {
        let names: BTreeSet<&str> = members.iter().map(|tenant| tenant.spec.plan.as_str()).collect();
        let digests = names.into_iter().filter_map(|name| {
            let plan = ctx.plans.get(&ObjectRef::new(name))?;
            let settings = PodSettings::wanted(name, &plan, ctx.template_revision);
            Some((name.to_owned(), settings.digest()))
        });
        Self(digests.collect())
    }

    /// Those of a tenant; `None` while its plan is not there.
    fn of(&self, tenant: &Tenant) -> Option<&str> {
        self.0.get(&tenant.spec.plan).map(String::as_str)
    }
}

/// The waves of a channel whose release is there; otherwise why nothing can be done.
fn usable(ctx: &Context, channel: &Channel) -> Result<Waves, String> {
    let release = &channel.spec.release;
    if ctx.releases.get(&ObjectRef::new(release)).is_none() {
        let why = match ctx.malformed.get::<Release>(release) {
            Some(malformed) => format!("cannot be read: {}", malformed.cause),
            None => "does not exist: make it, or set spec.release to another one".to_owned(),
        };
        return Err(format!("no tenant is upgraded: Release {release:?} {why}"));
    }
    Waves::of(&channel.name_any(), &channel.spec.rollout)
        .map_err(|invalid| format!("no tenant is upgraded: {invalid}"))
}

/// Whose turn it is, and how far each is.
fn look<'a>(
    channel: &'a Channel,
    waves: &Waves,
    members: &'a [Arc<Tenant>],
    pods: &Pods,
    now: Timestamp,
) -> (Turn, Vec<Member<'a>>) {
    let rollout = &channel.spec.rollout;
    let release = channel.spec.release.as_str();
    let labels: Vec<_> = members.iter().map(|tenant| (tenant.name_any(), tenant.labels())).collect();
    let fleet: Fleet<'_> = labels.iter().map(|(name, labels)| (name.as_str(), *labels)).collect();
    let assigned = waves.assign(&fleet);
    let staged: Vec<Member<'a>> = members
        .iter()
        .map(|tenant| {
            let name = tenant.metadata.name.as_deref().unwrap_or_default();
            let wave = assigned.get(name).copied().unwrap_or_default();
            let opens_at = member::opens_at(tenant, channel, now);
            let stage = member::stage(tenant, release, pods.of(tenant), now);
            Member { name, wave, stage, opens_at, retries: member::retries(tenant, release) }
        })
        .collect();
    let approvals = rollout.approvals.iter().filter(|approval| approval.release == release);
    let limits = Limits {
        parallel: usize::try_from(rollout.max_parallel).unwrap_or_default(),
        failures: usize::try_from(rollout.max_failures).unwrap_or_default(),
        paused: channel.spec.paused,
        approved: approvals.map(|approval| approval.wave.as_str()).collect(),
    };
    (turn(waves, &staged, &limits), staged)
}

/// What a channel wants now, and whose turn it is.
struct Rollout<'a> {
    channel: &'a Channel,
    waves: Waves,
    pods: Pods,
    turn: Turn,
}

impl Rollout<'_> {
    /// Tells a tenant what its channel wants of it, if that is news.
    async fn tell(&self, ctx: &Context, tenant: &Tenant, member: &Member<'_>) -> Result<(), Error> {
        let release = self.channel.spec.release.as_str();
        let settled = self.channel.status.as_ref().and_then(|status| status.settled_release.as_deref());
        let goes = self.turn.go.iter().any(|name| name == member.name);
        let now = (ctx.now)();
        let told = told(tenant);
        let target = member::target(tenant, release, settled.unwrap_or(release), goes, now).or(told.release);
        let wave = self.waves.name(member.wave);
        let pods = member::target_pods(tenant, self.pods.of(tenant), goes).or(told.pods);
        let tells = Told { release: target, wave: Some(wave), pods };
        // What it is told and what is said of it are one write, and each wakes the tenant.
        let stage = if goes { Stage::Upgrading } else { member.stage };
        let condition = report::tenant_condition(tenant, &self.channel.name_any(), release, wave, stage, now);
        if told == tells && said(tenant) == condition.as_ref() {
            return Ok(());
        }
        if told.release != target || told.pods != pods {
            tracing::info!(tenant = member.name, release = target, wave, pods, "the channel tells a release");
        }
        write(ctx, tenant, &tells, condition.as_ref()).await
    }
}

/// What its channel told it.
fn told(tenant: &Tenant) -> Told<'_> {
    let Some(status) = &tenant.status else { return Told::default() };
    Told {
        release: status.target_release.as_deref(),
        wave: status.target_wave.as_deref(),
        pods: status.target_pod_settings.as_deref(),
    }
}

/// What its channel said of it.
fn said(tenant: &Tenant) -> Option<&Condition> {
    conditions::find(&tenant.status.as_ref()?.conditions, conditions::UP_TO_DATE)
}

/// Whether it had a channel. One that has none is told nothing.
fn was_told(tenant: &Tenant) -> bool {
    told(tenant) != Told::default() || said(tenant).is_some()
}

async fn write(
    ctx: &Context,
    tenant: &Tenant,
    told: &Told<'_>,
    condition: Option<&Condition>,
) -> Result<(), Error> {
    match ctx.cluster.apply_rollout(tenant, told, condition).await {
        Ok(live) => ctx.remember(live),
        // It has changed or gone since; the news of that is on its way and starts this again.
        Err(error) if error.is_conflict() || error.is_not_found() => (),
        Err(error) => return Err(error),
    }
    Ok(())
}

async fn say(ctx: &Context, channel: &Channel, status: &ChannelStatus) -> Result<(), Error> {
    if channel.status.as_ref() == Some(status) {
        return Ok(());
    }
    match ctx.cluster.apply_channel_status(channel, status).await {
        Err(error) if !(error.is_conflict() || error.is_not_found()) => Err(error),
        _ => Ok(()),
    }
}
