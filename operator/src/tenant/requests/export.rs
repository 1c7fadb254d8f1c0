//! `TenantExport`: one Job a request, one request at a time, the oldest first. The database of a suspended tenant runs for as long as
//! there is an open one, and nothing else of it does.
//!
//! As with backups, the Job is made before the status says that it runs: of a request whose status says nothing yet, making the Job
//! is safe to repeat, and of one that says `Running` and has no Job any more, the result is lost, and that is its end.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{api::batch::v1::Job, apimachinery::pkg::apis::meta::v1::Time};
use kube::ResourceExt;

use super::{
    Means, Request, is_current, saying,
    work::{self, Work},
    write,
};
use crate::{
    api::{
        State, TenantExport, TenantExportStatus,
        conditions::{Verdict, reasons, whole_seconds},
        tenant_export::KEPT,
    },
    cluster::{cache::Snapshot, facts::Kind},
    names::{self, Component, child},
    tenant::{
        Context, Error, build,
        course::Course,
        report::{self, Exported},
        validate::ValidTenant,
    },
};

/// After this a database that was to start for an export will not.
const START_WITHIN: SignedDuration = SignedDuration::from_mins(10);

/// What is to be done about a request.
#[derive(Debug, PartialEq)]
enum Next {
    /// Nothing but to say so.
    Say(Verdict),
    /// It is carried out from now on, and waits for the database.
    Await(Verdict),
    /// Make its Job.
    Start,
    /// It has come to its end.
    End(Verdict, Option<Exported>),
}

/// What is known of the database that a request reads.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Database {
    /// It is not for the request to start it.
    Serving,
    /// It starts for the request.
    Starting,
    /// It has had the time to.
    Late,
}

/// The request for which the database of a suspended tenant has to run. It has to go on for a Job that is at work, whatever else
/// would keep a Job from being made.
pub(super) fn needs_database(
    requests: &[Arc<TenantExport>],
    tenant: &ValidTenant,
    course: &Course,
) -> Option<String> {
    if tenant.state != State::Suspended || tenant.leaving {
        return None;
    }
    let has_store = tenant.backup.as_ref().is_some_and(|backup| backup.recovery.is_some());
    let could_begin = has_store && course.app.is_some() && course.schema_version.is_some();
    let open = requests.iter().find(|request| !request.is_finished() && !is_withdrawn(request))?;
    (could_begin || is_running(open)).then(|| open.name_any())
}

/// Carries out the requests of one tenant; says whether one is not at its end.
pub(super) async fn attend(
    ctx: &Context,
    tenant_uid: &str,
    requests: &[Arc<TenantExport>],
    means: Result<&Means<'_>, &Verdict>,
    seen: &Snapshot,
) -> Result<bool, Error> {
    let mut open = requests.iter().filter(|request| !request.is_finished() && !is_withdrawn(request));
    let first = open.next();
    if let Some(request) = first {
        advance(ctx, tenant_uid, request, means, seen).await?;
        for later in open {
            let wait = format!("it waits for TenantExport {}", request.name_any());
            let status = saying(&**later, Verdict::unknown(reasons::QUEUED, wait), (ctx.now)());
            write(ctx, &**later, &status).await?;
        }
    }
    tidy(ctx, requests, seen).await?;
    Ok(first.is_some())
}

fn is_withdrawn(request: &TenantExport) -> bool {
    request.metadata.deletion_timestamp.is_some()
}

fn is_running(request: &TenantExport) -> bool {
    request.complete().is_some_and(|complete| complete.reason == reasons::RUNNING)
}

async fn advance(
    ctx: &Context,
    tenant_uid: &str,
    request: &TenantExport,
    means: Result<&Means<'_>, &Verdict>,
    seen: &Snapshot,
) -> Result<(), Error> {
    let now = (ctx.now)();
    let job = names::request_job(Component::Export, &request.uid().unwrap_or_default());
    let work = work::of(seen, Component::Export, &job, report::export, now);
    let namespace = names::namespace_of(request.tenant());
    let known = means.map(|means| database(request, means.tenant, seen, now));
    match next(work, is_running(request), known, &job, &namespace) {
        Next::Start => match means {
            Ok(means) => start(ctx, request, means, &job).await,
            Err(_) => Ok(()),
        },
        Next::Say(verdict) => write(ctx, request, &saying(request, verdict, now)).await,
        Next::Await(verdict) => write(ctx, request, &begun(request, verdict, now)).await,
        // The cache of Jobs may be behind that of requests: the API server knows whether it is gone.
        Next::End(verdict, None) if verdict.reason == reasons::RESULT_UNKNOWN && seen.job(&job).is_none() => {
            let live: Option<Job> = ctx.cluster.get(&namespace, &job).await.map_err(Error::Cluster)?;
            if live.is_some() { Ok(()) } else { write(ctx, request, &ended(request, verdict, now)).await }
        }
        Next::End(verdict, done) => {
            let status = ended(request, verdict, now);
            let status = match done {
                Some(done) => with_bundle(status, done, request.tenant(), tenant_uid),
                None => status,
            };
            write(ctx, request, &status).await
        }
    }
}

fn database(request: &TenantExport, tenant: &ValidTenant, seen: &Snapshot, now: Timestamp) -> Database {
    let is_ready = seen
        .workload(Kind::StatefulSet, child::DATABASE)
        .is_some_and(|database| 0 < database.wanted && 0 < database.ready);
    if tenant.state != State::Suspended || is_ready {
        return Database::Serving;
    }
    let started = request.status.as_ref().and_then(|status| status.started_at.as_ref());
    match started {
        Some(started) if started.0 + START_WITHIN <= now => Database::Late,
        _ => Database::Starting,
    }
}

