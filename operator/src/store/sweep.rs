//! Removes from one store what need not be kept, one tenant after another: backups by their retention, exit bundles by their age.
//!
//! Of a backup the manifest goes first, then the data: whatever interrupts that leaves data without a manifest, which is no
//! backup and goes later, never a backup without data.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use kube::Client;
use tokio::{sync::mpsc, time::sleep};

use super::{
    Door,
    backend::{self, Backend, Found, FoundBundle, Removal},
    keeper::jittered,
    manifest::{self, Reason},
    path::{BackupId, Key, Part, Prefix, StoreName},
    retention::{Backup, expendable},
    stores::State,
    tenants::{self, Subject},
};
use crate::{api::tenant_export::KEPT, window};

/// How old data without a manifest is before it is taken for forgotten. A manifest comes within a day of its data, or never.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(48);
/// How many manifests are read at the same time.
const READ: usize = 2;
/// After so many tenants in a row at which the store failed, it is left alone until the next sweep.
const FAILURES: usize = 5;

/// One store, as long as a sweep takes.
struct Sweep<'a> {
    door: &'a Door,
    client: &'a Client,
    store: &'a StoreName,
    backend: &'a Backend,
}

/// What a sweep left in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Backups.
    pub(super) kept: i64,
    /// Backups that would have gone if the store had let them.
    pub(super) locked: i64,
}

/// Why a tenant's backups were not gone through to the end.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Store(#[from] backend::Error),
    #[error("the Kubernetes API does not say what is to be kept")]
    Kubernetes(#[from] kube::Error),
}

impl Error {
    fn reason(&self) -> &'static str {
        match self {
            Self::Store(error) => error.reason(),
            Self::Kubernetes(_) => "KubernetesFailed",
        }
    }
}

/// Sweeps a store now and then, and a tenant's part of it when a backup came, until dropped.
pub(super) async fn keep_swept(
    door: Arc<Door>,
    client: Client,
    store: StoreName,
    state: Arc<State>,
    mut grown: mpsc::Receiver<Prefix>,
) {
    loop {
        let backend = state.open().await;
        Sweep { door: &door, client: &client, store: &store, backend: &backend }.all().await;
        let mut next = std::pin::pin!(sleep(jittered(door.limits.sweep_interval)));
        loop {
            let prefix = tokio::select! {
                () = &mut next => break,
                prefix = grown.recv() => prefix,
            };
            let Some(prefix) = prefix else { return };
            // It may be another one by now.
            let backend = state.open().await;
            Sweep { door: &door, client: &client, store: &store, backend: &backend }.one(&prefix).await;
        }
    }
}

