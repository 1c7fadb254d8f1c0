//! Schedules as people write them: five fields of cron, in which `H` is a value of the tenant's own.
//!
//! `H` is Jenkins' (<https://www.jenkins.io/doc/book/pipeline/syntax/#cron-syntax>): it stands for a number that follows from the
//! tenant's name, so that a thousand tenants with the same schedule do not all begin in the same minute.

use croner::Cron;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use sha2::{Digest as _, Sha256};

/// The smallest and the largest value of each field. Not every month has more than 28 days.
const FIELDS: [(&str, u64, u64); 5] =
    [("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 28), ("month", 1, 12), ("day of week", 0, 6)];
/// So many runs are looked at to find the longest time between two: a year of a monthly schedule.
const RUNS: usize = 13;

/// A schedule of one tenant, without `H`.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    text: String,
    cron: Cron,
}

/// What is wrong with a schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("schedule {text:?} cannot be used: {why}; write five fields such as \"H 2 * * *\"")]
pub struct InvalidSchedule {
    text: String,
    why: String,
}

impl Schedule {
    /// Reads a schedule and puts the tenant's own values in the place of each `H`: `H`, `H(0-29)`, `H/15`, `H(0-29)/10`.
    pub fn parse(text: &str, tenant: &str) -> Result<Self, InvalidSchedule> {
        let invalid = |why: String| InvalidSchedule { text: text.to_owned(), why };
        let fields: Vec<&str> = text.split(' ').collect();
        if fields.len() != FIELDS.len() {
            return Err(invalid(format!("it has {} fields", fields.len())));
        }
        let mut resolved = Vec::new();
        for (field, (what, low, high)) in fields.into_iter().zip(FIELDS) {
            let own = Own { value: value_of(tenant, what), low, high };
            let items: Result<Vec<_>, _> = field.split(',').map(|item| own.item(item)).collect();
            resolved.push(items.map_err(|why| invalid(format!("{what}: {why}")))?.join(","));
        }
        let text = resolved.join(" ");
        let cron = text.parse().map_err(|error: croner::errors::CronError| invalid(error.to_string()))?;
        Ok(Self { text, cron })
    }

    /// As Kubernetes reads it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The longest time between two runs, among the last ones before `now`. `None` when there are no two of them.
    pub fn longest_gap(&self, now: Timestamp) -> Option<SignedDuration> {
        // The time zone moves all runs alike, but for the hour that is lost or won twice a year.
        let runs = self.cron.iter_before(now.to_zoned(TimeZone::UTC)).take(RUNS).map(|run| run.timestamp());
        let runs: Vec<_> = runs.collect();
        runs.windows(2).map(|pair| pair[0].duration_since(pair[1])).max()
    }
}

/// What `H` means in one field.
struct Own {
    value: u64,
    low: u64,
    high: u64,
}

impl Own {
    fn item(&self, item: &str) -> Result<String, String> {
        let plain = |c: char| c.is_ascii_digit() || "*/-".contains(c);
        let Some(rest) = item.strip_prefix('H') else {
            return match item {
                "" => Err("it is empty".to_owned()),
                // Kubernetes has no 7 for Sunday.
                "7" if self.high == 6 => Err("days of the week are 0 (Sunday) to 6".to_owned()),
                item if item.chars().all(plain) => Ok(item.to_owned()),
                item => Err(format!("{item:?} is neither a number, a range, * nor H")),
            };
        };
        let (range, step) = rest.split_once('/').map_or((rest, None), |(range, step)| (range, Some(step)));
        let (low, high) = self.range(range)?;
        match step {
            None => Ok((low + self.value % (high - low + 1)).to_string()),
            Some(step) => {
                let step: u64 = step.parse().map_err(|_| format!("{step:?} is no number"))?;
                if step == 0 || high - low < step {
                    return Err(format!("a step of {step} does not fit into {low}-{high}"));
                }
                Ok(format!("{}-{high}/{step}", low + self.value % step))
            }
        }
    }

    fn range(&self, range: &str) -> Result<(u64, u64), String> {
        if range.is_empty() {
            return Ok((self.low, self.high));
        }
        let inner = range.strip_prefix('(').and_then(|range| range.strip_suffix(')'));
        let ends = inner.and_then(|inner| inner.split_once('-'));
        let ends = ends.and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)));
        match ends {
            Some((low, high)) if self.low <= low && low <= high && high <= self.high => Ok((low, high)),
            _ => Err(format!("write H, or H({}-{}) for a part of it", self.low, self.high)),
        }
    }
}

