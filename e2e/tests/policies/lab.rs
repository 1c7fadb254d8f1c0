//! An API server with the chart installed, and the people who talk to it.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use e2e::{
    cluster::ControlPlane,
    helm::{self, Pods},
    host::{
        command,
        wait::{Look, Wait},
    },
    toolchain::{self, Tool},
};
use kube::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

/// Policies and role bindings come into force a moment after they are written.
const IN_FORCE: Duration = Duration::from_secs(10);
const KUBECTL: Duration = Duration::from_secs(20);
/// Commands that know no `--dry-run`; they are refused before anything happens, or not at all.
const NO_DRY_RUN: [&str; 4] = ["exec", "attach", "port-forward", "create token"];

/// Groups that every service account of the system namespace is in.
const OPERATOR: &[&str] = &[
    "--as=system:serviceaccount:tenantry-system:tenantry-operator",
    "--as-group=system:serviceaccounts",
    "--as-group=system:serviceaccounts:tenantry-system",
    "--as-group=system:authenticated",
];
const BREAK_GLASS: &[&str] = &["--as=alice", "--as-group=system:masters", "--as-group=tenantry:break-glass"];
const SOMEBODY: &[&str] = &["--as=carol", "--as-group=system:authenticated"];
const RESTORER: &[&str] = &["--as=bob", "--as-group=system:authenticated"];
const NAMESPACE_CONTROLLER: &[&str] =
    &["--as=system:serviceaccount:kube-system:namespace-controller", "--as-group=system:authenticated"];

/// An API server with the chart installed.
pub(crate) struct Lab {
    control_plane: ControlPlane,
    kubectl: PathBuf,
    discovery: TempDir,
}

/// Somebody who talks to the API server.
#[derive(Clone, Copy)]
pub(crate) struct Person<'a> {
    lab: &'a Lab,
    impersonation: &'static [&'static str],
}

impl Lab {
    /// With the chart's own values.
    pub(crate) async fn start() -> Result<Self> {
        Self::start_with(&json!({})).await
    }

    pub(crate) async fn start_with(values: &Value) -> Result<Self> {
        let control_plane = ControlPlane::start().await?;
        helm::install(control_plane.kubeconfig(), values, Pods::Leave).await?;
        let kubectl = toolchain::binary(Tool::Kubectl).await?;
        Ok(Self { control_plane, kubectl, discovery: TempDir::new()? })
    }

    /// The API server itself.
    pub(crate) fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// A client with all rights.
    pub(crate) async fn client(&self) -> Result<Client> {
        self.control_plane.client().await
    }

    /// A member of system:masters, whom no role stops.
    pub(crate) fn admin(&self) -> Person<'_> {
        Person { lab: self, impersonation: &[] }
    }

    /// An administrator who breaks the glass.
    pub(crate) fn break_glass(&self) -> Person<'_> {
        Person { lab: self, impersonation: BREAK_GLASS }
    }

    /// The operator's service account.
    pub(crate) fn operator(&self) -> Person<'_> {
        Person { lab: self, impersonation: OPERATOR }
    }

    /// Carol, who has no rights but those that everybody has.
    pub(crate) fn somebody(&self) -> Person<'_> {
        Person { lab: self, impersonation: SOMEBODY }
    }

    /// Bob, who may restore somebody.
    pub(crate) fn restorer(&self) -> Person<'_> {
        Person { lab: self, impersonation: RESTORER }
    }

    /// The part of Kubernetes that empties namespaces.
    pub(crate) fn namespace_controller(&self) -> Person<'_> {
        Person { lab: self, impersonation: NAMESPACE_CONTROLLER }
    }

    /// What the operator makes first of a tenant: its namespace, and its own rights in it.
    pub(crate) async fn tenant_namespace(&self, tenant: &str) -> Result<()> {
        self.operator()
            .may_write("create", &namespace(&format!("tenant-{tenant}"), tenant, "restricted"))
            .await?;
        let bind = "create rolebinding tenantry-operator --clusterrole=tenantry-tenant \
                    --serviceaccount=tenantry-system:tenantry-operator";
        self.operator().may(&format!("-n tenant-{tenant} {bind}")).await
    }
}

impl Person<'_> {
    /// The command succeeds.
    pub(crate) async fn may(&self, command: &str) -> Result<()> {
        self.may_write(command, "").await
    }

    /// The command succeeds on this object.
    pub(crate) async fn may_write(&self, command: &str, object: &str) -> Result<()> {
        let what = format!("kubectl {command} {} to be let through\n{object}", self.impersonation.join(" "));
        let attempt = async || Ok(Look::Done(self.kubectl(command, object).await?));
        Wait::new(what, IN_FORCE).until(attempt).await.map(drop)
    }

    /// The command is refused, and the message says this.
    pub(crate) async fn may_not(&self, command: &str, message: &str) -> Result<()> {
        self.may_not_write(command, "", message).await
    }

    /// The command is refused on this object, and the message says this.
    ///
    /// It is sent as a dry run, which passes through admission, so that it can be repeated until the policy is in force.
    pub(crate) async fn may_not_write(&self, command: &str, object: &str, message: &str) -> Result<()> {
        let dry_run =
            if NO_DRY_RUN.iter().any(|words| command.contains(words)) { "" } else { " --dry-run=server" };
        let command = format!("{command}{dry_run}");
        let what = format!(
            "kubectl {command} {} to be refused with {message:?}\n{object}",
            self.impersonation.join(" ")
        );
        let attempt = async || match self.kubectl(&command, object).await {
            Ok(said) => Ok(Look::NotYet(format!("it was let through: {said}"))),
            Err(error) if format!("{error:#}").contains(message) => Ok(Look::Done(())),
            Err(error) => Ok(Look::NotYet(format!("{error:#}"))),
        };
        Wait::new(what, IN_FORCE).until(attempt).await
    }

    async fn kubectl(&self, command: &str, object: &str) -> Result<String> {
        let mut kubectl = Command::new(&self.lab.kubectl);
        kubectl
            .arg("--kubeconfig")
            .arg(self.lab.control_plane.kubeconfig())
            .arg("--cache-dir")
            .arg(self.lab.discovery.path());
        kubectl.args(self.impersonation).args(command.split_whitespace());
        if !object.is_empty() {
            kubectl.args(["-f", "-"]);
        }
        command::run_with_input(&mut kubectl, object, KUBECTL).await
    }
}

/// A namespace as the operator writes it.
pub(crate) fn namespace(name: &str, tenant: &str, pod_security: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": { "tenantry.dev/tenant": tenant, "pod-security.kubernetes.io/enforce": pod_security },
        },
    })
    .to_string()
}
