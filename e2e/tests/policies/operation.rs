//! Operator and gateway at work with exactly the rights that the chart gives them: none is missing, and none is there for
//! nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Parser as _;
use e2e::{
    cluster::control_plane::{AuditEvent, Outcome, RESTORED, StandIn, Workload},
    helm,
    host::wait::{Look, Wait},
    rights::{GATEWAY, OPERATOR, granted, refused_for_good, uses},
    toolchain,
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::Namespace,
    rbac::v1::{ClusterRole, Role},
};
use kube::{Api, ResourceExt as _, api::ListParams};
use operator::{
    api::{Tenant, TenantBackup, TenantTombstone, UpgradeStep},
    args::{Cli, Command, RunArgs},
    gateway::{Gateway, watch},
    names,
};
use serde_json::{Value, json};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use crate::lab::Lab;

const TENANT_ROLE: &str = "tenantry-tenant";
/// A public key of age, of which nobody has the private one.
const PUBLIC_KEY: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
/// Rights of which the audit log cannot tell that they were used.
const NOT_IN_THE_LOG: [&str; 1] = ["bind clusterroles"];

/// Starts the operator as the chart would, with its service account and its arguments; it ends when `stopped` resolves.
async fn start_operator(lab: &Lab, stopped: oneshot::Receiver<()>) -> Result<JoinHandle<Result<()>>> {
    let client = lab.control_plane().client_as_service_account(helm::NAMESPACE, "tenantry-operator").await?;
    let arguments = match command(lab, helm::NAMESPACE, "tenantry-operator").await? {
        Command::Run(arguments) => RunArgs { listen: "127.0.0.1:0".parse()?, ..arguments },
        other => bail!("the chart does not start `operator run` but {other:?}"),
    };
    let shutdown = async { stopped.await.unwrap_or_default() };
    Ok(tokio::spawn(async { Ok(::operator::run(client, arguments, shutdown).await?) }))
}

/// Starts what the gateway asks of Kubernetes, with its service account and its arguments; it ends when it is dropped.
async fn start_gateway(lab: &Lab) -> Result<JoinSet<()>> {
    let client = lab.control_plane().client_as_service_account("tenantry-gateway", "gateway").await?;
    let Command::Gateway(arguments) = command(lab, "tenantry-gateway", "gateway").await? else {
        bail!("the chart does not start `operator gateway`");
    };
    let gateway: Arc<Gateway> =
        Gateway::new(&arguments.base_domain, arguments.public_https_port, arguments.limits)?;
    let mut task = JoinSet::new();
    task.spawn(async move { watch::follow(client, &arguments.namespace, &arguments.routes, gateway).await });
    Ok(task)
}

