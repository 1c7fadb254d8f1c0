//! What is printed: each figure with its limit. All limits stand here.

use std::fmt;

/// Most memory that the operator ever has, in megabytes.
pub(in crate::bench) const PEAK_MB: f64 = 40.0;
/// Time to converge, in times of the bare loop's.
pub(in crate::bench) const CONVERGE_RATIO: f64 = 1.5;
/// From the start of the process until nothing is left to do, in seconds.
pub(in crate::bench) const RESTART_SECONDS: f64 = 5.0;
/// Writes when there is nothing to write; those to the lease are not counted.
pub(in crate::bench) const WRITES: f64 = 0.0;
/// What unrelated Secrets add to the memory, in megabytes.
pub(in crate::bench) const UNRELATED_MB: f64 = 5.0;
/// 99th percentile of the others' edits beside a tenant that fails, in times of that without.
pub(in crate::bench) const NEIGHBOURS_RATIO: f64 = 1.2;

/// One measured figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// How much it is.
    pub value: f64,
    /// In what; empty for counts.
    pub unit: &'static str,
    /// How much it may be; figures without a limit explain others.
    pub limit: Option<f64>,
}

impl Figure {
    /// A figure that explains others.
    pub(in crate::bench) fn told(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, limit: None }
    }

    /// A figure that must not exceed its limit.
    pub(in crate::bench) fn limited(
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        limit: f64,
    ) -> Self {
        Self { limit: Some(limit), ..Self::told(name, value, unit) }
    }

    /// Whether it keeps its limit.
    pub fn holds(&self) -> bool {
        // Written so that what is not a number does not.
        self.limit.is_none_or(|limit| self.value <= limit)
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = |value: f64| match self.unit {
            "" => format!("{value:.0}"),
            unit => format!("{value:.2} {unit}"),
        };
        let (indent, limit, verdict) = match self.limit {
            None => ("  ", String::new(), ""),
            Some(limit) => ("", amount(limit), if self.holds() { "ok" } else { "MISSED" }),
        };
        let name = format!("{indent}{}", self.name);
        let line = format!("{name:68} {:>12} {limit:>10} {verdict}", amount(self.value));
        formatter.write_str(line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_may_be_reached_and_not_exceeded() {
        let figure = |value| Figure::limited("memory", value, "MB", 40.0);
        assert!(figure(40.0).holds() && !figure(40.01).holds() && !figure(f64::NAN).holds());
        assert!(Figure::told("memory", 1e9, "MB").holds());
        assert!(figure(41.0).to_string().ends_with("41.00 MB   40.00 MB MISSED"), "{}", figure(41.0));
    }
}
