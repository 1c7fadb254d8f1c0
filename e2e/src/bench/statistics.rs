//! Minimum, median, 95th percentile and maximum of a handful of durations.

use std::time::Duration;

/// Durations of the same thing done several times, sorted. Never empty.
#[derive(Clone, Debug)]
pub(super) struct Sample(Vec<Duration>);

impl Sample {
    /// Sorts the durations; `None` when there are none.
    pub(super) fn new(mut durations: Vec<Duration>) -> Option<Self> {
        durations.sort();
        (!durations.is_empty()).then_some(Self(durations))
    }

    /// The smallest duration that at least `percent` of all do not exceed (nearest rank).
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).clamp(1, self.0.len());
        self.0[rank - 1]
    }

    /// The 50th percentile.
    pub(super) fn median(&self) -> Duration {
        self.percentile(50)
    }
}

impl std::fmt::Display for Sample {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [min, median, p95, max] = [1, 50, 95, 100].map(|percent| self.percentile(percent).as_secs_f64());
        write!(formatter, "{min:>7.2} {median:>7.2} {p95:>7.2} {max:>7.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let sample = Sample::new((1..=10).rev().map(Duration::from_secs).collect()).expect("not empty");
        let seconds = [1, 50, 90, 95, 100].map(|percent| sample.percentile(percent).as_secs());
        assert_eq!(seconds, [1, 5, 9, 10, 10]);
        assert!(Sample::new(Vec::new()).is_none());
    }
}
