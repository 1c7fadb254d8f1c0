//! What is printed: each figure with its limit.

use std::{fmt, time::Duration};

use anyhow::{Result, ensure};

use super::subject::Taken;

/// Most memory that the Job ever has: the CRM and the `pg_dump` that it starts.
const PEAK_MB: f64 = 64.0;
/// Time and size, in times of the pipe's.
const RATIO: f64 = 1.3;

/// One turn of each.
pub(super) struct Round {
    pub(super) floor: Duration,
    pub(super) floor_size: u64,
    pub(super) ours: Taken,
    pub(super) ours_size: u64,
    pub(super) export: Taken,
}

/// What was measured; prints itself as a table.
pub struct Report {
    /// How large the tables are.
    pub(super) bytes: u64,
    /// At least one.
    pub(super) rounds: Vec<Round>,
}

/// Smallest, middle, largest.
struct Spread([f64; 3]);

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut all: Vec<f64> = values.collect();
        all.sort_by(f64::total_cmp);
        let last = all.len() - 1;
        Self([all[0], all[last / 2], all[last]])
    }

    fn median(&self) -> f64 {
        self.0[1]
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

impl Report {
    fn spread(&self, value: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(value))
    }

    /// Of either command, ever.
    fn peak(&self) -> f64 {
        self.spread(|round| megabytes(round.ours.peak.max(round.export.peak))).0[2]
    }

    fn time_ratio(&self) -> f64 {
        self.spread(|round| round.ours.took.as_secs_f64()).median()
            / self.spread(|round| round.floor.as_secs_f64()).median()
    }

    fn size_ratio(&self) -> f64 {
        self.spread(|round| megabytes(round.ours_size)).median()
            / self.spread(|round| megabytes(round.floor_size)).median()
    }

    /// The limits that a backup must keep.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(&self) -> Result<()> {
        let (peak, time, size) = (self.peak(), self.time_ratio(), self.size_ratio());
        // Written so that what is not a number does not hold.
        ensure!(
            peak <= PEAK_MB && time <= RATIO && size <= RATIO,
            "memory rose to {peak:.1} MB (limit {PEAK_MB:.0}); a backup took {time:.2} times the pipe's time and {size:.2} times its \
             room (limits {RATIO})"
        );
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title =
            format!("a backup of {:.0} MB of rows, {} rounds", megabytes(self.bytes), self.rounds.len());
        writeln!(f, "{title:52} {:>9} {:>9} {:>9}", "min", "median", "max")?;
        let mut line = |name: &str, spread: &Spread| {
            let [min, median, max] = spread.0;
            writeln!(f, "  {name:50} {min:>9.2} {median:>9.2} {max:>9.2}")
        };
        line("crm-app backup, seconds", &self.spread(|round| round.ours.took.as_secs_f64()))?;
        line("pg_dump | zstd | age, seconds", &self.spread(|round| round.floor.as_secs_f64()))?;
        line("crm-app backup, megabytes", &self.spread(|round| megabytes(round.ours_size)))?;
        line("pg_dump | zstd | age, megabytes", &self.spread(|round| megabytes(round.floor_size)))?;
        line("memory of the backup, megabytes", &self.spread(|round| megabytes(round.ours.peak)))?;
        line("crm-app export, seconds", &self.spread(|round| round.export.took.as_secs_f64()))?;
        line("memory of the export, megabytes", &self.spread(|round| megabytes(round.export.peak)))?;
        let verdict = |value: f64, limit: f64| if value <= limit { "ok" } else { "MISSED" };
        let (time, size, peak) = (self.time_ratio(), self.size_ratio(), self.peak());
        writeln!(
            f,
            "{:52} {time:>9.2}     limit {RATIO:>5.2} {}",
            "time, median to median",
            verdict(time, RATIO)
        )?;
        writeln!(
            f,
            "{:52} {size:>9.2}     limit {RATIO:>5.2} {}",
            "size, median to median",
            verdict(size, RATIO)
        )?;
        write!(
            f,
            "{:52} {peak:>9.2}     limit {PEAK_MB:>5.2} {}",
            "memory, megabytes, max",
            verdict(peak, PEAK_MB)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(seconds: [u64; 3], peak: u64) -> Report {
        let round = |seconds| Round {
            floor: Duration::from_secs(10),
            floor_size: 100,
            ours: Taken { took: Duration::from_secs(seconds), peak: 1 },
            ours_size: 130,
            export: Taken { took: Duration::ZERO, peak },
        };
        Report { bytes: 1_000_000_000, rounds: seconds.map(round).into() }
    }

    #[test]
    fn medians_are_compared_and_the_highest_memory_counts() {
        assert!(report([13, 12, 99], 64_000_000).check().is_ok());
        assert!(report([14, 12, 99], 64_000_000).check().is_err());
        assert!(report([13, 12, 99], 64_000_001).check().is_err());
        let text = report([14, 12, 99], 64_000_000).to_string();
        assert!(
            text.contains("12.00     14.00     99.00") && text.contains("1.40     limit  1.30 MISSED"),
            "{text}"
        );
    }
}
