//! What a pod of the CRM says of its visitors: the counters of `crm-app`, with the numbers that the script sets. Pure.

use std::{fmt::Write as _, time::Duration};

/// What the visitors of each pod of a release have met with since the pod started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Requests that are answered by the time the pod is ready.
    pub requests: u64,
    /// Requests that come in each further second.
    pub per_second: u64,
    /// How many of a thousand are answered with an internal error.
    pub errors_per_mille: u64,
    /// How long each answer takes.
    pub latency: Duration,
    /// Changes whose answer is still to come.
    pub changes_in_flight: u64,
}

impl Default for Traffic {
    /// Visitors who have nothing to complain about.
    fn default() -> Self {
        Self {
            requests: 1000,
            per_second: 20,
            errors_per_mille: 0,
            latency: Duration::from_millis(5),
            changes_in_flight: 0,
        }
    }
}

/// The limits of the buckets that `crm-app` has, in seconds.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
const ROUTE: &str = "/api/v1/companies";

/// The page for scrapers of a pod that has been ready for so long.
pub(super) fn page(traffic: &Traffic, age: Duration, read_only: bool) -> String {
    let answered = traffic.requests + traffic.per_second * age.as_secs();
    let failed = answered * traffic.errors_per_mille / 1000;
    let seconds = traffic.latency.as_secs_f64();
    let mut page = String::from("# TYPE crm_http_requests_total counter\n");
    for (status, count) in [(200, answered - failed), (500, failed)] {
        let labels = format!("method=\"GET\",route=\"{ROUTE}\",status=\"{status}\"");
        line(&mut page, "crm_http_requests_total", &labels, count);
    }
    page.push_str("# TYPE crm_http_request_duration_seconds histogram\n");
    let within = |limit: f64| if seconds <= limit { answered } else { 0 };
    for limit in BUCKETS {
        let labels = format!("route=\"{ROUTE}\",le=\"{limit}\"");
        line(&mut page, "crm_http_request_duration_seconds_bucket", &labels, within(limit));
    }
    let route = format!("route=\"{ROUTE}\"");
    let all = format!("{route},le=\"+Inf\"");
    line(&mut page, "crm_http_request_duration_seconds_bucket", &all, answered);
    let sum = traffic.latency.as_secs_f64() * f64::from(u32::try_from(answered).unwrap_or(u32::MAX));
    line(&mut page, "crm_http_request_duration_seconds_sum", &route, sum);
    line(&mut page, "crm_http_request_duration_seconds_count", &route, answered);
    page.push_str("# TYPE crm_read_only gauge\n");
    line(&mut page, "crm_read_only", "", u8::from(read_only));
    page.push_str("# TYPE crm_http_changes_in_flight gauge\n");
    line(&mut page, "crm_http_changes_in_flight", "", traffic.changes_in_flight);
    page
}

fn line(page: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    // Writing to a String cannot fail.
    let _ = writeln!(page, "{name}{labels} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_adds_up() {
        let slow = Traffic {
            requests: 100,
            per_second: 10,
            errors_per_mille: 50,
            latency: Duration::from_millis(400),
            changes_in_flight: 3,
        };
        let page = page(&slow, Duration::from_millis(10_900), true);
        for expected in [
            r#"crm_http_requests_total{method="GET",route="/api/v1/companies",status="200"} 190"#,
            r#"crm_http_requests_total{method="GET",route="/api/v1/companies",status="500"} 10"#,
            r#"crm_http_request_duration_seconds_bucket{route="/api/v1/companies",le="0.25"} 0"#,
            r#"crm_http_request_duration_seconds_bucket{route="/api/v1/companies",le="0.5"} 200"#,
            r#"crm_http_request_duration_seconds_bucket{route="/api/v1/companies",le="+Inf"} 200"#,
            r#"crm_http_request_duration_seconds_sum{route="/api/v1/companies"} 80"#,
            r#"crm_http_request_duration_seconds_count{route="/api/v1/companies"} 200"#,
            "crm_read_only 1",
            "crm_http_changes_in_flight 3",
        ] {
            assert!(page.lines().any(|line| line == expected), "{expected} is missing:\n{page}");
        }
    }
}
