//! A control plane with the chart's rights, a stand-in for nodes, and the operator running in this process.

use std::{fmt::Debug, net::TcpListener, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Parser;
use e2e::{
    cluster::{
        ControlPlane,
        control_plane::{AuditEvent, Outcome, StandIn, Workload},
        kubeconfig,
    },
    helm::{self, Pods},
    host::wait::{Look, Wait},
};
use k8s_openapi::{NamespaceResourceScope, api::apps::v1::Deployment};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use operator::{
    api::{BackupStore, Plan, Release, Tenant},
    args::{Cli, Command, RunArgs},
    process::controllers::Clock,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle};

pub(crate) const OPERATOR: &str = "system:serviceaccount:tenantry-system:tenantry-operator";
pub(crate) const NAMESPACE: &str = "tenant-acme";

/// Long enough for a busy machine; a test that passes takes far less.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// This machine's clock.
#[expect(clippy::disallowed_methods, reason = "a test has no other place where the clock is read")]
pub(crate) fn clock() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// Everything that a test of the operator needs.
pub(crate) struct Lab {
    pub(crate) control_plane: ControlPlane,
    pub(crate) client: Client,
    /// With the rights to repair things by hand that the policies protect.
    pub(crate) break_glass: Client,
    pub(crate) nodes: StandIn,
    pub(crate) operator: Running,
}

/// An operator in this process.
pub(crate) struct Running {
    listen: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), operator::process::controllers::Error>>,
}

impl Lab {
    /// A cluster with one plan and one release, and no tenant.
    pub(crate) async fn start() -> Result<Self> {
        let control_plane = ControlPlane::start().await?;
        helm::install(control_plane.kubeconfig(), &json!({}), Pods::Leave).await?;
        let operator = Running::start(&control_plane).await?;
        Self::over(control_plane, operator).await
    }

    /// The same with an operator that is one of several, under a name of its own.
    pub(crate) async fn start_as(replica: &str) -> Result<Self> {
        let control_plane = ControlPlane::start().await?;
        helm::install(control_plane.kubeconfig(), &json!({}), Pods::Leave).await?;
        let operator = Running::start_as(&control_plane, replica).await?;
        Self::over(control_plane, operator).await
    }

    /// The same with these values of the chart, and an operator with the arguments that the chart gives it.
    pub(crate) async fn installed_with(values: &Value) -> Result<Self> {
        let control_plane = ControlPlane::start().await?;
        helm::install(control_plane.kubeconfig(), values, Pods::Leave).await?;
        let operator = Running::as_installed(&control_plane).await?;
        Self::over(control_plane, operator).await
    }

    /// Installs the chart with other values, which starts the operator anew.
    pub(crate) async fn upgraded_with(self, values: &Value) -> Result<Self> {
        let Self { control_plane, client, break_glass, nodes, operator } = self;
        helm::install(control_plane.kubeconfig(), values, Pods::Leave).await?;
        operator.stop().await?;
        let operator = Running::as_installed(&control_plane).await?;
        Ok(Self { control_plane, client, break_glass, nodes, operator })
    }

    /// The same with an operator that has another clock.
    pub(crate) async fn start_by_clock(now: Clock) -> Result<Self> {
        let control_plane = ControlPlane::start().await?;
        helm::install(control_plane.kubeconfig(), &json!({}), Pods::Leave).await?;
        let client = control_plane.client_as_service_account("tenantry-system", "tenantry-operator").await?;
        let operator = Running::start_by(now, client, settings(&free_address()?)?).await?;
        Self::over(control_plane, operator).await
    }

    async fn over(control_plane: ControlPlane, operator: Running) -> Result<Self> {
        let client = control_plane.client().await?;
        let break_glass = kubeconfig::break_glass(control_plane.kubeconfig()).await?;
        let nodes = StandIn::start(control_plane.client().await?);
        migrations_succeed(&nodes, 1);
        nodes.backups_succeed();
        let lab = Self { control_plane, client, break_glass, nodes, operator };
        lab.create::<BackupStore>(store("main")).await?;
        lab.create::<Plan>(plan("standard")).await?;
        lab.create::<Release>(release("r1", 1)).await?;
        Ok(lab)
    }

    /// A cluster with the tenant `acme`, Ready.
    pub(crate) async fn with_tenant() -> Result<Self> {
        let lab = Self::start().await?;
        lab.create::<Tenant>(tenant("acme")).await?;
        lab.until_ready("acme").await?;
        Ok(lab)
    }

    pub(crate) async fn create<K>(&self, object: Value) -> Result<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
    {
        let api: Api<K> = Api::all(self.client.clone());
        Ok(api.create(&PostParams::default(), &serde_json::from_value(object)?).await?)
    }

    /// Changes a Tenant as `kubectl patch --type merge` does.
    pub(crate) async fn patch_tenant(&self, patch: Value) -> Result<()> {
        let tenants: Api<Tenant> = Api::all(self.client.clone());
        tenants.patch("acme", &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Changes a child by hand, against the policies.
    pub(crate) async fn patch_child<K>(&self, name: &str, patch: Value) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.break_glass.clone(), NAMESPACE);
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// A child in the namespace of `acme`.
    pub(crate) async fn child<K>(&self, name: &str) -> Result<Option<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        Ok(Api::<K>::namespaced(self.client.clone(), NAMESPACE).get_opt(name).await?)
    }

