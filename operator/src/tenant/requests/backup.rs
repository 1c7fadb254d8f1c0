//! `TenantBackup`: one Job a request, one request at a time, the oldest first.
//!
//! The Job is made before the status says that it runs. So of a request whose status says nothing yet, making the Job is
//! safe to repeat: at worst there is a backup more. Of one that says `Running` and has no Job any more, the result is lost,
//! and that is its end: it is not tried again behind somebody's back, and never called a success.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::{api::batch::v1::Job, apimachinery::pkg::apis::meta::v1::Time};
use kube::ResourceExt;

use super::{
    Means, Request, is_current, saying,
    work::{self, Work},
    write,
};
use crate::{
    api::{
        LastBackup, TenantBackup, TenantBackupStatus,
        conditions::{Verdict, reasons},
    },
    cluster::{
        cache::Snapshot,
        facts::{Kind, PodFacts},
    },
    names::{self, Component},
    tenant::{
        Context, Error,
        build::{self, BackupReason},
        report::{self, BackedUp},
    },
};

/// Requests that have come to their end are kept to be looked at, so many of each tenant.
const KEPT: usize = 10;

/// What is to be done about a request.
#[derive(Debug, PartialEq)]
enum Next {
    /// Nothing but to say so.
    Say(Verdict),
    /// Make its Job.
    Start,
    /// It has come to its end.
    End(Verdict, Option<BackedUp>),
}

/// Carries out the requests of one tenant; says whether one is not at its end.
pub(super) async fn attend(
    ctx: &Context,
    requests: &[Arc<TenantBackup>],
    means: Result<&Means<'_>, &Verdict>,
    seen: &Snapshot,
) -> Result<bool, Error> {
    let mut open = requests.iter().filter(|request| !request.is_finished());
    let first = open.next();
    if let Some(request) = first {
        advance(ctx, request, means, seen).await?;
        for later in open {
            let wait = Verdict::unknown(
                reasons::QUEUED,
                format!("it waits for TenantBackup {}", request.name_any()),
            );
            write(ctx, &**later, &saying(&**later, wait, (ctx.now)())).await?;
        }
    }
    tidy(ctx, requests, seen).await?;
    Ok(first.is_some())
}

async fn advance(
    ctx: &Context,
    request: &TenantBackup,
    means: Result<&Means<'_>, &Verdict>,
    seen: &Snapshot,
) -> Result<(), Error> {
    let job = names::request_job(Component::Backup, &request.uid().unwrap_or_default());
    let work = work::of(seen, Component::Backup, &job, read, (ctx.now)());
    let is_running = request.complete().is_some_and(|complete| complete.reason == reasons::RUNNING);
    let namespace = names::namespace_of(request.tenant());
    match next(work, is_running, means.map(drop), &job, &namespace) {
        Next::Start => {
            if let Ok(means) = means {
                start(ctx, request, means, &job).await?;
            }
            Ok(())
        }
        Next::Say(verdict) => write(ctx, request, &saying(request, verdict, (ctx.now)())).await,
        // The cache of Jobs may be behind that of requests: the API server knows whether it is gone.
        Next::End(verdict, None) if verdict.reason == reasons::RESULT_UNKNOWN && seen.job(&job).is_none() => {
            let live: Option<Job> = ctx.cluster.get(&namespace, &job).await.map_err(Error::Cluster)?;
            if live.is_some() { Ok(()) } else { end(ctx, request, verdict, None).await }
        }
        Next::End(verdict, done) => end(ctx, request, verdict, done).await,
    }
}

/// How the pod of a backup ended.
pub(super) fn read(pod: &PodFacts) -> Option<Result<BackedUp, String>> {
    match report::backup(pod) {
        report::Backup::Pending => None,
        report::Backup::Done(done) => Some(Ok(done)),
        report::Backup::Failed { what } => Some(Err(what)),
    }
}

