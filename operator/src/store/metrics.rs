//! Every metric of the door. Labels come from fixed sets; `store` is named by those who make stores.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use super::sweep::Tally;

/// The metrics and the registry that they are in.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    /// By operation and result.
    pub(super) requests: IntCounterVec,
    pub(super) connections: IntGauge,
    pub(super) received: IntCounter,
    pub(super) sent: IntCounter,
    /// 1 or 0 by store.
    ready: IntGaugeVec,
    /// By store and reason.
    probes: IntCounterVec,
    pub(super) unreadable_manifests: IntCounter,
    pub(super) watch_failures: IntCounter,
    /// Objects, by store and why they went.
    pub(super) removed: IntCounterVec,
    /// By store and result.
    pub(super) sweeps: IntCounterVec,
    /// By store and reason.
    pub(super) sweep_failures: IntCounterVec,
    /// By store, and whether they are wanted or locked.
    backups: IntGaugeVec,
}

impl Metrics {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let metrics = Self {
            requests: counters(
                "requests_total",
                "Requests, by operation and result",
                &["operation", "result"],
            )?,
            connections: IntGauge::new(name("connections"), "Open connections")?,
            received: counter("received_bytes_total", "Bytes of backups taken in")?,
            sent: counter("sent_bytes_total", "Bytes of backups handed out")?,
            ready: IntGaugeVec::new(
                Opts::new(name("ready"), "1 where the last probe wrote and read, 0 where it did not"),
                &["store"],
            )?,
            probes: counters("probes_total", "Probes, by store and reason", &["store", "reason"])?,
            unreadable_manifests: counter(
                "unreadable_manifests_total",
                "Manifests found that are not what they should be, or that speak of data that is not there: left out of lists, and never removed",
            )?,
            watch_failures: counter("watch_failures_total", "Breaks of the watch of BackupStores")?,
            removed: counters(
                "removed_objects_total",
                "Objects removed, by store and why",
                &["store", "why"],
            )?,
            sweeps: counters(
                "sweeps_total",
                "Times that all of a store was gone through for what need not be kept, by store and result",
                &["store", "result"],
            )?,
            sweep_failures: counters(
                "sweep_failures_total",
                "Times that a tenant's backups were not gone through to the end, by store and reason",
                &["store", "reason"],
            )?,
            backups: IntGaugeVec::new(
                Opts::new(
                    name("backups"),
                    "Backups after the last sweep: kept as wanted, or locked although they need not be kept",
                ),
                &["store", "state"],
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

    /// What a look at a store found.
    pub(super) fn probed(&self, store: &str, reason: &str, is_ready: bool) {
        self.ready.with_label_values(&[store]).set(i64::from(is_ready));
        self.probes.with_label_values(&[store, reason]).inc();
    }

    /// What a sweep of a store left there.
    pub(super) fn swept(&self, store: &str, left: Tally) {
        let Tally { kept, locked } = left;
        self.backups.with_label_values(&[store, "kept"]).set(kept - locked);
        self.backups.with_label_values(&[store, "locked"]).set(locked);
    }

    /// A store is gone.
    pub(super) fn forget_store(&self, store: &str) {
        // It may never have been looked at.
        let _ = self.ready.remove_label_values(&[store]);
        for state in ["kept", "locked"] {
            let _ = self.backups.remove_label_values(&[store, state]);
        }
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        // No `..`: a metric that is not registered does not compile.
        let Self {
            registry,
            requests,
            connections,
            received,
            sent,
            ready,
            probes,
            unreadable_manifests,
            watch_failures,
            removed,
            sweeps,
            sweep_failures,
            backups,
        } = self;
        for counters in [requests, probes, removed, sweeps, sweep_failures] {
            registry.register(Box::new(counters.clone()))?;
        }
        for counter in [received, sent, unreadable_manifests, watch_failures] {
            registry.register(Box::new(counter.clone()))?;
        }
        registry.register(Box::new(connections.clone()))?;
        registry.register(Box::new(ready.clone()))?;
        registry.register(Box::new(backups.clone()))
    }
}

fn name(suffix: &str) -> String {
    format!("tenantry_store_{suffix}")
}

fn counters(suffix: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(Opts::new(name(suffix), help), labels)
}

fn counter(suffix: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    IntCounter::new(name(suffix), help)
}
