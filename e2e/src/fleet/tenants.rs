//! Tenants of the demo and of the tests: applying, waiting, signing in.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::TryStreamExt as _;
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use operator::{
    api::{Admin, Locale, State, Tenant, TenantSpec, TenantTombstone},
    names::{CONFIRM_DELETE, SKIP_FINAL_BACKUP},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Installed;
use crate::{
    host::wait::{Look, Wait},
    toolchain::cache::content_hash,
};

const FIELD_MANAGER: &str = "tenantry-e2e";
/// Annotation on a Tenant whose new value makes a new first sign-in link.
const REISSUE: &str = "tenantry.dev/reissue-sign-in";

/// How long something took, and the tenant as it then was.
#[derive(Clone, Debug)]
pub struct Waited {
    /// From the call to the moment the condition held.
    pub duration: Duration,
    /// The tenant at that moment.
    pub tenant: Tenant,
}

impl Installed {
    async fn tenants(&self) -> Result<Api<Tenant>> {
        Ok(Api::all(self.client().await?))
    }

    /// Applies a Tenant as `kubectl apply --server-side` would.
    pub async fn apply(&self, tenant: &Tenant) -> Result<Tenant> {
        let name = tenant.name_any();
        let applied = self
            .tenants()
            .await?
            .patch(&name, &PatchParams::apply(FIELD_MANAGER), &Patch::Apply(tenant))
            .await;
        applied.with_context(|| format!("cannot apply tenant {name:?}"))
    }

    /// Changes some fields of a Tenant by merge patch, as `kubectl patch` would.
    pub async fn patch(&self, name: &str, patch: &Value) -> Result<Tenant> {
        let patched = self.tenants().await?.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.with_context(|| format!("cannot patch tenant {name:?}"))
    }

    /// Waits until a Tenant is Ready with its newest spec.
    ///
    /// # Errors
    /// At the deadline; the message carries the tenant's conditions.
    pub async fn wait_ready(&self, name: &str, deadline: Duration) -> Result<Waited> {
        self.wait(name, "to be Ready", deadline, |tenant| {
            let status = tenant.status.as_ref();
            let current =
                status.is_some_and(|status| status.observed_generation == tenant.metadata.generation);
            current && condition(tenant, "Ready").is_some_and(|ready| ready.status == "True")
        })
        .await
    }

    /// Waits until `Ready` is not True for this reason, and returns its message with the tenant.
    ///
    /// # Errors
    /// At the deadline; the message carries the tenant's conditions.
    pub async fn wait_unready(&self, name: &str, reason: &str, deadline: Duration) -> Result<String> {
        let waited = self
            .wait(name, &format!("to be unready with reason {reason}"), deadline, |tenant| {
                condition(tenant, "Ready")
                    .is_some_and(|ready| ready.status != "True" && ready.reason == reason)
            })
            .await?;
        Ok(condition(&waited.tenant, "Ready").map(|ready| ready.message.clone()).unwrap_or_default())
    }

    /// Waits until a Tenant is as it should be.
    ///
    /// # Errors
    /// At the deadline; the message carries the tenant's conditions.
    pub async fn wait(
        &self,
        name: &str,
        what: &str,
        deadline: Duration,
        done: impl Fn(&Tenant) -> bool,
    ) -> Result<Waited> {
        let begun = Instant::now();
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let stream = watcher(self.tenants().await?, config).default_backoff().applied_objects();
        let mut stream = std::pin::pin!(stream);
        let mut last: Option<Tenant> = None;
        let wait = async {
            while let Some(tenant) = stream.try_next().await? {
                if done(&tenant) {
                    return Ok(Waited { duration: begun.elapsed(), tenant });
                }
                last = Some(tenant);
            }
            bail!("the watch of tenant {name:?} ended");
        };
        match timeout(deadline, wait).await {
            Ok(waited) => waited,
            Err(_) => bail!(
                "waited {} s for tenant {name:?} {what}; {}",
                deadline.as_secs(),
                describe(last.as_ref())
            ),
        }
    }

    /// Deletes a Tenant with its confirmation, and waits until nothing of it is left.
    ///
    /// # Errors
    /// At the deadline.
    pub async fn delete(&self, name: &str, deadline: Duration) -> Result<()> {
        let uid = self.begin_deletion(name).await?;
        let gone = kube::runtime::conditions::is_deleted(&uid);
        let wait = kube::runtime::wait::await_condition(self.tenants().await?, name, gone);
        timeout(deadline, wait).await.with_context(|| format!("tenant {name:?} was not gone in time"))??;
        self.forget(name, &uid).await
    }

    /// Destroys what is kept of a deleted tenant, if anything is, so that another may have its name.
    ///
    /// # Errors
    /// When the API server says no.
    pub async fn forget(&self, name: &str, uid: &str) -> Result<()> {
        let tombstones: Api<TenantTombstone> = Api::all(self.client().await?);
        let tombstone = operator::names::tombstone(name, uid);
        if tombstones.get_opt(&tombstone).await?.is_none() {
            return Ok(());
        }
        let confirmed = json!({ "metadata": { "annotations": { CONFIRM_DELETE: tombstone } } });
        tombstones.patch(&tombstone, &PatchParams::default(), &Patch::Merge(confirmed)).await?;
        tombstones.delete(&tombstone, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Confirms and asks for the deletion of a tenant whose data nobody needs; returns its uid at once.
    ///
    /// # Errors
    /// When there is no such tenant.
    pub async fn begin_deletion(&self, name: &str) -> Result<String> {
        let confirmed =
            json!({ "metadata": { "annotations": { CONFIRM_DELETE: name, SKIP_FINAL_BACKUP: name } } });
        self.patch(name, &confirmed).await?;
        let tenants = self.tenants().await?;
        let uid = tenants.get(name).await?.uid().unwrap_or_default();
        tenants.delete(name, &DeleteParams::default()).await?;
        Ok(uid)
    }

    /// Has a new first sign-in link made, and returns it once it works.
    ///
    /// # Errors
    /// When the operator does not make one within a minute.
    pub async fn new_sign_in_link(&self, name: &str) -> Result<String> {
        let old = sign_in_link(self, name).await?;
        // Any value that the annotation did not have: the old link is one.
        let marker = content_hash([old.as_bytes()]);
        self.patch(name, &json!({ "metadata": { "annotations": { REISSUE: marker } } })).await?;
        // The CRM counts looks at links, since they could be guesses.
        let wait = Wait::new(format!("a new sign-in link for {name:?}"), Duration::from_mins(1))
            .every(Duration::from_millis(500));
        wait.until(async || {
            let link = sign_in_link(self, name).await?;
            let works = link != old && self.link_is_known(name, &link).await?;
            Ok(if works { Look::Done(link) } else { Look::NotYet("the old link".into()) })
        })
        .await
    }

    /// Whether the CRM accepts a link; looking does not spend it.
    async fn link_is_known(&self, name: &str, link: &str) -> Result<bool> {
        let token = link.split_once('#').map(|(_, token)| token).unwrap_or_default();
        let reply = self
            .crm(name)?
            .send(reqwest::Method::POST, "/welcome/inspect", Some(json!({ "token": token })))
            .await?;
        Ok(reply.status.is_success())
    }
}

/// A small tenant for tests and benchmarks, on the release of this checkout.
pub fn small_tenant(name: &str, release: &str) -> Tenant {
    let spec = TenantSpec {
        display_name: name.into(),
        admin: Admin { name: "Owner".into(), email: "owner@tenantry.example".into() },
        plan: "small".into(),
        channel: None,
        release: Some(release.into()),
        hosts: Vec::new(),
        locale: Locale::default(),
        time_zone: "Asia/Shanghai".into(),
        currency: "CNY".into(),
        state: State::default(),
        maintenance_window: None,
        paused: false,
        database: None,
        backup: None,
        deletion: None,
        bootstrap: None,
    };
    Tenant::new(name, spec)
}

/// The newest first sign-in link of a tenant, from its Secret.
///
/// # Errors
/// When the Secret is not there.
pub async fn sign_in_link(installed: &Installed, name: &str) -> Result<String> {
    let secrets: Api<Secret> = Api::namespaced(installed.client().await?, &format!("tenant-{name}"));
    let list = secrets
        .list(&kube::api::ListParams::default().labels("app.kubernetes.io/component=first-sign-in"))
        .await?;
    let newest = list.items.into_iter().max_by_key(|secret| secret.creation_timestamp().map(|time| time.0));
    let secret = newest.with_context(|| format!("tenant {name:?} has no first sign-in Secret"))?;
    let url =
        secret.data.and_then(|mut data| data.remove("url")).context("the first sign-in Secret has no url")?;
    Ok(String::from_utf8(url.0)?)
}

/// A condition of a tenant, by type.
fn condition<'a>(tenant: &'a Tenant, kind: &str) -> Option<&'a Condition> {
    tenant.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == kind)
}

/// The conditions of a tenant in one line, for error messages.
fn describe(tenant: Option<&Tenant>) -> String {
    let Some(status) = tenant.and_then(|tenant| tenant.status.as_ref()) else {
        return "it has no status yet".into();
    };
    let words =
        status.conditions.iter().map(|c| format!("{}={} ({}: {})", c.type_, c.status, c.reason, c.message));
    words.collect::<Vec<_>>().join("; ")
}
