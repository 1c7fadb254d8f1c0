//! Confirmed removal: the app, then its Jobs, then the database, then the namespace with the volume. One step a reconcile.
//!
//! Each step waits until the one before has left nothing behind; what is gone already is skipped, so it does not matter
//! where a former attempt stopped. Every delete names the uid that it means.

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    batch::v1::{CronJob, Job},
    core::v1::PersistentVolumeClaim,
};
use kube::ResourceExt;

use crate::{
    api::Tenant,
    cluster::{
        Severity,
        cache::{Child, Key, Snapshot},
        facts::Kind,
        uid::Uid,
    },
    names::{self, Component, TENANT_FINALIZER, child},
    tenant::{Context, Error, Progress, observe::NamespaceState},
};

/// What is removed, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    App,
    Jobs,
    Database,
    Volume,
    Namespace,
}

const ORDER: [Step; 5] = [Step::App, Step::Jobs, Step::Database, Step::Volume, Step::Namespace];

impl Step {
    fn describe(self) -> &'static str {
        match self {
            Self::App => "the CRM",
            Self::Jobs => "the jobs",
            Self::Database => "the database",
            Self::Volume => "the volume",
            Self::Namespace => "the namespace",
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::App => "RemovingApp",
            Self::Jobs => "RemovingJobs",
            Self::Database => "RemovingDatabase",
            Self::Volume => "RemovingVolume",
            Self::Namespace => "RemovingNamespace",
        }
    }

    /// What of it is still there: the objects to delete, and their pods, which go by themselves.
    fn remains(self, seen: &Snapshot) -> (Vec<(Key, Child)>, bool) {
        let of = |kind: Kind, name: Option<&str>| -> Vec<(Key, Child)> {
            seen.of_kind(kind)
                .filter(|(key, _)| name.is_none_or(|name| key.name == name))
                .map(|(key, child)| (key.clone(), child.clone()))
                .collect()
        };
        let pods = |component| seen.all_pods(component).any(|(_, _, pod)| !pod.ended);
        match self {
            Self::App => (of(Kind::Deployment, Some(child::CRM)), pods(Component::Crm)),
            // First what would make more of them.
            Self::Jobs => (
                [of(Kind::CronJob, None), of(Kind::Job, None)].concat(),
                [
                    Component::Migrate,
                    Component::Backup,
                    Component::Drill,
                    Component::Restore,
                    Component::Export,
                ]
                .into_iter()
                .any(pods),
            ),
            Self::Database => (of(Kind::StatefulSet, Some(child::DATABASE)), pods(Component::Database)),
            Self::Volume => (of(Kind::PersistentVolumeClaim, Some(child::DATABASE)), false),
            Self::Namespace => (of(Kind::Namespace, None), false),
        }
    }
}

/// Does the next step of the removal, and lets the Tenant object go when nothing is left.
pub(super) async fn remove(tenant: &Tenant, ctx: &Context, progress: &mut Progress) -> Result<(), Error> {
    if !tenant.finalizers().iter().any(|finalizer| finalizer == TENANT_FINALIZER) {
        progress.removed = true;
        return Ok(());
    }
    let namespace = names::namespace_of(&tenant.name_any());
    let seen = ctx.cluster.cache().snapshot(&namespace);
    if let Some((child, facts)) = seen.namespace() {
        let foreign = matches!(NamespaceState::of(tenant, child.deleting, facts), NamespaceState::Foreign(_));
        if !foreign {
            return next_step(tenant, ctx, progress, &seen).await;
        }
        let note = format!("namespace {namespace} is left alone: it is not this tenant's");
        ctx.cluster.event(tenant, Severity::Warning, "Delete", "ForeignNamespace", &note).await;
    }
    let_go(tenant, ctx, progress).await
}

async fn next_step(
    tenant: &Tenant,
    ctx: &Context,
    progress: &mut Progress,
    seen: &Snapshot,
) -> Result<(), Error> {
    let terminating = seen.namespace().is_some_and(|(child, _)| child.deleting);
    for step in ORDER {
        let (objects, pods) = step.remains(seen);
        if terminating && step != Step::Namespace || objects.is_empty() && !pods {
            continue;
        }
        progress.removing = Some(step.describe());
        let (mut todo, _): (Vec<_>, Vec<_>) = objects.into_iter().partition(|(_, child)| !child.deleting);
        if !todo.is_empty() {
            let note = format!("removing {}", step.describe());
            ctx.cluster.event(tenant, Severity::Normal, "Delete", step.reason(), &note).await;
        }
        #[cfg(feature = "mutants")]
        if crate::mutants::is(crate::mutants::Mutant::LetsGoFirst) && step == Step::Namespace {
            let_go(tenant, ctx, progress).await?;
        }
        for (key, child) in todo.drain(..) {
            delete(ctx, &key, &child.uid).await?;
        }
        return Ok(());
    }
    Ok(())
}

async fn delete(ctx: &Context, key: &Key, uid: &Uid) -> Result<(), Error> {
    let (cluster, namespace, name) = (&ctx.cluster, &key.namespace, &key.name);
    let deleted = match key.kind {
        Kind::Deployment => cluster.delete::<Deployment>(namespace, name, uid).await,
        Kind::CronJob => cluster.delete::<CronJob>(namespace, name, uid).await,
        Kind::Job => cluster.delete::<Job>(namespace, name, uid).await,
        Kind::StatefulSet => cluster.delete::<StatefulSet>(namespace, name, uid).await,
        Kind::PersistentVolumeClaim => cluster.delete::<PersistentVolumeClaim>(namespace, name, uid).await,
        Kind::Namespace => cluster.delete_namespace(name, uid).await,
        _ => Ok(()),
    };
    deleted.map_err(Error::Cluster)
}

async fn let_go(tenant: &Tenant, ctx: &Context, progress: &mut Progress) -> Result<(), Error> {
    let note = "nothing is left of the tenant";
    ctx.cluster.event(tenant, Severity::Normal, "Delete", "Removed", note).await;
    let rest: Vec<String> =
        tenant.finalizers().iter().filter(|name| *name != TENANT_FINALIZER).cloned().collect();
    ctx.cluster.set_finalizers(tenant, &rest).await.map_err(Error::Cluster)?;
    progress.removed = true;
    Ok(())
}
