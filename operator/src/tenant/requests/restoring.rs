//! Carries out the step that a restore is at, after the tenant's children are as that step wants them.
//!
//! A Job is made only for a request that the API server knows exactly as we do, and what is found is written before the next
//! step begins. A Job of which the status does not tell yet is found again by its name.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::{api::batch::v1::Job, apimachinery::pkg::apis::meta::v1::Time};
use kube::ResourceExt;

use super::{
    Means, Request, is_current,
    restore::{Restoring, Step},
    saying, write,
};
use crate::{
    api::{
        Lost, RestoreFrom, RestoreStep, TenantBackup, TenantRestore, TenantRestoreStatus,
        conditions::{Verdict, Word, reasons},
    },
    cluster::{cache::Snapshot, facts::Kind},
    names::{self, Component, child},
    tenant::{
        Context, Error,
        build::{self, BackupReason},
        report::Restored,
    },
};

/// Does what is to be done next for the restores of a tenant; says whether one is not at its end.
pub(super) async fn attend(
    ctx: &Context,
    requests: &[Arc<TenantRestore>],
    restoring: Option<&Restoring>,
    means: Result<&Means<'_>, &Verdict>,
    seen: &Snapshot,
) -> Result<bool, Error> {
    let mut open = requests.iter().filter(|request| !request.is_finished());
    let first = open.next();
    if let Some(request) = first {
        match (restoring.filter(|restoring| restoring.request.uid() == request.uid()), means) {
            (Some(restoring), _) => carry_out(ctx, restoring, means.ok(), seen).await?,
            (None, Err(wait)) => {
                write(ctx, &**request, &saying(&**request, held_up(request, wait), (ctx.now)())).await?;
            }
            // It came after the step was decided on.
            (None, Ok(_)) => (),
        }
        for later in open {
            let wait = format!("it waits for TenantRestore {}", request.name_any());
            let status = saying(&**later, Verdict::unknown(reasons::QUEUED, wait), (ctx.now)());
            write(ctx, &**later, &status).await?;
        }
    }
    tidy(ctx, requests, seen).await?;
    Ok(first.is_some())
}

/// What is said of a restore that cannot go on: while it has stopped the CRM, that this is not the tenant's usual waiting.
fn held_up(request: &TenantRestore, wait: &Verdict) -> Verdict {
    let step = request.status.as_ref().and_then(|status| status.step);
    let is_stopped = step.is_some_and(|step| step != RestoreStep::Starting);
    if !is_stopped || wait.reason == reasons::DELETING {
        return wait.clone();
    }
    Verdict { message: format!("{}. The CRM stays stopped until then", wait.message), ..wait.clone() }
}

async fn carry_out(
    ctx: &Context,
    restoring: &Restoring,
    means: Option<&Means<'_>>,
    seen: &Snapshot,
) -> Result<(), Error> {
    let request = &*restoring.request;
    let now = (ctx.now)();
    let status = match &restoring.step {
        Step::Wait(verdict) => saying(request, verdict.clone(), now),
        Step::End(verdict) => ended(restoring, verdict.clone(), now),
        step => at(restoring, &step.message().unwrap_or_default(), now),
    };
    let job = match (&restoring.step, means) {
        (Step::SafetyBackup { make: true }, Some(means)) => safety_backup(request, means, ctx),
        (Step::Restore { make: true, generation }, Some(means)) => {
            Some(restore(request, means, *generation, ctx))
        }
        _ => None,
    };
    if let Some(job) = job.filter(|job| seen.job(job.metadata.name.as_deref().unwrap_or_default()).is_none())
    {
        if !is_current(ctx, request).await? {
            return Ok(());
        }
        ctx.cluster.create(&job).await.map_err(Error::Cluster)?;
    }
    write(ctx, request, &status).await
}

fn safety_backup(request: &TenantRestore, means: &Means<'_>, ctx: &Context) -> Option<Job> {
    let uid = request.uid().unwrap_or_default();
    let Means { tenant, backup, release, recipient } = means;
    let name = names::request_job(Component::Backup, &uid);
    let reason = BackupReason::Safety;
    let job = build::one_off_backup(tenant, backup, recipient, release, &ctx.settings, &name, reason)?;
    Some(build::of_request(job, &uid))
}

fn restore(request: &TenantRestore, means: &Means<'_>, generation: i64, ctx: &Context) -> Job {
    let Means { tenant, backup, release, .. } = means;
    let uid = request.uid().unwrap_or_default();
    let made = request.creation_timestamp().map_or_else(|| (ctx.now)(), |at| at.0);
    let which = which(&request.spec.from, made);
    build::restore(
        tenant,
        backup,
        release,
        &ctx.settings,
        &build::Restore { uid: &uid, backup: &which, generation },
    )
}

