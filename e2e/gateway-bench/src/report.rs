//! What was measured, as a table, and the limits that it must keep.

use std::{
    fmt::{Display, Formatter, Result as Written},
    time::Duration,
};

use anyhow::{Result, ensure};

use super::{Plan, Subject};

/// Through the gateway beside directly.
const LEAST_RATIO: f64 = 0.6;
/// How much later answers may come through the gateway, at the 99th percentile.
const MOST_ADDED_MS: f64 = 2.0;
/// How much a body of any size may take of the gateway's memory.
const MOST_GROWTH_BYTES: u64 = 16 << 20;

/// The same thing measured several times, sorted.
#[derive(Clone, Debug)]
pub(super) struct Figures(Vec<f64>);

/// Milliseconds from the moment that a request was due to its answer, in one measurement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Latency {
    p50: f64,
    p99: f64,
}

/// Resident memory of the gateway, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) before: u64,
    pub(super) peak: u64,
}

/// What was measured; prints itself as a table. In each pair, the first is direct and the second through the gateway.
#[derive(Clone, Debug)]
pub struct Report {
    pub(super) plan: Plan,
    pub(super) throughput: Vec<(Subject, [Vec<f64>; 2])>,
    pub(super) latency: [Vec<Latency>; 2],
    /// CPU time that the gateway takes for a small request, in seconds.
    pub(super) cpu_per_request: f64,
    pub(super) memory: Memory,
}

impl Figures {
    fn new(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        Self(figures)
    }

    /// The smallest figure that at least `percent` of all do not exceed (nearest rank).
    fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or(f64::NAN)
    }

    fn median(&self) -> f64 {
        self.percentile(50)
    }
}

impl Latency {
    pub(super) fn of(measured: Vec<Duration>) -> Self {
        let figures = Figures::new(measured.into_iter().map(|one| one.as_secs_f64() * 1e3));
        Self { p50: figures.median(), p99: figures.percentile(99) }
    }
}

impl Memory {
    fn growth(self) -> u64 {
        self.peak.saturating_sub(self.before)
    }
}

impl Report {
    /// The limits that the gateway must keep: 0.6 of the throughput of a direct connection, where there is a limit; answers
    /// at most 2 ms later at the 99th percentile, or than they come without it; memory that does not grow with what passes.
    ///
    /// Ratios and differences are taken within each round and their median counts, so that a machine that is slow for a
    /// while decides nothing. The milliseconds are for two quiet cores; on busy ones, direct answers are late as well.
    ///
    /// # Errors
    /// When the gateway does not keep one of them.
    pub fn check(&self) -> Result<()> {
        for (subject, speeds) in &self.throughput {
            let ratio = ratios(speeds).median();
            ensure!(
                !subject.is_limited() || LEAST_RATIO <= ratio,
                "{}: {ratio:.2} of a direct connection (limit {LEAST_RATIO:.2})",
                subject.name()
            );
        }
        let added = self.added(|latency| latency.p99).median();
        let direct = Figures::new(self.latency[0].iter().map(|latency| latency.p99)).median();
        ensure!(
            added <= MOST_ADDED_MS.max(direct),
            "the gateway adds {added:.2} ms to {direct:.2} ms at the 99th percentile (limit {MOST_ADDED_MS:.2} ms)"
        );
        self.check_memory()
    }

    /// The limit that holds for every build on every machine: memory does not grow with what passes.
    ///
    /// # Errors
    /// When it grew.
    pub fn check_memory(&self) -> Result<()> {
        let growth = self.memory.growth();
        ensure!(
            growth <= MOST_GROWTH_BYTES,
            "the gateway's memory grew by {} while {} passed (limit {})",
            mebibytes(growth),
            mebibytes(2 * self.plan.huge),
            mebibytes(MOST_GROWTH_BYTES)
        );
        Ok(())
    }

    fn added(&self, what: fn(&Latency) -> f64) -> Figures {
        let [direct, through] = &self.latency;
        Figures::new(direct.iter().zip(through).map(|(direct, through)| what(through) - what(direct)))
    }
}

