//! The operator at work with exactly the rights that the chart gives it: none is missing, and none is there for nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Parser as _;
use e2e::{
    cluster::control_plane::{AuditEvent, Outcome, StandIn, Workload},
    helm,
    host::wait::{Look, Wait},
    toolchain,
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::Namespace,
    rbac::v1::{ClusterRole, PolicyRule, Role},
};
use kube::{Api, ResourceExt as _, api::ListParams};
use operator::{
    api::Tenant,
    args::{Cli, Command, RunArgs},
    names,
};
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

use crate::lab::Lab;

const USER: &str = "system:serviceaccount:tenantry-system:tenantry-operator";
const TENANT_ROLE: &str = "tenantry-tenant";
/// Rights of which the audit log cannot tell that they were used.
const NOT_IN_THE_LOG: [&str; 1] = ["bind clusterroles"];

/// Starts the operator as the chart would, with its service account and its arguments; it ends when `stopped` resolves.
async fn start_operator(lab: &Lab, stopped: oneshot::Receiver<()>) -> Result<JoinHandle<Result<()>>> {
    let client = lab.control_plane().client_as_service_account(helm::NAMESPACE, "tenantry-operator").await?;
    let arguments = arguments(lab).await?;
    let shutdown = async { stopped.await.unwrap_or_default() };
    Ok(tokio::spawn(async { Ok(::operator::run(client, arguments, shutdown).await?) }))
}

/// The arguments in the Deployment that the chart made, but for the port, which may be taken here.
async fn arguments(lab: &Lab) -> Result<RunArgs> {
    let deployments: Api<Deployment> = Api::namespaced(lab.client().await?, helm::NAMESPACE);
    let deployment = deployments.get("tenantry-operator").await?;
    let pod = deployment.spec.and_then(|spec| spec.template.spec).context("the Deployment has no pod")?;
    let written =
        pod.containers.into_iter().next().and_then(|container| container.args).context("no arguments")?;
    let kept = written.into_iter().filter(|argument| !argument.starts_with("--listen"));
    let all = std::iter::once("operator".to_owned()).chain(kept).chain(["--listen=127.0.0.1:0".to_owned()]);
    match Cli::try_parse_from(all)?.command {
        Command::Run(arguments) => Ok(arguments),
        other => bail!("the chart does not start `operator run` but {other:?}"),
    }
}

/// Waits until `Ready` has that status and reason; any reason when it is empty.
async fn wait_for(lab: &Lab, tenant: &str, status: &str, reason: &str) -> Result<()> {
    let tenants: Api<Tenant> = Api::all(lab.client().await?);
    let look = async || {
        let tenant = tenants.get(tenant).await?;
        let now = tenant.status.clone().unwrap_or_default();
        let ready = now.conditions.iter().find(|condition| condition.type_ == "Ready").cloned();
        let ready = ready.context("it has no status yet")?;
        let current = now.observed_generation == tenant.metadata.generation;
        let there = current && ready.status == status && (reason.is_empty() || ready.reason == reason);
        let said = format!("{} ({}: {})", ready.status, ready.reason, ready.message);
        Ok(if there { Look::Done(()) } else { Look::NotYet(said) })
    };
    Wait::new(format!("tenant {tenant} to be Ready={status} {reason}"), Duration::from_mins(1))
        .until(look)
        .await
}

/// Waits until a tenant and its namespace are gone.
async fn wait_until_gone(lab: &Lab, tenant: &str) -> Result<()> {
    let tenants: Api<Tenant> = Api::all(lab.client().await?);
    let namespaces: Api<Namespace> = Api::all(lab.client().await?);
    let look = async || {
        let left = tenants.get_opt(tenant).await?.is_some();
        let home = namespaces.get_opt(&format!("tenant-{tenant}")).await?.is_some();
        Ok(if left || home {
            Look::NotYet(format!("Tenant: {left}, Namespace: {home}"))
        } else {
            Look::Done(())
        })
    };
    Wait::new(format!("tenant {tenant} to be gone"), Duration::from_mins(1)).until(look).await
}

