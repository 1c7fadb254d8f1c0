//! The floor for the time to converge: a bare loop that posts what the operator posts, and looks at nothing.
//!
//! It has the operator's account, so that the same admission policies see its requests. It works on as many tenants at the
//! same time, with as many requests under way, and sends the very objects that the operator's builders make, by the same
//! server-side applies: first the finalizer, the namespace and the rights in it, then the Secrets, then everything else at
//! once, and last a status of the usual size. That is once what each object needs to get where it belongs. The loop reads
//! nothing, decides nothing, publishes no events, writes no status on the way, and does not tell pods of their entitlement;
//! whatever the operator does of that counts against the operator. Nodes are played by the same stand-in, and the clock
//! stops when they have done their part, too.

use std::{
    collections::BTreeSet,
    fmt::Debug,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Namespace, Pod, Secret},
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use operator::{
    api::Tenant,
    args::RunArgs,
    cluster::{REQUESTS_AT_ONCE, cache::Snapshot},
    names,
    tenant::{
        build::{self, Children, Credentials, SignIn},
        course, entitlement,
        validate::{ValidTenant, validate},
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, time::timeout};

use super::lab::{self, Lab};
use crate::bench::versions;

/// Until all is done, on a busy machine.
const DEADLINE: Duration = Duration::from_mins(15);
/// Rights that were just granted may not have reached the API server's cache.
const RIGHTS_LAG: Duration = Duration::from_secs(10);
/// Until a request that came before its rights is made again.
const RETRY: Duration = Duration::from_millis(20);

/// Makes all these tenants in an empty cluster; returns how long the loop took, and how long it was until the nodes had
/// done their part as well.
pub(super) async fn run(names: &[String]) -> Result<(Duration, Duration)> {
    let lab = Lab::start().await?;
    let settings = lab::settings()?;
    let bare = Bare { client: lab.operators_client().await?, places: Semaphore::new(REQUESTS_AT_ONCE) };
    let begun = Instant::now();
    let posted = async {
        stream::iter(names)
            .map(|name| make(&lab, &bare, &settings, name))
            .buffer_unordered(usize::from(settings.concurrency))
            .try_for_each(async |()| Ok(()))
            .await?;
        Ok(begun.elapsed())
    };
    let (posted, ()) = tokio::try_join!(posted, until_pods_run(&lab.client, names.len()))?;
    let done = begun.elapsed();
    lab.stop().await?;
    Ok((posted, done))
}

/// The operator's account, and as many requests at once as the operator makes.
struct Bare {
    client: Client,
    places: Semaphore,
}

impl Bare {
    async fn request<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T> {
        let _place = self.places.acquire().await?;
        Ok(request.await?)
    }
}

/// One tenant, from its Tenant object to its status.
async fn make(lab: &Lab, bare: &Bare, settings: &RunArgs, name: &str) -> Result<()> {
    let tenants: Api<Tenant> = Api::all(lab.client.clone());
    let tenant = tenants.create(&PostParams::default(), &lab::tenant(name)?).await?;
    let valid = validate(&tenant, &lab::plan()?, &lab::release()?, Some(&lab::store()?), None, settings)?;
    let now = tenant.creation_timestamp().context("the API server says when it was made")?.0;
    let course = course::decide(&valid, &Snapshot::default(), None, now);
    let entitlement = entitlement::next(entitlement::content(&valid), &[]);
    let children = build::build(&valid, &course, &entitlement, Some("age1floor"), settings)?;

    let tenants: Api<Tenant> = Api::all(bare.client.clone());
    let finalizers = json!({"metadata": {
        "resourceVersion": tenant.resource_version(), "finalizers": [names::TENANT_FINALIZER],
    }});
    bare.request(tenants.patch(name, &PatchParams::default(), &Patch::Merge(finalizers))).await?;
    // Many requests at once make a large future; it lives on the heap.
    Box::pin(apply_children(bare, &valid, children)).await?;
    let patch = json!({
        "apiVersion": Tenant::api_version(&()), "kind": Tenant::kind(&()),
        "metadata": {"name": name, "uid": tenant.uid()}, "status": status(&valid, &tenant, now),
    });
    bare.request(tenants.patch_status(name, &parameters(), &Patch::Apply(&patch))).await?;
    Ok(())
}

async fn apply_children(bare: &Bare, tenant: &ValidTenant, children: Children) -> Result<()> {
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
        bootstrap: _of_tenants_that_begin_from_a_backup,
        closing: _of_tenants_that_stop,
        upgrade: _of_tenants_that_change,
    } = children;
    let namespaces: Api<Namespace> = Api::all(bare.client.clone());
    let patch = Patch::Apply(&namespace);
    bare.request(namespaces.patch(&namespace.name_any(), &parameters(), &patch)).await?;
    apply(bare, &role_binding).await?;
    let zero = [0; 32];
    let credentials = build::credentials(tenant, &Credentials { owner: zero, app: zero, backup: zero });
    create_when_allowed(bare, &credentials).await?;
    tokio::try_join!(
        create(bare, build::sign_in(tenant, &SignIn { token: zero })),
        create(bare, build::backup_identity(tenant, zero)),
        apply_all(bare, &service_accounts),
        apply_all(bare, &network_policies),
        apply_all(bare, &services),
        apply_all(bare, &budgets),
        apply(bare, &quota),
        apply(bare, &limits),
        apply(bare, &claim),
        apply(bare, &database_init),
        apply(bare, &entitlement),
    )?;
    let (migration, app) = (migration.context("a new tenant is migrated")?, app.context("and started")?);
    let (backup, drill) = backup.zip(drill).context("its plan has backups")?;
    tokio::try_join!(
        apply(bare, &database),
        apply(bare, &app),
        create(bare, migration),
        apply(bare, &backup),
        apply(bare, &drill)
    )?;
    Ok(())
}