impl Display for Report {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Written {
        let Plan { rounds, connections, per_second, .. } = self.plan;
        writeln!(
            formatter,
            "{:38} {:>9} {:>9} {:>9}",
            format!("{rounds} rounds in turns"),
            "min",
            "median",
            "max"
        )?;
        for (subject, speeds) in &self.throughput {
            writeln!(formatter, "{}", subject.name())?;
            for (name, figures) in ["direct", "through the gateway"].into_iter().zip(speeds) {
                row(formatter, name, &Figures::new(figures.iter().copied()), 0, "")?;
            }
            let limit =
                if subject.is_limited() { format!("  (limit {LEAST_RATIO:.2})") } else { String::new() };
            row(formatter, "ratio", &ratios(speeds), 2, &limit)?;
        }
        writeln!(formatter, "ms to an answer, {per_second} requests/s, {connections} connections")?;
        for (name, side) in ["direct", "through the gateway"].into_iter().zip(&self.latency) {
            row(formatter, &format!("{name}, p50"), &Figures::new(side.iter().map(|one| one.p50)), 2, "")?;
            row(formatter, &format!("{name}, p99"), &Figures::new(side.iter().map(|one| one.p99)), 2, "")?;
        }
        row(formatter, "added, p50", &self.added(|latency| latency.p50), 2, "")?;
        let limit = format!("  (limit {MOST_ADDED_MS:.2})");
        row(formatter, "added, p99", &self.added(|latency| latency.p99), 2, &limit)?;
        writeln!(formatter, "CPU of the gateway for a small request  {:.0} µs", self.cpu_per_request * 1e6)?;
        write!(
            formatter,
            "memory of the gateway  {} before, {} at most while {} went up and as much down (limit + {})",
            mebibytes(self.memory.before),
            mebibytes(self.memory.peak),
            mebibytes(self.plan.huge),
            mebibytes(MOST_GROWTH_BYTES)
        )
    }
}

fn row(
    formatter: &mut Formatter<'_>,
    name: &str,
    figures: &Figures,
    decimals: usize,
    limit: &str,
) -> Written {
    let [min, median, max] = [1, 50, 100].map(|percent| figures.percentile(percent));
    writeln!(formatter, "  {name:36} {min:>9.decimals$} {median:>9.decimals$} {max:>9.decimals$}{limit}")
}

fn ratios([direct, through]: &[Vec<f64>; 2]) -> Figures {
    Figures::new(direct.iter().zip(through).map(|(direct, through)| through / direct))
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report in which all that is limited has the same ratio, and the gateway adds so much time and memory.
    fn report(ratio: f64, added_ms: f64, growth: u64) -> Report {
        let latency = |p99| Latency { p50: 0.1, p99 };
        Report {
            plan: Plan::small(),
            throughput: Subject::ALL
                .map(|subject| {
                    (
                        subject,
                        [vec![100.0; 3], vec![if subject.is_limited() { 100.0 * ratio } else { 1.0 }; 3]],
                    )
                })
                .to_vec(),
            latency: [vec![latency(1.0)], vec![latency(1.0 + added_ms)]],
            cpu_per_request: 0.0,
            memory: Memory { before: 1 << 20, peak: (1 << 20) + growth },
        }
    }

    #[test]
    fn each_limit_is_kept_or_named() {
        report(0.6, 2.0, 16 << 20).check().expect("all limits are kept");
        let broken = |report: Report| report.check().expect_err("a limit is broken").to_string();
        assert!(broken(report(0.59, 0.0, 0)).contains("0.59 of a direct connection (limit 0.60)"));
        assert!(broken(report(1.0, 2.1, 0)).contains("adds 2.10 ms to 1.00 ms"));
        assert!(broken(report(1.0, 0.0, 17 << 20)).contains("grew by 17 MiB"));
    }

    #[test]
    fn one_slow_round_decides_nothing() {
        let mut report = report(0.7, 0.0, 0);
        for (_, speeds) in &mut report.throughput {
            // The machine was slow while the gateway was measured, and once while it was not.
            speeds[1][0] /= 10.0;
            speeds[0][1] /= 10.0;
        }
        report.check().expect("the median counts");
    }

    #[test]
    fn percentiles_are_nearest_rank() {
        let figures = Figures::new((1..=200).rev().map(f64::from));
        let shown = [1, 50, 99, 100].map(|percent| figures.percentile(percent).to_string());
        assert_eq!(shown, ["2", "100", "198", "200"]);
        let latency = Latency::of((1..=100).map(Duration::from_millis).collect());
        assert_eq!((latency.p50, latency.p99), (50.0, 99.0));
    }
}
