//! Room for the next measurement: what runs is stopped at once; the rest of a namespace, which costs the machine nothing,
//! goes in its own time.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams},
    runtime::wait::await_condition,
};
use tokio::time::timeout;

use crate::{
    fleet::Installed,
    host::wait::{Look, Wait},
};

const DEADLINE: Duration = Duration::from_mins(2);

/// Namespaces of measurements that are over.
#[derive(Default)]
pub(super) struct Leaving {
    namespaces: Vec<String>,
    /// Names and uids.
    tenants: Vec<(String, String)>,
}

impl Leaving {
    /// Removes a namespace; returns when nothing runs in it any more.
    pub(super) async fn namespace(&mut self, client: &Client, name: &str) -> Result<()> {
        Api::<Namespace>::all(client.clone()).delete(name, &DeleteParams::default()).await?;
        // The namespace controller would start with the pods only after five seconds, and grant all their grace.
        let pods: Api<Pod> = Api::namespaced(client.clone(), name);
        pods.delete_collection(&DeleteParams::default().grace_period(1), &ListParams::default()).await?;
        self.namespaces.push(name.to_owned());
        Wait::new(format!("the pods in {name} to end"), DEADLINE)
            .until(async || {
                let left = pods.list(&ListParams::default()).await?.items.len();
                Ok(if left == 0 { Look::Done(()) } else { Look::NotYet(format!("{left} left")) })
            })
            .await
    }

    /// Deletes a tenant; returns when nothing of it runs any more.
    pub(super) async fn tenant(&mut self, fleet: &Installed, name: &str) -> Result<()> {
        let uid = fleet.begin_deletion(name).await?;
        self.tenants.push((name.to_owned(), uid));
        let namespace = format!("tenant-{name}");
        // The operator removes the namespace last.
        let is_last =
            |seen: Option<&Namespace>| seen.is_none_or(|seen| seen.metadata.deletion_timestamp.is_some());
        let wait = await_condition(Api::all(fleet.client().await?), &namespace, is_last);
        timeout(DEADLINE, wait).await.with_context(|| format!("{namespace} was not removed in time"))??;
        self.namespaces.push(namespace);
        Ok(())
    }

    /// Waits until all of them are gone.
    pub(super) async fn gone(self, fleet: &Installed, client: &Client) -> Result<()> {
        for (name, uid) in self.tenants {
            fleet.forget(&name, &uid).await?;
        }
        for name in self.namespaces {
            let is_gone = |seen: Option<&Namespace>| seen.is_none();
            let wait = await_condition(Api::all(client.clone()), &name, is_gone);
            timeout(DEADLINE, wait).await.with_context(|| format!("{name} was not gone in time"))??;
        }
        Ok(())
    }
}