    /// Waits until a child is as it should be.
    pub(crate) async fn until_child<K>(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(Option<&Value>) -> bool,
    ) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        Wait::new(format!("{} {name}: {what}", K::kind(&())), DEADLINE)
            .until(async || {
                let child = self.child::<K>(name).await?.map(serde_json::to_value).transpose()?;
                Ok(if holds(child.as_ref()) { Look::Done(()) } else { Look::NotYet(format!("{child:?}")) })
            })
            .await
    }

    pub(crate) async fn until_ready(&self, name: &str) -> Result<Tenant> {
        self.until_reason(name, "True", "AsExpected").await
    }

    /// Waits until the condition Ready speaks of the present spec and has that status and reason.
    pub(crate) async fn until_reason(&self, name: &str, status: &str, reason: &str) -> Result<Tenant> {
        let tenants: Api<Tenant> = Api::all(self.client.clone());
        Wait::new(format!("tenant {name}: Ready={status}, {reason}"), DEADLINE)
            .until(async || {
                let tenant = tenants.get(name).await?;
                let ready = condition(&tenant, "Ready");
                let current = ready["observedGeneration"] == json!(tenant.metadata.generation);
                let holds = current && ready["status"] == status && ready["reason"] == reason;
                Ok(if holds { Look::Done(tenant) } else { Look::NotYet(ready.to_string()) })
            })
            .await
    }

    /// What the operator has changed so far, without events and the lease.
    pub(crate) fn writes(&self) -> Result<Vec<AuditEvent>> {
        let events = self.control_plane.audit_events()?.into_iter();
        Ok(events
            .filter(|event| {
                let is_work = !event.is_about("events") && !event.is_about("leases");
                event.user.username == OPERATOR && event.is_mutation() && is_work
            })
            .collect())
    }
}

impl Running {
    /// Starts an operator with the rights of its service account.
    pub(crate) async fn start(control_plane: &ControlPlane) -> Result<Self> {
        Self::start_with(control_plane, settings(&free_address()?)?).await
    }

    /// The same as one of several replicas; the audit log knows it by the name that it has in the lease.
    pub(crate) async fn start_as(control_plane: &ControlPlane, replica: &str) -> Result<Self> {
        let mut settings = settings(&free_address()?)?;
        settings.leader_election = true;
        settings.identity = Some(replica.to_owned());
        Self::start_by(clock, client_named(control_plane, replica).await?, settings).await
    }

    /// Like [`Self::start`], with the arguments that the chart gave it.
    pub(crate) async fn as_installed(control_plane: &ControlPlane) -> Result<Self> {
        let listen = free_address()?;
        let settings = installed_settings(control_plane.client().await?, &listen).await?;
        Self::start_with(control_plane, settings).await
    }

    async fn start_with(control_plane: &ControlPlane, settings: RunArgs) -> Result<Self> {
        let client = control_plane.client_as_service_account("tenantry-system", "tenantry-operator").await?;
        Self::start_by(clock, client, settings).await
    }

    async fn start_by(now: Clock, client: Client, settings: RunArgs) -> Result<Self> {
        let listen = settings.listen.to_string();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(operator::run_by(now, client, settings, async move {
            // A dropped sender stops it as well.
            let _ = stopped.await;
        }));
        let running = Self { listen, stop: Some(stop), task };
        Wait::new("the operator's /readyz", DEADLINE)
            .until(async || {
                let status = reqwest::get(format!("http://{}/readyz", running.listen)).await?.status();
                Ok(if status.is_success() { Look::Done(()) } else { Look::NotYet(status.to_string()) })
            })
            .await?;
        Ok(running)
    }

    /// Stops it as SIGTERM does.
    pub(crate) async fn stop(mut self) -> Result<()> {
        drop(self.stop.take());
        tokio::time::timeout(DEADLINE, self.task).await.context("the operator did not stop")???;
        Ok(())
    }

    /// Ends it as SIGKILL does.
    pub(crate) async fn kill(self) {
        self.task.abort();
        // It was told to end in the middle of something, and that is how it ends.
        let _ = self.task.await;
    }

    /// Waits until it does the work.
    pub(crate) async fn until_leader(&self) -> Result<()> {
        Wait::new("this replica's turn", DEADLINE)
            .until(async || {
                let leads = 0.5 < self.metric("tenantry_leader").await?;
                Ok(if leads { Look::Done(()) } else { Look::NotYet("it stands by".to_owned()) })
            })
            .await
    }

    /// Waits until it does no work any more.
    pub(crate) async fn until_standby(&self) -> Result<()> {
        Wait::new("this replica to stand by", DEADLINE)
            .until(async || {
                let leads = 0.5 < self.metric("tenantry_leader").await?;
                Ok(if leads { Look::NotYet("it works".to_owned()) } else { Look::Done(()) })
            })
            .await
    }

