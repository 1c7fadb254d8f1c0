//! When something last moved, and how long more silence is accepted.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::{
    sync::Notify,
    time::{Duration, Instant, sleep_until},
};

use super::limits::Limits;

/// Requests that one client may take back unanswered in one stretch of time. Pages that look things up while people type
/// take back a few a second, and everything that is open when they are closed.
const MAX_TAKEN_BACK: u64 = 256;
const STRETCH: Duration = Duration::from_secs(10);

/// Counts up to a limit, anew in each stretch of time.
#[derive(Debug, Default)]
pub(super) struct Quota {
    stretch: AtomicU64,
    taken: AtomicU64,
}

impl Quota {
    /// Whether one more is within the limit, in the stretch of this number. Racing callers may get a few more, which does
    /// no harm.
    pub(super) fn take(&self, stretch: u64, limit: u64) -> bool {
        if self.stretch.swap(stretch, Ordering::Relaxed) != stretch {
            self.taken.store(0, Ordering::Relaxed);
        }
        self.taken.fetch_add(1, Ordering::Relaxed) < limit
    }
}

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
    taken_back: Quota,
    is_restless: AtomicBool,
    /// What brings the deadline nearer: the last open request is over, or too many have been taken back.
    comes_nearer: Notify,
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
    /// Requests are taken back as fast as they come ("rapid reset"), which no limit on open requests limits.
    Restless,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            pulse: Pulse::new(),
            open_requests: AtomicUsize::new(0),
            had_requests: AtomicBool::new(false),
            taken_back: Quota::default(),
            is_restless: AtomicBool::new(false),
            comes_nearer: Notify::new(),
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
            self.comes_nearer.notify_one();
        }
    }

    /// Counts a request that the client gave up before it was answered.
    pub(super) fn request_is_taken_back(&self) {
        let stretch = self.pulse.born.elapsed().as_secs() / STRETCH.as_secs();
        if !self.taken_back.take(stretch, MAX_TAKEN_BACK) {
            self.is_restless.store(true, Ordering::Relaxed);
            self.comes_nearer.notify_one();
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
                () = self.comes_nearer.notified() => {}
            }
        }
    }

    /// Whether the connection is overdue at this moment.
    pub(super) fn overdue_now(&self, limits: &Limits) -> Option<Overdue> {
        let (deadline, reason) = self.deadline(limits);
        (deadline <= Instant::now()).then_some(reason)
    }

    fn deadline(&self, limits: &Limits) -> (Instant, Overdue) {
        if self.is_restless.load(Ordering::Relaxed) {
            (self.pulse.born, Overdue::Restless)
        } else if !self.had_requests.load(Ordering::Relaxed) {
            (self.pulse.born + limits.header_timeout, Overdue::SlowHead)
        } else if self.open_requests.load(Ordering::Relaxed) == 0 {
            (self.pulse.last() + limits.idle_timeout, Overdue::Idle)
        } else {
            (self.pulse.last() + limits.stall_timeout(), Overdue::Stalled)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_for_one_stretch_of_time() {
        let quota = Quota::default();
        let taken = |stretch| (0..100).filter(|_| quota.take(stretch, 10)).count();
        assert_eq!((taken(1), taken(2)), (10, 10));
    }

    #[test]
    fn a_client_may_change_its_mind_but_not_all_the_time() {
        let activity = Activity::new();
        for _ in 0..MAX_TAKEN_BACK {
            activity.request_is_taken_back();
        }
        assert!(!activity.is_restless.load(Ordering::Relaxed));
        activity.request_is_taken_back();
        assert!(activity.is_restless.load(Ordering::Relaxed));
    }
}