impl Sweep<'_> {
    /// All tenants, unless the store fails.
    async fn all(&self) {
        let store = self.store.as_str();
        let reason = match self.every_tenant().await {
            Ok(left) => {
                self.door.metrics.swept(store, left);
                tracing::debug!(store, kept = left.kept, locked = left.locked, "a store was swept");
                "ok"
            }
            Err(error) => {
                tracing::warn!(store, error = &error as &dyn std::error::Error, "a store was not swept");
                error.reason()
            }
        };
        self.door.metrics.sweeps.with_label_values(&[store, reason]).inc();
    }

    /// The first error when there were too many.
    async fn every_tenant(&self) -> Result<Tally, Error> {
        let mut left = Tally::default();
        let mut in_a_row = Vec::new();
        for subject in tenants::all(self.client).await? {
            match self.tenant(&subject).await {
                Ok(Tally { kept, locked }) => {
                    left = Tally { kept: left.kept + kept, locked: left.locked + locked };
                    in_a_row.clear();
                }
                Err(error) => {
                    self.failed(&subject.prefix, &error);
                    in_a_row.push(error);
                }
            }
            if FAILURES <= in_a_row.len() {
                break;
            }
        }
        in_a_row.into_iter().next().map_or(Ok(left), Err)
    }

    /// One tenant, as it is now.
    async fn one(&self, prefix: &Prefix) {
        let result = match tenants::of(self.client, prefix).await {
            Ok(Some(subject)) => self.tenant(&subject).await.map(drop),
            Ok(None) => Ok(()),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = result {
            self.failed(prefix, &error);
        }
    }

    fn failed(&self, prefix: &Prefix, error: &Error) {
        let store = self.store.as_str();
        self.door.metrics.sweep_failures.with_label_values(&[store, error.reason()]).inc();
        let error = error as &dyn std::error::Error;
        tracing::warn!(store, %prefix, error, "a tenant's backups were not gone through; they will be again");
    }

    async fn tenant(&self, subject: &Subject) -> Result<Tally, Error> {
        let prefix = &subject.prefix;
        let (found, bundles) = self.backend.found(prefix).await?;
        let now = (self.door.now)();
        self.bundles(prefix, bundles, now).await?;
        let (complete, rest): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| found.has_manifest);
        let forgotten: Vec<_> = rest.into_iter().filter(|found| is_forgotten(found, now)).collect();
        let mut left = Tally { kept: count(complete.len()), locked: 0 };
        // Manifests are read only when something might go, and then all: those that stay must be good.
        let presumed: Vec<_> = complete.iter().map(presumed).collect();
        if forgotten.is_empty() && expendable(&presumed, subject.keep, &zone(subject), now).is_empty() {
            return Ok(left);
        }
        // Since the sweep began, the tenant may have gone, or have another plan.
        let Some(subject) = tenants::of(self.client, prefix).await? else { return Ok(left) };
        for Found { id, .. } in forgotten {
            if self.remove(prefix, &id, Part::Data, "unfinished").await? {
                tracing::info!(store = self.store.as_str(), %prefix, backup = %id, "data without a manifest was removed");
            }
        }
        let reading = complete.into_iter().map(|found| self.read(prefix, found));
        let backups: Vec<_> = stream::iter(reading).buffered(READ).try_collect().await?;
        for id in expendable(&backups, subject.keep, &zone(&subject), now) {
            if !self.remove(prefix, &id, Part::Manifest, "expired").await? {
                left.locked += 1;
                continue;
            }
            left.kept -= 1;
            tracing::info!(store = self.store.as_str(), %prefix, backup = %id, "a backup was removed");
            self.remove(prefix, &id, Part::Data, "expired").await?;
        }
        Ok(left)
    }

    /// Removes the exit bundles that were there for long enough. Nothing else depends on them.
    async fn bundles(&self, prefix: &Prefix, bundles: Vec<FoundBundle>, now: Timestamp) -> Result<(), Error> {
        for FoundBundle { id, .. } in bundles.into_iter().filter(|bundle| is_over(bundle, now)) {
            if self.remove(prefix, &id, Part::Bundle, "exit_bundle").await? {
                tracing::info!(store = self.store.as_str(), %prefix, export = %id, "an exit bundle was removed");
            }
        }
        Ok(())
    }

    /// Removes an object; false when the store keeps it.
    async fn remove(&self, prefix: &Prefix, id: &BackupId, part: Part, why: &str) -> Result<bool, Error> {
        let key = Key { prefix: prefix.clone(), backup: id.clone(), part };
        match self.backend.remove(&key).await? {
            Removal::Removed => {
                self.door.metrics.removed.with_label_values(&[self.store.as_str(), why]).inc();
                Ok(true)
            }
            Removal::Locked(until) => {
                tracing::debug!(store = self.store.as_str(), object = %key, ?until, "an object is locked");
                Ok(false)
            }
        }
    }

    /// Looks whether a backup could be restored.
    async fn read(&self, prefix: &Prefix, found: Found) -> Result<Backup, backend::Error> {
        let key = Key { prefix: prefix.clone(), backup: found.id.clone(), part: Part::Manifest };
        let damage = match self.facts(&key).await? {
            Ok(facts) => match manifest::check_size(facts.size, found.data.map(|data| data.size)) {
                Ok(()) => {
                    let manifest::Facts { created_at, reason, .. } = facts;
                    return Ok(Backup { id: found.id, created_at, reason, is_good: true });
                }
                Err(invalid) => invalid.to_string(),
            },
            Err(damage) => damage,
        };
        self.door.metrics.unreadable_manifests.inc();
        tracing::error!(store = self.store.as_str(), object = %key, damage, "a backup is damaged, and is kept");
        Ok(Backup { is_good: false, ..presumed(&found) })
    }

    async fn facts(&self, key: &Key) -> Result<Result<manifest::Facts, String>, backend::Error> {
        let Some(object) = self.backend.get(key).await? else {
            return Ok(Err("its manifest is not there any more".to_owned()));
        };
        match object.collect(manifest::MAX_BYTES).await {
            Ok(text) => Ok(manifest::check(&text, self.store, key).map_err(|invalid| invalid.to_string())),
            Err(error @ backend::Error::TooLarge(_)) => Ok(Err(error.to_string())),
            Err(error) => Err(error),
        }
    }
}

