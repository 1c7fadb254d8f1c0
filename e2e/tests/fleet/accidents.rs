//! What administrators do by accident or in an emergency: customers notice nothing of most of it, and no data goes.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    fleet::{Installed, small_tenant},
    host::wait::{Look, Wait},
    toolchain,
};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::{Namespace, PersistentVolumeClaim, Pod, Secret},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition as Crd,
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, PropagationPolicy},
    core::ObjectMeta,
};
use operator::api::Tenant;
use reqwest::Method;
use serde_json::json;

use crate::{
    READY, alone,
    backups::backed_up,
    beside_others, customers,
    observed::{conditions, runs},
    owner,
    visitors::Visitors,
};

const CRD: &str = "tenants.tenantry.dev";
const MOMENT: Duration = Duration::from_secs(30);

/// `result` is a refusal that says this.
fn refused<T>(result: kube::Result<T>, words: &str) -> Result<()> {
    let said = result.err().map_or_else(|| "nothing: it was done".to_owned(), |error| error.to_string());
    ensure!(said.contains(words), "a refusal with {words:?} was expected, and what was said is: {said}");
    Ok(())
}

#[tokio::test]
async fn what_would_take_data_along_is_refused_to_an_administrator() -> Result<()> {
    let (fleet, _turn) = beside_others().await?;
    let client = fleet.client().await?;
    let tenants: Api<Tenant> = Api::all(client.clone());
    for policy in [PropagationPolicy::Foreground, PropagationPolicy::Background, PropagationPolicy::Orphan] {
        // A policy that let it pass would cost the fleet: what a dry run passes through is the same.
        let delete =
            DeleteParams { propagation_policy: Some(policy), dry_run: true, ..DeleteParams::default() };
        refused(tenants.delete("acme", &delete).await, "tenantry.dev/confirm-delete=acme")?;
    }
    let delete = DeleteParams::default().dry_run();
    let crds: Api<Crd> = Api::all(client.clone());
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client, "tenant-acme");
    refused(crds.delete(CRD, &delete).await, "tenantry:break-glass")?;
    refused(namespaces.delete("tenant-acme", &delete).await, "holds the data of tenant acme")?;
    refused(claims.delete("database", &delete).await, "holds the data of tenant acme")
}

#[tokio::test]
async fn nobody_notices_that_all_statuses_were_emptied() -> Result<()> {
    let (fleet, _turn) = alone().await?;
    let visitors = Visitors::start(customers(&fleet).await?);
    let tenants: Api<Tenant> = Api::all(fleet.client().await?);
    // Its pod is gone with the request's Job, so only the namespace can still tell.
    let backup = backed_up(&fleet, "acme").await?;
    let before = (runs(&fleet).await?, tenants.list(&ListParams::default()).await?);
    for tenant in &before.1 {
        let mut emptied = tenants.get(&tenant.name_any()).await?;
        emptied.status = None;
        tenants.replace_status(&tenant.name_any(), &PostParams::default(), &emptied).await?;
    }
    for tenant in &before.1 {
        let name = tenant.name_any();
        let now = fleet.wait_ready(&name, READY).await?.tenant.status.unwrap_or_default();
        let then = tenant.status.clone().unwrap_or_default();
        ensure!(
            (&now.release, now.schema_version, &now.hosts)
                == (&then.release, then.schema_version, &then.hosts),
            "{name} was {then:#?}, and is {now:#?}"
        );
        ensure!(
            now.last_backup == then.last_backup && now.last_drill == then.last_drill,
            "{name} had {:?} and {:?}, and has {:?} and {:?}",
            then.last_backup,
            then.last_drill,
            now.last_backup,
            now.last_drill
        );
        let last = now.last_backup.map(|last| last.backup);
        ensure!(
            name != "acme" || last.as_deref() == Some(&backup),
            "{backup} was made, and {last:?} is known"
        );
    }
    println!("  {}", visitors.end().await?);
    let after = runs(&fleet).await?;
    ensure!(after == before.0, "pods were started again: {:#?}\n{after:#?}", before.0);
    Ok(())
}

#[tokio::test]
async fn lost_passwords_are_replaced_as_the_message_says_and_the_data_is_there() -> Result<()> {
    let (fleet, _turn) = beside_others().await?;
    let name = "lost-secret";
    fleet.apply(&small_tenant(name, &fleet.release)).await?;
    fleet.wait_ready(name, READY).await?;
    let crm = owner(&fleet, name).await?;
    let company = crm.create_company("杭州失而复得有限公司").await?;
    let path = format!("/companies/{}", company["id"].as_str().unwrap_or_default());
    let reads = async || anyhow::Ok(crm.send(Method::GET, &path, None).await?.status.is_success());

    let glass = fleet.break_glass().await?;
    let secrets: Api<Secret> = Api::namespaced(glass.clone(), "tenant-lost-secret");
    secrets.delete("database-credentials", &DeleteParams::default()).await?;
    // Secrets are not watched: whoever wonders looks again.
    fleet.patch(name, &json!({ "metadata": { "annotations": { "example.com/look": "again" } } })).await?;
    let message = fleet.wait_unready(name, "SecretLost", READY).await?;
    ensure!(message.contains("delete StatefulSet database in namespace tenant-lost-secret"), "{message}");
    ensure!(reads().await?, "the CRM does not serve any more");

    let databases: Api<StatefulSet> = Api::namespaced(glass, "tenant-lost-secret");
    databases.delete("database", &DeleteParams::default()).await?;
    Wait::new("new passwords", MOMENT)
        .until(async || {
            let made = secrets.get_opt("database-credentials").await?.is_some();
            Ok(if made { Look::Done(()) } else { Look::NotYet("there are none".into()) })
        })
        .await?;
    // The node brings files of Secrets up to date every minute or so, and at once for a pod that has changed.
    let pods: Api<Pod> = Api::namespaced(fleet.client().await?, "tenant-lost-secret");
    for pod in pods.list(&ListParams::default().labels("app.kubernetes.io/component=crm")).await? {
        let look = Patch::Merge(json!({ "metadata": { "annotations": { "example.com/look": "again" } } }));
        pods.patch(&pod.name_any(), &PatchParams::default(), &look).await?;
    }
    fleet.wait_ready(name, READY).await?;
    Wait::new("the company to be there again", MOMENT)
        .until(async || Ok(if reads().await? { Look::Done(()) } else { Look::NotYet("it is not".into()) }))
        .await?;
    fleet.delete(name, READY).await
}