/// The first request that needs the rights in a new namespace.
async fn create_when_allowed(bare: &Bare, secret: &Secret) -> Result<()> {
    let begun = Instant::now();
    loop {
        match create(bare, secret.clone()).await {
            Err(error) if is_forbidden(&error) && begun.elapsed() < RIGHTS_LAG => {
                tokio::time::sleep(RETRY).await;
            }
            outcome => return outcome,
        }
    }
}

fn is_forbidden(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(kube::Error::Api(status)) if status.is_forbidden())
}

async fn create<K>(bare: &Bare, object: K) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let api = Api::namespaced(bare.client.clone(), &object.namespace().unwrap_or_default());
    bare.request(api.create(&PostParams::default(), &object)).await?;
    Ok(())
}

async fn apply<K>(bare: &Bare, object: &K) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(bare.client.clone(), &object.namespace().unwrap_or_default());
    bare.request(api.patch(&object.name_any(), &parameters(), &Patch::Apply(object))).await?;
    Ok(())
}

async fn apply_all<K>(bare: &Bare, objects: &[K]) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    try_join_all(objects.iter().map(|object| apply(bare, object))).await.map(drop)
}

fn parameters() -> PatchParams {
    PatchParams::apply(names::FIELD_MANAGER).force()
}

/// What a tenant that is Ready says.
fn status(valid: &ValidTenant, tenant: &Tenant, now: jiff::Timestamp) -> Value {
    let conditions = [
        ("Ready", "AsExpected", ""),
        ("DatabaseReady", "Running", ""),
        ("AppReady", "Running", ""),
        ("Isolated", "PoliciesApplied", "the cluster's network must enforce NetworkPolicy"),
        ("Paused", "NotPaused", ""),
    ];
    let condition = |(kind, reason, message): (&str, &str, &str)| {
        json!({
            "type": kind, "status": if kind == "Paused" { "False" } else { "True" }, "reason": reason,
            "message": message, "observedGeneration": tenant.metadata.generation,
            "lastTransitionTime": format!("{now:.0}"),
        })
    };
    json!({
        "observedGeneration": tenant.metadata.generation,
        "conditions": conditions.map(condition),
        "state": "Active",
        "url": valid.url,
        "hosts": valid.hosts.iter().map(|host| json!({"name": host.as_str()})).collect::<Vec<_>>(),
        "namespace": valid.namespace,
        "release": valid.release.name,
        "schemaVersion": valid.release.schema_version,
    })
}

/// Waits until the pods of so many tenants serve, and their migrations are over.
async fn until_pods_run(client: &Client, tenants: usize) -> Result<()> {
    // The database, the migration and the CRM.
    let expected = tenants * 3;
    let mut changes = versions::of(Api::<Pod>::all(client.clone()));
    let mut done = BTreeSet::new();
    let all = async {
        while let Some(pod) = changes.next().await {
            if has_come_up(&pod) {
                done.insert(pod.uid());
            }
            if expected <= done.len() {
                return Ok(());
            }
        }
        bail!("the watch of pods ended")
    };
    let in_time = timeout(DEADLINE, all).await;
    in_time.with_context(|| format!("{} of {expected} pods came up in time", done.len()))?
}

fn has_come_up(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    let mut conditions = status.conditions.iter().flatten();
    status.phase.as_deref() == Some("Succeeded")
        || conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
