//! A control plane of its own for each part of the benchmark: the chart's roles and policies, a plan, a release, and a
//! stand-in for nodes.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::Parser as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use operator::{
    api::{BackupStore, Plan, Release, Tenant},
    args::{Cli, Command, RunArgs},
    names,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::timeout;

use super::subject::Program;
use crate::{
    bench::versions,
    cluster::{
        ControlPlane,
        control_plane::{AuditEvent, AuditTail, Outcome, StandIn, Workload},
        server_parts::ADMINISTRATORS,
    },
    helm::{self, Pods},
};

/// How many Tenants are posted at the same time.
const POSTS: usize = 8;
/// Until all tenants are Ready, on a busy machine.
const CONVERGED: Duration = Duration::from_mins(15);
pub(in crate::bench) const RELEASE: &str = "r1";
const PLAN: &str = "standard";
const SCHEMA_VERSION: i64 = 1;

/// A cluster without nodes.
pub(in crate::bench) struct Lab {
    /// May do what the chart's policies forbid to everybody else.
    pub(in crate::bench) client: Client,
    pub(in crate::bench) control_plane: ControlPlane,
    nodes: StandIn,
    folder: TempDir,
}

impl Lab {
    /// An empty cluster with the chart in it.
    pub(in crate::bench) async fn start() -> Result<Self> {
        Self::with_plan(&plan()?).await
    }

    /// The same with another plan.
    pub(in crate::bench) async fn with_plan(plan: &Plan) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("tenantry-bench-").tempdir()?;
        let control_plane = ControlPlane::start().await?;
        helm::install(control_plane.kubeconfig(), &json!({}), Pods::Leave).await?;
        let client = break_glass(control_plane.kubeconfig()).await?;
        Api::all(client.clone()).create(&PostParams::default(), plan).await?;
        Api::all(client.clone()).create(&PostParams::default(), &store()?).await?;
        Api::all(client.clone()).create(&PostParams::default(), &release()?).await?;
        let nodes = StandIn::start(control_plane.client().await?);
        let message = json!({"code": "Migrated", "schemaVersion": SCHEMA_VERSION}).to_string();
        nodes.on(Workload::Job, "", "migrate-", Outcome::Works { message });
        nodes.backups_succeed();
        Ok(Self { client, control_plane, nodes, folder })
    }

    /// Ends it; its nodes first, which would complain.
    pub(in crate::bench) async fn stop(self) -> Result<()> {
        drop(self.nodes);
        self.control_plane.stop().await
    }

    /// The operator's own client, with its rights.
    pub(in crate::bench) async fn operators_client(&self) -> Result<Client> {
        let path = self.control_plane.kubeconfig_for_service_account(helm::NAMESPACE, names::OPERATOR)?;
        Ok(operator::cluster::client(config(&path).await?)?)
    }

    /// The operator for this cluster, with the arguments that the chart gives it.
    pub(in crate::bench) fn program(&self, executable: &Path, subcommand: &str) -> Result<Program> {
        let name = executable.file_name().context("the operator is a file")?;
        // A build that goes on meanwhile must not put another operator in the place of the one under test.
        let own = self.folder.path().join(name);
        std::fs::copy(executable, &own).with_context(|| format!("cannot copy {}", executable.display()))?;
        let mut arguments = vec![subcommand.to_owned()];
        arguments.extend(arguments_of_the_chart());
        let kubeconfig =
            self.control_plane.kubeconfig_for_service_account(helm::NAMESPACE, names::OPERATOR)?;
        Ok(Program { executable: own, arguments, kubeconfig, log: self.folder.path().join("operator.log") })
    }

    /// Posts Tenants of these names.
    pub(in crate::bench) async fn post(&self, names: &[String]) -> Result<()> {
        self.post_all(names.iter().map(|name| tenant(name)).collect::<Result<_>>()?).await
    }

    /// Posts these Tenants.
    pub(in crate::bench) async fn post_all(&self, all: Vec<Tenant>) -> Result<()> {
        let tenants: Api<Tenant> = Api::all(self.client.clone());
        stream::iter(all)
            .map(|tenant| {
                let tenants = tenants.clone();
                async move { tenants.create(&PostParams::default(), &tenant).await.map_err(Into::into) }
            })
            .buffer_unordered(POSTS)
            .try_for_each(async |_: Tenant| Ok::<_, anyhow::Error>(()))
            .await
    }

    /// Waits until so many tenants are Ready with their newest spec.
    pub(in crate::bench) async fn until_ready(&self, count: usize) -> Result<()> {
        let tenants: Api<Tenant> = Api::all(self.client.clone());
        let mut changes = versions::of(tenants);
        let mut ready = std::collections::BTreeSet::new();
        let all = async {
            while let Some(tenant) = changes.next().await {
                if is_ready(&tenant) {
                    ready.insert(tenant.name_any());
                } else {
                    ready.remove(&tenant.name_any());
                }
                if count <= ready.len() {
                    return Ok(());
                }
            }
            bail!("the watch of tenants ended")
        };
        let in_time = timeout(CONVERGED, all).await;
        in_time.with_context(|| format!("not {count} tenants were Ready in time, but {}", ready.len()))?
    }

    /// The log of all requests, from now on.
    pub(in crate::bench) fn log(&self) -> Result<AuditTail> {
        let mut tail = AuditTail::new(&self.control_plane.audit_log());
        tail.skip()?;
        Ok(tail)
    }

    /// What the operator asks of the API server from now on.
    pub(in crate::bench) fn requests(&self) -> Result<Requests> {
        Ok(Requests { tail: self.log()? })
    }
}

