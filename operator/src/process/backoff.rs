//! Waiting time after failures, for each object: it doubles from a second to five minutes, and success resets it.
//!
//! News end that wait, since they may be what was missing. But what fails again and again has news without end, of its own
//! pods or of whoever tries to mend it, and each would cost the others: it is looked at once a second, however loud it is.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);
/// So many failures in a row are a habit.
const HABIT: u32 = 5;
/// From one failure of a habit to the next.
const REST: Duration = Duration::from_secs(1);

/// Failures in a row, by object.
pub struct Backoff {
    failures: Mutex<HashMap<String, Failures>>,
    /// A number from 0 to 1, so that objects that failed together do not come back together.
    jitter: fn() -> f64,
}

struct Failures {
    count: u32,
    last: Instant,
}

impl Backoff {
    /// No failures yet.
    pub fn new(jitter: fn() -> f64) -> Self {
        Self { failures: Mutex::default(), jitter }
    }

    /// How long to wait after one more failure, if there is no news.
    pub fn next(&self, name: &str) -> Duration {
        let last = Instant::now();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = failures.entry(name.to_owned()).or_insert(Failures { count: 0, last });
        let wait = FIRST.saturating_mul(1 << failures.count.min(16)).min(LONGEST);
        *failures = Failures { count: failures.count.saturating_add(1), last };
        self.shortened(wait)
    }

    /// How long news of it have to wait, if at all.
    pub fn rest(&self, name: &str) -> Option<Duration> {
        self.rest_at(name, Instant::now())
    }

    fn rest_at(&self, name: &str, now: Instant) -> Option<Duration> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = failures.get(name).filter(|failures| HABIT <= failures.count)?;
        REST.checked_sub(now.duration_since(failures.last)).filter(|rest| !rest.is_zero())
    }

    /// A regular wait, spread so that a fleet does not move in step.
    pub fn spread(&self, wait: Duration) -> Duration {
        self.shortened(wait)
    }

    /// Some moment within that time, so that what began together goes on one by one.
    pub fn scattered(&self, within: Duration) -> Duration {
        within.mul_f64(1.0 - (self.jitter)().clamp(0.0, 1.0))
    }

    /// All is well again.
    pub fn reset(&self, name: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// By up to a quarter.
    fn shortened(&self, wait: Duration) -> Duration {
        wait.mul_f64(1.0 - (self.jitter)().clamp(0.0, 1.0) / 4.0)
    }
}

/// Jitter from the system's randomness.
pub fn random_jitter() -> f64 {
    rand::random::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes_and_success_resets() {
        let backoff = Backoff::new(|| 0.0);
        let next = |name| backoff.next(name).as_secs();
        assert_eq!([0; 11].map(|_| next("acme")), [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(next("other"), 1);
        backoff.reset("acme");
        assert_eq!(next("acme"), 1);
    }

    #[test]
    fn jitter_takes_away_at_most_a_quarter() {
        let backoff = Backoff::new(|| 1.0);
        assert_eq!(backoff.next("acme"), Duration::from_millis(750));
        assert_eq!(backoff.spread(Duration::from_mins(5)), Duration::from_secs(225));
    }

    #[test]
    fn what_is_scattered_takes_any_moment_of_the_time() {
        let at = |jitter| Backoff::new(jitter).scattered(Duration::from_mins(5)).as_secs();
        assert_eq!([at(|| 0.0), at(|| 0.25), at(|| 1.0)], [300, 225, 0]);
    }

    #[test]
    fn news_of_what_fails_again_and_again_wait_for_a_second() {
        let backoff = Backoff::new(|| 0.0);
        for failures in 0..5 {
            assert_eq!(backoff.rest("acme"), None, "{failures} failures are no habit");
            backoff.next("acme");
        }
        let now = Instant::now();
        let rest = backoff.rest_at("acme", now).unwrap();
        assert!(Duration::from_millis(900) < rest && rest <= Duration::from_secs(1), "{rest:?}");
        let later = |after| backoff.rest_at("acme", now + after);
        assert_eq!(later(rest / 2), Some(rest.abs_diff(rest / 2)));
        assert_eq!(later(rest), None);
        assert_eq!(backoff.rest_at("other", now), None);
        backoff.reset("acme");
        assert_eq!(backoff.rest_at("acme", now), None);
    }
}