fn next(
    work: Work<Exported>,
    is_running: bool,
    means: Result<Database, &Verdict>,
    job: &str,
    namespace: &str,
) -> Next {
    let log = format!("see the log of the pods of Job {job} in namespace {namespace}");
    let again = "Make another TenantExport to try again";
    match (work, means) {
        (Work::Done(done), _) => Next::End(Verdict::yes(reasons::EXPORTED, ""), Some(done)),
        (Work::Failed { what }, _) => {
            let message = format!("the export failed, and there is no bundle: {what}; {log}. {again}");
            Next::End(Verdict::no(reasons::EXPORT_FAILED, message), None)
        }
        (Work::Silent, _) => {
            let message = format!(
                "the Job ended and did not say how, so there may be a bundle in the store or not; {log}. {again}"
            );
            Next::End(Verdict::no(reasons::RESULT_UNKNOWN, message), None)
        }
        (Work::Running, _) => Next::Say(Verdict::unknown(
            reasons::RUNNING,
            format!("Job {job} is at work in namespace {namespace}"),
        )),
        (Work::Absent, _) if is_running => {
            let message = format!(
                "Job {job} in namespace {namespace} was gone before its result was read, so there may be a bundle in the store or not. {again}"
            );
            Next::End(Verdict::no(reasons::RESULT_UNKNOWN, message), None)
        }
        (Work::Absent, Err(wait)) => Next::Say(wait.clone()),
        (Work::Absent, Ok(Database::Serving)) => Next::Start,
        (Work::Absent, Ok(Database::Starting)) => Next::Await(Verdict::unknown(
            reasons::STARTING_DATABASE,
            "the tenant is suspended: its database starts for the export, and stops after it",
        )),
        (Work::Absent, Ok(Database::Late)) => {
            let message = format!(
                "the database of the suspended tenant did not start within {} minutes: see kubectl get pods,events -n {namespace}. {again}",
                START_WITHIN.as_mins()
            );
            Next::End(Verdict::no(reasons::EXPORT_FAILED, message), None)
        }
    }
}

/// Makes the Job, and then says so.
async fn start(ctx: &Context, request: &TenantExport, means: &Means<'_>, name: &str) -> Result<(), Error> {
    let Means { tenant, backup, release, recipient: _ } = means;
    let uid = request.uid().unwrap_or_default();
    let job = build::export(tenant, backup, release, &ctx.settings, &uid, &request.spec.recipients);
    if !is_current(ctx, request).await? {
        return Ok(());
    }
    ctx.cluster.create(&job).await.map_err(Error::Cluster)?;
    let running = Verdict::unknown(
        reasons::RUNNING,
        format!("Job {name} is at work in namespace {}", tenant.namespace),
    );
    write(ctx, request, &begun(request, running, (ctx.now)())).await
}

fn begun(request: &TenantExport, verdict: Verdict, now: Timestamp) -> TenantExportStatus {
    let status = saying(request, verdict, now);
    TenantExportStatus { started_at: status.started_at.or_else(|| Some(whole(now))), ..status }
}

fn ended(request: &TenantExport, verdict: Verdict, now: Timestamp) -> TenantExportStatus {
    TenantExportStatus { completed_at: Some(whole(now)), ..saying(request, verdict, now) }
}

/// Says where the bundle is, and what it is.
fn with_bundle(status: TenantExportStatus, done: Exported, tenant: &str, uid: &str) -> TenantExportStatus {
    let Exported { export, store, created_at, size, sha256, sums_sha256 } = done;
    TenantExportStatus {
        path: Some(format!("/v1/{store}/{tenant}/{uid}/exports/{export}.zip.age")),
        created_at: Some(whole(created_at)),
        kept_until: Some(whole(created_at + KEPT)),
        size: Some(size),
        sha256: Some(sha256),
        sums_sha256: Some(sums_sha256),
        ..status
    }
}

fn whole(at: Timestamp) -> Time {
    Time(whole_seconds(at))
}

/// Removes the Jobs of exports that are done, and what still runs of those whose request is gone. The Job of an export that failed
/// stays for its log; Kubernetes removes it after a day.
async fn tidy(ctx: &Context, requests: &[Arc<TenantExport>], seen: &Snapshot) -> Result<(), Error> {
    let prefix = format!("{}-", child::EXPORT);
    for (key, job) in
        seen.of_kind(Kind::Job).filter(|(key, job)| key.name.starts_with(&prefix) && !job.deleting)
    {
        let Some(facts) = seen.job(&key.name) else { continue };
        let Some(uid) = facts.request.as_deref() else { continue };
        let request = requests.iter().find(|request| request.uid().as_deref() == Some(uid));
        let is_over = match request {
            Some(request) if is_withdrawn(request) => true,
            Some(request) => request.complete().is_some_and(|complete| complete.status == "True"),
            None => facts.finished.is_none() && !is_malformed(ctx, uid),
        };
        if is_over {
            ctx.cluster.delete::<Job>(&key.namespace, &key.name, &job.uid).await.map_err(Error::Cluster)?;
        }
    }
    Ok(())
}

/// Whether the request is there but cannot be read.
fn is_malformed(ctx: &Context, uid: &str) -> bool {
    let all = ctx.malformed.of_kind::<TenantExport>();
    all.into_iter().any(|object| object.metadata.uid.as_deref() == Some(uid))
}

#[cfg(test)]
mod tests;
