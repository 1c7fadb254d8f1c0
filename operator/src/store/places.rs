//! How much of the door one tenant may take, so that the others find room.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{path::Prefix, problem::Problem};

/// Requests that one tenant may have open.
const PER_TENANT: usize = 8;

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    tenants: Arc<Mutex<HashMap<Prefix, Taken>>>,
    uploads: Arc<Semaphore>,
    /// How long an upload waits for others to finish.
    wait: Duration,
}

/// What a tenant takes at the moment.
#[derive(Debug, Default)]
struct Taken {
    requests: usize,
    uploads: HashSet<Lane>,
}

/// What is uploaded. An exit bundle holds up no backup, nor the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    Backups,
    ExitBundles,
}

/// One request's place.
#[derive(Debug)]
pub(super) struct Place {
    prefix: Prefix,
    tenants: Arc<Mutex<HashMap<Prefix, Taken>>>,
}

/// The place of one upload, which holds memory. A tenant has one of each lane at a time, so that of two uploads to one path one
/// comes first.
#[derive(Debug)]
pub(super) struct UploadPlace {
    place: Place,
    lane: Lane,
    permit: Option<OwnedSemaphorePermit>,
}

impl Places {
    pub(super) fn new(uploads: usize, wait: Duration) -> Self {
        Self { tenants: Arc::default(), uploads: Arc::new(Semaphore::new(uploads)), wait }
    }

    /// A place for a request, if the tenant has not too many already.
    pub(super) fn request(&self, prefix: &Prefix) -> Result<Place, Problem> {
        let mut tenants = lock(&self.tenants);
        let taken = tenants.entry(prefix.clone()).or_default();
        if PER_TENANT <= taken.requests {
            return Err(Problem::busy(format!("this tenant has {PER_TENANT} requests open already")));
        }
        taken.requests += 1;
        Ok(Place { prefix: prefix.clone(), tenants: self.tenants.clone() })
    }

    /// A place for an upload.
    pub(super) async fn upload(&self, prefix: &Prefix, lane: Lane) -> Result<UploadPlace, Problem> {
        let place = self.request(prefix)?;
        let is_free = lock(&self.tenants).get_mut(prefix).is_some_and(|taken| taken.uploads.insert(lane));
        if !is_free {
            return Err(Problem::busy("this tenant has another upload under way"));
        }
        let mut place = UploadPlace { place, lane, permit: None };
        place.permit =
            timeout(self.wait, self.uploads.clone().acquire_owned()).await.ok().and_then(Result::ok);
        if place.permit.is_none() {
            return Err(Problem::busy("too many uploads are under way"));
        }
        Ok(place)
    }
}

impl Place {
    fn end_upload(&self, lane: Lane) {
        if let Some(taken) = lock(&self.tenants).get_mut(&self.prefix) {
            taken.uploads.remove(&lane);
        }
    }
}

impl Drop for UploadPlace {
    fn drop(&mut self) {
        self.place.end_upload(self.lane);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut tenants = lock(&self.tenants);
        let Some(taken) = tenants.get_mut(&self.prefix) else { return };
        taken.requests = taken.requests.saturating_sub(1);
        if taken.requests == 0 {
            tenants.remove(&self.prefix);
        }
    }
}

fn lock(tenants: &Mutex<HashMap<Prefix, Taken>>) -> MutexGuard<'_, HashMap<Prefix, Taken>> {
    tenants.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(tenant: &str) -> Prefix {
        Prefix::parse(tenant, "0b7f8f0e-5a1b-4c3d-9e8f-001122334455").unwrap()
    }

    #[tokio::test]
    async fn a_tenant_has_one_upload_at_a_time_and_others_have_theirs() {
        let places = Places::new(2, Duration::ZERO);
        let first = places.upload(&prefix("acme"), Lane::Backups).await.unwrap();
        assert_eq!(places.upload(&prefix("acme"), Lane::Backups).await.unwrap_err().reason, "Busy");
        let bundle = places.upload(&prefix("acme"), Lane::ExitBundles).await.unwrap();
        assert_eq!(places.upload(&prefix("acme"), Lane::ExitBundles).await.unwrap_err().reason, "Busy");
        drop(bundle);
        let _other = places.upload(&prefix("bluesky"), Lane::Backups).await.unwrap();
        drop(first);
        places.upload(&prefix("acme"), Lane::Backups).await.unwrap();
    }

    #[tokio::test]
    async fn an_upload_waits_for_room_and_gives_up() {
        let places = Places::new(1, Duration::from_millis(20));
        let first = places.upload(&prefix("acme"), Lane::Backups).await.unwrap();
        assert_eq!(places.upload(&prefix("bluesky"), Lane::Backups).await.unwrap_err().reason, "Busy");
        let places = Places { wait: Duration::from_secs(30), ..places };
        let bluesky = prefix("bluesky");
        let (second, ()) = tokio::join!(places.upload(&bluesky, Lane::Backups), async { drop(first) });
        second.unwrap();
    }

    #[test]
    fn one_tenant_does_not_take_all_places() {
        let places = Places::new(1, Duration::ZERO);
        let taken: Vec<_> = (0..PER_TENANT).map(|_| places.request(&prefix("acme")).unwrap()).collect();
        assert_eq!(places.request(&prefix("acme")).unwrap_err().reason, "Busy");
        places.request(&prefix("bluesky")).unwrap();
        drop(taken);
        places.request(&prefix("acme")).unwrap();
        assert!(lock(&places.tenants).is_empty(), "nothing is kept of tenants without requests");
    }
}
