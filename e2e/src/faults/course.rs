//! What happens to a tenant: the seven courses, one after the other a tenant's whole life.

use std::fmt;

use anyhow::Result;
use clap::ValueEnum;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use operator::{
    api::{BackupStore, Plan, Release, Tenant, TenantBackup, TenantRestore},
    names,
    tenant::requests::Request,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::host::wait::Look;

/// What happens to a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Course {
    /// It is created.
    Create,
    /// It gets another plan, another release and one host more; the other plan allows no egress, so a policy goes.
    Change,
    /// Somebody asks for a backup.
    Backup,
    /// A backup takes the place of its data.
    Restore,
    /// It is suspended.
    Suspend,
    /// It is active again.
    Resume,
    /// It is deleted with all its data.
    Delete,
}

impl Course {
    /// In the order of a tenant's life.
    pub(super) const ALL: [Self; 7] =
        [Self::Create, Self::Change, Self::Backup, Self::Restore, Self::Suspend, Self::Resume, Self::Delete];

    /// The one that follows.
    pub(super) fn next(self) -> Option<Self> {
        Self::ALL.into_iter().find(|course| self < *course)
    }

    /// Asks for it, as a person would.
    pub(super) async fn begin(self, client: &Client, tenant: &str) -> Result<()> {
        let tenants: Api<Tenant> = Api::all(client.clone());
        let patch = match self {
            Self::Create => {
                tenants.create(&PostParams::default(), &serde_json::from_value(new_tenant(tenant))?).await?;
                return Ok(());
            }
            Self::Backup => return ask::<TenantBackup>(client, tenant, json!({"tenant": tenant})).await,
            Self::Restore => {
                let spec = json!({"tenant": tenant, "from": {"latest": {}}, "confirm": tenant});
                return ask::<TenantRestore>(client, tenant, spec).await;
            }
            Self::Change => json!({"spec": {
                "plan": "closed", "release": "r2", "hosts": [{"name": format!("crm.{tenant}.example")}],
            }}),
            Self::Suspend => json!({"spec": {"state": "Suspended"}}),
            Self::Resume => json!({"spec": {"state": "Active"}}),
            Self::Delete => json!({"metadata": {"annotations": {names::CONFIRM_DELETE: tenant}}}),
        };
        tenants.patch(tenant, &PatchParams::default(), &Patch::Merge(patch)).await?;
        if self == Self::Delete {
            tenants.delete(tenant, &DeleteParams::default()).await?;
        }
        Ok(())
    }

    /// Whether the tenant says that it has come to the end of the course.
    pub(super) async fn look(self, client: &Client, tenant: &str) -> Result<Look<()>> {
        let tenants: Api<Tenant> = Api::all(client.clone());
        let live = tenants.get_opt(tenant).await?;
        if let Some(open) = self.look_for_request(client, tenant).await? {
            return Ok(Look::NotYet(open));
        }
        let reason = match self {
            Self::Create | Self::Change | Self::Backup | Self::Restore | Self::Resume => "AsExpected",
            Self::Suspend => "Suspended",
            Self::Delete => return look_for_nothing(client, live.as_ref(), tenant).await,
        };
        let live = serde_json::to_value(live)?;
        let conditions = live["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready =
            conditions.iter().find(|condition| condition["type"] == "Ready").cloned().unwrap_or_default();
        let current = ready["observedGeneration"] == live["metadata"]["generation"]
            && live["status"]["release"] == live["spec"]["release"];
        let there = current && ready["status"] == "True" && ready["reason"] == reason;
        Ok(if there { Look::Done(()) } else { Look::NotYet(format!("Ready is {ready}")) })
    }

    /// What is still to come of a request: its end, and then that of its Jobs and their pods.
    async fn look_for_request(self, client: &Client, tenant: &str) -> Result<Option<String>> {
        let status = match self {
            Self::Backup => status_of::<TenantBackup>(client, tenant).await?,
            Self::Restore => status_of::<TenantRestore>(client, tenant).await?,
            Self::Create | Self::Change | Self::Suspend | Self::Resume | Self::Delete => return Ok(None),
        };
        let complete = &status["conditions"][0];
        if complete["status"] != "True" {
            return Ok(Some(format!("Complete is {complete}")));
        }
        let pods: Api<Pod> = Api::namespaced(client.clone(), &names::namespace_of(tenant));
        let of_request =
            ListParams::default().labels(&format!("{} in (backup, restore)", names::COMPONENT_LABEL));
        let left: Vec<_> = pods.list(&of_request).await?.iter().map(ResourceExt::name_any).collect();
        Ok((!left.is_empty()).then(|| format!("pods are left: {left:?}")))
    }
}

/// Makes a request, which is called like its tenant.
async fn ask<K: Request + Serialize>(client: &Client, tenant: &str, spec: Value) -> Result<()> {
    let request = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": tenant}, "spec": spec,
    });
    let requests: Api<K> = Api::all(client.clone());
    requests.create(&PostParams::default(), &serde_json::from_value(request)?).await?;
    Ok(())
}

