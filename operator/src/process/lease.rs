//! One writer among several replicas: a Lease, by compare-and-swap.
//!
//! The rules are those of client-go. The holder renews the lease. A candidate takes it when it was let go of, or when it has
//! seen no renewal for the lease's whole duration by its own clock: the clocks of two machines are never compared. Every
//! write carries the version that was read, so that the API server lets one of two candidates through. A holder that cannot
//! renew gives up well before anybody may take over: its writes are refused from then on, and it stands by again.
//!
//! A standby keeps no caches. What the leader wrote last could be missing in them, and a host could be given twice; lists
//! made after taking over have it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::names;

/// How long others wait after the last renewal that they saw.
const DURATION: Duration = Duration::from_secs(15);
/// A holder that has not renewed for so long has lost the lease.
const RENEW_WITHIN: Duration = Duration::from_secs(10);
/// Between two renewals, and after one that failed.
const RETRY: Duration = Duration::from_secs(2);
/// Between two looks of a standby: it should notice within a second that the lease was let go of.
const LOOK: Duration = Duration::from_secs(1);
/// No single request may use up the time to renew.
const REQUEST: Duration = Duration::from_secs(4);

/// What a candidate may do about the lease as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is ours.
    Renew,
    /// Nobody holds it any more.
    Take,
    /// Somebody holds it, for so long at least.
    Wait(Duration),
}

/// What `me` may do about a lease that has looked like this for so long by our own clock. Pure.
pub fn decide(lease: &LeaseSpec, me: &str, unchanged_for: Duration) -> Claim {
    let holder = lease.holder_identity.as_deref().unwrap_or_default();
    if holder == me {
        return Claim::Renew;
    }
    let seconds = lease.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let rest = seconds.map_or(DURATION, Duration::from_secs).saturating_sub(unchanged_for);
    if holder.is_empty() || rest.is_zero() { Claim::Take } else { Claim::Wait(rest) }
}

/// The lease as it is when `me` holds it from now on.
fn claimed(lease: &LeaseSpec, me: &str, now: Timestamp) -> LeaseSpec {
    let mut claimed = LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
        renew_time: Some(MicroTime(now)),
        ..lease.clone()
    };
    if lease.holder_identity.as_deref() != Some(me) {
        claimed.acquire_time = Some(MicroTime(now));
        claimed.lease_transitions = Some(lease.lease_transitions.map_or(0, |count| count.saturating_add(1)));
    }
    claimed
}

/// Since when the lease has looked as it does, by our own clock.
#[derive(Debug, Default)]
struct Sight(Option<(LeaseSpec, Instant)>);

impl Sight {
    fn unchanged_for(&mut self, lease: &LeaseSpec, now: Instant) -> Duration {
        match &self.0 {
            Some((known, since)) if known == lease => now.saturating_duration_since(*since),
            _ => {
                self.0 = Some((lease.clone(), now));
                Duration::ZERO
            }
        }
    }
}

/// The right to write, which ends unless it is extended.
#[derive(Clone, Debug)]
pub struct Term {
    end: Arc<Mutex<Instant>>,
}

impl Term {
    /// `renewed` is the moment before the renewal was sent: nobody can have seen it earlier.
    pub fn new(renewed: Instant) -> Self {
        Self { end: Arc::new(Mutex::new(renewed + RENEW_WITHIN)) }
    }

    /// Nothing may be written any more.
    pub fn is_over(&self) -> bool {
        self.end() <= Instant::now()
    }

    fn end(&self) -> Instant {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn extend(&self, renewed: Instant) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = renewed + RENEW_WITHIN;
    }
}

/// How a lease is lost.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Somebody else holds it.
    #[error("{by:?} has taken the lease")]
    Taken {
        /// Who.
        by: String,
    },
    /// The API server did not take a renewal in time.
    #[error("the lease could not be renewed for {} s", RENEW_WITHIN.as_secs())]
    NotRenewed,
}

/// A process that would like to hold the lease.
pub struct Candidate {
    leases: Api<Lease>,
    me: String,
    now: fn() -> Timestamp,
}

enum Attempt {
    Won(Box<Lease>),
    Held { by: String, rest: Duration },
}

impl Candidate {
    /// `me` must be unlike the name of any other process.
    pub fn new(client: Client, namespace: &str, me: String, now: fn() -> Timestamp) -> Self {
        Self { leases: Api::namespaced(client, namespace), me, now }
    }

