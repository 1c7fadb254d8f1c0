//! From what was measured to figures with limits.

use std::{fmt, time::Duration};

use super::{
    Converged, Idle, Restarts, Scale,
    figures::{CONVERGE_RATIO, Figure, NEIGHBOURS_RATIO, PEAK_MB, RESTART_SECONDS, UNRELATED_MB, WRITES},
    neighbours::Neighbours,
    subject::Usage,
};

/// All that was measured.
pub struct Report {
    pub(super) scale: Scale,
    /// Bare loops: how long the loop took, and how long with the nodes.
    pub(super) floors: Vec<(Duration, Duration)>,
    pub(super) converged: Converged,
    pub(super) idle: Idle,
    pub(super) restarts: Restarts,
    /// The same beside unrelated Secrets.
    pub(super) crowded: Restarts,
    pub(super) neighbours: Neighbours,
    /// Of the operator that ran last.
    pub(super) last: Usage,
}

impl Report {
    /// All figures, in the order of the measurement.
    pub fn figures(&self) -> Vec<Figure> {
        [self.memory(), self.convergence(), self.idleness(), self.restarts(), self.unrelated(), self.others()]
            .concat()
    }

    /// The figures that exceed their limits, in words.
    pub fn missed(&self) -> Vec<String> {
        self.figures().iter().filter(|figure| !figure.holds()).map(ToString::to_string).collect()
    }

    /// Writes when there was nothing to write.
    pub fn needless_writes(&self) -> Vec<String> {
        [&self.idle.writes, &self.restarts.writes, &self.crowded.writes]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    fn memory(&self) -> Vec<Figure> {
        let starts = self.restarts.peaks.iter().chain(&self.crowded.peaks).copied();
        let others = [self.converged.usage, self.idle.usage, self.last].map(|usage| usage.peak);
        let peak = starts.chain(others).max().unwrap_or(0);
        vec![
            Figure::limited("peak memory", megabytes(peak), "MB", PEAK_MB),
            Figure::told("peak while the fleet was made", megabytes(self.converged.usage.peak), "MB"),
            Figure::told("in use after the idle time", megabytes(self.idle.usage.resident), "MB"),
        ]
    }

    fn convergence(&self) -> Vec<Figure> {
        let took = self.converged.took.as_secs_f64();
        let floor: f64 = self.floors.iter().map(|(_, with_nodes)| with_nodes.as_secs_f64()).sum();
        let ratio = took * count(self.floors.len()) / floor;
        let tenants = count(self.scale.tenants);
        let mut figures = vec![
            Figure::limited("time to converge, in times of the bare loop's", ratio, "x", CONVERGE_RATIO),
            Figure::told("until all tenants were Ready", took, "s"),
        ];
        for (posted, with_nodes) in &self.floors {
            let name = format!("a bare loop, which had posted all after {:.2} s", posted.as_secs_f64());
            figures.push(Figure::told(name, with_nodes.as_secs_f64(), "s"));
        }
        figures.extend([
            Figure::told("requests for each tenant", count(self.converged.requests) / tenants, "x"),
            Figure::told("writes for each tenant", count(self.converged.writes) / tenants, "x"),
            Figure::told("processor time of the operator", self.converged.usage.cpu.as_secs_f64(), "s"),
        ]);
        figures
    }

    fn idleness(&self) -> Vec<Figure> {
        let minutes = self.scale.idle.as_secs_f64() / 60.0;
        if self.scale.idle.is_zero() {
            return Vec::new();
        }
        vec![
            Figure::limited(
                format!("writes in {minutes:.1} idle minutes"),
                count(self.idle.writes.len()),
                "",
                WRITES,
            ),
            Figure::told("requests in a minute", count(self.idle.requests) / minutes, ""),
            Figure::told("processor time in a minute", self.idle.cpu.as_secs_f64() / minutes, "s"),
        ]
    }

    fn restarts(&self) -> Vec<Figure> {
        let Restarts { took, writes, .. } = &self.restarts;
        let [fastest, median, slowest] = [1, 50, 100].map(|percent| took.percentile(percent).as_secs_f64());
        vec![
            Figure::limited("from start to steady, median", median, "s", RESTART_SECONDS),
            Figure::told("fastest", fastest, "s"),
            Figure::told("slowest", slowest, "s"),
            Figure::limited("writes in these starts", count(writes.len()), "", WRITES),
        ]
    }

    fn unrelated(&self) -> Vec<Figure> {
        let peak = |restarts: &Restarts| megabytes(median(&restarts.peaks));
        let (before, after) = (peak(&self.restarts), peak(&self.crowded));
        let what = format!(
            "memory added by {} unrelated Secrets of {} kB",
            self.scale.secrets,
            self.scale.secret_bytes / 1000
        );
        vec![
            Figure::limited(what, after - before, "MB", UNRELATED_MB),
            Figure::told("median peak of starts without them", before, "MB"),
            Figure::told("median peak of starts beside them", after, "MB"),
            Figure::limited("writes in starts beside them", count(self.crowded.writes.len()), "", WRITES),
        ]
    }

    fn others(&self) -> Vec<Figure> {
        let Neighbours { alone, beside_failing, failures } = &self.neighbours;
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let [p99_alone, p99] = [alone, beside_failing].map(|sample| milliseconds(sample.percentile(99)));
        vec![
            Figure::limited(
                "p99 of edits beside a tenant that fails, in times of that without",
                p99 / p99_alone,
                "x",
                NEIGHBOURS_RATIO,
            ),
            Figure::told("p99 of edits without", p99_alone, "ms"),
            Figure::told("p99 of edits beside it", p99, "ms"),
            Figure::told("median without", milliseconds(alone.median()), "ms"),
            Figure::told("median beside it", milliseconds(beside_failing.median()), "ms"),
            Figure::told("how often it failed meanwhile", *failures, ""),
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:68} {:>12} {:>10}",
            format!("{} tenants", self.scale.tenants),
            "measured",
            "limit"
        )?;
        for figure in self.figures() {
            writeln!(formatter, "{figure}")?;
        }
        for write in self.needless_writes() {
            writeln!(formatter, "needless: {write}")?;
        }
        write!(formatter, "{} limits missed", self.missed().len())
    }
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than a float can tell apart")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than a float can tell apart")]
fn count(number: usize) -> f64 {
    number as f64
}

fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}