fn next(
    work: Work<BackedUp>,
    is_running: bool,
    means: Result<(), &Verdict>,
    job: &str,
    namespace: &str,
) -> Next {
    let log = format!("see the log of the pods of Job {job} in namespace {namespace}");
    match (work, means) {
        (Work::Done(done), _) => Next::End(Verdict::yes(reasons::BACKED_UP, ""), Some(done)),
        (Work::Failed { what }, _) => Next::End(
            Verdict::no(
                reasons::BACKUP_FAILED,
                format!(
                    "the backup failed: {what}; {log}. Earlier backups are still there; make another TenantBackup to try again"
                ),
            ),
            None,
        ),
        (Work::Silent, _) => Next::End(
            Verdict::no(
                reasons::RESULT_UNKNOWN,
                format!(
                    "the Job ended and did not say how, so there may be a backup or not; {log}. Make another TenantBackup to be sure"
                ),
            ),
            None,
        ),
        (Work::Running, _) => Next::Say(Verdict::unknown(
            reasons::RUNNING,
            format!("Job {job} is at work in namespace {namespace}"),
        )),
        (Work::Absent, _) if is_running => Next::End(
            Verdict::no(
                reasons::RESULT_UNKNOWN,
                format!(
                    "Job {job} in namespace {namespace} was gone before its result was read, so there may be a backup or not: make another TenantBackup to be sure"
                ),
            ),
            None,
        ),
        (Work::Absent, Err(wait)) => Next::Say(wait.clone()),
        (Work::Absent, Ok(())) => Next::Start,
    }
}

/// Makes the Job, and then says so.
async fn start(ctx: &Context, request: &TenantBackup, means: &Means<'_>, name: &str) -> Result<(), Error> {
    let Means { tenant, backup, release, recipient } = means;
    let reason = BackupReason::OnDemand;
    let job = build::one_off_backup(tenant, backup, recipient, release, &ctx.settings, name, reason);
    let Some(job) = job.map(|job| build::of_request(job, &request.uid().unwrap_or_default())) else {
        return Ok(());
    };
    if !is_current(ctx, request).await? {
        return Ok(());
    }
    ctx.cluster.create(&job).await.map_err(Error::Cluster)?;
    let running = Verdict::unknown(
        reasons::RUNNING,
        format!("Job {name} is at work in namespace {}", tenant.namespace),
    );
    write(ctx, request, &saying(request, running, (ctx.now)())).await
}

async fn end(
    ctx: &Context,
    request: &TenantBackup,
    verdict: Verdict,
    done: Option<BackedUp>,
) -> Result<(), Error> {
    write(ctx, request, &ended(request, verdict, done, (ctx.now)())).await
}

fn ended(
    request: &TenantBackup,
    verdict: Verdict,
    done: Option<BackedUp>,
    now: Timestamp,
) -> TenantBackupStatus {
    let done = done.map(LastBackup::from);
    TenantBackupStatus {
        backup: done.as_ref().map(|done| done.backup.clone()),
        created_at: done.as_ref().map(|done| done.created_at.clone()),
        size: done.map(|done| done.size),
        completed_at: Some(Time(Timestamp::from_second(now.as_second()).unwrap_or(now))),
        ..saying(request, verdict, now)
    }
}

/// Removes the Jobs of backups that are done, and the oldest of the requests that have come to their end. The Job of a backup
/// that failed stays for its log; Kubernetes removes it after a day.
async fn tidy(ctx: &Context, requests: &[Arc<TenantBackup>], seen: &Snapshot) -> Result<(), Error> {
    for request in requests.iter().filter(|request| request.complete().is_some_and(|it| it.status == "True"))
    {
        let name = names::request_job(Component::Backup, &request.uid().unwrap_or_default());
        let job = seen.get(Kind::Job, &name).filter(|job| !job.deleting);
        let ours = seen.job(&name).is_some_and(|job| job.request == request.uid());
        if let Some(job) = job.filter(|_| ours) {
            let namespace = names::namespace_of(request.tenant());
            ctx.cluster.delete::<Job>(&namespace, &name, &job.uid).await.map_err(Error::Cluster)?;
        }
    }
    for request in requests.iter().rev().filter(|request| request.is_finished()).skip(KEPT) {
        ctx.cluster.delete_global(&**request).await.map_err(Error::Cluster)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
