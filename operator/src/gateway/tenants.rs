//! What the gateway keeps per tenant: a bounded number of open requests, and a bounded set of metric series.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock},
};

use prometheus::IntCounterVec;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::exchange::Outcome;

/// The tenants that have a route.
#[derive(Debug)]
pub(super) struct Tenants {
    slots: RwLock<HashMap<String, Arc<Semaphore>>>,
    slots_each: usize,
    requests: IntCounterVec,
}

impl Tenants {
    pub(super) fn new(slots_each: usize, requests: IntCounterVec) -> Self {
        Self { slots: RwLock::default(), slots_each, requests }
    }

    /// Takes up new tenants and forgets those that are gone, with their metric series. The others keep what they have open.
    pub(super) fn keep(&self, names: &BTreeSet<&str>) {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|tenant, _| {
            let stays = names.contains(tenant.as_str());
            if !stays {
                for result in Outcome::labels() {
                    // A series that was never counted is none to remove.
                    let _ = self.requests.remove_label_values(&[tenant, result]);
                }
            }
            stays
        });
        for name in names {
            slots.entry((*name).to_owned()).or_insert_with(|| Arc::new(Semaphore::new(self.slots_each)));
        }
    }

    /// A place for one more request of this tenant, if there is one.
    pub(super) fn reserve(&self, tenant: &str) -> Option<OwnedSemaphorePermit> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(tenant)?.clone().try_acquire_owned().ok()
    }

    /// Counts a finished request. One that outlived its tenant's route is not counted: it would bring back a series that
    /// nothing would ever remove. The lock is held while counting for the same reason.
    pub(super) fn count(&self, tenant: &str, result: &str) {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        if slots.contains_key(tenant) {
            self.requests.with_label_values(&[tenant, result]).inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Opts, core::Collector};

    use super::*;

    fn tenants() -> Tenants {
        Tenants::new(1, IntCounterVec::new(Opts::new("requests", "help"), &["tenant", "result"]).unwrap())
    }

    fn series(tenants: &Tenants) -> usize {
        tenants.requests.collect().iter().map(|family| family.get_metric().len()).sum()
    }

    #[test]
    fn series_go_with_their_tenant_and_do_not_come_back() {
        let tenants = tenants();
        tenants.keep(&BTreeSet::from(["acme", "bluesky"]));
        tenants.count("acme", "2xx");
        tenants.count("acme", "unreachable");
        tenants.count("bluesky", "2xx");
        assert_eq!(series(&tenants), 3);
        tenants.keep(&BTreeSet::from(["bluesky"]));
        assert_eq!(series(&tenants), 1);
        tenants.count("acme", "2xx");
        assert_eq!(series(&tenants), 1);
    }

    #[test]
    fn one_tenants_open_requests_are_bounded_also_over_a_new_route_table() {
        let tenants = tenants();
        tenants.keep(&BTreeSet::from(["acme", "bluesky"]));
        let open = tenants.reserve("acme");
        assert!(open.is_some());
        tenants.keep(&BTreeSet::from(["acme", "bluesky"]));
        assert!(tenants.reserve("acme").is_none());
        assert!(tenants.reserve("bluesky").is_some());
        drop(open);
        assert!(tenants.reserve("acme").is_some());
    }
}
