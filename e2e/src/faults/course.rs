//! What happens to a tenant: the eight courses, one after the other a tenant's whole life.

use std::fmt;

use anyhow::Result;
use clap::ValueEnum;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use operator::{
    api::{BackupStore, Channel, Plan, Release, Tenant, TenantBackup, TenantRestore},
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
    /// It follows a channel, which has it upgraded to the next release and watched.
    Upgrade,
    /// Somebody asks for a backup.
    Backup,
    /// A backup takes the place of its data.
    Restore,
    /// It is suspended.
    Suspend,
    /// It is active again.
    Resume,
    /// It is deleted with all its data, and so is its channel.
    Delete,
}

impl Course {
    /// In the order of a tenant's life.
    pub(super) const ALL: [Self; 8] = [
        Self::Create,
        Self::Change,
        Self::Upgrade,
        Self::Backup,
        Self::Restore,
        Self::Suspend,
        Self::Resume,
        Self::Delete,
    ];

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
            Self::Upgrade => {
                Api::all(client.clone()).create(&PostParams::default(), &channel(tenant)?).await?;
                json!({"spec": {"channel": tenant, "release": null}})
            }
            Self::Suspend => json!({"spec": {"state": "Suspended"}}),
            Self::Resume => json!({"spec": {"state": "Active"}}),
            Self::Delete => json!({"metadata": {"annotations": {names::CONFIRM_DELETE: tenant}}}),
        };
        tenants.patch(tenant, &PatchParams::default(), &Patch::Merge(patch)).await?;
        if self == Self::Delete {
            tenants.delete(tenant, &DeleteParams::default()).await?;
            Api::<Channel>::all(client.clone()).delete(tenant, &DeleteParams::default()).await?;
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
            Self::Create | Self::Change | Self::Upgrade | Self::Backup | Self::Restore | Self::Resume => {
                "AsExpected"
            }
            Self::Suspend => "Suspended",
            Self::Delete => return look_for_nothing(client, live.as_ref(), tenant).await,
        };
        let live = serde_json::to_value(live)?;
        let ready = condition(&live, "Ready");
        let wanted = live["spec"]["release"].as_str().unwrap_or(LAST_RELEASE);
        let current = ready["observedGeneration"] == live["metadata"]["generation"]
            && live["status"]["release"] == wanted
            && live["status"]["upgrade"].is_null();
        let there = current && ready["status"] == "True" && ready["reason"] == reason;
        if !there {
            return Ok(Look::NotYet(format!(
                "Ready is {ready}, its upgrade is {}",
                live["status"]["upgrade"]
            )));
        }
        if self == Self::Upgrade {
            return look_for_rollout(client, &live, tenant).await;
        }
        Ok(Look::Done(()))
    }

    /// What is still to come of a request: its end, and then that of its Jobs and their pods.
    async fn look_for_request(self, client: &Client, tenant: &str) -> Result<Option<String>> {
        let status = match self {
            Self::Backup => status_of::<TenantBackup>(client, tenant).await?,
            Self::Restore => status_of::<TenantRestore>(client, tenant).await?,
            Self::Create | Self::Change | Self::Upgrade | Self::Suspend | Self::Resume | Self::Delete => {
                return Ok(None);
            }
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

/// Whether channel and tenant say that nothing of a rollout is left to be done.
async fn look_for_rollout(client: &Client, tenant: &Value, channel: &str) -> Result<Look<()>> {
    let channel = serde_json::to_value(Api::<Channel>::all(client.clone()).get_opt(channel).await?)?;
    let up_to_date = |object: &Value| condition(object, "UpToDate")["status"] == "True";
    let is_over = up_to_date(tenant)
        && up_to_date(&channel)
        && channel["status"]["observedGeneration"] == channel["metadata"]["generation"]
        && channel["status"]["settledRelease"] == channel["spec"]["release"];
    Ok(if is_over { Look::Done(()) } else { Look::NotYet(format!("the channel says {}", channel["status"])) })
}

/// A condition of an object, or null.
fn condition(object: &Value, type_: &str) -> Value {
    let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.find(|condition| condition["type"] == type_).cloned().unwrap_or_default()
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

/// Takes the channel of a tenant away, whatever still has it in use.
pub(super) async fn withdraw_channel(client: &Client, tenant: &str) -> Result<()> {
    let channels: Api<Channel> = Api::all(client.clone());
    if channels.get_opt(tenant).await?.is_none() {
        return Ok(());
    }
    let free = json!({"metadata": {"finalizers": null}});
    channels.patch(tenant, &PatchParams::default(), &Patch::Merge(free)).await?;
    // If it was being deleted, it went with its finalizer.
    if channels.get_opt(tenant).await?.is_some() {
        channels.delete(tenant, &DeleteParams::default()).await?;
    }
    Ok(())
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
    let channel = Api::<Channel>::all(client.clone()).get_opt(tenant).await?;
    Ok(match (live, namespace, channel) {
        (None, None, None) => Look::Done(()),
        (live, namespace, channel) => Look::NotYet(format!(
            "the Tenant is {}, its channel is {}, its namespace is {}",
            if live.is_some() { "still there" } else { "gone" },
            if channel.is_some() { "still there" } else { "gone" },
            namespace.map_or("gone".to_owned(), |namespace| format!("there: {:?}", namespace.status)),
        )),
    })
}

impl fmt::Display for Course {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Upgrade => "upgrade",
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Delete => "delete",
        })
    }
}

/// The releases between which tenants move, and their schema versions.
pub(super) const RELEASES: [(&str, i64); 3] = [("r1", 1), ("r2", 2), (LAST_RELEASE, LAST_SCHEMA)];

/// The last of them, and its schema version.
const LAST_RELEASE: &str = "r3";
pub(super) const LAST_SCHEMA: i64 = 3;

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
                "schema": {"version": schema_version, "minAppSchema": 1},
            },
        }))?;
        Api::all(client.clone()).create(&PostParams::default(), &release).await?;
    }
    Ok(())
}

/// The channel of a tenant, which watches it for long enough to be seen to.
fn channel(tenant: &str) -> Result<Channel> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "Channel", "metadata": {"name": tenant},
        "spec": {"release": LAST_RELEASE, "rollout": {"bake": "1s"}},
    }))?)
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
