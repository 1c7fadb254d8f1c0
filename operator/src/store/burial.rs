//! The backups of deleted tenants: removed when the operator has destroyed their key, and told in the tombstone.
//!
//! Until then a tombstone protects them: retention (`sweep`) goes through the backups of Tenants that are there, and of no others.

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;
use tokio::time::sleep;

use super::{
    Door,
    backend::{Backend, Error, Removal},
    keeper::{FIELD_MANAGER, jittered},
    path::{MANIFEST, Prefix, StoreName},
    tenants,
};
use crate::{
    api::{
        TenantTombstone,
        conditions::{BACKUPS_REMOVED, KEY_DESTROYED, Verdict, find, set_condition},
    },
    malformed::Guarded,
};

/// How many tombstones are worked on at the same time.
const AT_ONCE: usize = 4;
/// How often a list is asked for.
const ROUNDS: usize = 2;
/// A store that is being opened, or the Kubernetes API when it did not answer, is asked again so soon.
const SOON: Duration = Duration::from_secs(1);
/// The reason when nothing is left.
const REMOVED: &str = "Removed";

/// Tombstones whose backups are to go, by name.
type Due = BTreeMap<String, TenantTombstone>;

/// Follows the tombstones until dropped.
pub(super) async fn follow(door: Arc<Door>, client: Client) {
    let api: Api<Guarded<TenantTombstone>> = Api::all(client.clone());
    let mut events = pin!(watcher(api, watcher::Config::default()).default_backoff());
    let mut due = Due::new();
    let mut listed = Due::new();
    let mut all_told = true;
    loop {
        // What could not be removed may have been unlocked, and a store may work again.
        let pause = if all_told { jittered(door.limits.probe_interval) } else { SOON };
        let event = tokio::select! {
            event = events.next() => event,
            () = sleep(pause), if !due.is_empty() => {
                all_told = bury_all(&door, &client, &due).await;
                continue;
            }
        };
        match event {
            None => return,
            Some(Ok(watcher::Event::Init)) => listed.clear(),
            Some(Ok(watcher::Event::InitApply(object))) => take(&mut listed, object),
            Some(Ok(watcher::Event::InitDone)) => {
                due = std::mem::take(&mut listed);
                all_told = bury_all(&door, &client, &due).await;
            }
            Some(Ok(watcher::Event::Apply(object))) => {
                let name = object.name_any();
                let before = due.contains_key(&name);
                take(&mut due, object);
                // Our own word in the status is no news.
                if let Some(tombstone) = due.get(&name).filter(|_| !before) {
                    all_told &= bury(&door, &client, tombstone).await;
                }
            }
            Some(Ok(watcher::Event::Delete(object))) => {
                due.remove(&object.name_any());
            }
            Some(Err(error)) => {
                door.metrics.watch_failures.inc();
                tracing::warn!(%error, "the watch of TenantTombstones failed; it starts again by itself");
            }
        }
    }
}

/// Keeps those whose backups are to go, as they are now.
fn take(due: &mut Due, object: Guarded<TenantTombstone>) {
    match object.0 {
        Ok(tombstone) if is_due(&tombstone) => {
            due.insert(tombstone.name_any(), tombstone);
        }
        Ok(tombstone) => {
            due.remove(&tombstone.name_any());
        }
        Err(malformed) => {
            due.remove(malformed.name());
            let (name, cause) = (malformed.name(), &malformed.cause);
            tracing::error!(name, cause, "a TenantTombstone cannot be read, so its backups stay");
        }
    }
}

fn is_due(tombstone: &TenantTombstone) -> bool {
    let conditions = tombstone.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let is = |type_| find(conditions, type_).is_some_and(|found| found.status == "True");
    tombstone.spec.store.is_some() && is(KEY_DESTROYED) && !is(BACKUPS_REMOVED)
}

/// Works on all of them; false when there is one of which nothing could be told.
async fn bury_all(door: &Door, client: &Client, due: &Due) -> bool {
    let told =
        stream::iter(due.values()).map(|tombstone| bury(door, client, tombstone)).buffer_unordered(AT_ONCE);
    told.fold(true, async |all, told| all && told).await
}

