//! Tenants that begin from a backup: one that was deleted comes back, and one that lives is copied.

use anyhow::{Context as _, Result};
use e2e::{
    cluster::control_plane::{Outcome, StandIn, Workload},
    host::wait::{Look, Wait},
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    batch::v1::Job,
    core::v1::{Namespace, Secret},
};
use kube::{Api, ResourceExt, api::DeleteParams};
use operator::{
    api::{Tenant, TenantTombstone},
    names,
};
use serde_json::{Value, json};

use crate::lab::{DEADLINE, Lab, NAMESPACE, Running, message, migrations_succeed, tenant};

const BACKUP: &str = "20261121T132501Z-ab12cd";
const KEY: &str = "restore-identity";

fn restores(nodes: &StandIn, outcome: Outcome) {
    nodes.on(Workload::Job, "", "bootstrap-", outcome);
}

fn restores_succeed(nodes: &StandIn) {
    let report = json!({
        "code": "Restored", "backup": BACKUP, "createdAt": "2026-11-21T13:25:01Z", "rows": 7, "schemaVersion": 1,
    });
    restores(nodes, Outcome::Works { message: report.to_string() });
}

fn beginning(name: &str, source: &str, uid: &str) -> Value {
    let mut tenant = tenant(name);
    tenant["spec"]["bootstrap"] = json!({"restore": {"tenant": source, "tenantUID": uid}});
    tenant
}

async fn annotation(lab: &Lab, namespace: &str, name: &str) -> Result<Option<String>> {
    let namespace = Api::<Namespace>::all(lab.client.clone()).get(namespace).await?;
    Ok(namespace.annotations().get(name).cloned())
}

async fn removed(lab: &Lab) -> Result<String> {
    let tenants: Api<Tenant> = Api::all(lab.client.clone());
    let uid = tenants.get("acme").await?.uid().context("a Tenant has a uid")?;
    lab.patch_tenant(json!({"metadata": {"annotations": {"tenantry.dev/confirm-delete": "acme"}}})).await?;
    tenants.delete("acme", &DeleteParams::default()).await?;
    Wait::new("the end of the tenant", DEADLINE)
        .until(async || {
            Ok(match tenants.get_opt("acme").await? {
                None => Look::Done(()),
                Some(tenant) => Look::NotYet(message(&tenant)),
            })
        })
        .await?;
    Ok(uid)
}

async fn key(lab: &Lab, namespace: &str, name: &str) -> Result<Option<Value>> {
    let secret = Api::<Secret>::namespaced(lab.client.clone(), namespace).get_opt(name).await?;
    let identity = secret.and_then(|secret| secret.data?.remove("identity"));
    Ok(identity.map(serde_json::to_value).transpose()?)
}

#[tokio::test]
async fn a_deleted_tenant_comes_back_from_its_tombstone_also_when_the_operator_is_killed() -> Result<()> {
    let mut lab = Lab::with_tenant().await?;
    let uid = removed(&lab).await?;
    lab.create::<Tenant>(tenant("acme")).await?;
    let refused = message(&lab.until_reason("acme", "False", "TombstoneExists").await?);
    assert!(refused.contains(&format!("bootstrap: {{restore: {{tenantUID: {uid}}}}}")), "{refused}");
    let tenants: Api<Tenant> = Api::all(lab.client.clone());
    lab.patch_tenant(json!({"metadata": {"annotations": {"tenantry.dev/confirm-delete": "acme"}}})).await?;
    tenants.delete("acme", &DeleteParams::default()).await?;
    Wait::new("the end of the one that was refused", DEADLINE)
        .until(async || {
            let left = tenants.get_opt("acme").await?;
            Ok(left.map_or(Look::Done(()), |tenant| Look::NotYet(message(&tenant))))
        })
        .await?;

    restores(&lab.nodes, Outcome::Nothing);
    let again = lab.create::<Tenant>(beginning("acme", "acme", &uid)).await?;
    let restoring = lab.until_reason("acme", "False", "Restoring").await?;
    assert_eq!(serde_json::to_value(&restoring.status)?["state"], "Restoring");
    let job = names::bootstrap_job(&again.uid().unwrap_or_default());
    lab.until_child::<Job>(&job, "is made", |job| job.is_some()).await?;
    let tombstone = names::tombstone("acme", &uid);
    assert_eq!(key(&lab, NAMESPACE, KEY).await?, key(&lab, "tenantry-keys", &tombstone).await?);
    let source = annotation(&lab, NAMESPACE, "tenantry.dev/restore-from").await?;
    assert_eq!(source, Some(format!("acme/{uid}")));
    let app = lab.child::<Deployment>("crm").await?.and_then(|app| app.spec).and_then(|spec| spec.replicas);
    assert_eq!(app, Some(0));

    let Lab { control_plane, client, break_glass, nodes, operator } = lab;
    operator.kill().await;
    restores_succeed(&nodes);
    let operator = Running::start(&control_plane).await?;
    lab = Lab { control_plane, client, break_glass, nodes, operator };
    let ready = lab.until_ready("acme").await?;
    let from = json!({"tenantUID": uid, "backup": BACKUP, "createdAt": "2026-11-21T13:25:01Z"});
    assert_eq!(serde_json::to_value(&ready.status)?["restoredFrom"], from);
    let record = annotation(&lab, NAMESPACE, "tenantry.dev/restored-from").await?;
    assert_eq!(record, Some(format!("{uid}/{BACKUP}/2026-11-21T13:25:01Z")));
    assert_eq!(annotation(&lab, NAMESPACE, "tenantry.dev/restore-from").await?, None);
    lab.until_child::<Job>(&job, "goes", |job| job.is_none()).await?;
    assert_eq!(key(&lab, NAMESPACE, KEY).await?, None);
    assert!(Api::<TenantTombstone>::all(lab.client.clone()).get_opt(&tombstone).await?.is_some());
    Ok(())
}

