//! Waiting time after failures, for each object: it doubles from a second to five minutes, and success resets it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);

/// Failures in a row, by object.
pub struct Backoff {
    failures: Mutex<HashMap<String, u32>>,
    /// A number from 0 to 1, so that objects that failed together do not come back together.
    jitter: fn() -> f64,
}

impl Backoff {
    /// No failures yet.
    pub fn new(jitter: fn() -> f64) -> Self {
        Self { failures: Mutex::default(), jitter }
    }

    /// How long to wait after one more failure.
    pub fn next(&self, name: &str) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(name.to_owned()).or_default();
        let wait = FIRST.saturating_mul(1 << (*count).min(16)).min(LONGEST);
        *count = count.saturating_add(1);
        self.shortened(wait)
    }

    /// A regular wait, spread so that a fleet does not move in step.
    pub fn spread(&self, wait: Duration) -> Duration {
        self.shortened(wait)
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
        let waits: Vec<u64> = (0..11).map(|_| backoff.next("acme").as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff.next("other").as_secs(), 1);
        backoff.reset("acme");
        assert_eq!(backoff.next("acme").as_secs(), 1);
    }

    #[test]
    fn jitter_takes_away_at_most_a_quarter() {
        let backoff = Backoff::new(|| 1.0);
        assert_eq!(backoff.next("acme"), Duration::from_millis(750));
        assert_eq!(backoff.spread(Duration::from_mins(5)), Duration::from_secs(225));
    }
}