/// A number that differs between tenants and between the fields of one tenant.
fn value_of(tenant: &str, field: &str) -> u64 {
    let digest = Sha256::new().chain_update(tenant).chain_update([0]).chain_update(field).finalize();
    digest.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing_of_its_own("30 2 * * *", "30 2 * * *")]
    #[case::lists_ranges_and_steps("0,30 */6 1-7 * 1-5", "0,30 */6 1-7 * 1-5")]
    fn what_has_no_h_stays(#[case] text: &str, #[case] resolved: &str) {
        assert_eq!(Schedule::parse(text, "acme").unwrap().as_str(), resolved);
    }

    #[test]
    fn h_spreads_tenants_over_the_whole_range_and_stays_the_same_for_each() {
        let of = |text: &str, tenant: &str| Schedule::parse(text, tenant).unwrap().as_str().to_owned();
        let minutes = |text: &str| -> BTreeSet<u64> {
            let tenants = (0..2000).map(|number| format!("tenant{number}"));
            tenants.map(|tenant| of(text, &tenant).split(' ').next().unwrap().parse().unwrap()).collect()
        };
        assert_eq!(minutes("H 2 * * *"), (0..=59).collect());
        assert_eq!(minutes("H(10-19) 2 * * *"), (10..=19).collect());
        assert_eq!(of("H H H H H", "acme"), of("H H H H H", "acme"));
        assert_ne!(of("H H * * *", "acme"), of("H H * * *", "bluesky"));
    }

    #[test]
    fn steps_begin_at_a_minute_of_the_tenants_own() {
        let begins: BTreeSet<String> = (0..500)
            .map(|number| Schedule::parse("H/15 * * * *", &format!("tenant{number}")).unwrap().text)
            .collect();
        let expected: BTreeSet<String> = (0..15).map(|begin| format!("{begin}-59/15 * * * *")).collect();
        assert_eq!(begins, expected);
    }

    #[rstest]
    #[case("", "it has 1 fields")]
    #[case("H 2 * *", "it has 4 fields")]
    #[case("H 2 * * * *", "it has 6 fields")]
    #[case("H  2 * * *", "it has 6 fields")]
    #[case("61 2 * * *", "")]
    #[case("@daily 2 * * *", "minute: \"@daily\" is neither a number, a range, * nor H")]
    #[case("H 2 * * 7", "day of week: days of the week are 0 (Sunday) to 6")]
    #[case("H 2 * * MON", "day of week: \"MON\" is neither a number, a range, * nor H")]
    #[case("H(0-60) 2 * * *", "minute: write H, or H(0-59) for a part of it")]
    #[case("H(9-5) 2 * * *", "minute: write H, or H(0-59) for a part of it")]
    #[case("H/0 2 * * *", "minute: a step of 0 does not fit into 0-59")]
    #[case("H/x 2 * * *", "minute: \"x\" is no number")]
    #[case("H,, 2 * * *", "minute: it is empty")]
    fn what_cannot_be_read_is_told(#[case] text: &str, #[case] why: &str) {
        let message = Schedule::parse(text, "acme").unwrap_err().to_string();
        assert!(message.contains(why) && message.contains("write five fields"), "{message}");
    }

    #[rstest]
    #[case::daily("30 2 * * *", 24)]
    #[case::every_six_hours("0 */6 * * *", 6)]
    #[case::weekdays("0 3 * * 1-5", 72)]
    #[case::weekly("0 5 * * 0", 168)]
    #[case::monthly("0 5 1 * *", 31 * 24)]
    fn the_longest_gap_is_that_between_two_runs(#[case] text: &str, #[case] hours: i64) {
        let now: Timestamp = "2026-11-22T13:00:00Z".parse().unwrap();
        let gap = Schedule::parse(text, "acme").unwrap().longest_gap(now);
        assert_eq!(gap, Some(SignedDuration::from_hours(hours)));
    }

    #[test]
    fn what_never_runs_has_no_gap() {
        let now: Timestamp = "2026-11-22T13:00:00Z".parse().unwrap();
        assert_eq!(Schedule::parse("0 0 31 2 *", "acme").unwrap().longest_gap(now), None);
    }
}
