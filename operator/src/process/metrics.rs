//! Every metric of the operator, in one struct. Labels are static words, kinds and plan names, never error texts.
//!
//! Counters and histograms have no label per tenant. The gauges that name tenants show only those that are not ready or whose
//! backups are overdue or unproven, so that an alert can say which and why.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::api::{Tenant, conditions};

/// Every metric of the operator.
pub struct Metrics {
    registry: Registry,
    reconcile_seconds: Histogram,
    reconciling: IntGauge,
    errors: IntCounterVec,
    queued: IntGauge,
    queue_seconds: Histogram,
    tenants: GaugeVec,
    conditions: GaugeVec,
    not_ready: GaugeVec,
    backup_overdue: GaugeVec,
    backup_unverified: GaugeVec,
    api_writes: IntCounterVec,
    watch_failures: IntCounterVec,
    routes: IntGauge,
    malformed: IntGaugeVec,
    leader: IntGauge,
    upgrades: IntCounterVec,
    upgrading: GaugeVec,
}

impl Metrics {
    /// All metrics, registered.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("tenantry".to_owned()), None)?;
        let gauge_vec = |name, help, labels: &[&str]| GaugeVec::new(Opts::new(name, help), labels);
        let counter_vec = |name, help, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let seconds = |name, help, buckets: &[f64]| {
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
        };
        let steps = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        let metrics = Self {
            reconcile_seconds: seconds(
                "reconcile_duration_seconds",
                "Duration of one reconcile of one tenant",
                &steps,
            )?,
            reconciling: IntGauge::new("reconciles_in_progress", "Tenants being worked on now")?,
            errors: counter_vec("reconcile_errors_total", "Reconciles that failed, by reason", &["reason"])?,
            queued: IntGauge::new("queue_length", "Tenants that changed and wait for a reconcile")?,
            queue_seconds: seconds(
                "queue_wait_seconds",
                "Time from a change to the reconcile that sees it",
                &steps,
            )?,
            tenants: gauge_vec("tenants", "Tenants by plan and state", &["plan", "state"])?,
            conditions: gauge_vec(
                "tenant_conditions",
                "Tenants by condition and its status",
                &["condition", "status"],
            )?,
            not_ready: gauge_vec(
                "tenant_not_ready",
                "1 for each tenant that is not ready",
                &["tenant", "reason"],
            )?,
            backup_overdue: gauge_vec(
                "tenant_backup_overdue",
                "1 for each tenant whose newest backup is older than its schedule allows",
                &["tenant"],
            )?,
            backup_unverified: gauge_vec(
                "tenant_backup_unverified",
                "1 for each tenant whose last drill failed or is longer ago than its schedule allows",
                &["tenant"],
            )?,
            api_writes: counter_vec(
                "api_writes_total",
                "Writing requests to the API server",
                &["verb", "kind", "result"],
            )?,
            watch_failures: counter_vec(
                "watch_failures_total",
                "Watches that broke and were started again",
                &["kind"],
            )?,
            routes: IntGauge::new("routes", "Hosts in the route table")?,
            malformed: IntGaugeVec::new(
                Opts::new("malformed_objects", "Objects of ours that cannot be read and are left alone"),
                &["kind"],
            )?,
            leader: IntGauge::new("leader", "1 while this replica does the work, 0 while it stands by")?,
            upgrades: counter_vec("upgrades_total", "Upgrades that came to their end", &["result"])?,
            upgrading: gauge_vec(
                "tenant_upgrades",
                "Tenants on the way from one release to another, or back, by step",
                &["step"],
            )?,
            registry,
        };
        metrics.register()?;
        Ok(metrics)
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        let labels = [("version", env!("CARGO_PKG_VERSION"))].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let build =
            Gauge::with_opts(Opts::new("build_info", "Version of the operator").const_labels(labels.into()))?;
        build.set(1.0);
        let all: [Box<dyn prometheus::core::Collector>; 19] = [
            Box::new(build),
            Box::new(self.reconcile_seconds.clone()),
            Box::new(self.reconciling.clone()),
            Box::new(self.errors.clone()),
            Box::new(self.queued.clone()),
            Box::new(self.queue_seconds.clone()),
            Box::new(self.tenants.clone()),
            Box::new(self.conditions.clone()),
            Box::new(self.not_ready.clone()),
            Box::new(self.backup_overdue.clone()),
            Box::new(self.backup_unverified.clone()),
            Box::new(self.api_writes.clone()),
            Box::new(self.watch_failures.clone()),
            Box::new(self.routes.clone()),
            Box::new(self.malformed.clone()),
            Box::new(self.leader.clone()),
            Box::new(self.upgrades.clone()),
            Box::new(self.upgrading.clone()),
            Box::new(prometheus::process_collector::ProcessCollector::for_self()),
        ];
        all.into_iter().try_for_each(|collector| self.registry.register(collector))
    }

    /// Counts a reconcile from now until the timer is dropped.
    pub fn reconcile_started(&self, waited: Option<Duration>) -> ReconcileTimer {
        if let Some(waited) = waited {
            self.queue_seconds.observe(waited.as_secs_f64());
        }
        self.reconciling.inc();
        ReconcileTimer {
            started: Instant::now(),
            seconds: self.reconcile_seconds.clone(),
            reconciling: self.reconciling.clone(),
        }
    }

    /// Counts a failure.
    pub fn reconcile_failed(&self, reason: &'static str) {
        self.errors.with_label_values(&[reason]).inc();
    }

    /// Counts a writing request.
    pub fn api_write(&self, verb: &'static str, kind: &str, ok: bool) {
        self.api_writes.with_label_values(&[verb, kind, if ok { "ok" } else { "failed" }]).inc();
    }

    /// Counts a watch that broke.
    pub fn watch_failed(&self, kind: &str) {
        self.watch_failures.with_label_values(&[kind]).inc();
    }

    /// How many hosts the route table has.
    pub fn routes_written(&self, count: usize) {
        self.routes.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Whether this replica does the work from now on.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Counts an upgrade that came to its end.
    pub fn upgraded(&self, result: &'static str) {
        self.upgrades.with_label_values(&[result]).inc();
    }

    /// How many objects of a kind cannot be read.
    pub fn malformed_objects(&self, kind: &str, count: usize) {
        self.malformed.with_label_values(&[kind]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Everything in Prometheus' text format; the fleet is counted now.
    pub fn render<'a>(
        &self,
        tenants: impl Iterator<Item = &'a Tenant>,
        queued: usize,
    ) -> Result<String, prometheus::Error> {
        self.count(tenants);
        self.queued.set(i64::try_from(queued).unwrap_or(i64::MAX));
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn count<'a>(&self, tenants: impl Iterator<Item = &'a Tenant>) {
        let mut by_plan: BTreeMap<(String, &'static str), f64> = BTreeMap::new();
        let mut by_condition: BTreeMap<(String, String), f64> = BTreeMap::new();
        let mut by_step: BTreeMap<String, f64> = BTreeMap::new();
        self.not_ready.reset();
        self.backup_overdue.reset();
        self.backup_unverified.reset();
        for tenant in tenants {
            *by_plan.entry((tenant.spec.plan.clone(), tenant.spec.state.as_str())).or_default() += 1.0;
            let status = tenant.status.clone().unwrap_or_default();
            for condition in &status.conditions {
                *by_condition.entry((condition.type_.clone(), condition.status.clone())).or_default() += 1.0;
            }
            if let Some(upgrade) = &status.upgrade {
                *by_step.entry(format!("{:?}", upgrade.step)).or_default() += 1.0;
            }
            let name = tenant.metadata.name.as_deref().unwrap_or_default();
            for (type_, gauge) in [
                (conditions::BACKUP_RECENT, &self.backup_overdue),
                (conditions::BACKUP_VERIFIED, &self.backup_unverified),
            ] {
                let condition = conditions::find(&status.conditions, type_);
                if condition.is_some_and(|condition| condition.status == "False") {
                    gauge.with_label_values(&[name]).set(1.0);
                }
            }
            let ready = conditions::find(&status.conditions, conditions::READY);
            if ready.is_none_or(|condition| condition.status != "True") {
                let reason =
                    ready.map_or(conditions::reasons::NOT_OBSERVED, |condition| condition.reason.as_str());
                self.not_ready.with_label_values(&[name, reason]).set(1.0);
            }
        }
        self.upgrading.reset();
        for (step, count) in by_step {
            self.upgrading.with_label_values(&[step.as_str()]).set(count);
        }
        self.tenants.reset();
        for ((plan, state), count) in by_plan {
            self.tenants.with_label_values(&[plan.as_str(), state]).set(count);
        }
        self.conditions.reset();
        for ((condition, status), count) in by_condition {
            self.conditions.with_label_values(&[condition, status]).set(count);
        }
    }
}

/// Measures one reconcile.
pub struct ReconcileTimer {
    started: Instant,
    seconds: Histogram,
    reconciling: IntGauge,
}

impl Drop for ReconcileTimer {
    fn drop(&mut self) {
        self.seconds.observe(self.started.elapsed().as_secs_f64());
        self.reconciling.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::conditions::{Verdict, set_condition},
        testing,
    };

    #[test]
    fn what_an_alert_needs_is_there() {
        let metrics = Metrics::new().unwrap();
        metrics.reconcile_failed("PlanNotFound");
        metrics.api_write("apply", "Service", true);
        metrics.malformed_objects("Tenant", 1);
        drop(metrics.reconcile_started(Some(Duration::from_millis(3))));
        let mut tenant = testing::tenant();
        let overdue = Verdict::no(conditions::reasons::BACKUP_OVERDUE, "a backup is overdue");
        let conditions = &mut tenant.status.get_or_insert_default().conditions;
        set_condition(conditions, conditions::BACKUP_RECENT, overdue, None, jiff::Timestamp::UNIX_EPOCH);
        let failed = Verdict::no(conditions::reasons::DRILL_FAILED, "rows differ");
        set_condition(conditions, conditions::BACKUP_VERIFIED, failed, None, jiff::Timestamp::UNIX_EPOCH);
        let text = metrics.render([&tenant].into_iter(), 2).unwrap();
        for line in [
            r#"tenantry_tenants{plan="standard",state="Active"} 1"#,
            r#"tenantry_tenant_not_ready{reason="NotObserved",tenant="acme"} 1"#,
            r#"tenantry_tenant_backup_overdue{tenant="acme"} 1"#,
            r#"tenantry_tenant_backup_unverified{tenant="acme"} 1"#,
            r#"tenantry_reconcile_errors_total{reason="PlanNotFound"} 1"#,
            r#"tenantry_api_writes_total{kind="Service",result="ok",verb="apply"} 1"#,
            "tenantry_queue_length 2",
            r#"tenantry_malformed_objects{kind="Tenant"} 1"#,
            "tenantry_reconcile_duration_seconds_count 1",
            "tenantry_build_info{version=",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
