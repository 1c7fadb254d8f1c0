//! Every metric of the gateway. Labels come from fixed sets; the one exception, `tenant`, is kept by `tenants.rs`.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// The metrics and the registry that they are in.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    /// By tenant and result; see `tenants.rs`.
    pub(super) requests: IntCounterVec,
    /// Requests that belong to no tenant, by result.
    pub(super) refused: IntCounterVec,
    pub(super) requests_open: IntGauge,
    pub(super) request_seconds: Histogram,
    /// By listener.
    pub(super) connections: IntGaugeVec,
    /// By reason.
    pub(super) connections_cut: IntCounterVec,
    pub(super) tls_handshake_failures: IntCounter,
    pub(super) connect_retries: IntCounter,
    pub(super) routes: IntGauge,
    pub(super) routes_left_out: IntGauge,
    pub(super) route_table_stale: IntGauge,
    /// By reason.
    pub(super) route_table_errors: IntCounterVec,
    pub(super) certificates: IntGauge,
    /// By reason.
    pub(super) certificate_errors: IntCounterVec,
}

impl Metrics {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let metrics = Self {
            requests: counters("requests_total", "Requests to tenants, by result", &["tenant", "result"])?,
            refused: counters("refused_total", "Requests that belong to no tenant, by result", &["result"])?,
            requests_open: gauge("requests_open", "Requests and WebSockets that are open")?,
            request_seconds: Histogram::with_opts(
                HistogramOpts::new(name("request_duration_seconds"), "From request head to response head")
                    .buckets(vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0]),
            )?,
            connections: IntGaugeVec::new(
                Opts::new(name("connections"), "Open client connections"),
                &["listener"],
            )?,
            connections_cut: counters(
                "connections_cut_total",
                "Client connections ended by a limit",
                &["reason"],
            )?,
            tls_handshake_failures: counter("tls_handshake_failures_total", "TLS handshakes that failed")?,
            connect_retries: counter("connect_retries_total", "Repeated attempts to connect to a tenant")?,
            routes: gauge("routes", "Hosts in the route table")?,
            routes_left_out: gauge("routes_left_out", "Entries of the route table that make no sense")?,
            route_table_stale: gauge(
                "route_table_stale",
                "1 while the route table cannot be read and the last good one is used",
            )?,
            route_table_errors: counters(
                "route_table_errors_total",
                "Failed reads of the route table",
                &["reason"],
            )?,
            certificates: gauge("certificates", "Certificates that are loaded")?,
            certificate_errors: counters(
                "certificate_errors_total",
                "Failed reads of certificates",
                &["reason"],
            )?,
            registry,
        };
        metrics.register()?;
        Ok(metrics)
    }

    /// All metrics in the text format of Prometheus.
    pub(super) fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        // No `..`: a metric that is not registered does not compile.
        let Self {
            registry,
            requests,
            refused,
            requests_open,
            request_seconds,
            connections,
            connections_cut,
            tls_handshake_failures,
            connect_retries,
            routes,
            routes_left_out,
            route_table_stale,
            route_table_errors,
            certificates,
            certificate_errors,
        } = self;
        for counters in [requests, refused, connections_cut, route_table_errors, certificate_errors] {
            registry.register(Box::new(counters.clone()))?;
        }
        for gauge in [requests_open, routes, routes_left_out, route_table_stale, certificates] {
            registry.register(Box::new(gauge.clone()))?;
        }
        for counter in [tls_handshake_failures, connect_retries] {
            registry.register(Box::new(counter.clone()))?;
        }
        registry.register(Box::new(request_seconds.clone()))?;
        registry.register(Box::new(connections.clone()))
    }
}

fn name(suffix: &str) -> String {
    format!("tenantry_gateway_{suffix}")
}

fn counters(suffix: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(Opts::new(name(suffix), help), labels)
}

fn counter(suffix: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    IntCounter::new(name(suffix), help)
}

fn gauge(suffix: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    IntGauge::new(name(suffix), help)
}
