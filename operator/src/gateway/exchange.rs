//! One request and its answer: what is counted and logged about it, and when it is over.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use http::{HeaderValue, Method, StatusCode, request::Parts};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{Gateway, activity::Pulse, answer::Answer, connection::Client};

/// Faults that are logged in one second; the rest of them is in the metrics.
const FAULTS_LOGGED_PER_SECOND: u64 = 10;

/// How a request ended, or stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The client went away before there was an answer.
    Cancelled,
    /// The tenant answered.
    Answered(StatusCode),
    /// The tenant's answer broke off.
    BrokenOff(StatusCode),
    /// The client was sent to the same place over TLS.
    Redirected,
    /// The gateway answered itself.
    Own(Answer),
}

impl Outcome {
    /// One word for logs and metrics.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Answered(status) => match status.as_u16() / 100 {
                1 => "1xx",
                2 => "2xx",
                3 => "3xx",
                4 => "4xx",
                _ => "5xx",
            },
            Self::BrokenOff(_) => "broken_off",
            Self::Redirected => "redirected",
            Self::Own(answer) => answer.label(),
        }
    }

    /// Every word that `label` may say.
    pub(super) fn labels() -> impl Iterator<Item = &'static str> {
        ["cancelled", "1xx", "2xx", "3xx", "4xx", "5xx", "broken_off", "redirected"]
            .into_iter()
            .chain(Answer::ALL.into_iter().map(Answer::label))
    }

    fn status(self) -> u16 {
        match self {
            Self::Cancelled => 0,
            Self::Answered(status) | Self::BrokenOff(status) => status.as_u16(),
            Self::Redirected => StatusCode::PERMANENT_REDIRECT.as_u16(),
            Self::Own(answer) => answer.status().as_u16(),
        }
    }

    fn is_fault(self) -> bool {
        match self {
            Self::Cancelled | Self::Answered(_) | Self::Redirected => false,
            Self::BrokenOff(_) => true,
            Self::Own(answer) => answer.is_fault(),
        }
    }
}

/// One request from its head to the last byte of its answer, or to the end of its WebSocket. It is over when nobody
/// holds it any more; then it is counted and logged, whatever way it ended.
pub(super) struct Exchange {
    gateway: Arc<Gateway>,
    client: Arc<Client>,
    pub(super) id: HeaderValue,
    pulse: Pulse,
    started: Instant,
    method: Method,
    host: OnceLock<String>,
    path: String,
    tenant: OnceLock<String>,
    slot: OnceLock<OwnedSemaphorePermit>,
    outcome: Mutex<Outcome>,
    is_complete: AtomicBool,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Exchange {
    pub(super) fn begin(gateway: &Arc<Gateway>, client: &Arc<Client>, request: &Parts) -> Arc<Self> {
        client.activity.request_begins();
        gateway.metrics.requests_open.inc();
        Arc::new(Self {
            gateway: Arc::clone(gateway),
            client: Arc::clone(client),
            id: new_id(),
            pulse: Pulse::new(),
            started: Instant::now(),
            method: request.method.clone(),
            host: OnceLock::new(),
            // Without the query, which may hold what people searched for.
            path: request.uri.path().to_owned(),
            tenant: OnceLock::new(),
            slot: OnceLock::new(),
            outcome: Mutex::new(Outcome::Cancelled),
            is_complete: AtomicBool::new(false),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
        })
    }

    /// Names the tenant that the request is for.
    pub(super) fn belongs_to(&self, tenant: &str, host: &str) {
        // Set once per exchange, so there is no earlier value to lose.
        let _ = self.tenant.set(tenant.to_owned());
        let _ = self.host.set(host.to_owned());
    }

    /// Keeps the tenant's place for as long as the exchange lasts.
    pub(super) fn occupy(&self, slot: OwnedSemaphorePermit) {
        let _ = self.slot.set(slot);
    }

    /// Records that an answer's head is there.
    pub(super) fn answered(&self, outcome: Outcome) {
        self.gateway.metrics.request_seconds.observe(self.started.elapsed().as_secs_f64());
        self.record(outcome);
    }

    /// Records a change of mind after the head.
    pub(super) fn record(&self, outcome: Outcome) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
    }

    /// Records that everything has been handed over.
    pub(super) fn complete(&self) {
        self.is_complete.store(true, Ordering::Relaxed);
    }

    pub(super) fn received(&self, bytes: u64) {
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
        self.beat();
    }

    pub(super) fn sent(&self, bytes: u64) {
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
        self.beat();
    }

    pub(super) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    fn beat(&self) {
        self.pulse.beat();
        self.client.activity.beat();
    }

    fn log(&self, outcome: Outcome) {
        macro_rules! access {
            ($level:expr) => {
                tracing::event!(
                    target: "access",
                    $level,
                    request_id = self.id.to_str().unwrap_or_default(),
                    client = %self.client.peer.ip().to_canonical(),
                    scheme = self.client.scheme.as_str(),
                    tenant = self.tenant.get().map(String::as_str),
                    host = self.host.get().map(String::as_str),
                    method = %self.method,
                    path = self.path,
                    status = outcome.status(),
                    result = outcome.label(),
                    complete = self.is_complete.load(Ordering::Relaxed),
                    bytes_in = self.bytes_in.load(Ordering::Relaxed),
                    bytes_out = self.bytes_out.load(Ordering::Relaxed),
                    duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
                    "request"
                )
            };
        }
        let second = self.gateway.started.elapsed().as_secs();
        if outcome.is_fault() && self.gateway.faults.take(second, FAULTS_LOGGED_PER_SECOND) {
            access!(tracing::Level::INFO);
        } else {
            access!(tracing::Level::DEBUG);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let outcome = *self.outcome.get_mut().unwrap_or_else(PoisonError::into_inner);
        match self.tenant.get() {
            Some(tenant) => self.gateway.tenants.count(tenant, outcome.label()),
            None => self.gateway.metrics.refused.with_label_values(&[outcome.label()]).inc(),
        }
        self.gateway.metrics.requests_open.dec();
        if outcome == Outcome::Cancelled {
            self.client.activity.request_is_taken_back();
        }
        self.client.activity.request_ends();
        self.log(outcome);
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("id", &self.id).field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

fn new_id() -> HeaderValue {
    let id = format!("{:032x}", rand::random::<u128>());
    HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_is_known_in_advance() {
        let known: Vec<_> = Outcome::labels().collect();
        let ok = StatusCode::OK;
        for outcome in
            [Outcome::Cancelled, Outcome::Answered(ok), Outcome::BrokenOff(ok), Outcome::Redirected]
        {
            assert!(known.contains(&outcome.label()));
        }
    }
}
