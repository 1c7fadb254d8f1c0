//! Children → cluster, in the order in which they need each other, and each stage at once.

mod at_rest;
mod restore_key;
mod routes;
mod secrets;

use futures::future::join_all;
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ConfigMap, Secret},
};

use crate::{
    api::{RestoreFrom, TenantRestore, TenantRestoreSpec},
    cluster::{
        self, Cluster,
        cache::{Child, Key, Snapshot},
        facts::{ChildKind, Kind, PodFacts},
        fingerprint,
        http_route::HttpRoute,
    },
    names::{self, Component, Host, child},
    tenant::{
        Context, Error, bootstrap,
        build::{self, Children},
        closing,
        course::{self, Course},
        entitlement::{self, Entitlement},
        observe::Observed,
        unwatched::Unwatched,
        upgrade::{self, decide::Work},
        validate::ValidTenant,
    },
};

pub(super) use at_rest::is_at_rest;

/// Kinds of which anything that we made and no longer want is removed. Never data: no claims, no Secrets.
const PRUNED: [Kind; 6] = [
    Kind::CronJob,
    Kind::NetworkPolicy,
    Kind::Service,
    Kind::ServiceAccount,
    Kind::PodDisruptionBudget,
    Kind::ResourceQuota,
];

/// Makes everything as the tenant wants it; what is so already is not touched.
pub(super) async fn apply(
    ctx: &Context,
    tenant: &ValidTenant,
    course: &Course,
    granted: &[Host],
    observed: &Observed,
    unwatched: &Unwatched,
) -> Result<(), Error> {
    let file = unwatched.entitlement.as_ref().and_then(entitlement_in);
    let known: Vec<_> = file.into_iter().chain(told(&observed.seen)).collect();
    let entitlement = entitlement::next(entitlement::content(tenant), &known);
    let recipient = unwatched.backup_recipient(observed);
    let children = build::build(tenant, course, &entitlement, recipient.as_deref(), &ctx.settings)
        .map_err(Error::Encode)?;
    let wanted = wanted(tenant, &children);
    // Many requests at once make a large future; it lives on the heap.
    Box::pin(apply_children(ctx, tenant, course, &observed.seen, unwatched, children)).await?;
    hand_over_entitlement(ctx, tenant, &entitlement, &observed.seen).await?;
    remove_superseded(ctx, tenant, course, &observed.seen).await?;
    undo_upgrade(ctx, tenant, course).await?;
    prune(ctx, tenant, &observed.seen, &PRUNED, &wanted).await?;
    // Last, because others have a say in it: a webhook of an ingress controller must not hold up anything else.
    routes::apply(ctx, tenant, &observed.seen, &build::routes(tenant, granted, &ctx.settings)).await
}

async fn apply_children(
    ctx: &Context,
    tenant: &ValidTenant,
    course: &Course,
    seen: &Snapshot,
    unwatched: &Unwatched,
    children: Children,
) -> Result<(), Error> {
    // No `..`: a new child that nobody applies does not compile.
    let Children {
        namespace,
        role_binding,
        quota,
        limits,
        service_accounts,
        network_policies,
        database_init,
        entitlement,
        claim,
        services,
        budgets,
        database,
        migration,
        app,
        backup,
        drill,
        bootstrap,
        closing,
        upgrade,
    } = children;
    let cluster = &ctx.cluster;
    cluster.apply_namespace(seen, &namespace).await.map_err(Error::Cluster)?;
    cluster.apply(seen, &role_binding).await.map_err(Error::Cluster)?;
    // First of what needs the new rights, and alone: if they have not arrived yet, one request finds out.
    secrets::credentials(ctx, tenant, seen, unwatched).await?;
    // What pods need when they start. Failures are told together at the end: one bad child must not hold up the others.
    let (accounts, policies, front, needed) = tokio::join!(
        all(cluster, seen, &service_accounts),
        all(cluster, seen, &network_policies),
        all(cluster, seen, &services),
        async {
            tokio::join!(
                cluster.apply(seen, &quota),
                cluster.apply(seen, &limits),
                cluster.apply(seen, &claim),
                cluster.apply_unwatched(unwatched.database_init.as_ref(), &database_init),
                cluster.apply_unwatched(unwatched.entitlement.as_ref(), &entitlement),
                secrets::sign_in(ctx, tenant, course),
                secrets::pull_secrets(ctx, tenant, unwatched),
                secrets::backup_identity(ctx, tenant, seen, unwatched),
                restore_key::ensure(ctx, tenant, course),
            )
        },
    );
    let (quota, limits, claim, init, file, sign_in, pull, identity, restore_key) = needed;
    // Its pod would wait for the key, and its time run out.
    let bootstrap = bootstrap.filter(|_| restore_key.is_ok());
    let (database, app, migration, budgets, backup, drill, bootstrap, closing, upgrade) = tokio::join!(
        cluster.apply(seen, &database),
        apply_if(cluster, seen, app.as_ref()),
        create_if_absent(cluster, seen, migration.as_ref()),
        all(cluster, seen, &budgets),
        apply_if(cluster, seen, backup.as_ref()),
        apply_if(cluster, seen, drill.as_ref()),
        create_if_absent(cluster, seen, bootstrap.as_ref()),
        create_if_absent(cluster, seen, closing.as_ref()),
        create_if_absent(cluster, seen, upgrade.as_ref()),
    );
    sign_in?;
    pull?;
    identity?;
    restore_key?;
    let applied =
        [accounts, policies, front, app, migration, budgets, backup, drill, bootstrap, closing, upgrade];
    let single = [quota, limits, claim, init, file, database].into_iter().map(|result| result.map(drop));
    applied.into_iter().chain(single).collect::<Result<(), _>>().map_err(Error::Cluster)
}