/// Which backup: a name, or a moment that is not later than the request, so that it means the same at each try and never the
/// safety backup.
fn which(from: &RestoreFrom, made: Timestamp) -> String {
    match (&from.backup, &from.time) {
        (Some(backup), _) => backup.clone(),
        (None, Some(time)) => format!("before:{}", time.0.min(made)),
        (None, None) => format!("before:{made}"),
    }
}

/// The status of a restore that is under way.
fn at(restoring: &Restoring, message: &str, now: Timestamp) -> TenantRestoreStatus {
    let status =
        found(restoring, saying(&*restoring.request, Verdict::unknown(reasons::RESTORING, message), now));
    TenantRestoreStatus {
        step: restoring.step.name(),
        started_at: status.started_at.or_else(|| Some(whole(now))),
        ..status
    }
}

/// The status of a restore that is at its end.
fn ended(restoring: &Restoring, verdict: Verdict, now: Timestamp) -> TenantRestoreStatus {
    let status = found(restoring, saying(&*restoring.request, verdict, now));
    let lost = match (&status.created_at, &status.safety_backup) {
        (Some(from), Some(safety)) if status.database_generation.is_some() => {
            Some(Lost { from: from.clone(), to: safety.created_at.clone() })
        }
        _ => None,
    };
    // The CRM may have been up again before anybody had said that it was starting.
    let step = status.database_generation.map(|_| RestoreStep::Starting).or(status.step);
    TenantRestoreStatus { step, lost, completed_at: Some(whole(now)), ..status }
}

/// What is known of the restore besides what was known before.
fn found(restoring: &Restoring, status: TenantRestoreStatus) -> TenantRestoreStatus {
    let created_at = |restored: &Restored| whole(restored.created_at);
    let restored = restoring.restored.as_ref();
    TenantRestoreStatus {
        backup: restored.map(|restored| restored.backup.clone()).or(status.backup),
        created_at: restored.map(created_at).or(status.created_at),
        safety_backup: restoring.safety.clone().or(status.safety_backup),
        database_generation: restoring.serves.or(status.database_generation),
        ..status
    }
}

/// The API keeps whole seconds, and what is read back must be what was written.
fn whole(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

/// Removes Jobs that nobody needs any more: those of restores that are done, and what still runs of restores that failed or whose
/// request is gone. What failed stays for its log; Kubernetes removes it after a day.
async fn tidy(ctx: &Context, requests: &[Arc<TenantRestore>], seen: &Snapshot) -> Result<(), Error> {
    let wanted = |uid: &str| {
        let request = requests.iter().find(|request| request.uid().as_deref() == Some(uid));
        request.map(|request| {
            request.complete().map_or(Word::Unknown.as_str(), |complete| complete.status.as_str())
        })
    };
    for (key, job) in seen.of_kind(Kind::Job).filter(|(_, job)| !job.deleting) {
        let Some(facts) = seen.job(&key.name) else { continue };
        let Some(uid) = facts.request.as_deref() else { continue };
        let is_over = match wanted(uid) {
            Some("True") => true,
            Some("False") => facts.finished.is_none(),
            Some(_) => false,
            None => {
                key.name.starts_with(child::RESTORE) && !is_malformed(ctx, uid) && facts.finished.is_none()
            }
        };
        if is_over {
            ctx.cluster.delete::<Job>(&key.namespace, &key.name, &job.uid).await.map_err(Error::Cluster)?;
        }
    }
    Ok(())
}

/// Whether the request is there but cannot be read.
fn is_malformed(ctx: &Context, uid: &str) -> bool {
    let all =
        ctx.malformed.of_kind::<TenantRestore>().into_iter().chain(ctx.malformed.of_kind::<TenantBackup>());
    all.into_iter().any(|object| object.metadata.uid.as_deref() == Some(uid))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[rstest]
    #[case(json!({"backup": "20261122T132501Z-ab12cd"}), "20261122T132501Z-ab12cd")]
    #[case(json!({"latest": {}}), "before:2026-11-22T14:00:00Z")]
    #[case(json!({"time": "2026-11-20T00:00:00Z"}), "before:2026-11-20T00:00:00Z")]
    #[case::from_the_future(json!({"time": "2030-01-01T00:00:00Z"}), "before:2026-11-22T14:00:00Z")]
    fn it_is_never_a_backup_that_was_made_after_the_request(#[case] from: Value, #[case] backup: &str) {
        let from = serde_json::from_value(from).unwrap();
        assert_eq!(which(&from, "2026-11-22T14:00:00Z".parse().unwrap()), backup);
    }
}