#[tokio::test]
async fn a_crd_deleted_with_broken_glass_comes_back_and_nobody_notices() -> Result<()> {
    let (fleet, _turn) = alone().await?;
    let visitors = Visitors::start(customers(&fleet).await?);
    let tenants: Api<Tenant> = Api::all(fleet.client().await?);
    let before = tenants.list(&ListParams::default()).await?.items;
    let pods = runs(&fleet).await?;

    let crds: Api<Crd> = Api::all(fleet.break_glass().await?);
    crds.delete(CRD, &DeleteParams::default()).await?;
    for tenant in &before {
        fleet.wait_unready(&tenant.name_any(), "DeletionUnconfirmed", MOMENT).await?;
    }
    // The way back in docs/operate.md.
    scale_operator(&fleet, 0).await?;
    for tenant in &before {
        let let_go = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
        tenants.patch(&tenant.name_any(), &PatchParams::default(), &let_go).await?;
    }
    make_crd_anew(&crds).await?;
    for tenant in &before {
        take_over(&fleet, tenant).await.with_context(|| tenant.name_any())?;
    }
    scale_operator(&fleet, 1).await?;
    for tenant in &before {
        fleet.wait_ready(&tenant.name_any(), READY).await?;
    }
    println!("  {}", visitors.end().await?);
    let is_tenants = |name: &String| name.starts_with("tenant-");
    let [then, now] = [pods, runs(&fleet).await?].map(|mut runs| {
        runs.retain(|name, _| is_tenants(name));
        runs
    });
    ensure!(now == then, "pods were started again: {then:#?}\n{now:#?}");
    ensure!(conditions(&fleet).await?.len() == before.len(), "a tenant is missing");
    Ok(())
}

/// Starts or stops the operator, and waits until it has begun or gone.
pub(crate) async fn scale_operator(fleet: &Installed, replicas: i32) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(fleet.client().await?, "tenantry-system");
    let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
    deployments.patch("tenantry-operator", &PatchParams::default(), &patch).await?;
    Wait::new(format!("{replicas} operators"), MOMENT)
        .until(async || {
            let status = deployments.get("tenantry-operator").await?.status.unwrap_or_default();
            let pods = (status.replicas.unwrap_or(0), status.ready_replicas.unwrap_or(0));
            Ok(if pods == (replicas, replicas) { Look::Done(()) } else { Look::NotYet(format!("{pods:?}")) })
        })
        .await
}

/// Waits until the CRD is gone with the last Tenant, and applies the one in this checkout.
async fn make_crd_anew(crds: &Api<Crd>) -> Result<()> {
    Wait::new(format!("the end of the CRD {CRD}"), MOMENT)
        .until(async || {
            let left = crds.get_opt(CRD).await?.is_some();
            Ok(if left { Look::NotYet("it is there".into()) } else { Look::Done(()) })
        })
        .await?;
    let yaml = fs::read_to_string(toolchain::workspace().join("crds/tenants.yaml"))?;
    let crd: Crd = serde_saphyr::from_str(&yaml)?;
    crds.patch(CRD, &PatchParams::apply("kubectl").force(), &Patch::Apply(&crd)).await?;
    Ok(())
}

/// Makes a Tenant of the same name and spec, and hands the old one's namespace to it.
async fn take_over(fleet: &Installed, old: &Tenant) -> Result<()> {
    let name = old.name_any();
    let mut anew = Tenant::new(&name, old.spec.clone());
    anew.metadata = ObjectMeta { annotations: old.metadata.annotations.clone(), ..anew.metadata };
    let made = Wait::new("a Tenant to be taken by the new CRD", MOMENT)
        .until(async || Ok(Look::Done(fleet.apply(&anew).await?)))
        .await?;
    ensure!(made.uid() != old.uid(), "it is the old one");
    let adopt = json!({ "metadata": { "annotations": { "tenantry.dev/adopt": made.uid() } } });
    let namespaces: Api<Namespace> = Api::all(fleet.client().await?);
    namespaces.patch(&format!("tenant-{name}"), &PatchParams::default(), &Patch::Merge(adopt)).await?;
    Ok(())
}