    /// A number out of `/metrics`.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64> {
        let text = reqwest::get(format!("http://{}/metrics", self.listen)).await?.text().await?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.with_context(|| format!("metric {name} is missing"))?.parse()?)
    }

    /// Waits until a reconcile has begun and ended after the call, and nothing more is under way.
    pub(crate) async fn until_settled(&self, after: f64) -> Result<()> {
        Wait::new("a reconcile", DEADLINE)
            .until(async || {
                let done = self.metric("tenantry_reconcile_duration_seconds_count").await?;
                let busy = self.metric("tenantry_reconciles_in_progress").await?;
                let queued = self.metric("tenantry_queue_length").await?;
                let settled = after < done && busy < 1.0 && queued < 1.0;
                Ok(if settled { Look::Done(()) } else { Look::NotYet(format!("{done} done, {busy} busy")) })
            })
            .await
    }
}

/// The operator's own user, with a user agent by which the audit log tells replicas apart.
async fn client_named(control_plane: &ControlPlane, user_agent: &str) -> Result<Client> {
    let path = control_plane.kubeconfig_for_service_account("tenantry-system", "tenantry-operator")?;
    let kubeconfig = Kubeconfig::read_from(path)?;
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.headers.push(("user-agent".parse()?, user_agent.parse()?));
    config.proxy_url = None;
    Ok(Client::try_from(config)?)
}

fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

async fn installed_settings(client: Client, listen: &str) -> Result<RunArgs> {
    let deployments: Api<Deployment> = Api::namespaced(client, helm::NAMESPACE);
    let deployment = serde_json::to_value(deployments.get("tenantry-operator").await?)?;
    let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].clone();
    let arguments: Vec<String> = serde_json::from_value(arguments)?;
    // As the kubelet does.
    let arguments = arguments.into_iter().map(|argument| argument.replace("$$", "$"));
    let kept = arguments.filter(|argument| !argument.starts_with("--listen="));
    let all = std::iter::once("operator".to_owned()).chain(kept).chain([format!("--listen={listen}")]);
    match Cli::try_parse_from(all)?.command {
        Command::Run(settings) => Ok(settings),
        other => bail!("the chart does not start `operator run` but {other:?}"),
    }
}

fn settings(listen: &str) -> Result<RunArgs> {
    let postgres = format!("docker.io/tenantry/postgres@sha256:{}", "9".repeat(64));
    let words = [
        "operator",
        "run",
        "--postgres-image",
        &postgres,
        "--public-scheme",
        "http",
        "--public-port",
        "8080",
        "--listen",
        listen,
    ];
    match Cli::try_parse_from(words)?.command {
        Command::Run(args) => Ok(args),
        other => bail!("{other:?}"),
    }
}

/// Migrations report that schema version.
pub(crate) fn migrations_succeed(nodes: &StandIn, schema_version: i64) {
    let message = json!({"code": "Migrated", "schemaVersion": schema_version}).to_string();
    nodes.on(Workload::Job, "", "migrate-", Outcome::Works { message });
}

/// A condition of a tenant, or null.
pub(crate) fn condition(tenant: &Tenant, type_: &str) -> Value {
    let conditions = tenant.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let found = conditions.iter().find(|condition| condition.type_ == type_);
    found.and_then(|condition| serde_json::to_value(condition).ok()).unwrap_or_default()
}

pub(crate) fn message(tenant: &Tenant) -> String {
    condition(tenant, "Ready")["message"].as_str().unwrap_or_default().to_owned()
}

pub(crate) fn uid<K: Resource>(object: Option<K>) -> Option<String> {
    object.and_then(|object| object.uid())
}

pub(crate) fn tenant(name: &str) -> Value {
    json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant",
        "metadata": {"name": name},
        "spec": {
            "displayName": "杭州艾克米贸易有限公司",
            "admin": {"name": "王芳", "email": "fang@acme.example"},
            "plan": "standard",
            "release": "r1",
        },
    })
}

pub(crate) fn plan(name: &str) -> Value {
    json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "Plan",
        "metadata": {"name": name},
        "spec": {
            "seats": 10,
            // Not in the form in which the API server stores them.
            "app": {"cpu": "0.05", "memory": "96Mi"},
            "database": {"storage": "1024Mi", "cpu": "0.1", "memory": "0.25Gi"},
            "backup": {"store": "main"},
            "scheduling": {"tolerations": [{"key": "crm", "operator": "Exists"}]},
        },
    })
}

pub(crate) fn store(name: &str) -> Value {
    json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "BackupStore",
        "metadata": {"name": name},
        "spec": {
            "volume": {"claim": "backups"},
            "recoveryRecipients": ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"],
        },
    })
}

pub(crate) fn release(name: &str, schema_version: i64) -> Value {
    let digest = hex::encode(name.bytes().cycle().take(32).collect::<Vec<_>>());
    json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "Release",
        "metadata": {"name": name},
        "spec": {
            "version": "1.0.0",
            "image": format!("docker.io/tenantry/crm-app@sha256:{digest}"),
            "schema": {"version": schema_version, "minAppSchema": 1},
        },
    })
}