/// A tenant's life, so that the operator does everything that it can do; `routes` is the kind of the tenants' routes.
async fn live(lab: &Lab, stand_in: &StandIn, routes: Option<Leftover>) -> Result<()> {
    let admin = lab.admin();
    for sample in ["plans", "release", "tenant-acme", "tenant-bluesky"] {
        let path = toolchain::workspace().join(format!("deploy/samples/{sample}.yaml"));
        admin.may_write("apply --server-side", &fs::read_to_string(path)?).await?;
    }
    wait_for(lab, "acme", "True", "AsExpected").await?;
    wait_for(lab, "bluesky", "True", "AsExpected").await?;

    let patch = |tenant: &str, spec: Value| {
        format!("patch tenant {tenant} --type=merge -p {}", json!({ "spec": spec }))
    };
    // The policy that let the old plan's tenants out is removed.
    admin.may(&patch("acme", json!({ "plan": "small" }))).await?;
    wait_for(lab, "acme", "True", "AsExpected").await?;
    // So is what an earlier operator made and this one does not know.
    leave_behind(lab, "acme", routes).await?;
    for state in ["ReadOnly", "Suspended", "Active"] {
        admin.may(&patch("bluesky", json!({ "state": state }))).await?;
        wait_for(lab, "bluesky", "True", "").await?;
    }
    admin.may("annotate tenant bluesky tenantry.dev/reissue-sign-in=1").await?;
    wait_for(lab, "bluesky", "True", "AsExpected").await?;

    stand_in.on(Workload::PersistentVolumeClaim, "tenant-cobalt", "", Outcome::Nothing);
    let cobalt = json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": { "name": "cobalt" },
        "spec": {
            "displayName": "Cobalt", "admin": { "name": "C", "email": "c@cobalt.example" }, "plan": "small", "release": "0.1.0",
            "database": { "storageClass": "missing" },
        },
    });
    admin.may_write("create", &cobalt.to_string()).await?;
    wait_for(lab, "cobalt", "False", "StorageNotBound").await?;

    for tenant in ["acme", "bluesky", "cobalt"] {
        admin.may(&format!("annotate tenant {tenant} tenantry.dev/confirm-delete={tenant}")).await?;
        admin.may(&format!("delete tenant {tenant} --wait=false")).await?;
    }
    for tenant in ["acme", "bluesky", "cobalt"] {
        wait_until_gone(lab, tenant).await?;
    }
    Ok(())
}

/// An object that nobody wants any more: group and version, kind, and specification.
type Leftover = (&'static str, &'static str, Value);

/// Makes objects in a tenant's namespace as an earlier operator would have, and waits until they are pruned.
async fn leave_behind(lab: &Lab, tenant: &str, another: Option<Leftover>) -> Result<()> {
    let metadata = json!({ "name": "leftover", "labels": { "tenantry.dev/tenant": tenant } });
    let leftovers = [
        ("v1", "Service", json!({ "clusterIP": "None", "selector": { "a": "b" } })),
        ("v1", "ServiceAccount", Value::Null),
        ("v1", "ResourceQuota", json!({ "hard": { "configmaps": "50" } })),
        ("policy/v1", "PodDisruptionBudget", json!({ "selector": { "matchLabels": { "a": "b" } } })),
    ];
    let in_namespace = format!("-n tenant-{tenant}");
    for (version, kind, spec) in leftovers.into_iter().chain(another) {
        let mut object = json!({ "apiVersion": version, "kind": kind, "metadata": metadata });
        if !spec.is_null() {
            object["spec"] = spec;
        }
        let apply = format!("{in_namespace} apply --server-side --field-manager={}", names::FIELD_MANAGER);
        lab.admin().may_write(&apply, &object.to_string()).await?;
        lab.admin().may(&format!("{in_namespace} wait --for=delete {kind}/leftover --timeout=15s")).await?;
    }
    Ok(())
}

/// What was asked for and how: `verb resource[/subresource]`, with `create` besides `patch` where a patch made the object.
fn uses(event: &AuditEvent) -> Vec<String> {
    let Some(object) = &event.object_ref else { return Vec::new() };
    let slash = if object.subresource.is_empty() { "" } else { "/" };
    let resource = format!("{}{slash}{}", object.resource, object.subresource);
    let created =
        event.verb == "patch" && event.response_status.as_ref().is_some_and(|status| status.code == 201);
    let verbs = std::iter::once(event.verb.as_str()).chain(created.then_some("create"));
    verbs.map(|verb| format!("{verb} {resource}")).collect()
}

/// Where a right of a role may be used: in tenants' namespaces, in one namespace, or anywhere (the empty text).
type Place = String;

