//! From what was measured to figures with limits.

use std::{fmt, time::Duration};

use super::{Scale, Sizes};
use crate::bench::operator::{Figure, subject::Usage};

/// Time of a rollout, in times of the bare loop's.
const RATIO: f64 = 1.5;
/// Of the largest status, in kilobytes.
const STATUS_KB: f64 = 20.0;

/// All that was measured.
pub struct Report {
    pub(super) scale: Scale,
    pub(super) took: Duration,
    pub(super) floor: Duration,
    pub(super) writes: usize,
    pub(super) requests: usize,
    pub(super) sizes: Sizes,
    /// Of the operator; its processor time is that of the rollout alone.
    pub(super) usage: Usage,
}

impl Report {
    /// All figures.
    pub fn figures(&self) -> Vec<Figure> {
        let (took, floor) = (self.took.as_secs_f64(), self.floor.as_secs_f64());
        let tenants = number(self.scale.tenants);
        vec![
            Figure::limited("time, in times of the bare loop's", took / floor, "x", RATIO),
            Figure::told("until the release had gone through all waves", took, "s"),
            Figure::told("a bare loop that writes the same, as many tenants at a time", floor, "s"),
            Figure::limited(
                "largest status of the Channel",
                number(self.sizes.channel) / 1e3,
                "kB",
                STATUS_KB,
            ),
            Figure::limited("largest status of a Tenant", number(self.sizes.tenant) / 1e3, "kB", STATUS_KB),
            Figure::told("writes for each tenant", number(self.writes) / tenants, "x"),
            Figure::told("requests for each tenant", number(self.requests) / tenants, "x"),
            Figure::told("processor time of the operator", self.usage.cpu.as_secs_f64(), "s"),
            Figure::told(
                "its peak memory",
                number(usize::try_from(self.usage.peak).unwrap_or(usize::MAX)) / 1e6,
                "MB",
            ),
        ]
    }

    /// The figures that exceed their limits, in words.
    pub fn missed(&self) -> Vec<String> {
        self.figures().iter().filter(|figure| !figure.holds()).map(ToString::to_string).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scale { tenants, parallel, backups } = self.scale;
        let with = if backups { "with" } else { "without" };
        let title = format!("{tenants} tenants {with} backups, {parallel} at a time");
        writeln!(formatter, "{title:68} {:>12} {:>10}", "measured", "limit")?;
        for figure in self.figures() {
            writeln!(formatter, "{figure}")?;
        }
        write!(formatter, "{} limits missed", self.missed().len())
    }
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than a float can tell apart")]
fn number(count: usize) -> f64 {
    count as f64
}
