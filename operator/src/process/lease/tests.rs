//! Who may hold the lease when, and what happens when two want it.

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::testing::fake_api::FakeApi;

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/tenantry-system/leases/tenantry-operator";

fn held_by(holder: Option<&str>, seconds: Option<i32>) -> LeaseSpec {
    LeaseSpec {
        holder_identity: holder.map(str::to_owned),
        lease_duration_seconds: seconds,
        ..LeaseSpec::default()
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[rstest]
#[case::a_new_lease(None, None, 0, Claim::Take)]
#[case::let_go_of(Some(""), Some(1), 0, Claim::Take)]
#[case::just_seen(Some("b"), Some(15), 0, Claim::Wait(seconds(15)))]
#[case::a_while_ago(Some("b"), Some(15), 14, Claim::Wait(seconds(1)))]
#[case::run_out(Some("b"), Some(15), 15, Claim::Take)]
#[case::long_ago(Some("b"), Some(15), 1000, Claim::Take)]
#[case::its_own_duration_counts(Some("b"), Some(60), 15, Claim::Wait(seconds(45)))]
#[case::without_duration(Some("b"), None, 14, Claim::Wait(seconds(1)))]
#[case::senseless_duration(Some("b"), Some(-5), 14, Claim::Wait(seconds(1)))]
#[case::ours(Some("a"), Some(15), 0, Claim::Renew)]
#[case::ours_from_before_a_restart(Some("a"), Some(15), 1000, Claim::Renew)]
fn nobody_takes_what_another_may_still_hold(
    #[case] holder: Option<&str>,
    #[case] duration: Option<i32>,
    #[case] unchanged_for_seconds: u64,
    #[case] claim: Claim,
) {
    assert_eq!(decide(&held_by(holder, duration), "a", seconds(unchanged_for_seconds)), claim);
}

#[test]
fn only_our_own_clock_counts() {
    // The holder's clock is a year ahead or behind; what matters is when we saw it renew.
    let at = |second| LeaseSpec {
        renew_time: Some(MicroTime(Timestamp::from_second(second).unwrap())),
        ..held_by(Some("b"), Some(15))
    };
    let (mut sight, start) = (Sight::default(), Instant::now());
    assert_eq!(sight.unchanged_for(&at(-31_536_000), start), Duration::ZERO);
    assert_eq!(sight.unchanged_for(&at(-31_536_000), start + seconds(14)), seconds(14));
    assert_eq!(sight.unchanged_for(&at(31_536_000), start + seconds(15)), Duration::ZERO, "it was renewed");
    assert_eq!(sight.unchanged_for(&at(31_536_000), start + seconds(30)), seconds(15));
}

#[test]
fn transitions_count_holders_and_not_renewals() {
    let now = |second| Timestamp::from_second(second).unwrap();
    let first = claimed(&LeaseSpec::default(), "a", now(1));
    assert_eq!((first.lease_transitions, first.acquire_time.clone()), (Some(0), Some(MicroTime(now(1)))));
    let renewed = claimed(&first, "a", now(3));
    assert_eq!((renewed.lease_transitions, renewed.acquire_time), (Some(0), Some(MicroTime(now(1)))));
    assert_eq!(renewed.renew_time, Some(MicroTime(now(3))));
    let taken = claimed(&first, "b", now(20));
    assert_eq!((taken.lease_transitions, taken.acquire_time), (Some(1), Some(MicroTime(now(20)))));
}

#[test]
fn a_term_ends_unless_it_is_extended() {
    let term = Term::new(Instant::now() - RENEW_WITHIN);
    assert!(term.is_over());
    term.extend(Instant::now());
    assert!(!term.is_over());
    // A holder gives up before anybody may take over, with time to spare for what is under way.
    assert!(RENEW_WITHIN + REQUEST < DURATION && REQUEST * 2 < RENEW_WITHIN);
}

fn candidate(api: &FakeApi, me: &str) -> Candidate {
    Candidate::new(api.client(), "tenantry-system", me.to_owned(), || Timestamp::UNIX_EPOCH)
}

async fn leader(api: &FakeApi, me: &str) -> Leadership {
    candidate(api, me).elected(|| panic!("nobody else is there")).await
}

/// Who holds the lease when `me` has tried once.
async fn tries(api: &FakeApi, me: &str) -> String {
    match candidate(api, me).attempt(&mut Sight::default()).await.unwrap() {
        Attempt::Won(lease) => holder(&lease).unwrap_or_default().to_owned(),
        Attempt::Held { by, .. } => by,
    }
}

#[tokio::test]
async fn one_holds_it_until_it_lets_go() {
    let api = FakeApi::default();
    let mut first = leader(&api, "a").await;
    assert_eq!(tries(&api, "b").await, "a");
    first.renew().await.unwrap();
    assert_eq!(tries(&api, "b").await, "a");
    first.release().await;
    assert_eq!(api.get(LEASE).unwrap()["spec"]["holderIdentity"], json!(null));
    assert_eq!(tries(&api, "b").await, "b");
    assert_eq!(tries(&api, "a").await, "b");
}

#[tokio::test]
async fn a_process_that_is_started_again_under_its_name_goes_on() {
    let api = FakeApi::default();
    drop(leader(&api, "pod-1").await);
    let again = leader(&api, "pod-1").await;
    assert_eq!(again.lease.spec.unwrap().lease_transitions, Some(0));
}

#[tokio::test]
async fn of_two_that_read_the_same_version_one_gets_through() {
    let api = FakeApi::default();
    leader(&api, "old").await.release().await;
    let (one, other) = (candidate(&api, "a"), candidate(&api, "b"));
    let read = one.leases.get(names::OPERATOR).await.unwrap();
    assert!(matches!(one.claim(read.clone()).await, Ok(Attempt::Won(_))));
    assert!(matches!(other.claim(read).await, Err(kube::Error::Api(status)) if status.is_conflict()));
}

#[tokio::test]
async fn what_others_note_on_the_lease_does_not_end_a_term_but_another_holder_does() {
    let api = FakeApi::default();
    let mut leader = leader(&api, "a").await;
    api.change(LEASE, |lease| lease["metadata"]["labels"] = json!({"team": "platform"}));
    leader.renew().await.unwrap();
    api.remove(LEASE);
    leader.renew().await.unwrap();
    assert_eq!(api.get(LEASE).unwrap()["spec"]["holderIdentity"], "a", "it is made again");
    api.change(LEASE, |lease| lease["spec"]["holderIdentity"] = json!("b"));
    let lost = leader.renew().await.unwrap_err();
    assert!(matches!(&lost, Lost::Taken { by } if by == "b"), "{lost}");
    leader.release().await;
    assert_eq!(api.get(LEASE).unwrap()["spec"]["holderIdentity"], "b", "what is another's is not let go of");
}
