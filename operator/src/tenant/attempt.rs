//! A Job that is to succeed, however often it takes. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::{
    cluster::{
        cache::{Child, Snapshot},
        facts::PodFacts,
    },
    names::Component,
};

/// After a Job has given up, it is made again after this time.
pub const RETRY_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// A Job that is to succeed, however often it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// Its name.
    pub job: String,
    /// What is to be done about it.
    pub step: Step,
    /// What the last pod that failed said.
    pub failure: Option<String>,
}

/// What is to be done about a Job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It should exist.
    Run,
    /// It has given up; it stays for inspection until then.
    Rest {
        /// When it is made again.
        until: Timestamp,
    },
    /// It has given up long enough ago: delete it, so that it is made again.
    Discard,
    /// The database is stopped on purpose, or about to be replaced.
    Postponed,
}

impl Step {
    /// What is to be done about the Job of that name, which has not succeeded.
    pub fn of(seen: &Snapshot, job: &str, now: Timestamp) -> Self {
        let Some(finished) = seen.job(job).and_then(|facts| facts.finished.as_ref()) else {
            return Self::Run;
        };
        let until = finished.at.unwrap_or(now) + RETRY_AFTER;
        if now < until { Self::Rest { until } } else { Self::Discard }
    }

    /// When a Job that has given up is made again.
    pub fn rests_until(self) -> Option<Timestamp> {
        match self {
            Self::Rest { until } => Some(until),
            Self::Run | Self::Discard | Self::Postponed => None,
        }
    }

    /// What people are told of a Job that failed.
    pub fn what_next(self) -> String {
        match self {
            Self::Rest { until } => format!("it is tried again at {until:.0}"),
            Self::Run | Self::Discard | Self::Postponed => "it is being tried again".to_owned(),
        }
    }
}

impl Attempt {
    /// The Job of that name, which has not succeeded; what its pods said, if they said anything.
    pub fn of(seen: &Snapshot, job: String, failure: Option<String>, now: Timestamp) -> Self {
        let is_over = seen.job(&job).is_some_and(|facts| facts.finished.is_some());
        let silent = is_over.then(|| "it did not come to an end in time, or what it said is lost".to_owned());
        Self { step: Step::of(seen, &job, now), job, failure: failure.or(silent) }
    }
}

/// The pods of a Job, whether it is still there or not, and what is known of each.
pub fn pods_of<'a>(
    seen: &'a Snapshot,
    component: Component,
    job: &'a str,
) -> impl Iterator<Item = (&'a Child, &'a PodFacts)> {
    let all = seen.all_pods(component).map(|(_, child, pod)| (child, pod));
    all.filter(move |(_, pod)| pod.job.as_deref() == Some(job))
}