/// What a Deployment that the chart made starts.
async fn command(lab: &Lab, namespace: &str, name: &str) -> Result<Command> {
    let deployments: Api<Deployment> = Api::namespaced(lab.client().await?, namespace);
    let deployment = deployments.get(name).await?;
    let pod = deployment.spec.and_then(|spec| spec.template.spec).context("the Deployment has no pod")?;
    let written =
        pod.containers.into_iter().next().and_then(|container| container.args).context("no arguments")?;
    Ok(Cli::try_parse_from(std::iter::once("operator".to_owned()).chain(written))?.command)
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
    for sample in ["backup-stores", "plans", "release", "channel", "tenant-acme", "tenant-bluesky"] {
        let path = toolchain::workspace().join(format!("deploy/samples/{sample}.yaml"));
        let text = fs::read_to_string(path)?.replace("age1REPLACE-WITH-YOUR-OWN-PUBLIC-KEY", PUBLIC_KEY);
        admin.may_write("apply --server-side", &text).await?;
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

    ask_for_backups(lab, stand_in, "bluesky").await?;
    ask_for_a_restore(lab, stand_in, "bluesky").await?;
    ask_for_an_exit_bundle(lab, stand_in, "bluesky").await?;
    undo_an_upgrade(lab, stand_in, "bluesky").await?;

    stand_in.on(Workload::PersistentVolumeClaim, "tenant-cobalt", "", Outcome::Nothing);
    // A pod does not start before its volume is there.
    stand_in.on(Workload::StatefulSet, "tenant-cobalt", "", Outcome::Nothing);
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
    forget(lab, "acme").await
}

/// Destroys what is left of a deleted tenant; the door, which would remove its backups, is not there.
async fn forget(lab: &Lab, tenant: &str) -> Result<()> {
    let tombstones: Api<TenantTombstone> = Api::all(lab.client().await?);
    let found = tombstones.list(&ListParams::default()).await?;
    let found = found.into_iter().find(|tombstone| tombstone.spec.tenant == tenant);
    let name = found.context("there is no tombstone")?.name_any();
    let admin = lab.admin();
    admin.may_not(&format!("delete tenanttombstone {name}"), "destroys the key").await?;
    admin.may(&format!("annotate tenanttombstone {name} tenantry.dev/confirm-delete={name}")).await?;
    admin.may(&format!("delete tenanttombstone {name} --wait=false")).await?;
    let destroyed = format!("wait --for=condition=KeyDestroyed tenanttombstone/{name} --timeout=15s");
    admin.may(&destroyed).await?;
    let removed = json!({ "status": { "conditions": [{
        "type": "BackupsRemoved", "status": "True", "reason": "Removed", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }, { "type": "KeyDestroyed", "status": "True", "reason": "Destroyed", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }] } });
    admin
        .may(&format!("patch tenanttombstone {name} --subresource=status --type=merge -p {removed}"))
        .await?;
    admin.may(&format!("wait --for=delete tenanttombstone/{name} --timeout=15s")).await
}

/// Asks for backups until the oldest requests go, and takes the Job away from under the last.
async fn ask_for_backups(lab: &Lab, stand_in: &StandIn, tenant: &str) -> Result<()> {
    let requests: Api<TenantBackup> = Api::all(lab.client().await?);
    let ask = async |name: &str, reason: &str| {
        let request = json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantBackup",
            "metadata": { "name": name }, "spec": { "tenant": tenant },
        });
        lab.admin().may_write("create", &request.to_string()).await?;
        let look = async || {
            let status = requests.get(name).await?.status.unwrap_or_default();
            let complete = status.conditions.first().map(|complete| complete.reason.clone());
            Ok(if complete.as_deref() == Some(reason) {
                Look::Done(())
            } else {
                Look::NotYet(format!("{status:?}"))
            })
        };
        Wait::new(format!("TenantBackup {name}: {reason}"), Duration::from_mins(1)).until(look).await
    };
    for number in 0..11 {
        ask(&format!("request-{number}"), "BackedUp").await?;
    }
    lab.admin().may("wait --for=delete tenantbackup/request-0 --timeout=15s").await?;
    stand_in.on(Workload::Job, "", "backup-", Outcome::Nothing);
    ask("interrupted", "Running").await?;
    lab.admin().may(&format!("-n tenant-{tenant} delete jobs -l tenantry.dev/request")).await?;
    let unknown = "wait --for=jsonpath={.status.conditions[0].reason}=ResultUnknown tenantbackup/interrupted";
    lab.admin().may(&format!("{unknown} --timeout=15s")).await
}

/// Asks for a restore, which is carried out.
async fn ask_for_a_restore(lab: &Lab, stand_in: &StandIn, tenant: &str) -> Result<()> {
    stand_in.backups_succeed();
    let report = json!({
        "code": "Restored", "backup": "20261121T132501Z-ab12cd", "createdAt": "2026-11-21T13:25:01Z", "rows": 7,
        "schemaVersion": 1,
    });
    stand_in.on(Workload::Job, "", "restore-", Outcome::Works { message: report.to_string() });
    let request = json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantRestore", "metadata": { "name": "to-yesterday" },
        "spec": { "tenant": tenant, "from": { "latest": {} }, "confirm": tenant },
    });
    lab.admin().may_write("create", &request.to_string()).await?;
    lab.admin().may("wait --for=condition=Complete tenantrestore/to-yesterday --timeout=60s").await?;
    wait_for(lab, tenant, "True", "AsExpected").await
}

/// Asks for an exit bundle, which is made.
async fn ask_for_an_exit_bundle(lab: &Lab, stand_in: &StandIn, tenant: &str) -> Result<()> {
    let report = json!({
        "code": "Delivered", "export": "20261121T132501Z-ab12cd", "store": "main", "createdAt": "2026-11-21T13:25:01Z",
        "rows": 7, "schemaVersion": 1, "size": 5000, "sha256": "a".repeat(64), "sumsSha256": "b".repeat(64),
    });
    stand_in.on(Workload::Job, "", "export-", Outcome::Works { message: report.to_string() });
    let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let request = json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantExport", "metadata": { "name": "leaving" },
        "spec": { "tenant": tenant, "recipients": [recipient] },
    });
    lab.admin().may_write("create", &request.to_string()).await?;
    lab.admin().may("wait --for=condition=Complete tenantexport/leaving --timeout=60s").await
}