    /// Waits until the lease is ours; `standing_by` is told when somebody else is seen to hold it.
    pub async fn elected(self, standing_by: impl Fn()) -> Leadership {
        let mut sight = Sight::default();
        let mut holder = None;
        loop {
            let sent = Instant::now();
            let wait = match timeout(REQUEST, self.attempt(&mut sight)).await {
                Ok(Ok(Attempt::Won(lease))) => {
                    tracing::info!(identity = self.me, "took the lease");
                    return Leadership { candidate: self, lease: *lease, term: Term::new(sent) };
                }
                Ok(Ok(Attempt::Held { by, rest })) => {
                    if holder.as_ref() != Some(&by) {
                        tracing::info!(identity = self.me, holder = by, "standing by");
                        standing_by();
                        holder = Some(by);
                    }
                    rest.min(LOOK)
                }
                Ok(Err(error)) => {
                    tell(&error);
                    LOOK
                }
                Err(_) => {
                    tracing::warn!("the API server does not answer about the lease");
                    LOOK
                }
            };
            sleep(wait).await;
        }
    }

    /// Reads the lease and claims it, if that may be.
    async fn attempt(&self, sight: &mut Sight) -> kube::Result<Attempt> {
        let Some(lease) = self.leases.get_opt(names::OPERATOR).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(names::OPERATOR.to_owned()), ..ObjectMeta::default() },
                spec: Some(claimed(&LeaseSpec::default(), &self.me, (self.now)())),
            };
            let made = self.leases.create(&PostParams::default(), &lease).await?;
            return Ok(Attempt::Won(Box::new(made)));
        };
        let spec = lease.spec.clone().unwrap_or_default();
        match decide(&spec, &self.me, sight.unchanged_for(&spec, Instant::now())) {
            Claim::Wait(rest) => Ok(Attempt::Held { by: spec.holder_identity.unwrap_or_default(), rest }),
            Claim::Renew | Claim::Take => self.claim(lease).await,
        }
    }

    /// Claims the lease, if it is still the version that was read.
    async fn claim(&self, mut lease: Lease) -> kube::Result<Attempt> {
        lease.spec = Some(claimed(&lease.spec.unwrap_or_default(), &self.me, (self.now)()));
        let lease = self.leases.replace(names::OPERATOR, &PostParams::default(), &lease).await?;
        Ok(Attempt::Won(Box::new(lease)))
    }
}

/// The lease, held.
pub struct Leadership {
    candidate: Candidate,
    lease: Lease,
    term: Term,
}

impl Leadership {
    /// The right to write that comes with it.
    pub fn term(&self) -> Term {
        self.term.clone()
    }

    /// Renews the lease until it is lost. May be dropped at any moment.
    pub async fn hold(&mut self) -> Lost {
        loop {
            sleep(RETRY).await;
            match timeout_at(self.term.end(), self.renew()).await {
                Ok(Ok(())) => (),
                Ok(Err(lost)) => return lost,
                Err(_) => return Lost::NotRenewed,
            }
        }
    }

    /// Tries until it succeeds, or somebody else holds the lease.
    async fn renew(&mut self) -> Result<(), Lost> {
        let mut known = Some(self.lease.clone());
        loop {
            let sent = Instant::now();
            let request = async {
                match known.take() {
                    Some(lease) => self.candidate.claim(lease).await,
                    None => self.candidate.attempt(&mut Sight::default()).await,
                }
            };
            match timeout(REQUEST, request).await {
                Ok(Ok(Attempt::Won(lease))) => {
                    self.lease = *lease;
                    self.term.extend(sent);
                    return Ok(());
                }
                Ok(Ok(Attempt::Held { by, .. })) => return Err(Lost::Taken { by }),
                // Somebody has changed it: the next attempt reads who holds it now.
                Ok(Err(kube::Error::Api(status))) if status.is_conflict() || status.is_not_found() => {
                    continue;
                }
                Ok(Err(error)) => tell(&error),
                Err(_) => tracing::warn!("the API server does not answer about the lease"),
            }
            sleep(RETRY).await;
        }
    }

    /// Lets go of the lease, so that the next one need not wait. Nothing of ours may be under way any more.
    pub async fn release(mut self) {
        // The answer to the last renewal may have been lost, and our version with it: once more, then, after a look.
        for _ in 0..2 {
            let mut lease = self.lease.clone();
            let spec = lease.spec.get_or_insert_default();
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime((self.candidate.now)()));
            let leases = &self.candidate.leases;
            match timeout(REQUEST, leases.replace(names::OPERATOR, &PostParams::default(), &lease)).await {
                Ok(Ok(_)) => return tracing::info!(identity = self.candidate.me, "let go of the lease"),
                Ok(Err(kube::Error::Api(status))) if status.is_conflict() => (),
                Ok(Err(error)) => return tell(&error),
                Err(_) => return tracing::warn!("the API server does not answer about the lease"),
            }
            match timeout(REQUEST, leases.get(names::OPERATOR)).await {
                Ok(Ok(live)) if holder(&live) == Some(self.candidate.me.as_str()) => self.lease = live,
                _ => return,
            }
        }
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref()
}

fn tell(error: &kube::Error) {
    tracing::warn!(error = %error, "the lease could not be read or written");
}

#[cfg(test)]
mod tests;
