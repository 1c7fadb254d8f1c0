//! Whatever is wrong is named, with what to do; and heals when the cause goes.

use anyhow::Result;
use e2e::{
    cluster::control_plane::{Outcome, Workload},
    host::wait::{Look, Wait},
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Secret},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use operator::api::{Plan, Release, Tenant};
use serde_json::{Value, json};

use crate::lab::{DEADLINE, Lab, NAMESPACE, message, migrations_succeed, plan, release, tenant};

#[tokio::test]
async fn an_unknown_plan_or_release_freezes_and_heals() -> Result<()> {
    let lab = Lab::start().await?;
    let mut unknown = tenant("acme");
    unknown["spec"]["plan"] = json!("gold");
    lab.create::<Tenant>(unknown).await?;
    // The tenant may be seen before the plan that exists: then the message is renewed.
    Wait::new("a message that names the plan that is missing and the one that exists", DEADLINE)
        .until(async || {
            let text = message(&lab.until_reason("acme", "False", "PlanNotFound").await?);
            let names_both = text.contains("gold") && text.contains("one of: standard");
            Ok(if names_both { Look::Done(()) } else { Look::NotYet(text) })
        })
        .await?;
    lab.create::<Plan>(plan("gold")).await?;
    lab.until_ready("acme").await?;

    let before = lab.child::<Deployment>("crm").await?.map(|app| app.resource_version());
    lab.patch_tenant(json!({"spec": {"release": "r9", "state": "Suspended"}})).await?;
    let frozen = lab.until_reason("acme", "False", "ReleaseNotFound").await?;
    assert!(
        message(&frozen).contains("r9") && message(&frozen).contains("stays as it is"),
        "{}",
        message(&frozen)
    );
    assert_eq!(lab.child::<Deployment>("crm").await?.map(|app| app.resource_version()), before);
    lab.create::<Release>(release("r9", 1)).await?;
    lab.patch_tenant(json!({"spec": {"state": "Active"}})).await?;
    lab.until_ready("acme").await?;
    Ok(())
}

#[tokio::test]
async fn what_keeps_pods_from_running_is_named() -> Result<()> {
    let lab = Lab::start().await?;
    let waits = |reason: &str, message: &str| Outcome::Waits {
        reason: reason.to_owned(),
        message: message.to_owned(),
    };
    lab.nodes.on(Workload::Deployment, NAMESPACE, "crm", waits("ImagePullBackOff", "no such manifest"));
    lab.create::<Tenant>(tenant("acme")).await?;
    let tenant = lab.until_reason("acme", "False", "ImagePullFailed").await?;
    assert!(
        message(&tenant).contains("no such manifest") && message(&tenant).contains("crm-app@sha256"),
        "{}",
        message(&tenant)
    );

    lab.nodes.reset();
    migrations_succeed(&lab.nodes, 1);
    lab.until_ready("acme").await?;
    Ok(())
}

#[tokio::test]
async fn a_migration_without_a_report_is_no_success() -> Result<()> {
    let lab = Lab::start().await?;
    lab.nodes.reset();
    lab.nodes.on(
        Workload::Job,
        "",
        "migrate-",
        Outcome::Works { message: "all is well, trust me".to_owned() },
    );
    // It answers only when it finds its schema.
    let waits = Outcome::Waits { reason: "ContainerCreating".to_owned(), message: String::new() };
    lab.nodes.on(Workload::Deployment, NAMESPACE, "crm", waits);
    lab.create::<Tenant>(tenant("acme")).await?;
    let tenant = lab.until_reason("acme", "False", "MigrationFailed").await?;
    assert!(message(&tenant).contains("did not say why"), "{}", message(&tenant));
    assert_eq!(tenant.status.unwrap_or_default().schema_version, None);
    Ok(())
}

#[tokio::test]
async fn a_namespace_of_somebody_else_is_left_alone_until_it_is_handed_over() -> Result<()> {
    let lab = Lab::start().await?;
    let namespaces: Api<Namespace> = Api::all(lab.break_glass.clone());
    let theirs: Namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}}))?;
    namespaces.create(&PostParams::default(), &theirs).await?;
    lab.create::<Tenant>(tenant("acme")).await?;
    let blocked = lab.until_reason("acme", "False", "ForeignNamespace").await?;
    assert!(message(&blocked).contains("does not belong to a tenant"), "{}", message(&blocked));
    assert!(namespaces.get(NAMESPACE).await?.labels().get("tenantry.dev/tenant").is_none());

    // One of an earlier Tenant of that name, as after a restore from a backup of the cluster.
    let labels = json!({"tenantry.dev/tenant": "acme", "tenantry.dev/tenant-uid": "an-earlier-uid", "pod-security.kubernetes.io/enforce": "restricted"});
    let earlier = Patch::Merge(json!({"metadata": {"labels": labels}}));
    namespaces.patch(NAMESPACE, &PatchParams::default(), &earlier).await?;
    lab.patch_tenant(json!({"metadata": {"annotations": {"example.com/look": "again"}}})).await?;
    lab.until_reason("acme", "False", "ForeignNamespace").await?;
    let adopt = json!({"metadata": {"annotations": {"tenantry.dev/adopt": blocked.uid()}}});
    namespaces.patch(NAMESPACE, &PatchParams::default(), &Patch::Merge(adopt)).await?;
    lab.until_ready("acme").await?;
    assert_eq!(
        namespaces.get(NAMESPACE).await?.labels().get("tenantry.dev/tenant-uid"),
        blocked.uid().as_ref()
    );
    Ok(())
}

#[tokio::test]
async fn lost_passwords_are_not_made_anew_under_a_running_database() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    let secrets: Api<Secret> = Api::namespaced(lab.break_glass.clone(), NAMESPACE);
    secrets.delete("database-credentials", &DeleteParams::default()).await?;
    lab.patch_tenant(json!({"metadata": {"annotations": {"example.com/look": "again"}}})).await?;
    let lost = lab.until_reason("acme", "False", "SecretLost").await?;
    assert!(message(&lost).contains("delete StatefulSet database"), "{}", message(&lost));
    assert!(secrets.get_opt("database-credentials").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn what_the_schema_can_refuse_it_refuses() -> Result<()> {
    let lab = Lab::start().await?;
    let refused = async |change: fn(&mut Value)| {
        let mut object = tenant("acme");
        change(&mut object);
        lab.create::<Tenant>(object).await.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let too_long = refused(|object| object["metadata"]["name"] = json!("a".repeat(41))).await;
    assert!(too_long.contains("at most 40 characters"), "{too_long}");
    let no_release = refused(|object| object["spec"]["release"] = Value::Null).await;
    assert!(no_release.contains("or spec.release to that of a Release"), "{no_release}");
    let reserved = refused(|object| object["metadata"]["name"] = json!("www")).await;
    assert!(reserved.contains("reserved"), "{reserved}");
    let host = refused(|object| object["spec"]["hosts"] = json!([{"name": "https://a.example"}])).await;
    assert!(host.contains("no scheme"), "{host}");
    Ok(())
}
