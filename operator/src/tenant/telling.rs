//! What people and Prometheus are told of a tenant: its status, one event and one line of the log for whatever is news.

use std::sync::Arc;

use kube::ResourceExt as _;

use crate::{
    api::{Tenant, TenantStatus, UpgradeStep, conditions},
    cluster::Severity,
    tenant::{Context, Error, Progress, snapshot, status},
};

/// What the status says after a reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// That the tenant is ready.
    Ready,
    /// That it is not.
    Unready,
    /// What it said before: the Tenant has changed since it was looked at. There is news, or will be, and then another look.
    Nothing,
}

/// Writes the status if it changed, and an event if the reason for readiness did.
pub(super) async fn write_status(
    tenant: &Arc<Tenant>,
    ctx: &Context,
    progress: &Progress,
    outcome: &Result<(), Error>,
) -> Result<Told, Error> {
    let old = tenant.status.as_ref().map(status::own).unwrap_or_default();
    let seen = snapshot(tenant, ctx);
    let new = status::status(tenant, &old, progress, &seen, outcome, (ctx.now)());
    let is_ready = conditions::find(&new.conditions, conditions::READY).is_some_and(|c| c.status == "True");
    let told = if is_ready { Told::Ready } else { Told::Unready };
    if new == old {
        return Ok(told);
    }
    let Some(live) = say(tenant, ctx, &old, &new).await? else { return Ok(Told::Nothing) };
    tell(ctx, &live, &old, &new).await;
    ctx.remember(live);
    Ok(told)
}

/// Writes the status, unless the Tenant is another one than that which it was found for; `None` if it is.
///
/// Somebody who writes to it all the time, and nothing that matters here, cannot keep it from being written.
async fn say(
    tenant: &Arc<Tenant>,
    ctx: &Context,
    old: &TenantStatus,
    new: &TenantStatus,
) -> Result<Option<Tenant>, Error> {
    const TRIES: usize = 3;
    // This reconcile may have given it its finalizer.
    let mut version = ctx.freshest(tenant.clone());
    for _ in 0..TRIES {
        match ctx.cluster.apply_status(&version, new).await {
            Ok(live) => return Ok(Some(live)),
            Err(error) if error.is_conflict() => (),
            Err(error) => return Err(Error::Cluster(error)),
        }
        let live = ctx.cluster.get_global::<Tenant>(&tenant.name_any()).await.map_err(Error::Cluster)?;
        match live.filter(|live| is_the_same(live, tenant, old)) {
            Some(live) => version = Arc::new(live),
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// Whether a later version wants the same, and says the same.
fn is_the_same(later: &Tenant, seen: &Tenant, said: &TenantStatus) -> bool {
    let metadata = |tenant: &Tenant| {
        let metadata = &tenant.metadata;
        (metadata.uid.clone(), metadata.generation, metadata.deletion_timestamp.clone())
    };
    metadata(later) == metadata(seen) && later.status.as_ref().map(status::own).unwrap_or_default() == *said
}

/// One line and one event whenever the reason for readiness changes; repetitions of the same are silent.
async fn tell(ctx: &Context, tenant: &Tenant, old: &TenantStatus, new: &TenantStatus) {
    let find = |status: &TenantStatus| conditions::find(&status.conditions, conditions::READY).cloned();
    tell_upgrade(ctx, tenant, old, new).await;
    let (Some(now), before) = (find(new), find(old)) else { return };
    let known = before.is_some_and(|before| {
        (before.status, before.reason, before.message)
            == (now.status.clone(), now.reason.clone(), now.message.clone())
    });
    if known {
        return;
    }
    tracing::info!(
        tenant = tenant.name_any(),
        ready = now.status,
        reason = now.reason,
        message = now.message,
        state = new.state.map(crate::api::EffectiveState::as_str),
        release = new.release,
        "tenant status"
    );
    let severity = if status::is_failure(&now) { Severity::Warning } else { Severity::Normal };
    let note = if now.message.is_empty() { "the tenant is as its spec says" } else { now.message.as_str() };
    ctx.cluster.event(tenant, severity, "Reconcile", &now.reason, note).await;
}

/// One line, one event and one count for each step of an upgrade.
async fn tell_upgrade(ctx: &Context, tenant: &Tenant, old: &TenantStatus, new: &TenantStatus) {
    let step = |status: &TenantStatus| {
        let upgrade = status.upgrade.as_ref()?;
        Some((upgrade.from.clone(), upgrade.to.clone(), upgrade.step))
    };
    let (before, now) = (step(old), step(new));
    if before == now {
        return;
    }
    let (severity, reason, note) = match (&before, &now) {
        (_, Some((from, to, step))) => {
            let failure = new.upgrade.as_ref().and_then(|upgrade| upgrade.last_failure.as_ref());
            let why = failure.map(|failure| format!(": {}", failure.message)).unwrap_or_default();
            let severity = if failure.is_some() { Severity::Warning } else { Severity::Normal };
            (severity, format!("Upgrade{step:?}"), format!("from release {from} to {to}{why}"))
        }
        // A new one that was given up before it began is no end.
        (Some((from, to, _)), None) if new.release.as_ref() == Some(to) => {
            (Severity::Normal, "Upgraded".to_owned(), format!("from release {from} to {to}"))
        }
        (Some((from, to, _)), None) => {
            (Severity::Normal, "UpgradeGivenUp".to_owned(), format!("from release {from} to {to}"))
        }
        (None, None) => return,
    };
    tracing::info!(tenant = tenant.name_any(), reason, note, "tenant upgrade");
    match now {
        Some((_, _, UpgradeStep::Failed)) => ctx.metrics.upgraded("failed"),
        None if reason == "Upgraded" => ctx.metrics.upgraded("done"),
        _ => (),
    }
    ctx.cluster.event(tenant, severity, "Upgrade", &reason, &note).await;
}