async fn all<K>(cluster: &Cluster, seen: &Snapshot, children: &[K]) -> Result<(), cluster::Error>
where
    K: ChildKind + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
{
    let results = join_all(children.iter().map(|child| cluster.apply(seen, child))).await;
    results.into_iter().try_for_each(|result| result.map(drop))
}

async fn apply_if<K>(cluster: &Cluster, seen: &Snapshot, child: Option<&K>) -> Result<(), cluster::Error>
where
    K: ChildKind + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
{
    match child {
        Some(child) => cluster.apply(seen, child).await.map(drop),
        None => Ok(()),
    }
}

/// A Job cannot be changed, so one that exists is left to run.
async fn create_if_absent<K>(
    cluster: &Cluster,
    seen: &Snapshot,
    child: Option<&K>,
) -> Result<(), cluster::Error>
where
    K: ChildKind + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
{
    match child {
        Some(child) if seen.get(K::KIND, child.meta().name.as_deref().unwrap_or_default()).is_none() => {
            cluster.create(child).await
        }
        _ => Ok(()),
    }
}

fn entitlement_in(file: &ConfigMap) -> Option<Entitlement> {
    Entitlement::parse(file.data.as_ref()?.get(entitlement::FILE)?)
}

/// What pods have been told.
fn told(seen: &Snapshot) -> Vec<Entitlement> {
    let pods = seen.pods(Component::Crm).filter_map(|(_, pod)| pod.entitlement.as_ref());
    pods.filter_map(|raw| Entitlement::parse(raw)).collect()
}

/// The pods that are to know the entitlement.
fn live_pods(seen: &Snapshot) -> impl Iterator<Item = (&str, &Child, &PodFacts)> {
    seen.all_pods(Component::Crm).filter(|(_, child, pod)| !child.deleting && !pod.ended)
}

/// Tells the live pods, which then need no restart.
async fn hand_over_entitlement(
    ctx: &Context,
    tenant: &ValidTenant,
    entitlement: &Entitlement,
    seen: &Snapshot,
) -> Result<(), Error> {
    let wanted = entitlement.to_json().map_err(Error::Encode)?;
    let stale = live_pods(seen).filter(|(_, _, pod)| pod.entitlement.as_ref() != Some(&wanted));
    let told =
        stale.map(|(name, child, _)| ctx.cluster.annotate_pod(&tenant.namespace, name, &child.uid, &wanted));
    join_all(told).await.into_iter().collect::<Result<(), _>>().map_err(Error::Cluster)
}

/// Asks for the restore that takes the tenant back to where it was before an upgrade, as anybody would ask for one.
async fn undo_upgrade(ctx: &Context, tenant: &ValidTenant, course: &Course) -> Result<(), Error> {
    let Some(upgrade) = &course.upgrade else { return Ok(()) };
    let (Some(Work::Restore { backup }), Some(record)) = (&upgrade.work, &upgrade.record) else {
        return Ok(());
    };
    let name = names::undo_restore(tenant.name.as_str(), record.started_at);
    let spec = TenantRestoreSpec {
        tenant: tenant.name.to_string(),
        from: RestoreFrom { backup: Some(backup.clone()), latest: None, time: None },
        confirm: tenant.name.to_string(),
    };
    ctx.cluster.create_request(&TenantRestore::new(&name, spec)).await.map_err(Error::Cluster)
}

