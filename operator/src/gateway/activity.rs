//! When something last moved, and how long more silence is accepted.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::{
    sync::Notify,
    time::{Duration, Instant, sleep_until},
};

use super::limits::Limits;

/// The moment at which something last moved. Many may beat at once.
#[derive(Debug)]
pub(super) struct Pulse {
    born: Instant,
    last_ms: AtomicU64,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self { born: Instant::now(), last_ms: AtomicU64::new(0) }
    }

    pub(super) fn beat(&self) {
        let age_ms = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.fetch_max(age_ms, Ordering::Relaxed);
    }

    pub(super) fn last(&self) -> Instant {
        self.born + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }

    /// Returns when nothing has moved for this long.
    pub(super) async fn silent_for(&self, limit: Duration) {
        loop {
            let deadline = self.last() + limit;
            if deadline <= Instant::now() {
                return;
            }
            sleep_until(deadline).await;
        }
    }
}

/// What goes on on one client connection.
#[derive(Debug)]
pub(super) struct Activity {
    pulse: Pulse,
    open_requests: AtomicUsize,
    had_requests: AtomicBool,
    /// The one change that brings the deadline nearer: the last open request is over.
    falls_idle: Notify,
}

/// Why a connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// No complete request head came in time.
    SlowHead,
    /// Nothing to do for too long.
    Idle,
    /// Requests are open, but nothing moves: the client does not read.
    Stalled,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            pulse: Pulse::new(),
            open_requests: AtomicUsize::new(0),
            had_requests: AtomicBool::new(false),
            falls_idle: Notify::new(),
        }
    }

    pub(super) fn request_begins(&self) {
        self.had_requests.store(true, Ordering::Relaxed);
        self.open_requests.fetch_add(1, Ordering::Relaxed);
        self.pulse.beat();
    }

    pub(super) fn request_ends(&self) {
        self.pulse.beat();
        if self.open_requests.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.falls_idle.notify_one();
        }
    }

    pub(super) fn beat(&self) {
        self.pulse.beat();
    }

    /// Returns when the connection has been overdue in one way.
    pub(super) async fn overdue(&self, limits: &Limits) -> Overdue {
        loop {
            if let Some(reason) = self.overdue_now(limits) {
                return reason;
            }
            tokio::select! {
                () = sleep_until(self.deadline(limits).0) => {}
                () = self.falls_idle.notified() => {}
            }
        }
    }

    /// Whether the connection is overdue at this moment.
    pub(super) fn overdue_now(&self, limits: &Limits) -> Option<Overdue> {
        let (deadline, reason) = self.deadline(limits);
        (deadline <= Instant::now()).then_some(reason)
    }

    fn deadline(&self, limits: &Limits) -> (Instant, Overdue) {
        if !self.had_requests.load(Ordering::Relaxed) {
            (self.pulse.born + limits.header_timeout, Overdue::SlowHead)
        } else if self.open_requests.load(Ordering::Relaxed) == 0 {
            (self.pulse.last() + limits.idle_timeout, Overdue::Idle)
        } else {
            (self.pulse.last() + limits.stall_timeout(), Overdue::Stalled)
        }
    }
}
