//! What goes wrong is named with its cause and what to do, and heals when the cause goes.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{
    fleet::{Installed, small_tenant},
    host::command,
    toolchain::{self, Tool},
};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::ObjectMeta,
};
use operator::api::{Release, ReleaseSchema, ReleaseSpec, TenantDatabase};
use serde_json::json;
use tokio::process::Command;

use crate::{READY, beside_others};

async fn create_release(fleet: &Installed, name: &str, image: &str, schema: i64) -> Result<()> {
    let spec = ReleaseSpec {
        version: "0.1.0".into(),
        image: image.into(),
        schema: ReleaseSchema { version: schema, min_app_schema: Some(1) },
        upgrades_from: None,
        notes: None,
    };
    let releases: Api<Release> = Api::all(fleet.client().await?);
    releases
        .patch(name, &PatchParams::apply("tenantry-e2e"), &Patch::Apply(Release::new(name, spec)))
        .await?;
    Ok(())
}

fn names(message: &str, words: &[&str]) -> Result<()> {
    println!("  {message}");
    for word in words {
        ensure!(message.contains(word), "the message does not say {word:?}: {message}");
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_plan_and_release_are_named_and_heal() -> Result<()> {
    let (fleet, _turn) = beside_others().await?;
    let mut unknown = small_tenant("unknown-refs", &fleet.release);
    unknown.spec.plan = "golden".into();
    fleet.apply(&unknown).await?;
    names(&fleet.wait_unready("unknown-refs", "PlanNotFound", READY).await?, &["golden"])?;
    fleet.patch("unknown-refs", &json!({ "spec": { "plan": "small", "release": "9.9.9" } })).await?;
    names(&fleet.wait_unready("unknown-refs", "ReleaseNotFound", READY).await?, &["9.9.9"])?;
    fleet.patch("unknown-refs", &json!({ "spec": { "release": fleet.release } })).await?;
    fleet.wait_ready("unknown-refs", READY).await?;
    fleet.delete("unknown-refs", READY).await
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_named_and_heals() -> Result<()> {
    let (fleet, _turn) = beside_others().await?;
    let (repository, _) = fleet.crm_image.split_once('@').context("the image has no digest")?;
    let missing = format!("{repository}@sha256:{}", "0".repeat(64));
    create_release(&fleet, "missing-image", &missing, 1).await?;
    fleet.apply(&small_tenant("no-image", "missing-image")).await?;
    names(&fleet.wait_unready("no-image", "ImagePullFailed", READY).await?, &[&missing])?;
    fleet.patch("no-image", &json!({ "spec": { "release": fleet.release } })).await?;
    fleet.wait_ready("no-image", READY).await?;
    fleet.delete("no-image", READY).await
}

#[tokio::test]
async fn storage_that_cannot_be_bound_is_named_and_heals() -> Result<()> {
    let (fleet, _turn) = beside_others().await?;
    let classes: Api<StorageClass> = Api::all(fleet.client().await?);
    let name = "not-there-yet";
    let mut waiting = small_tenant("no-storage", &fleet.release);
    waiting.spec.database = Some(TenantDatabase { storage: None, storage_class: Some(name.into()) });
    fleet.apply(&waiting).await?;
    names(&fleet.wait_unready("no-storage", "StorageNotBound", READY).await?, &[name])?;
    let is_default = |class: &StorageClass| {
        class.annotations().get("storageclass.kubernetes.io/is-default-class").is_some_and(|is| is == "true")
    };
    let default = classes.list(&ListParams::default()).await?.into_iter().find(is_default);
    let mut class = default.context("the cluster has no default storage class")?;
    class.metadata = ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
    classes.create(&PostParams::default(), &class).await?;
    fleet.wait_ready("no-storage", READY).await?;
    fleet.delete("no-storage", READY).await?;
    classes.delete(name, &kube::api::DeleteParams::default()).await?;
    Ok(())
}

/// `psql` in one of a tenant's databases as its superuser, over the local socket in the pod.
pub(crate) async fn psql(fleet: &Installed, tenant: &str, database: &str) -> Result<Command> {
    let mut kubectl = Command::new(toolchain::binary(Tool::Kubectl).await?);
    kubectl.env("KUBECONFIG", &fleet.kubeconfig).args(["exec", "--stdin", "database-0"]);
    kubectl.args(["--container", "postgres", "--namespace", &format!("tenant-{tenant}"), "--"]);
    kubectl.args(["psql", "-U", "postgres", "-d", database, "-At", "-v", "ON_ERROR_STOP=1"]);
    Ok(kubectl)
}

/// Runs SQL in one of a tenant's databases as its superuser; returns the rows.
pub(crate) async fn sql(fleet: &Installed, tenant: &str, database: &str, statement: &str) -> Result<String> {
    let mut psql = psql(fleet, tenant, database).await?;
    command::run(psql.args(["-c", statement]), Duration::from_secs(30)).await
}

#[tokio::test]
async fn a_migration_that_fails_is_named_leaves_the_old_app_and_heals() -> Result<()> {
    let (fleet, _turn) = beside_others().await?;
    fleet.apply(&small_tenant("bad-migration", &fleet.release)).await?;
    fleet.wait_ready("bad-migration", READY).await?;
    // sqlx refuses to run when a migration that was applied is not the one it knows.
    sql(
        &fleet,
        "bad-migration",
        "crm",
        "update crm.schema_migration set checksum = '\\x00' where version = 1",
    )
    .await?;
    let good = Api::<Release>::all(fleet.client().await?).get(&fleet.release).await?.spec;
    // Another version of the schema, so that there is something to migrate to.
    create_release(&fleet, "newer-schema", &good.image, good.schema.version + 1).await?;
    fleet.patch("bad-migration", &json!({ "spec": { "release": "newer-schema" } })).await?;
    names(&fleet.wait_unready("bad-migration", "MigrationFailed", READY).await?, &["newer-schema"])?;
    let session = fleet.crm("bad-migration")?.send(reqwest::Method::GET, "/workspace", None).await?;
    ensure!(session.status.is_success(), "the old app does not serve any more: {}", session.status);
    fleet.patch("bad-migration", &json!({ "spec": { "release": fleet.release } })).await?;
    fleet.wait_ready("bad-migration", READY).await?;
    fleet.delete("bad-migration", READY).await
}

#[tokio::test]
async fn a_name_that_is_too_long_is_refused_with_the_limit() -> Result<()> {
    let (fleet, _turn) = beside_others().await?;
    let name = "a".repeat(41);
    let error = fleet.apply(&small_tenant(&name, &fleet.release)).await.expect_err("the name is too long");
    names(&format!("{error:#}"), &["40 characters"])
}
