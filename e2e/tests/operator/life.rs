//! What a tenant becomes, how it is repaired, and how it moves to another release.

use anyhow::Result;
use e2e::{
    cluster::control_plane::{Outcome, Workload},
    host::wait::{Look, Wait},
};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    batch::v1::Job,
    core::v1::{ConfigMap, Namespace, PersistentVolumeClaim, Secret, Service},
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use operator::api::{Plan, Release, Tenant};
use serde_json::json;

use crate::lab::{DEADLINE, Lab, NAMESPACE, condition, message, migrations_succeed, release, tenant, uid};

#[tokio::test]
async fn a_tenant_becomes_ready_with_all_that_it_needs() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    // People can work before the migration has said in which version it left the schema.
    let tenant = Wait::new("a Ready tenant with a schema version", DEADLINE)
        .until(async || {
            let tenant = lab.until_ready("acme").await?;
            let known = tenant.status.as_ref().is_some_and(|status| status.schema_version.is_some());
            Ok(if known { Look::Done(tenant) } else { Look::NotYet(message(&tenant)) })
        })
        .await?;
    let status = tenant.status.clone().unwrap_or_default();
    assert_eq!(status.url.as_deref(), Some("http://acme.crm.localhost:8080"));
    assert_eq!((status.release.as_deref(), status.schema_version), (Some("r1"), Some(1)));
    assert_eq!(
        status.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(),
        ["acme.crm.localhost"]
    );
    for type_ in ["DatabaseReady", "AppReady", "Isolated"] {
        assert_eq!(condition(&tenant, type_)["status"], "True", "{type_}");
    }
    let namespace = Api::<Namespace>::all(lab.client.clone()).get(NAMESPACE).await?;
    assert_eq!(namespace.annotations().get("tenantry.dev/release").map(String::as_str), Some("r1"));
    assert_eq!(namespace.annotations().get("tenantry.dev/schema-version").map(String::as_str), Some("1"));
    let link = lab.child::<Secret>("first-sign-in").await?.and_then(|secret| secret.data).unwrap_or_default();
    let url = String::from_utf8_lossy(&link["url"].0).into_owned();
    assert!(url.starts_with("http://acme.crm.localhost:8080/welcome#"), "{url}");
    // These two are kept for the fleet as a whole, beside the reconciles.
    let maps = Api::<ConfigMap>::namespaced(lab.client.clone(), "tenantry-gateway");
    let plans = Api::<Plan>::all(lab.client.clone());
    Wait::new("the route, and the finalizer on the plan", DEADLINE)
        .until(async || {
            let routes = maps.get("routes").await?.data.unwrap_or_default();
            let finalizers = plans.get("standard").await?.finalizers().to_vec();
            let led = routes.get("routes.json").is_some_and(|json| json.contains("acme.crm.localhost"));
            let kept = finalizers == ["tenantry.dev/in-use"];
            Ok(if led && kept { Look::Done(()) } else { Look::NotYet(format!("{routes:?} {finalizers:?}")) })
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_others_break_is_repaired() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    let port = |port: i32| json!({"spec": {"ports": [{"name": "http", "port": 80, "targetPort": port, "protocol": "TCP"}]}});
    lab.patch_child::<Service>("crm", port(1)).await?;
    lab.until_child::<Service>("crm", "leads to the CRM again", |service| {
        service.is_some_and(|service| service["spec"]["ports"][0]["targetPort"] == 8080)
    })
    .await?;

    let policies: Api<NetworkPolicy> = Api::namespaced(lab.break_glass.clone(), NAMESPACE);
    let before = uid(policies.get_opt("default-deny").await?);
    policies.delete("default-deny", &DeleteParams::default()).await?;
    lab.until_child::<NetworkPolicy>("default-deny", "there again", |policy| {
        policy.is_some_and(|policy| policy["metadata"]["uid"].as_str() != before.as_deref())
    })
    .await?;

    lab.patch_child::<StatefulSet>("database", json!({"spec": {"replicas": 0}})).await?;
    lab.until_child::<StatefulSet>("database", "runs again", |set| {
        set.is_some_and(|set| set["spec"]["replicas"] == 1)
    })
    .await?;

    // Another server-side applier who forces takes the field over, and loses it again.
    let theirs = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "crm"}, "spec": {"selector": {"app": "evil"}}});
    let services: Api<Service> = Api::namespaced(lab.break_glass.clone(), NAMESPACE);
    services.patch("crm", &PatchParams::apply("somebody").force(), &Patch::Apply(theirs)).await?;
    lab.until_child::<Service>("crm", "selects the CRM again", |service| {
        service.is_some_and(|service| {
            service["spec"]["selector"]["app.kubernetes.io/component"] == "crm"
                && service["spec"]["selector"]["app"].is_null()
        })
    })
    .await?;
    lab.until_ready("acme").await?;
    Ok(())
}

