//! Every metric of the process, in one struct. Labels are routes and words of ours, so their number is bounded.

use std::{sync::Arc, time::Duration};

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use sqlx::PgPool;

use crate::entitlement::{Entitlement, State};

/// What is counted. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    entitlement_revision: IntGauge,
    read_only: IntGauge,
    changes_in_flight: IntGauge,
    connections: IntGaugeVec,
}

/// A request that may change something, for as long as it is being answered.
pub struct ChangeInFlight(IntGauge);

impl Drop for ChangeInFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Registers them all.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let requests = IntCounterVec::new(
            Opts::new("crm_http_requests_total", "Requests answered, by method, route and status"),
            &["method", "route", "status"],
        )?;
        let durations = HistogramVec::new(
            HistogramOpts::new("crm_http_request_duration_seconds", "Time to answer a request, by route")
                .buckets(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0]),
            &["route"],
        )?;
        let build_info =
            GaugeVec::new(Opts::new("crm_build_info", "Always 1; its label is the version"), &["version"])?;
        let entitlement_revision = IntGauge::new(
            "crm_entitlement_revision",
            "Revision of the entitlement that is obeyed; 0 is none",
        )?;
        let read_only = IntGauge::new("crm_read_only", "1 while records cannot be changed")?;
        let changes_in_flight = IntGauge::new(
            "crm_http_changes_in_flight",
            "Requests being answered whose method is not safe; with crm_read_only 1, 0 of them means that nobody changes records",
        )?;
        let connections = IntGaugeVec::new(
            Opts::new("crm_database_connections", "Connections of the pool, by state"),
            &["state"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(durations.clone()))?;
        registry.register(Box::new(build_info.clone()))?;
        registry.register(Box::new(entitlement_revision.clone()))?;
        registry.register(Box::new(read_only.clone()))?;
        registry.register(Box::new(changes_in_flight.clone()))?;
        registry.register(Box::new(connections.clone()))?;
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        Ok(Self(Arc::new(Inner {
            registry,
            requests,
            durations,
            entitlement_revision,
            read_only,
            changes_in_flight,
            connections,
        })))
    }

    /// Counts a request.
    pub fn request(&self, method: &str, route: &str, status: u16, elapsed: Duration) {
        let status = status.to_string();
        self.0.requests.with_label_values(&[method, route, status.as_str()]).inc();
        self.0.durations.with_label_values(&[route]).observe(elapsed.as_secs_f64());
    }

    /// Counts a request that may change something, until the value is dropped. To be called before anybody looks at the entitlement:
    /// only then does a count of none after a read-only state say that nobody who found the workspace active is left.
    pub fn change_begins(&self) -> ChangeInFlight {
        let gauge = self.0.changes_in_flight.clone();
        gauge.inc();
        ChangeInFlight(gauge)
    }

    /// The text that Prometheus reads, with the gauges as they are now. The entitlement was looked at before; what is in flight is
    /// counted last, so that the two may be read together.
    pub fn render(&self, db: &PgPool, entitlement: &Entitlement) -> Result<String, prometheus::Error> {
        let inner = &self.0;
        let idle = i64::try_from(db.num_idle()).unwrap_or(i64::MAX);
        inner.connections.with_label_values(&["idle"]).set(idle);
        inner.connections.with_label_values(&["used"]).set((i64::from(db.size()) - idle).max(0));
        let most = db.options().get_max_connections();
        inner.connections.with_label_values(&["max"]).set(i64::from(most));
        inner.entitlement_revision.set(i64::try_from(entitlement.revision).unwrap_or(i64::MAX));
        inner.read_only.set(i64::from(entitlement.state == State::ReadOnly));
        TextEncoder::new().encode_to_string(&inner.registry.gather())
    }
}
