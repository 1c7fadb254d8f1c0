//! What people do to the objects by accident, or past the policies: no data goes, and the way back is the one in the manual.

use std::collections::BTreeMap;

use anyhow::Result;
use e2e::{
    cluster::control_plane::AuditEvent,
    helm::{self, Pods},
    host::wait::{Look, Wait},
};
use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{Namespace, PersistentVolumeClaim, Secret},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition as Crd,
};
use kube::{
    Api, ResourceExt,
    api::{
        ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
        PropagationPolicy,
    },
    core::GroupVersionKind,
};
use operator::api::{Tenant, TenantStatus};
use serde_json::{Value, json};

use crate::lab::{DEADLINE, Lab, Running, condition, message, tenant, uid};

const CRD: &str = "tenants.tenantry.dev";

/// Uid of every object in a tenant's namespace, and of the namespace; marked when the object is being deleted.
type Identities = BTreeMap<String, String>;

async fn identities(lab: &Lab, tenant: &str) -> Result<Identities> {
    let kinds = [
        ("", "Pod"),
        ("", "Secret"),
        ("", "ConfigMap"),
        ("", "Service"),
        ("", "PersistentVolumeClaim"),
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("batch", "Job"),
        ("networking.k8s.io", "NetworkPolicy"),
        ("rbac.authorization.k8s.io", "RoleBinding"),
    ];
    let namespace = format!("tenant-{tenant}");
    let identity = |uid: Option<String>, deleting: bool| {
        format!("{}{}", uid.unwrap_or_default(), if deleting { ", being deleted" } else { "" })
    };
    let home = Api::<Namespace>::all(lab.client.clone()).get(&namespace).await?;
    let deleting = home.metadata.deletion_timestamp.is_some();
    let mut found = Identities::from([("Namespace".into(), identity(home.uid(), deleting))]);
    for (group, kind) in kinds {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
        let api: Api<DynamicObject> = Api::namespaced_with(lab.break_glass.clone(), &namespace, &resource);
        for object in api.list(&ListParams::default()).await? {
            let deleting = object.metadata.deletion_timestamp.is_some();
            found.insert(format!("{kind} {}", object.name_any()), identity(object.uid(), deleting));
        }
    }
    assert!(found.contains_key("PersistentVolumeClaim database") && 15 < found.len(), "{found:#?}");
    Ok(found)
}

fn tenants(lab: &Lab) -> Api<Tenant> {
    Api::all(lab.client.clone())
}

