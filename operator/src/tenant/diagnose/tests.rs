//! What is seen, and what is said about it.

use rstest::rstest;

use super::*;
use crate::{
    cluster::facts::{ClaimFacts, Facts},
    testing::{at, child},
};

const NAMESPACE: &str = "tenant-acme";

fn workload(ready: i32) -> WorkloadFacts {
    WorkloadFacts { wanted: 1, replicas: 1, updated: 1, ready, observed: true, ..WorkloadFacts::default() }
}

fn container(change: impl FnOnce(&mut ContainerFacts)) -> PodFacts {
    let mut container =
        ContainerFacts { name: "crm".into(), image: Some("i@sha256:1".into()), ..ContainerFacts::default() };
    change(&mut container);
    PodFacts { component: "crm".into(), containers: vec![container], ..PodFacts::default() }
}

fn waiting(reason: &str, message: &str) -> PodFacts {
    container(|container| container.waiting = Some((reason.into(), message.into())))
}

fn ended(reason: &str, message: &str) -> PodFacts {
    container(|container| {
        container.waiting = Some(("CrashLoopBackOff".into(), "back-off 10s".into()));
        container.restarts = 2;
        container.ended = Some(Ended { exit_code: 1, reason: reason.into(), message: message.into() });
    })
}

fn app_with(pod: PodFacts) -> Verdict {
    let seen = Snapshot::new([
        child(Kind::Deployment, "crm", Facts::Workload(workload(0).into())),
        child(Kind::Pod, "crm-1", Facts::Pod(pod.into())),
    ]);
    app(&seen, NAMESPACE, at(1))
}

#[rstest]
#[case::image(waiting("ImagePullBackOff", "manifest unknown"), "ImagePullFailed", "manifest unknown")]
#[case::image_name(waiting("InvalidImageName", ""), "ImagePullFailed", "InvalidImageName")]
#[case::config(
    waiting("CreateContainerConfigError", "secret \"x\" not found"),
    "ContainerNotStarted",
    "secret \"x\" not found"
)]
#[case::crash(ended("Error", "cannot read the file"), "CrashLooping", "cannot read the file")]
#[case::memory(ended("OOMKilled", ""), "OutOfMemory", "raise the plan's memory")]
#[case::no_node(PodFacts { component: "crm".into(), unschedulable: Some("0/1 nodes: Insufficient memory.".into()), ..PodFacts::default() }, "Unschedulable", "Insufficient memory")]
#[case::starting(waiting("ContainerCreating", ""), "Provisioning", "0 of 1")]
#[case::hostile(waiting("ErrImagePull", "\u{1b}[31m\nred"), "ImagePullFailed", "[31m red")]
fn a_pod_that_does_not_run_is_explained(#[case] pod: PodFacts, #[case] reason: &str, #[case] words: &str) {
    let verdict = app_with(pod);
    assert_eq!((verdict.word, verdict.reason), (crate::api::conditions::Word::False, reason));
    assert!(verdict.message.contains(words), "{}", verdict.message);
    assert!(!verdict.message.contains('\u{1b}'));
}

#[test]
fn one_restart_is_forgiven_while_the_container_runs() {
    let pod = container(|container| {
        container.running = true;
        container.restarts = 1;
        container.ended = Some(Ended { exit_code: 1, ..Ended::default() });
    });
    assert_eq!(app_with(pod).reason, "Provisioning");
}

#[rstest]
#[case::answers(WorkloadFacts { ready: 1, ..workload(1) }, "AsExpected")]
#[case::not_seen_yet(WorkloadFacts { observed: false, ..workload(1) }, "RollingOut")]
#[case::old_pods_serve_beside_new(WorkloadFacts { replicas: 2, ..workload(1) }, "RollingOut")]
#[case::no_new_pod(WorkloadFacts { updated: 0, ..workload(1) }, "RollingOut")]
#[case::nothing(workload(0), "Provisioning")]
#[case::refused(WorkloadFacts { refusal: Some("pods \"x\" is forbidden: exceeded quota: tenant".into()), ..workload(0) }, "QuotaExceeded")]
fn a_rollout_is_done_when_only_new_pods_answer(#[case] facts: WorkloadFacts, #[case] reason: &str) {
    let seen = Snapshot::new([child(Kind::Deployment, "crm", Facts::Workload(facts.into()))]);
    assert_eq!(app(&seen, NAMESPACE, at(1)).reason, reason);
}

#[rstest]
#[case::no_default_class(None, false, 1, "StorageNotBound", "no default storage class")]
#[case::no_such_class(Some("fast"), true, 1, "StorageNotBound", "\"fast\" does not exist")]
#[case::just_made(Some("fast"), false, 5, "Provisioning", "starting")]
#[case::for_long(Some("fast"), false, 65, "StorageNotBound", "after 60 s")]
fn a_volume_that_does_not_come_is_explained(
    #[case] class: Option<&str>,
    #[case] missing: bool,
    #[case] now: i64,
    #[case] reason: &str,
    #[case] words: &str,
) {
    let claim = ClaimFacts { bound: false, class: class.map(str::to_owned), requested: Some("1Gi".into()) };
    let pod = PodFacts {
        component: "database".into(),
        unschedulable: Some(
            "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.".into(),
        ),
        ..PodFacts::default()
    };
    let seen = Snapshot::new([
        child(Kind::StatefulSet, "database", Facts::Workload(workload(0).into())),
        child(Kind::PersistentVolumeClaim, "database", Facts::Claim(claim.into())),
        child(Kind::Pod, "database-0", Facts::Pod(pod.into())),
    ]);
    let verdict = database(&seen, NAMESPACE, missing, at(now));
    assert_eq!(verdict.reason, reason);
    assert!(verdict.message.contains(words), "{}", verdict.message);
}

#[test]
fn a_controller_that_makes_no_pod_is_told_after_a_while() {
    let facts = WorkloadFacts { replicas: 0, updated: 0, ..workload(0) };
    let seen = Snapshot::new([child(Kind::StatefulSet, "database", Facts::Workload(facts.into()))]);
    assert_eq!(database(&seen, NAMESPACE, false, at(5)).reason, "Provisioning");
    assert_eq!(database(&seen, NAMESPACE, false, at(31)).reason, "PodRefused");
}

#[test]
fn a_stopped_part_is_stopped_when_its_pods_are_gone() {
    let facts = WorkloadFacts { wanted: 0, ..WorkloadFacts::default() };
    let set = child(Kind::Deployment, "crm", Facts::Workload(facts.into()));
    let pod = child(
        Kind::Pod,
        "crm-1",
        Facts::Pod(PodFacts { component: "crm".into(), ..PodFacts::default() }.into()),
    );
    assert_eq!(app(&Snapshot::new([set.clone(), pod]), NAMESPACE, at(1)).reason, reasons::STOPPING);
    assert_eq!(app(&Snapshot::new([set]), NAMESPACE, at(1)).reason, reasons::SUSPENDED);
}