/// All that the roles of the chart grant to the operator, by place.
async fn granted(lab: &Lab) -> Result<BTreeMap<Place, BTreeSet<String>>> {
    let rights = |rules: Option<Vec<PolicyRule>>| {
        let mut rights = BTreeSet::new();
        for rule in rules.unwrap_or_default() {
            for resource in rule.resources.unwrap_or_default() {
                rights.extend(rule.verbs.iter().map(|verb| format!("{verb} {resource}")));
            }
        }
        rights
    };
    let cluster_roles: Api<ClusterRole> = Api::all(lab.client().await?);
    let mut granted = BTreeMap::from([
        (String::new(), rights(cluster_roles.get("tenantry-operator").await?.rules)),
        ("tenant-".to_owned(), rights(cluster_roles.get(TENANT_ROLE).await?.rules)),
    ]);
    let roles: Api<Role> = Api::all(lab.client().await?);
    for role in roles.list(&ListParams::default().fields("metadata.name=tenantry-operator")).await? {
        let place = role.namespace().context("a Role without namespace")?;
        granted.insert(place, rights(role.rules));
    }
    Ok(granted)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_right_is_needed_and_none_is_missing() -> Result<()> {
    let lab = Lab::start_with(&json!({ "imagePullSecrets": ["registry"] })).await?;
    live_with_what_is_granted(lab, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn so_is_every_right_with_an_ingress_controller() -> Result<()> {
    let routing = json!({ "kind": "Ingress", "controllerNamespace": "ingress" });
    let lab = Lab::start_with(&json!({ "imagePullSecrets": ["registry"], "routing": routing })).await?;
    let rules = json!([{ "host": "former.example" }]);
    live_with_what_is_granted(lab, Some(("networking.k8s.io/v1", "Ingress", json!({ "rules": rules })))).await
}

async fn live_with_what_is_granted(lab: Lab, routes: Option<Leftover>) -> Result<()> {
    let secret = "create secret docker-registry registry --docker-username=u --docker-password=p --docker-server=r.example";
    lab.admin().may(&format!("-n tenantry-system {secret}")).await?;
    let stand_in = StandIn::start(lab.client().await?);
    let report = json!({ "code": "Migrated", "schemaVersion": 1 }).to_string();
    stand_in.on(Workload::Job, "", "migrate", Outcome::Works { message: report });
    let (stop, stopped) = oneshot::channel();
    let mut operator = start_operator(&lab, stopped).await?;
    tokio::select! {
        lived = live(&lab, &stand_in, routes) => lived?,
        ended = &mut operator => bail!("the operator ended: {ended:?}"),
    }
    drop(stop);
    timeout(Duration::from_secs(30), operator)
        .await
        .context("the operator did not end when it was told to")???;

    let events: Vec<_> =
        lab.control_plane().audit_events()?.into_iter().filter(|e| e.user.username == USER).collect();
    let refused = refused_for_good(&events);
    assert!(refused.is_empty(), "the operator was refused: {refused:#?}");

    let mut unused = granted(&lab).await?;
    for event in &events {
        let namespace = event.object_ref.as_ref().map(|object| object.namespace.as_str()).unwrap_or_default();
        for right in uses(event) {
            for (place, rights) in &mut unused {
                if namespace.starts_with(place.as_str()) {
                    rights.remove(&right);
                }
            }
        }
    }
    unused.retain(|_, rights| {
        rights.retain(|right| !NOT_IN_THE_LOG.contains(&right.as_str()));
        !rights.is_empty()
    });
    assert!(unused.is_empty(), "rights that nothing needs, by place: {unused:#?}");
    Ok(())
}

/// Requests that were forbidden and of which none of the same kind and place was ever let through: right after a role is
/// bound, the API server may not know it yet.
fn refused_for_good(events: &[AuditEvent]) -> BTreeSet<String> {
    let key = |event: &AuditEvent, right: &str| {
        let namespace = event.object_ref.as_ref().map(|object| object.namespace.clone()).unwrap_or_default();
        format!("{right} {namespace}")
    };
    let code = |event: &AuditEvent| event.response_status.as_ref().map_or(0, |status| status.code);
    let mut refused = BTreeSet::new();
    for event in events.iter().filter(|event| code(event) == 403) {
        refused.extend(uses(event).iter().map(|right| key(event, right)));
    }
    for event in events.iter().filter(|event| (200..300).contains(&code(event))) {
        for right in uses(event) {
            refused.remove(&key(event, &right));
        }
    }
    refused
}