/// Removes what can be removed, and tells of it; false when there was nothing to tell.
async fn bury(door: &Door, client: &Client, tombstone: &TenantTombstone) -> bool {
    let name = tombstone.name_any();
    let told = match lay_to_rest(door, client, tombstone).await {
        Ok(Some(verdict)) => tell(door, client, tombstone, verdict).await,
        Ok(None) => return false,
        Err(error) => Err(error),
    };
    if let Err(error) = &told {
        let error = error as &dyn std::error::Error;
        tracing::warn!(tombstone = name, error, "a tombstone was not worked on to the end; it will be again");
    }
    told.is_ok()
}

/// None while the store is being opened. An error is the Kubernetes API's, and says nothing of the store.
async fn lay_to_rest(
    door: &Door,
    client: &Client,
    tombstone: &TenantTombstone,
) -> kube::Result<Option<Verdict>> {
    let spec = &tombstone.spec;
    let store = spec.store.as_deref().unwrap_or_default();
    let (Ok(store), Ok(prefix)) = (StoreName::parse(store), Prefix::parse(&spec.tenant, &spec.uid)) else {
        let message = "tenant, uid and store are no names of backups, so nothing is removed";
        return Ok(Some(Verdict::no("Misconfigured", message)));
    };
    if !door.stores.are_listed() {
        return Ok(None);
    }
    let backend = match door.stores.backend(&store) {
        Ok(backend) => backend,
        Err(problem) if problem.is_busy() => return Ok(None),
        Err(problem) => return Ok(Some(Verdict::no("StoreNotReady", problem.message))),
    };
    // A tombstone that somebody else made is no reason to remove what is in use.
    if tenants::is_there(client, &prefix).await? {
        let message = format!("the Tenant {} with that uid is there: its backups stay", prefix.tenant());
        return Ok(Some(Verdict::no("TenantExists", message)));
    }
    let result = remove_all(door, &backend, &store, &prefix).await;
    if let Err(error) = &result {
        door.metrics.sweep_failures.with_label_values(&[store.as_str(), error.reason()]).inc();
    }
    Ok(Some(verdict(&store, &prefix, result)))
}

/// What is left: how many objects the store keeps, and until when at least, as far as it says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Left {
    objects: usize,
    until: Option<Timestamp>,
}

/// Removes every object beneath a prefix, whatever its name, until a list is empty or has only what is locked.
async fn remove_all(
    door: &Door,
    backend: &Backend,
    store: &StoreName,
    prefix: &Prefix,
) -> Result<Left, Error> {
    for _ in 0..ROUNDS {
        let mut names = backend.names(prefix).await?;
        if names.is_empty() {
            return Ok(Left::default());
        }
        // Whatever interrupts this leaves no manifest without its data.
        names.sort_by_key(|name| !name.ends_with(MANIFEST));
        let mut left = Left::default();
        for name in names {
            match backend.remove_beneath(prefix, &name).await? {
                Removal::Removed => {
                    door.metrics.removed.with_label_values(&[store.as_str(), "tenant_deleted"]).inc();
                    let (store, object) = (store.as_str(), name);
                    tracing::info!(store, %prefix, object, "an object of a deleted tenant was removed");
                }
                Removal::Locked(until) => {
                    left = Left { objects: left.objects + 1, until: left.until.max(until) };
                }
            }
        }
        if 0 < left.objects {
            return Ok(left);
        }
    }
    Err(Error::Failing("it still lists what was removed".to_owned()))
}

fn verdict(store: &StoreName, prefix: &Prefix, result: Result<Left, Error>) -> Verdict {
    let store = store.as_str();
    match result {
        Ok(Left { objects: 0, .. }) => {
            Verdict::yes(REMOVED, format!("nothing is left beneath {prefix} in BackupStore {store}"))
        }
        Ok(Left { objects, until }) => {
            let until = until
                .map_or("for a time that it does not tell".to_owned(), |until| format!("until {until:.0}"));
            Verdict::no(
                "Locked",
                format!("BackupStore {store} keeps {objects} objects locked, the last {until}"),
            )
        }
        Err(error) => Verdict::no(error.reason(), format!("BackupStore {store}: {error}")),
    }
}