#[tokio::test]
async fn a_copy_of_a_living_tenant_waits_for_what_fails_and_leaves_the_other_alone() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    let source = Api::<Tenant>::all(lab.client.clone()).get("acme").await?;
    let uid = source.uid().context("a Tenant has a uid")?;
    migrations_succeed(&lab.nodes, 1);
    let failed = json!({"code": "NoBackup"}).to_string();
    restores(&lab.nodes, Outcome::Exits { code: 1, message: failed });
    lab.create::<Tenant>(beginning("staging", "acme", &uid)).await?;
    let told = message(&lab.until_reason("staging", "False", "RestoreFailed").await?);
    assert!(told.contains("could not be restored: NoBackup. it is"), "{told}");
    assert_eq!(key(&lab, "tenant-staging", KEY).await?, key(&lab, NAMESPACE, "backup-identity").await?);

    // As after five minutes: the Job that failed goes, and another one is made.
    restores_succeed(&lab.nodes);
    let jobs: Api<Job> = Api::namespaced(lab.break_glass.clone(), "tenant-staging");
    for job in jobs.list(&kube::api::ListParams::default()).await? {
        jobs.delete(&job.name_any(), &DeleteParams::background()).await?;
    }
    lab.until_ready("staging").await?;
    let own = key(&lab, "tenant-staging", "backup-identity").await?;
    assert!(
        own.is_some() && own != key(&lab, NAMESPACE, "backup-identity").await?,
        "it has a key of its own"
    );
    for name in [names::RESTORE_FROM, names::RESTORED_FROM] {
        assert_eq!(annotation(&lab, NAMESPACE, name).await?, None, "{name}");
    }
    assert_eq!(key(&lab, NAMESPACE, KEY).await?, None);
    lab.until_ready("acme").await?;
    Ok(())
}

#[tokio::test]
async fn in_another_cluster_the_recovery_key_brings_a_tenant_back() -> Result<()> {
    let lab = Lab::start().await?;
    restores_succeed(&lab.nodes);
    let uid = "0b7f8f0e-5a1b-4c3d-9e8f-001122334455";
    lab.create::<Tenant>(beginning("acme", "acme", uid)).await?;
    let told = message(&lab.until_reason("acme", "False", "RestoreKeyMissing").await?);
    assert!(told.contains("-n tenantry-keys create secret generic recovery-identity"), "{told}");
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "recovery-identity"},
        "stringData": {"identity": "AGE-SECRET-KEY-1"},
    });
    let keys: Api<Secret> = Api::namespaced(lab.client.clone(), "tenantry-keys");
    keys.create(&kube::api::PostParams::default(), &serde_json::from_value(secret)?).await?;
    lab.until_ready("acme").await?;
    assert_eq!(key(&lab, NAMESPACE, KEY).await?, None);
    Ok(())
}
