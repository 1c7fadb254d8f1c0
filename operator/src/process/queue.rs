//! What waits for a reconcile, and since when. The runtime keeps the queue itself; this only watches it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Tenants that changed and have not been looked at since.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Mutex<HashMap<String, Instant>>,
}

impl Queue {
    /// Something about the tenant changed.
    pub fn changed(&self, tenant: &str) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.contains_key(tenant) {
            waiting.insert(tenant.to_owned(), Instant::now());
        }
    }

    /// The tenant is being looked at; how long it waited, if a change was the cause.
    pub fn started(&self, tenant: &str) -> Option<Duration> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(tenant).map(|since| since.elapsed())
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// None waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_waits_once_however_often_it_changes() {
        let queue = Queue::default();
        queue.changed("acme");
        queue.changed("acme");
        assert_eq!(queue.len(), 1);
        assert!(queue.started("acme").is_some());
        assert!(queue.started("acme").is_none());
        assert!(queue.is_empty());
    }
}
