//! How a tenant's CRM does, in the words of its own metrics: requests, errors, and how long people wait. Pure, but for [`ask`].
//!
//! The counters of a pod begin at 0 when it starts. So the pods of a new release show what became of their own requests and of no
//! others, and no history of measurements has to be kept: those of the release before are looked at once, before they go.

mod ask;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use ask::{Ask, Http, of_pods};

/// Fewer requests than this say nothing of errors.
const ENOUGH: u64 = 20;
/// Fewer say nothing of times: of fifty, three have to be slow, and of twenty it would be one, the first one for instance. Not many
/// more, because people who wait for a slow release ask less of it.
const ENOUGH_FOR_TIMES: u64 = 50;
/// With so many there is no doubt of times any more. A machine that was busy for the first seconds of a release made some of the first
/// fifty wait, and then it has to make as many of the next fifty wait.
const NO_DOUBT_OF_TIMES: u64 = 100;
/// So much more of all requests may fail than before.
const MORE_ERRORS: f64 = 0.05;
/// Ninety-five of a hundred requests may take so many times as long as before.
const TIMES_SLOWER: f64 = 5.0;
/// What is faster than this is not slow, whatever it was before. In seconds.
const FAST: f64 = 0.25;

/// What the metrics of some pods say, added up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vitals {
    /// Requests answered since the pods started.
    pub requests: u64,
    /// Those that were answered with a status of 500 or more.
    pub errors: u64,
    /// Within so many seconds, at the most, ninety-five of a hundred requests were answered; nothing when there were none, or when
    /// some took longer than is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95: Option<f64>,
    /// Nobody can change records any more, and nobody is changing one.
    #[serde(skip)]
    pub is_still: bool,
}

/// What speaks against a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// A word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
    /// More requests may yet show that it was nothing.
    pub is_doubtful: bool,
}

impl Vitals {
    /// Adds up what the pods of a CRM say. `None` if there is none, or if one says nothing that can be understood.
    pub fn read<'a>(pods: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let pods = pods.into_iter().map(Samples::read).collect::<Option<Vec<_>>>()?;
        if pods.is_empty() {
            return None;
        }
        let requests = pods.iter().map(|pod| pod.requests).sum();
        let mut within: BTreeMap<Limit, u64> = BTreeMap::new();
        for (limit, count) in pods.iter().flat_map(|pod| &pod.within) {
            *within.entry(*limit).or_default() += count;
        }
        let measured = within.last_key_value().map_or(0, |(_, count)| *count);
        let wanted = measured.saturating_mul(95).div_ceil(100);
        let p95 = within.iter().find(|(_, count)| wanted <= **count).filter(|_| 0 < measured);
        Some(Self {
            requests,
            errors: pods.iter().map(|pod| pod.errors).sum(),
            p95: p95.and_then(|(limit, _)| limit.seconds()),
            is_still: pods.iter().all(|pod| pod.is_read_only && pod.changes_in_flight == 0),
        })
    }

    /// What speaks against the release of these pods, beside those of the release before. Nothing while there are too few requests to
    /// tell.
    pub fn complaint(&self, before: Option<&Self>) -> Option<Complaint> {
        if self.requests < ENOUGH {
            return None;
        }
        let before = before.filter(|before| ENOUGH <= before.requests);
        let usual = before.map_or(0.0, Self::error_rate);
        if usual + MORE_ERRORS < self.error_rate() {
            let Self { requests, errors, .. } = self;
            let message = format!(
                "{errors} of {requests} requests to the new release failed; to the one before, {:.0} in a hundred",
                usual * 100.0
            );
            return Some(Complaint { reason: "TooManyErrors", message, is_doubtful: false });
        }
        let is_enough = |vitals: &&Self| ENOUGH_FOR_TIMES <= vitals.requests;
        let usual = before.filter(|before| is_enough(before) && is_enough(&self))?.p95?;
        let slow = |p95: f64| FAST < p95 && usual * TIMES_SLOWER <= p95;
        let is_slow = self.p95.is_none_or(slow);
        is_slow.then(|| {
            let now = self.p95.map_or("longer than is measured".to_owned(), |p95| format!("up to {p95} s"));
            let message = format!(
                "95 of 100 requests to the new release take {now}; to the one before, up to {usual} s"
            );
            let is_doubtful = self.requests < NO_DOUBT_OF_TIMES;
            Complaint { reason: "TooSlow", message, is_doubtful }
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody counts as many requests")]
    fn error_rate(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.errors as f64 / self.requests as f64 }
    }
}

/// The limit of a bucket of a histogram, in millionths of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Limit(u64);

impl Limit {
    const INFINITE: Self = Self(u64::MAX);

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
    fn read(text: &str) -> Option<Self> {
        match text.parse::<f64>().ok()? {
            limit if limit == f64::INFINITY => Some(Self::INFINITE),
            limit if (0.0..1e9).contains(&limit) => Some(Self((limit * 1e6).round() as u64)),
            _ => None,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a thousand million seconds at most")]
    fn seconds(self) -> Option<f64> {
        (self != Self::INFINITE).then_some(self.0 as f64 / 1e6)
    }
}

/// What is of interest in one pod's metrics.
#[derive(Debug, Default)]
struct Samples {
    requests: u64,
    errors: u64,
    within: BTreeMap<Limit, u64>,
    is_read_only: bool,
    changes_in_flight: u64,
}

impl Samples {
    /// Reads Prometheus' text format (<https://prometheus.io/docs/instrumenting/exposition_formats/>) as our CRM writes it. `None` if it
    /// is something else.
    fn read(text: &str) -> Option<Self> {
        let mut samples = Self::default();
        let mut seen_state = (false, false);
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            match name {
                "crm_http_requests_total" => {
                    let value = count(value)?;
                    samples.requests += value;
                    if label(labels, "status")?.starts_with('5') {
                        samples.errors += value;
                    }
                }
                "crm_http_request_duration_seconds_bucket" => {
                    let limit = Limit::read(label(labels, "le")?)?;
                    *samples.within.entry(limit).or_default() += count(value)?;
                }
                "crm_read_only" => {
                    samples.is_read_only = count(value)? == 1;
                    seen_state.0 = true;
                }
                "crm_http_changes_in_flight" => {
                    samples.changes_in_flight = count(value)?;
                    seen_state.1 = true;
                }
                _ => (),
            }
        }
        (seen_state == (true, true)).then_some(samples)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
fn count(value: &str) -> Option<u64> {
    let value: f64 = value.parse().ok()?;
    (0.0..9e15).contains(&value).then_some(value as u64)
}

/// The value of a label. Of those that matter here none has a quote or a comma in it.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = labels.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

#[cfg(test)]
mod tests;