/// Upgrades the channel to a release that crashes, on whose schema the app before cannot work: the backup from before is restored.
async fn undo_an_upgrade(lab: &Lab, stand_in: &StandIn, tenant: &str) -> Result<()> {
    let image = format!("docker.io/tenantry/crm-app@sha256:{}", "9".repeat(64));
    let release = json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "Release", "metadata": { "name": "0.9.0" },
        "spec": { "version": "0.9.0", "image": image, "schema": { "version": 9 } },
    });
    lab.admin().may_write("create", &release.to_string()).await?;
    let crashes = Outcome::Exits { code: 1, message: "it crashes".to_owned() };
    stand_in.on_image(Workload::Deployment, &image, crashes);
    let migrated = json!({ "code": "Migrated", "schemaVersion": 9 }).to_string();
    stand_in.on_part_of_image(Workload::Job, "migrate-", &image, Outcome::Works { message: migrated });
    // Another one than the safety backup.
    let backup = json!({
        "backup": RESTORED, "createdAt": "2026-01-01T00:00:00Z", "schemaVersion": 1, "rows": 7, "size": 4096, "restoredIn": 1,
    });
    for (job, code) in
        [("backup-upgrade-", "BackedUp"), ("drill-upgrade-", "Drilled"), ("restore-", "Restored")]
    {
        let mut report = backup.clone();
        report["code"] = code.into();
        stand_in.on(Workload::Job, "", job, Outcome::Works { message: report.to_string() });
    }
    lab.admin().may(r#"patch channel stable --type=merge -p {"spec":{"release":"0.9.0"}}"#).await?;
    let tenants: Api<Tenant> = Api::all(lab.client().await?);
    let look = async || {
        let upgrade = tenants.get(tenant).await?.status.and_then(|status| status.upgrade);
        let is_over = upgrade.as_ref().is_some_and(|upgrade| upgrade.step == UpgradeStep::Failed);
        Ok(if is_over { Look::Done(()) } else { Look::NotYet(format!("{upgrade:?}")) })
    };
    Wait::new(format!("tenant {tenant} to be where it was"), Duration::from_mins(1)).until(look).await
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

/// Where a right of a role may be used: in tenants' namespaces, in one namespace, or anywhere (the empty text).
type Place = String;

/// All that the roles of the chart grant, by user and place.
async fn all_granted(lab: &Lab) -> Result<BTreeMap<(&'static str, Place), BTreeSet<String>>> {
    let cluster_roles: Api<ClusterRole> = Api::all(lab.client().await?);
    let mut all = BTreeMap::from([
        ((OPERATOR, String::new()), granted(cluster_roles.get("tenantry-operator").await?.rules)),
        ((OPERATOR, "tenant-".to_owned()), granted(cluster_roles.get(TENANT_ROLE).await?.rules)),
    ]);
    let roles: Api<Role> = Api::all(lab.client().await?);
    for role in roles.list(&ListParams::default().labels("app.kubernetes.io/part-of=tenantry")).await? {
        let user = match role.name_any().as_str() {
            "tenantry-operator" => OPERATOR,
            "gateway" => GATEWAY,
            other => bail!("whose is the Role {other}?"),
        };
        let place = role.namespace().context("a Role without namespace")?;
        all.insert((user, place), granted(role.rules));
    }
    assert!(4 <= all.len(), "roles are not found by their labels: {all:#?}");
    Ok(all)
}

/// The rights of which no request made use.
async fn unused(
    lab: &Lab,
    events: &[AuditEvent],
) -> Result<BTreeMap<(&'static str, Place), BTreeSet<String>>> {
    let mut unused = all_granted(lab).await?;
    for event in events {
        let namespace = event.object_ref.as_ref().map(|object| object.namespace.as_str()).unwrap_or_default();
        for right in uses(event) {
            for ((user, place), rights) in &mut unused {
                if *user == event.user.username && namespace.starts_with(place.as_str()) {
                    rights.remove(&right);
                }
            }
        }
    }
    unused.retain(|_, rights| {
        rights.retain(|right| !NOT_IN_THE_LOG.contains(&right.as_str()));
        !rights.is_empty()
    });
    Ok(unused)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_right_is_needed_and_none_is_missing() -> Result<()> {
    let lab = Lab::start_with(&json!({ "imagePullSecrets": ["registry"] })).await?;
    let _gateway = start_gateway(&lab).await?;
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
    stand_in.backups_succeed();
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

    let ours = [OPERATOR, GATEWAY];
    let mut events = lab.control_plane().audit_events()?;
    events.retain(|event| ours.contains(&event.user.username.as_str()));
    let refused = refused_for_good(&events);
    assert!(refused.is_empty(), "refused: {refused:#?}");
    let unused = unused(&lab, &events).await?;
    assert!(unused.is_empty(), "rights that nothing needs, by user and place: {unused:#?}");
    Ok(())
}