/// Writes the condition, if it says something new.
async fn tell(
    door: &Door,
    client: &Client,
    tombstone: &TenantTombstone,
    verdict: Verdict,
) -> kube::Result<()> {
    let before = tombstone.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    let mut after = before.clone();
    set_condition(&mut after, BACKUPS_REMOVED, verdict, tombstone.metadata.generation, (door.now)());
    let Some(condition) =
        find(&after, BACKUPS_REMOVED).filter(|new| find(&before, BACKUPS_REMOVED) != Some(*new))
    else {
        return Ok(());
    };
    let name = tombstone.name_any();
    let (tenant, reason) = (&tombstone.spec.tenant, &condition.reason);
    tracing::info!(
        tombstone = name,
        tenant,
        reason,
        message = condition.message,
        "the backups of a deleted tenant"
    );
    // With the uid, a status never lands on a re-made object of the same name.
    let patch = json!({
        "apiVersion": TenantTombstone::api_version(&()), "kind": TenantTombstone::kind(&()),
        "metadata": {"name": name, "uid": tombstone.uid()}, "status": {"conditions": [condition]},
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let api: Api<TenantTombstone> = Api::all(client.clone());
    match api.patch_status(&name, &params, &Patch::Apply(&patch)).await {
        // It is gone, or another has its name.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        result => result.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn tombstone(store: &Value, conditions: &[(&str, &str)]) -> TenantTombstone {
        let condition = |(type_, status): &(&str, &str)| {
            json!({
                "type": type_, "status": status, "reason": "R", "message": "",
                "lastTransitionTime": "2026-11-22T12:00:00Z",
            })
        };
        let conditions: Vec<_> = conditions.iter().map(condition).collect();
        let object = json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantTombstone", "metadata": {"name": "acme-1"},
            "spec": {
                "tenant": "acme", "uid": "0b7f8f0e-5a1b-4c3d-9e8f-001122334455", "store": store, "finalBackup": "Verified",
                "deletedAt": "2026-11-22T12:00:00Z", "expiresAt": "2026-12-22T12:00:00Z", "tenantSpec": {},
            },
            "status": {"conditions": conditions},
        });
        serde_json::from_value(object).unwrap()
    }

    #[rstest]
    #[case::protected(json!("main"), &[], false)]
    #[case::not_yet(json!("main"), &[(KEY_DESTROYED, "False")], false)]
    #[case::due(json!("main"), &[(KEY_DESTROYED, "True")], true)]
    #[case::locked(json!("main"), &[(KEY_DESTROYED, "True"), (BACKUPS_REMOVED, "False")], true)]
    #[case::done(json!("main"), &[(KEY_DESTROYED, "True"), (BACKUPS_REMOVED, "True")], false)]
    #[case::without_backups(Value::Null, &[(KEY_DESTROYED, "True")], false)]
    fn backups_go_after_their_key(
        #[case] store: Value,
        #[case] conditions: &[(&str, &str)],
        #[case] due: bool,
    ) {
        let tombstone = tombstone(&store, conditions);
        assert_eq!(is_due(&tombstone), due);
        let mut all = Due::from([("acme-1".to_owned(), tombstone.clone())]);
        take(&mut all, Guarded(Ok(tombstone)));
        assert_eq!(all.contains_key("acme-1"), due);
    }

    #[test]
    fn what_is_left_is_said() {
        let store = StoreName::parse("main").unwrap();
        let prefix = Prefix::parse("acme", "0b7f8f0e-5a1b-4c3d-9e8f-001122334455").unwrap();
        let said = |result| {
            let verdict = verdict(&store, &prefix, result);
            (verdict.word.as_str(), verdict.reason, verdict.message)
        };
        assert_eq!(said(Ok(Left::default())).1, "Removed");
        let until = "2026-12-22T12:00:00.5Z".parse().ok();
        let locked = said(Ok(Left { objects: 2, until }));
        assert_eq!((locked.0, locked.1), ("False", "Locked"));
        assert!(locked.2.contains("2 objects locked, the last until 2026-12-22T12:00:00Z"), "{}", locked.2);
        assert_eq!(said(Ok(Left { objects: 2, until: None })).1, "Locked");
        assert_eq!(said(Err(Error::AccessDenied("AccessDenied".into()))).1, "AccessDenied");
    }
}