#[tokio::test]
async fn what_is_no_longer_wanted_goes() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    let plans: Api<Plan> = Api::all(lab.client.clone());
    let egress = |egress: &str| Patch::Merge(json!({"spec": {"egress": egress}}));
    plans.patch("standard", &PatchParams::default(), &egress("Public")).await?;
    lab.until_child::<NetworkPolicy>("egress", "there", |policy| policy.is_some()).await?;
    plans.patch("standard", &PatchParams::default(), &egress("None")).await?;
    lab.until_child::<NetworkPolicy>("egress", "gone", |policy| policy.is_none()).await?;

    // A new sign-in link takes the place of the old one, and its Job that of the old Job.
    lab.patch_tenant(json!({"metadata": {"annotations": {"tenantry.dev/reissue-sign-in": "2"}}})).await?;
    lab.until_child::<Secret>("first-sign-in", "gone", |secret| secret.is_none()).await?;
    let jobs = Api::<Job>::namespaced(lab.client.clone(), NAMESPACE).list(&ListParams::default()).await?;
    assert_eq!(jobs.items.len(), 1, "{:?}", jobs.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>());
    let secret = jobs.items[0].labels().get("tenantry.dev/sign-in").cloned().unwrap_or_default();
    assert!(lab.child::<Secret>(&secret).await?.is_some(), "{secret}");
    Ok(())
}

#[tokio::test]
async fn another_release_is_migrated_first_and_a_failure_keeps_the_old_one() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    let image = |lab: &Lab| {
        let deployments: Api<Deployment> = Api::namespaced(lab.client.clone(), NAMESPACE);
        async move {
            anyhow::Ok(serde_json::to_value(deployments.get("crm").await?)?["spec"]["template"]["spec"]["containers"][0]["image"].clone())
        }
    };
    let first = image(&lab).await?;
    lab.nodes.reset();
    let report = json!({"code": "MigrationFailed", "migration": 2, "sqlstate": "23505", "constraint": "company_name_key"});
    lab.nodes.on(Workload::Job, "", "migrate-", Outcome::Exits { code: 1, message: report.to_string() });
    lab.create::<Release>(release("r2", 2)).await?;
    lab.patch_tenant(json!({"spec": {"release": "r2"}})).await?;
    let tenant = lab.until_reason("acme", "False", "MigrationFailed").await?;
    for word in ["r2", "migration 2", "23505", "company_name_key", "keeps serving"] {
        assert!(message(&tenant).contains(word), "{}", message(&tenant));
    }
    assert_eq!(image(&lab).await?, first);
    assert_eq!(tenant.status.unwrap_or_default().release.as_deref(), Some("r1"));

    lab.nodes.reset();
    migrations_succeed(&lab.nodes, 3);
    lab.create::<Release>(release("r3", 3)).await?;
    lab.patch_tenant(json!({"spec": {"release": "r3"}})).await?;
    let tenant = lab.until_ready("acme").await?;
    let status = tenant.status.unwrap_or_default();
    assert_eq!((status.release.as_deref(), status.schema_version), (Some("r3"), Some(3)));
    assert_ne!(image(&lab).await?, first);

    // Back to the first: an older release runs on a newer schema and has nothing to migrate.
    lab.patch_tenant(json!({"spec": {"release": "r1"}})).await?;
    let tenant = lab.until_ready("acme").await?;
    assert_eq!(image(&lab).await?, first);
    assert_eq!(tenant.status.unwrap_or_default().schema_version, Some(3));
    Ok(())
}

#[tokio::test]
async fn the_volume_grows_and_never_shrinks() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    let plans: Api<Plan> = Api::all(lab.client.clone());
    let size = |size: &str| Patch::Merge(json!({"spec": {"database": {"storage": size}}}));
    let seen = lab.operator.metric("tenantry_reconcile_duration_seconds_count").await?;
    plans.patch("standard", &PatchParams::default(), &size("512Mi")).await?;
    lab.operator.until_settled(seen).await?;
    lab.until_ready("acme").await?;
    lab.until_child::<PersistentVolumeClaim>("database", "1Gi", |claim| {
        claim.is_some_and(|claim| claim["spec"]["resources"]["requests"]["storage"] == "1Gi")
    })
    .await
}

#[tokio::test]
async fn a_host_is_given_once() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    lab.patch_tenant(json!({"spec": {"hosts": [{"name": "CRM.客户.example"}]}})).await?;
    lab.until_ready("acme").await?;
    let mut other = tenant("bluesky");
    other["spec"]["hosts"] = json!([{"name": "crm.xn--ubt06m.example"}]);
    lab.create::<Tenant>(other).await?;
    let refused = lab.until_reason("bluesky", "False", "HostNotGranted").await?;
    assert!(message(&refused).contains("belongs to tenant acme"), "{}", message(&refused));
    // When the first gives it up, the second has it.
    lab.patch_tenant(json!({"spec": {"hosts": []}})).await?;
    let granted = lab.until_ready("bluesky").await?.status.unwrap_or_default().hosts;
    assert_eq!(granted.len(), 2, "{granted:?}");
    Ok(())
}