/// The sign-in Secret goes before its Job: the Job is what remembers it.
async fn remove_superseded(
    ctx: &Context,
    tenant: &ValidTenant,
    course: &Course,
    seen: &Snapshot,
) -> Result<(), Error> {
    for old in course::superseded(tenant, course, seen) {
        if let Some(secret) = old.sign_in {
            delete_secret(ctx, tenant, secret).await?;
        }
        let job = ctx.cluster.delete::<Job>(&tenant.namespace, old.job, old.uid);
        job.await.map_err(Error::Cluster)?;
    }
    for (job, uid) in bootstrap::unwanted(course.bootstrap.as_ref(), seen) {
        delete_secret(ctx, tenant, child::RESTORE_IDENTITY).await?;
        let delete = ctx.cluster.delete::<Job>(&tenant.namespace, job, uid);
        delete.await.map_err(Error::Cluster)?;
    }
    for (job, uid) in closing::unwanted(course.closing.as_ref(), seen) {
        let delete = ctx.cluster.delete::<Job>(&tenant.namespace, job, uid);
        delete.await.map_err(Error::Cluster)?;
    }
    for (job, uid) in upgrade::unwanted(course, seen) {
        let delete = ctx.cluster.delete::<Job>(&tenant.namespace, job, uid);
        delete.await.map_err(Error::Cluster)?;
    }
    Ok(())
}

async fn delete_secret(ctx: &Context, tenant: &ValidTenant, name: &str) -> Result<(), Error> {
    let live: Option<Secret> = ctx.cluster.get(&tenant.namespace, name).await.map_err(Error::Cluster)?;
    let Some(uid) = live.and_then(|secret| secret.metadata.uid) else { return Ok(()) };
    ctx.cluster.delete::<Secret>(&tenant.namespace, name, &uid.into()).await.map_err(Error::Cluster)
}

/// Kind and name of all children that there should be, of those kinds that are pruned. The CronJobs of backups and drills should
/// also be there while they must stay as they are.
fn wanted(tenant: &ValidTenant, children: &Children) -> Vec<(Kind, String)> {
    names(&children.network_policies)
        .chain(names(&children.services))
        .chain(names(&children.service_accounts))
        .chain(names(&children.budgets))
        .chain(names(std::slice::from_ref(&children.quota)))
        .chain(
            tenant
                .backup
                .iter()
                .flat_map(|_| [child::BACKUP, child::DRILL].map(|name| (Kind::CronJob, name.to_owned()))),
        )
        .collect()
}

fn names<K: ChildKind>(children: &[K]) -> impl Iterator<Item = (Kind, String)> {
    children.iter().map(|child| (K::KIND, child.meta().name.clone().unwrap_or_default()))
}

/// What we made of these kinds and nobody wants now.
fn unwanted<'a>(
    seen: &'a Snapshot,
    kinds: &'a [Kind],
    wanted: &'a [(Kind, String)],
) -> impl Iterator<Item = (&'a Key, &'a Child)> {
    seen.iter().filter(|(key, child)| {
        kinds.contains(&key.kind)
            && !child.deleting
            && child.fingerprint != fingerprint::NONE
            && !wanted.iter().any(|(kind, name)| *kind == key.kind && *name == key.name)
    })
}

/// Removes what an earlier spec or an earlier operator made and nobody wants now. Runs only when everything was applied.
async fn prune(
    ctx: &Context,
    tenant: &ValidTenant,
    seen: &Snapshot,
    kinds: &[Kind],
    wanted: &[(Kind, String)],
) -> Result<(), Error> {
    use k8s_openapi::api::{
        batch::v1::CronJob,
        core::v1::{ResourceQuota, Service, ServiceAccount},
        networking::v1::{Ingress, NetworkPolicy},
        policy::v1::PodDisruptionBudget,
    };
    let unwanted = unwanted(seen, kinds, wanted);
    let (cluster, namespace) = (&ctx.cluster, &tenant.namespace);
    #[cfg(feature = "mutants")]
    let unwanted = unwanted.filter(|(key, _)| crate::mutants::remembers(namespace, key.kind, &key.name));
    #[cfg(feature = "mutants")]
    crate::mutants::remember(namespace, wanted);
    for (key, child) in unwanted {
        let (name, uid) = (&key.name, &child.uid);
        match key.kind {
            Kind::CronJob => cluster.delete::<CronJob>(namespace, name, uid).await,
            Kind::NetworkPolicy => cluster.delete::<NetworkPolicy>(namespace, name, uid).await,
            Kind::Service => cluster.delete::<Service>(namespace, name, uid).await,
            Kind::ServiceAccount => cluster.delete::<ServiceAccount>(namespace, name, uid).await,
            Kind::PodDisruptionBudget => cluster.delete::<PodDisruptionBudget>(namespace, name, uid).await,
            Kind::ResourceQuota => cluster.delete::<ResourceQuota>(namespace, name, uid).await,
            Kind::Ingress => cluster.delete::<Ingress>(namespace, name, uid).await,
            Kind::HttpRoute => cluster.delete::<HttpRoute>(namespace, name, uid).await,
            _ => Ok(()),
        }
        .map_err(Error::Cluster)?;
    }
    Ok(())
}
