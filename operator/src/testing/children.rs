//! Children as the cache has them.

use jiff::Timestamp;

use crate::cluster::{
    cache::{Child, Key},
    facts::{ContainerFacts, Ended, Facts, Finished, JobFacts, Kind, PodFacts},
};

/// So many seconds after the beginning of time.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A child of [`tenant`](super::tenant), made at the beginning of time.
pub(crate) fn child(kind: Kind, name: &str, facts: Facts) -> (Key, Child) {
    let child = Child {
        uid: format!("uid-{name}").into(),
        version: 1,
        fingerprint: 1,
        created: Some(at(0)),
        deleting: false,
        facts,
    };
    (Key { namespace: "tenant-acme".into(), kind, name: name.into() }, child)
}

/// A Job, and when it failed, if it has.
pub(crate) fn job(name: &str, finished: Option<i64>) -> (Key, Child) {
    let finished = finished.map(|second| Finished { at: Some(at(second)), ..Finished::default() });
    child(Kind::Job, name, Facts::Job(JobFacts { finished, ..JobFacts::default() }.into()))
}

/// What is kept of the pod of a Job, whose container ended with that exit code and message, if it has.
pub(crate) fn job_pod_facts(component: &str, job: &str, ended: Option<(i32, &str)>) -> PodFacts {
    let ended = ended.map(|(exit_code, message)| Ended {
        exit_code,
        reason: "Error".into(),
        message: message.into(),
    });
    PodFacts {
        component: component.into(),
        job: Some(job.into()),
        ended: ended.is_some(),
        containers: vec![ContainerFacts { name: component.into(), ended, ..ContainerFacts::default() }],
        ..PodFacts::default()
    }
}

/// The pod of a Job, whose container ended with that exit code and message, if it has.
pub(crate) fn job_pod(component: &str, job: &str, ended: Option<(i32, &str)>) -> (Key, Child) {
    let facts = job_pod_facts(component, job, ended);
    child(Kind::Pod, &format!("{job}-x"), Facts::Pod(facts.into()))
}

/// The same child, made then.
pub(crate) fn made((key, child): (Key, Child), created: Timestamp) -> (Key, Child) {
    (key, Child { created: Some(created), ..child })
}