async fn status_of<K: Request + Serialize>(client: &Client, name: &str) -> Result<Value> {
    let request = Api::<K>::all(client.clone()).get_opt(name).await?;
    Ok(serde_json::to_value(request)?["status"].take())
}

/// Takes the requests of a tenant away, so that nobody looks after them any more.
pub(super) async fn withdraw_requests(client: &Client, tenant: &str) -> Result<()> {
    withdraw::<TenantBackup>(client, tenant).await?;
    withdraw::<TenantRestore>(client, tenant).await
}

async fn withdraw<K: Request>(client: &Client, name: &str) -> Result<()> {
    let requests: Api<K> = Api::all(client.clone());
    if requests.get_opt(name).await?.is_some() {
        requests.delete(name, &DeleteParams::default()).await?;
    }
    Ok(())
}

async fn look_for_nothing(client: &Client, live: Option<&Tenant>, tenant: &str) -> Result<Look<()>> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = namespaces.get_opt(&names::namespace_of(tenant)).await?;
    Ok(match (live, namespace) {
        (None, None) => Look::Done(()),
        (live, namespace) => Look::NotYet(format!(
            "the Tenant is {}, its namespace is {}",
            if live.is_some() { "still there" } else { "gone" },
            namespace.map_or("gone".to_owned(), |namespace| format!("there: {:?}", namespace.status)),
        )),
    })
}

impl fmt::Display for Course {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Delete => "delete",
        })
    }
}

/// The releases between which tenants move, and their schema versions.
pub(super) const RELEASES: [(&str, i64); 2] = [("r1", 1), ("r2", 2)];

/// The schema version of the last.
pub(super) const LAST_SCHEMA: i64 = RELEASES[1].1;

/// The image of a release.
pub(super) fn image(release: &str) -> String {
    format!("docker.io/tenantry/crm-app@sha256:{}", hex::encode(release.repeat(16)))
}

/// Makes the plans and releases between which tenants move, and the store of their backups.
pub(super) async fn prepare(client: &Client) -> Result<()> {
    let store: BackupStore = serde_json::from_value(json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "BackupStore", "metadata": {"name": "main"},
        "spec": {
            "volume": {"claim": "backups"},
            "recoveryRecipients": ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"],
        },
    }))?;
    Api::all(client.clone()).create(&PostParams::default(), &store).await?;
    for (name, seats, egress) in [("open", 10, "Public"), ("closed", 20, "None")] {
        let plan: Plan = serde_json::from_value(json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "Plan", "metadata": {"name": name},
            "spec": {
                "seats": seats,
                "app": {"cpu": "50m", "memory": "96Mi"},
                "database": {"storage": "1Gi", "cpu": "100m", "memory": "256Mi"},
                "egress": egress,
                // Without `H`, so that it is the same for each tenant.
                "backup": {"store": "main", "schedule": "0 2 * * *", "drill": "0 5 * * 0"},
            },
        }))?;
        Api::all(client.clone()).create(&PostParams::default(), &plan).await?;
    }
    for (name, schema_version) in RELEASES {
        let release: Release = serde_json::from_value(json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "Release", "metadata": {"name": name},
            "spec": {
                "version": "1.0.0",
                "image": image(name),
                "schema": {"version": schema_version},
            },
        }))?;
        Api::all(client.clone()).create(&PostParams::default(), &release).await?;
    }
    Ok(())
}

fn new_tenant(name: &str) -> Value {
    json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": name},
        "spec": {
            "displayName": "杭州艾克米贸易有限公司",
            "admin": {"name": "王芳", "email": "fang@acme.example"},
            "plan": "open",
            "release": "r1",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_ends_with_its_deletion() {
        let mut life = vec![Course::Create];
        while let Some(next) = life.last().and_then(|course| course.next()) {
            life.push(next);
        }
        assert_eq!(life, Course::ALL);
    }
}