/// What a backup is taken for before its manifest is read.
fn presumed(found: &Found) -> Backup {
    let Found { id, .. } = found;
    Backup { id: id.clone(), created_at: id.time(), reason: Reason::Scheduled, is_good: true }
}

/// Whether nobody will put a manifest to this data any more.
fn is_forgotten(found: &Found, now: Timestamp) -> bool {
    let newest = found.data.map(|data| data.modified.max(found.id.time()));
    !found.has_manifest && newest.is_some_and(|newest| FORGOTTEN <= now.duration_since(newest))
}

/// Whether an exit bundle was there for as long as it is kept, by its name and by its date.
fn is_over(bundle: &FoundBundle, now: Timestamp) -> bool {
    KEPT <= now.duration_since(bundle.id.time().max(bundle.stored.modified))
}

/// Where the tenant's days begin. For one that is not known, any other does: what matters is
/// that it is always the same.
fn zone(subject: &Subject) -> TimeZone {
    window::time_zone(&subject.zone).unwrap_or(TimeZone::UTC)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::store::backend::Stored;

    #[rstest]
    #[case::old("20261120T120000Z-aaaaaa", Some("2026-11-20T12:01:00Z"), false, true)]
    #[case::young("20261120T120000Z-aaaaaa", Some("2026-11-20T12:02:00Z"), false, false)]
    #[case::copied_lately("20261020T120000Z-aaaaaa", Some("2026-11-20T12:02:00Z"), false, false)]
    #[case::with_an_odd_date("20261120T120200Z-aaaaaa", Some("2020-01-01T00:00:00Z"), false, false)]
    #[case::a_backup("20261020T120000Z-aaaaaa", Some("2026-10-20T12:00:00Z"), true, false)]
    #[case::nothing("20261020T120000Z-aaaaaa", None, false, false)]
    fn data_is_forgotten_after_two_days(
        #[case] id: &str,
        #[case] modified: Option<&str>,
        #[case] has_manifest: bool,
        #[case] forgotten: bool,
    ) {
        let data = modified.map(|modified| Stored { size: 1, modified: modified.parse().unwrap() });
        let found = Found { id: BackupId::parse(id).unwrap(), data, has_manifest };
        assert_eq!(is_forgotten(&found, "2026-11-22T12:01:00Z".parse().unwrap()), forgotten);
    }

    #[rstest]
    #[case::kept("20261108T120100Z-aaaaaa", "2026-11-08T12:01:01Z", false)]
    #[case::over("20261108T120059Z-aaaaaa", "2026-11-08T12:01:00Z", true)]
    #[case::copied_lately("20261008T120000Z-aaaaaa", "2026-11-20T12:02:00Z", false)]
    #[case::with_an_odd_date("20261120T120200Z-aaaaaa", "2020-01-01T00:00:00Z", false)]
    fn an_exit_bundle_is_kept_for_two_weeks(#[case] id: &str, #[case] modified: &str, #[case] over: bool) {
        let stored = Stored { size: 1, modified: modified.parse().unwrap() };
        let bundle = FoundBundle { id: BackupId::parse(id).unwrap(), stored };
        assert_eq!(is_over(&bundle, "2026-11-22T12:01:00Z".parse().unwrap()), over);
    }

    #[test]
    fn the_time_zones_of_tenants_are_known_without_a_system() {
        let prefix = Prefix::parse("acme", "0b7f8f0e-5a1b-4c3d-9e8f-001122334455").unwrap();
        let keep = crate::api::Retention::default();
        let subject = Subject { prefix, keep, zone: "Asia/Shanghai".to_owned() };
        assert_eq!(zone(&subject).iana_name(), Some("Asia/Shanghai"));
        assert_eq!(zone(&Subject { zone: "Mars/Olympus".to_owned(), ..subject }), TimeZone::UTC);
    }
}