async fn patch(lab: &Lab, name: &str, patch: Value) -> Result<()> {
    tenants(lab).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

async fn until_gone(lab: &Lab, name: &str) -> Result<()> {
    Wait::new(format!("the end of tenant {name}"), DEADLINE)
        .until(async || {
            Ok(match tenants(lab).get_opt(name).await? {
                None => Look::Done(()),
                Some(tenant) => Look::NotYet(message(&tenant)),
            })
        })
        .await
}

/// The status without the times.
fn words(tenant: &Tenant) -> TenantStatus {
    let mut status = tenant.status.clone().unwrap_or_default();
    for condition in &mut status.conditions {
        condition.last_transition_time.0 = jiff::Timestamp::UNIX_EPOCH;
    }
    status
}

/// Empties a status as `kubectl replace --subresource=status` does.
async fn empty_status(lab: &Lab, name: &str) -> Result<()> {
    let mut emptied = tenants(lab).get(name).await?;
    emptied.status = None;
    let emptied = tenants(lab).replace_status(name, &PostParams::default(), &emptied).await?;
    assert_eq!(emptied.status, None);
    Ok(())
}

async fn until_said_again(lab: &Lab, before: &Tenant) -> Result<()> {
    let name = before.name_any();
    Wait::new(format!("the status of {name} to be as it was"), DEADLINE)
        .until(async || {
            let now = tenants(lab).get(&name).await?;
            let same = words(&now) == words(before);
            Ok(if same { Look::Done(()) } else { Look::NotYet(format!("{:?}", now.status)) })
        })
        .await
}

/// Waits until database and CRM work and the operator has nothing more to do: from then on the status stays as it is.
async fn until_serving(lab: &Lab, name: &str) -> Result<Tenant> {
    Wait::new(format!("{name} to serve"), DEADLINE)
        .until(async || {
            let now = tenants(lab).get(name).await?;
            let serves =
                ["DatabaseReady", "AppReady"].iter().all(|type_| condition(&now, type_)["status"] == "True");
            Ok(if serves { Look::Done(()) } else { Look::NotYet(format!("{:?}", now.status)) })
        })
        .await?;
    lab.operator.until_settled(0.0).await?;
    Ok(tenants(lab).get(name).await?)
}

#[tokio::test]
async fn a_status_that_was_emptied_is_read_back_and_nothing_else_happens() -> Result<()> {
    let lab = Lab::start().await?;
    let wants_host = |name: &str| {
        let mut tenant = tenant(name);
        tenant["spec"]["hosts"] = json!([{ "name": "crm.example" }]);
        tenant
    };
    lab.create::<Tenant>(wants_host("zebra")).await?;
    lab.until_ready("zebra").await?;
    // The second to ask gets nothing, and comes first by name: it must not profit.
    lab.create::<Tenant>(wants_host("acme")).await?;
    lab.until_reason("acme", "False", "HostNotGranted").await?;
    let (zebra, acme) = (until_serving(&lab, "zebra").await?, until_serving(&lab, "acme").await?);
    let objects = identities(&lab, "zebra").await?;

    let writes = lab.writes()?.len();
    empty_status(&lab, "zebra").await?;
    until_said_again(&lab, &zebra).await?;
    lab.operator.until_settled(0.0).await?;
    only_statuses(&lab, writes)?;

    // So it is when a whole cluster comes back from a backup without statuses, and the operator starts there.
    let Lab { control_plane, client, break_glass, nodes, operator } = lab;
    operator.stop().await?;
    let tenants: Api<Tenant> = Api::all(client.clone());
    for name in ["zebra", "acme"] {
        let nothing = Patch::Merge(json!({ "status": null }));
        let emptied = tenants.patch_status(name, &PatchParams::default(), &nothing).await?;
        assert_eq!(emptied.status, None);
    }
    let operator = Running::start(&control_plane).await?;
    let lab = Lab { control_plane, client, break_glass, nodes, operator };
    until_said_again(&lab, &zebra).await?;
    until_said_again(&lab, &acme).await?;
    lab.operator.until_settled(0.0).await?;
    only_statuses(&lab, writes)?;
    assert_eq!(identities(&lab, "zebra").await?, objects);
    Ok(())
}

/// Since then the operator has written nothing but statuses: no child, and above all no route table with a gap.
fn only_statuses(lab: &Lab, since: usize) -> Result<()> {
    let written = lab.writes()?.split_off(since);
    let is_status =
        |event: &&AuditEvent| event.object_ref.as_ref().is_some_and(|object| object.subresource == "status");
    let other: Vec<_> = written.iter().filter(|event| !is_status(event)).collect();
    assert!(!written.is_empty() && other.is_empty(), "{other:#?}");
    Ok(())
}

#[tokio::test]
async fn no_way_of_deleting_takes_more_than_was_confirmed() -> Result<()> {
    let lab = Lab::start().await?;
    let ways = [
        ("acme", PropagationPolicy::Foreground),
        ("bluesky", PropagationPolicy::Background),
        ("cobalt", PropagationPolicy::Orphan),
    ];
    let confirm = |name: Option<&str>| json!({ "metadata": { "annotations": { "tenantry.dev/confirm-delete": name } } });
    for (name, _) in &ways {
        lab.create::<Tenant>(tenant(name)).await?;
    }
    for (name, policy) in &ways {
        lab.until_ready(name).await?;
        let before = identities(&lab, name).await?;
        let delete = DeleteParams { propagation_policy: Some(policy.clone()), ..DeleteParams::default() };
        let refused = tenants(&lab).delete(name, &delete).await.expect_err("nobody has confirmed it");
        assert!(refused.to_string().contains("tenantry.dev/confirm-delete"), "{refused}");

        // Past the policy, as when the CRD is deleted: confirmed for the moment of the request only.
        patch(&lab, name, json!({ "spec": { "paused": true } })).await?;
        lab.until_reason(name, "True", "Paused").await?;
        patch(&lab, name, confirm(Some(name))).await?;
        tenants(&lab).delete(name, &delete).await?;
        patch(&lab, name, confirm(None)).await?;
        patch(&lab, name, json!({ "spec": { "paused": false } })).await?;
        lab.until_reason(name, "False", "DeletionUnconfirmed").await?;
        assert_eq!(identities(&lab, name).await?, before, "{policy:?}");
    }
    for (name, policy) in &ways {
        patch(&lab, name, confirm(Some(name))).await?;
        until_gone(&lab, name).await?;
        let home = Api::<Namespace>::all(lab.client.clone()).get_opt(&format!("tenant-{name}")).await?;
        assert!(home.is_none(), "{policy:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_deleted_crd_takes_no_data_along_and_tenants_made_anew_take_theirs_over() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    lab.operator.until_settled(0.0).await?;
    let before = identities(&lab, "acme").await?;
    let first = uid(Some(tenants(&lab).get("acme").await?));

    let crds: Api<Crd> = Api::all(lab.break_glass.clone());
    crds.delete(CRD, &DeleteParams::default()).await?;
    lab.until_reason("acme", "False", "DeletionUnconfirmed").await?;
    assert_eq!(identities(&lab, "acme").await?, before, "the tenant keeps serving");

    // The way back in the manual: without the operator, let the Tenants go; then the CRD, the Tenants, and the operator.
    let Lab { control_plane, client, break_glass, nodes, operator } = lab;
    operator.stop().await?;
    let tenants: Api<Tenant> = Api::all(client.clone());
    let let_go = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    tenants.patch("acme", &PatchParams::default(), &let_go).await?;
    Wait::new(format!("the end of the CRD {CRD}"), DEADLINE)
        .until(async || {
            let left = crds.get_opt(CRD).await?;
            Ok(if left.is_none() { Look::Done(()) } else { Look::NotYet("it is there".to_owned()) })
        })
        .await?;
    helm::install(control_plane.kubeconfig(), &json!({}), Pods::Leave).await?;
    Wait::new("a Tenant to be taken", DEADLINE)
        .until(async || {
            let anew = serde_json::from_value(tenant("acme"))?;
            Ok(Look::Done(tenants.create(&PostParams::default(), &anew).await?))
        })
        .await?;
    let operator = Running::start(&control_plane).await?;
    let lab = Lab { control_plane, client, break_glass, nodes, operator };

    let foreign = lab.until_reason("acme", "False", "ForeignNamespace").await?;
    assert_ne!(foreign.uid(), first);
    assert!(message(&foreign).contains("belongs to an earlier Tenant"), "{}", message(&foreign));
    assert_eq!(identities(&lab, "acme").await?, before, "nothing is touched");
    let adopt = json!({ "metadata": { "annotations": { "tenantry.dev/adopt": foreign.uid() } } });
    let namespaces: Api<Namespace> = Api::all(lab.client.clone());
    namespaces.patch("tenant-acme", &PatchParams::default(), &Patch::Merge(adopt)).await?;
    let ready = lab.until_ready("acme").await?;
    assert_eq!(identities(&lab, "acme").await?, before, "the same pods on the same volume");
    assert_eq!(ready.status.and_then(|status| status.schema_version), Some(1));
    Ok(())
}

#[tokio::test]
async fn a_lost_secret_is_made_anew_only_where_nobody_knows_the_old_one() -> Result<()> {
    let lab = Lab::with_tenant().await?;
    let volume = uid(lab.child::<PersistentVolumeClaim>("database").await?);
    let secrets: Api<Secret> = Api::namespaced(lab.break_glass.clone(), "tenant-acme");
    let password = async || -> Result<Option<Vec<u8>>> {
        let secret = secrets.get_opt("database-credentials").await?;
        Ok(secret.and_then(|secret| secret.data?.remove("app-password")).map(|value| value.0))
    };
    let first = password().await?;
    assert!(first.is_some());
    let look_again = || json!({ "metadata": { "annotations": { "example.com/look": "again" } } });

    // The link was registered in the database; without it there is nothing to make anew.
    secrets.delete("first-sign-in", &DeleteParams::default()).await?;
    secrets.delete("database-credentials", &DeleteParams::default()).await?;
    lab.patch_tenant(look_again()).await?;
    lab.until_reason("acme", "False", "SecretLost").await?;
    assert_eq!(password().await?, None);

    let databases: Api<StatefulSet> = Api::namespaced(lab.break_glass.clone(), "tenant-acme");
    let old = uid(databases.get_opt("database").await?);
    databases.delete("database", &DeleteParams::default()).await?;
    lab.until_ready("acme").await?;
    assert!(password().await?.is_some_and(|new| Some(new) != first));
    assert!(uid(databases.get_opt("database").await?).is_some_and(|new| Some(new) != old));
    assert_eq!(uid(lab.child::<PersistentVolumeClaim>("database").await?), volume, "the data stays");
    assert!(secrets.get_opt("first-sign-in").await?.is_none(), "a link that was never registered");
    Ok(())
}
