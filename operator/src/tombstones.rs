//! What becomes of the tombstones of deleted tenants: when one expires, or is deleted, the key that reads its backups is
//! destroyed; when the door of the store has removed the backups too, a receipt is left and the tombstone goes.
//!
//! Each step is told in a condition before the next begins, so nothing is forgotten when the operator is started again.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Resource, ResourceExt, runtime::reflector::Store};

use crate::{
    api::{
        TenantTombstone,
        conditions::{self, BACKUPS_REMOVED, KEY_DESTROYED, Verdict, set_condition},
    },
    cluster::{Cluster, Error, Severity},
    names::{TOMBSTONE_FIELD_MANAGER, TOMBSTONE_FINALIZER},
};

/// What is to be done about a tombstone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Its time has not come, or others have to do something first.
    Wait,
    /// Its key is to be destroyed.
    DestroyKey,
    /// Nothing is left that it speaks of.
    LetGo,
}

/// Does what is due about every tombstone.
pub async fn settle(
    cluster: &Cluster,
    tombstones: &Store<TenantTombstone>,
    keys_namespace: &str,
    now: Timestamp,
) -> Result<(), Error> {
    for tombstone in tombstones.state() {
        let done = match next(&tombstone, now) {
            Next::Wait => continue,
            Next::DestroyKey => destroy_key(cluster, &tombstone, keys_namespace, now).await,
            Next::LetGo => let_go(cluster, &tombstone).await,
        };
        match done {
            Ok(()) => (),
            // It has changed or gone since; the news of that is on its way and starts this again.
            Err(error) if error.is_conflict() || error.is_not_found() => (),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn next(tombstone: &TenantTombstone, now: Timestamp) -> Next {
    let due = tombstone.meta().deletion_timestamp.is_some() || tombstone.spec.expires_at.0 <= now;
    let is = |type_: &str| {
        let conditions = tombstone.status.as_ref().map(|status| status.conditions.as_slice());
        conditions::find(conditions.unwrap_or_default(), type_).is_some_and(|found| found.status == "True")
    };
    match (is(KEY_DESTROYED), is(BACKUPS_REMOVED) || tombstone.spec.store.is_none()) {
        (true, true) => Next::LetGo,
        (false, _) if due => Next::DestroyKey,
        _ => Next::Wait,
    }
}

async fn destroy_key(
    cluster: &Cluster,
    tombstone: &TenantTombstone,
    keys_namespace: &str,
    now: Timestamp,
) -> Result<(), Error> {
    if let Some(name) = &tombstone.spec.key_secret {
        let key: Option<Secret> = cluster.get(keys_namespace, name).await?;
        if let Some(uid) = key.and_then(|key| key.metadata.uid) {
            cluster.delete::<Secret>(keys_namespace, name, &uid.into()).await?;
        }
    }
    let mut all = tombstone.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    let said = format!(
        "the key {} of the backups of tenant {} is destroyed: only the store's recovery keys can still read what is left of them",
        tombstone.spec.recipient.as_deref().unwrap_or("that was never found"),
        tombstone.spec.tenant
    );
    let verdict = Verdict::yes("Destroyed", said.clone());
    set_condition(&mut all, KEY_DESTROYED, verdict, tombstone.metadata.generation, now);
    if let Some(condition) = conditions::find(&all, KEY_DESTROYED) {
        cluster.apply_condition(TOMBSTONE_FIELD_MANAGER, tombstone, condition).await?;
    }
    tracing::info!(tombstone = tombstone.name_any(), tenant = tombstone.spec.tenant, "{said}");
    cluster.event_about(&tombstone.object_ref(&()), Severity::Normal, "Expire", "KeyDestroyed", &said).await;
    Ok(())
}

async fn let_go(cluster: &Cluster, tombstone: &TenantTombstone) -> Result<(), Error> {
    let spec = &tombstone.spec;
    let receipt = format!(
        "nothing is left of tenant {} (uid {}): deleted {:.0}, its key {} destroyed{}",
        spec.tenant,
        spec.uid,
        spec.deleted_at.0,
        spec.recipient.as_deref().unwrap_or("was lost or"),
        spec.store
            .as_ref()
            .map(|store| format!(", its backups removed from BackupStore {store}"))
            .unwrap_or_default(),
    );
    tracing::info!(tombstone = tombstone.name_any(), tenant = spec.tenant, "{receipt}");
    cluster.event_about(&tombstone.object_ref(&()), Severity::Normal, "Expire", "Erased", &receipt).await;
    let Some(live) = cluster.delete_global(tombstone).await? else { return Ok(()) };
    let rest: Vec<String> =
        live.finalizers().iter().filter(|name| *name != TOMBSTONE_FINALIZER).cloned().collect();
    cluster.set_finalizers(&live, &rest).await.map(drop)
}

#[cfg(test)]
mod tests;
