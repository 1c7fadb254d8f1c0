//! What is to be seen of the Job of a request. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::{
    cluster::{cache::Snapshot, facts::PodFacts},
    names::Component,
    tenant::attempt::pods_of,
};

/// The news that a Job has ended may come before the news of its pod, which says how.
const NEWS_LAG: SignedDuration = SignedDuration::from_secs(30);

/// How far a Job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Work<T> {
    /// There is no such Job, yet or any more.
    Absent,
    /// It has not ended.
    Running,
    /// One of its pods reported success.
    Done(T),
    /// It has given up; what its last pod said, or Kubernetes of it.
    Failed {
        /// For people: what failed.
        what: String,
    },
    /// It has ended, and nothing that could be believed says how.
    Silent,
}

/// Looks at a Job and its pods. `read` says how a pod ended, if it has.
pub(super) fn of<T>(
    seen: &Snapshot,
    component: Component,
    job: &str,
    read: impl Fn(&PodFacts) -> Option<Result<T, String>>,
    now: Timestamp,
) -> Work<T> {
    let mut failures = Vec::new();
    for (child, pod) in pods_of(seen, component, job) {
        match read(pod) {
            Some(Ok(done)) => return Work::Done(done),
            Some(Err(what)) => failures.push((child.created, what)),
            None => (),
        }
    }
    let Some(facts) = seen.job(job) else { return Work::Absent };
    let Some(finished) = &facts.finished else { return Work::Running };
    let waits = finished.at.is_some_and(|at| now < at + NEWS_LAG);
    match failures.into_iter().max_by_key(|(created, _)| *created) {
        Some((_, what)) if !finished.succeeded => Work::Failed { what },
        _ if waits => Work::Running,
        // Kubernetes removes the pods of a Job that runs for too long.
        None if !finished.succeeded && finished.reason == DEADLINE => {
            Work::Failed { what: DEADLINE.to_owned() }
        }
        _ => Work::Silent,
    }
}

/// Kubernetes' word for a Job that ran for too long.
const DEADLINE: &str = "DeadlineExceeded";

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        cluster::{
            cache::{Child, Key},
            facts::{ContainerFacts, Facts, Finished, JobFacts, Kind},
        },
        testing::{at, child, made},
    };

    fn job(finished: Option<(bool, &str)>) -> (Key, Child) {
        let finished = finished.map(|(succeeded, reason)| Finished {
            succeeded,
            reason: reason.into(),
            at: Some(at(100)),
        });
        child(Kind::Job, "j", Facts::Job(JobFacts { finished, ..JobFacts::default() }.into()))
    }

    /// The number of a pod is when it was made; its component stands for how it ended, see [`look`].
    fn pod(number: i64, job: &str, ended: &str) -> (Key, Child) {
        let containers = vec![ContainerFacts { name: ended.into(), ..ContainerFacts::default() }];
        let facts =
            PodFacts { component: "backup".into(), job: Some(job.into()), containers, ..PodFacts::default() };
        made(child(Kind::Pod, &format!("p{number}"), Facts::Pod(facts.into())), at(number))
    }

    fn look(children: Vec<(Key, Child)>, now: i64) -> Work<i64> {
        let read = |pod: &PodFacts| match pod.containers[0].name.as_str() {
            "" => None,
            "good" => Some(Ok(7)),
            what => Some(Err(what.to_owned())),
        };
        of(&Snapshot::new(children), Component::Backup, "j", read, at(now))
    }

    fn failed(what: &str) -> Work<i64> {
        Work::Failed { what: what.into() }
    }

    #[rstest]
    #[case::nothing(vec![], Work::Absent)]
    #[case::another_job(vec![pod(1, "other", "good")], Work::Absent)]
    #[case::begun(vec![job(None), pod(1, "j", "")], Work::Running)]
    #[case::tried_again(vec![job(None), pod(1, "j", "a"), pod(2, "j", "")], Work::Running)]
    #[case::done(vec![job(None), pod(1, "j", "a"), pod(2, "j", "good")], Work::Done(7))]
    #[case::done_and_the_job_is_gone(vec![pod(1, "j", "good")], Work::Done(7))]
    #[case::failed(vec![job(Some((false, "BackoffLimitExceeded"))), pod(2, "j", "b"), pod(1, "j", "a")], failed("b"))]
    #[case::too_long(vec![job(Some((false, "DeadlineExceeded")))], failed("DeadlineExceeded"))]
    #[case::no_word_of_failure(vec![job(Some((false, "BackoffLimitExceeded")))], Work::Silent)]
    #[case::no_word_of_success(vec![job(Some((true, "CompletionsReached")))], Work::Silent)]
    #[case::success_without_a_report(vec![job(Some((true, ""))), pod(1, "j", "a")], Work::Silent)]
    fn success_is_only_what_a_pod_reports(#[case] children: Vec<(Key, Child)>, #[case] expected: Work<i64>) {
        assert_eq!(look(children, 1000), expected);
    }

    #[test]
    fn news_of_the_pod_may_come_after_news_of_its_job() {
        let children = || vec![job(Some((true, ""))), pod(1, "j", "")];
        assert_eq!((look(children(), 129), look(children(), 130)), (Work::Running, Work::Silent));
    }
}
