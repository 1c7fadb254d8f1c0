//! What the operator shows of itself: whether it is ready, and its metrics.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use kube::runtime::reflector::Store;

use crate::{
    api::Tenant,
    process::{health::Vitals, metrics::Metrics, queue::Queue},
};

/// What is known while there is work.
pub(super) struct Work {
    /// All tenants.
    pub(super) tenants: Store<Tenant>,
    /// Those that wait.
    pub(super) queue: Arc<Queue>,
}

/// How the operator is.
pub(super) struct OperatorVitals {
    ready: AtomicBool,
    /// Nothing while this replica stands by.
    work: Mutex<Option<Work>>,
    /// Its counters.
    pub(super) metrics: Arc<Metrics>,
}

impl OperatorVitals {
    /// Of one that is not ready and has no work yet.
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { ready: AtomicBool::new(false), work: Mutex::default(), metrics }
    }

    /// The work begins.
    pub(super) fn show(&self, work: Work) {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
    }

    /// It can do its part.
    pub(super) fn be_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// The work is over. It is ready again when it has seen who works now, or when it works itself.
    pub(super) fn stand_by(&self) {
        self.metrics.leads(false);
        self.ready.store(false, Ordering::Relaxed);
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Vitals for OperatorVitals {
    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    fn metrics(&self) -> Result<String, prometheus::Error> {
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let tenants = work.as_ref().map(|work| work.tenants.state()).unwrap_or_default();
        let queued = work.as_ref().map_or(0, |work| work.queue.len());
        self.metrics.render(tenants.iter().map(AsRef::as_ref), queued)
    }
}