/// What the operator asks of the API server, by the API server's own audit log.
pub(in crate::bench) struct Requests {
    tail: AuditTail,
}

/// Whether the operator asked for that, and not for its lease.
pub(in crate::bench) fn is_of_operator(event: &AuditEvent) -> bool {
    let user = format!("system:serviceaccount:{}:{}", helm::NAMESPACE, names::OPERATOR);
    event.user.username == user && !event.is_about("leases")
}

/// A count of requests.
#[derive(Clone, Debug, Default)]
pub(in crate::bench) struct Count {
    pub(in crate::bench) all: usize,
    /// What changed, or was to change, something other than the lease, in words.
    pub(in crate::bench) writes: Vec<String>,
}

impl Requests {
    /// The requests since the last call.
    pub(in crate::bench) fn count(&mut self) -> Result<Count> {
        let mut count = Count::default();
        self.tail.read(|event| {
            if !is_of_operator(&event) {
                return;
            }
            count.all += 1;
            if event.is_mutation() {
                count.writes.push(format!("{} {}", event.verb, event.uri));
            }
        })?;
        Ok(count)
    }
}

/// An administrator who may also do what the chart's policies forbid to everybody else.
async fn break_glass(kubeconfig: &Path) -> Result<Client> {
    let mut config = config(kubeconfig).await?;
    config.auth_info.impersonate = Some("sre".to_owned());
    config.auth_info.impersonate_groups =
        Some([ADMINISTRATORS, "tenantry:break-glass"].map(str::to_owned).into());
    Ok(Client::try_from(config)?)
}

async fn config(kubeconfig: &Path) -> Result<Config> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
}

/// The names of so many tenants.
pub(in crate::bench) fn names_of(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("customer-{number:04}")).collect()
}

/// Whether a tenant says that it is Ready with its present spec.
pub(in crate::bench) fn is_ready(tenant: &Tenant) -> bool {
    condition(tenant, "Ready").is_some_and(|ready| {
        ready.status == "True" && ready.observed_generation == tenant.metadata.generation
    })
}

/// What a tenant says in one of its conditions.
pub(in crate::bench) fn condition<'a>(tenant: &'a Tenant, kind: &str) -> Option<&'a Condition> {
    tenant.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == kind)
}

/// The settings of the operator, which the bare loop needs to make the same objects.
pub(in crate::bench) fn settings() -> Result<RunArgs> {
    let words = ["operator".to_owned(), "run".to_owned()].into_iter().chain(arguments_of_the_chart());
    match Cli::try_parse_from(words)?.command {
        Command::Run(args) => Ok(args),
        other => bail!("not how the operator runs: {other:?}"),
    }
}

fn arguments_of_the_chart() -> Vec<String> {
    let postgres = format!("docker.io/tenantry/postgres@sha256:{}", "9".repeat(64));
    vec![
        format!("--postgres-image={postgres}"),
        "--leader-election".to_owned(),
        "--identity=tenantry-operator-0".to_owned(),
    ]
}

/// A customer with a domain of its own.
pub(in crate::bench) fn tenant(name: &str) -> Result<Tenant> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": name},
        "spec": {
            "displayName": "杭州艾克米贸易有限公司",
            "admin": {"name": "王芳", "email": format!("fang@{name}.example")},
            "plan": PLAN,
            "release": RELEASE,
            "hosts": [{"name": format!("crm.{name}.example")}],
        },
    }))?)
}

pub(in crate::bench) fn plan() -> Result<Plan> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "Plan", "metadata": {"name": PLAN},
        "spec": {
            "seats": 10,
            "replicas": 1,
            "app": {"cpu": "50m", "memory": "96Mi"},
            "database": {"storage": "1Gi", "cpu": "100m", "memory": "256Mi"},
            "backup": {"store": "main"},
        },
    }))?)
}

pub(in crate::bench) fn store() -> Result<BackupStore> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "BackupStore", "metadata": {"name": "main"},
        "spec": {
            "volume": {"claim": "backups"},
            "recoveryRecipients": ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"],
        },
    }))?)
}

pub(in crate::bench) fn release() -> Result<Release> {
    release_named(RELEASE, '7')
}

/// A release with that schema, and an image of its own.
pub(in crate::bench) fn release_named(name: &str, digit: char) -> Result<Release> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "Release", "metadata": {"name": name},
        "spec": {
            "version": "1.0.0",
            "image": format!("docker.io/tenantry/crm-app@sha256:{}", digit.to_string().repeat(64)),
            "schema": {"version": SCHEMA_VERSION, "minAppSchema": 1},
        },
    }))?)
}
