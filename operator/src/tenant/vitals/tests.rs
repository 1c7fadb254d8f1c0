use rstest::rstest;

use super::*;

/// The metrics of a CRM that has answered so many requests, so many of them with an error, each within 5 ms but so many within 500.
fn text(fine: u64, errors: u64, slow: u64) -> String {
    let all = fine + errors;
    let fast = all - slow;
    format!(
        r#"# HELP crm_http_requests_total Requests answered, by method, route and status
# TYPE crm_http_requests_total counter
crm_http_requests_total{{method="GET",route="/api/v1/companies",status="200"}} {fine}
crm_http_requests_total{{method="POST",route="/api/v1/companies",status="500"}} {errors}
crm_http_request_duration_seconds_bucket{{route="/api/v1/companies",le="0.001"}} 0
crm_http_request_duration_seconds_bucket{{route="/api/v1/companies",le="0.005"}} {fast}
crm_http_request_duration_seconds_bucket{{route="/api/v1/companies",le="0.5"}} {all}
crm_http_request_duration_seconds_bucket{{route="/api/v1/companies",le="+Inf"}} {all}
crm_http_request_duration_seconds_sum{{route="/api/v1/companies"}} 1.5
crm_http_request_duration_seconds_count{{route="/api/v1/companies"}} {all}
crm_http_changes_in_flight 0
crm_read_only 0
crm_build_info{{version="0.1.0"}} 1
"#
    )
}

fn vitals(fine: u64, errors: u64, slow: u64) -> Vitals {
    Vitals::read([text(fine, errors, slow).as_str()]).unwrap()
}

#[test]
fn pods_are_added_up() {
    let (one, other) = (text(10, 1, 0), text(30, 4, 2));
    let both = Vitals::read([one.as_str(), other.as_str()]).unwrap();
    assert_eq!((both.requests, both.errors, both.p95), (45, 5, Some(0.005)));
    assert_eq!(vitals(100, 0, 5).p95, Some(0.005));
    assert_eq!(vitals(100, 0, 6).p95, Some(0.5));
    assert_eq!(vitals(0, 0, 0).p95, None);
}

#[rstest]
#[case::nobody(&[])]
#[case::a_stranger(&["<html></html>"])]
#[case::nothing(&[""])]
#[case::an_app_without_the_gauge(&["crm_read_only 1\n"])]
#[case::no_number(&["crm_read_only one\ncrm_http_changes_in_flight 0\n"])]
fn what_cannot_be_understood_says_nothing(#[case] pods: &[&str]) {
    assert_eq!(Vitals::read(pods.iter().copied()), None);
}

#[rstest]
#[case::all_still(&[(1, 0), (1, 0)], true)]
#[case::one_may_write(&[(1, 0), (0, 0)], false)]
#[case::one_is_writing(&[(1, 0), (1, 1)], false)]
fn a_crm_is_still_when_none_of_its_pods_writes(#[case] pods: &[(u8, u8)], #[case] wanted: bool) {
    let text = |(read_only, changes): &(u8, u8)| {
        format!("crm_http_changes_in_flight {changes}\ncrm_read_only {read_only}\n")
    };
    let texts: Vec<_> = pods.iter().map(text).collect();
    assert_eq!(Vitals::read(texts.iter().map(String::as_str)).unwrap().is_still, wanted);
}

#[rstest]
#[case::as_before(vitals(100, 0, 0), Some(vitals(100, 0, 0)), None)]
#[case::too_few_to_tell(vitals(0, 19, 0), None, None)]
#[case::errors(vitals(18, 2, 0), Some(vitals(100, 0, 0)), Some("TooManyErrors"))]
#[case::one_error_is_none(vitals(19, 1, 0), Some(vitals(100, 0, 0)), None)]
#[case::no_more_errors_than_before(vitals(90, 10, 0), Some(vitals(90, 10, 0)), None)]
#[case::errors_and_nothing_known_of_before(vitals(18, 2, 0), None, Some("TooManyErrors"))]
#[case::slow(vitals(100, 0, 100), Some(vitals(100, 0, 0)), Some("TooSlow"))]
#[case::slow_as_before(vitals(100, 0, 100), Some(vitals(100, 0, 100)), None)]
#[case::slow_and_nothing_known_of_before(vitals(100, 0, 100), None, None)]
#[case::slow_and_too_little_known_of_before(vitals(100, 0, 100), Some(vitals(10, 0, 0)), None)]
#[case::longer_than_is_measured(Vitals { p95: None, ..vitals(100, 0, 0) }, Some(vitals(100, 0, 0)), Some("TooSlow"))]
#[case::slow_and_too_few_to_tell(vitals(49, 0, 49), Some(vitals(100, 0, 0)), None)]
#[case::fast_enough(Vitals { p95: Some(0.25), ..vitals(100, 0, 0) }, Some(Vitals { p95: Some(0.001), ..vitals(100, 0, 0) }), None)]
fn what_speaks_against_a_release(
    #[case] now: Vitals,
    #[case] before: Option<Vitals>,
    #[case] wanted: Option<&str>,
) {
    assert_eq!(now.complaint(before.as_ref()).map(|complaint| complaint.reason), wanted);
}

#[rstest]
#[case::of_some_slow_ones(vitals(99, 0, 99), true)]
#[case::not_of_many(vitals(100, 0, 100), false)]
#[case::not_of_errors(vitals(18, 2, 0), false)]
fn what_is_doubtful(#[case] now: Vitals, #[case] wanted: bool) {
    let complaint = now.complaint(Some(&vitals(100, 0, 0))).unwrap();
    assert_eq!(complaint.is_doubtful, wanted, "{complaint:?}");
}

#[test]
fn what_is_kept_of_the_release_before_comes_back() {
    let before = vitals(100, 3, 0);
    let text = serde_json::to_string(&before).unwrap();
    assert_eq!(text, r#"{"requests":103,"errors":3,"p95":0.005}"#);
    assert_eq!(serde_json::from_str::<Vitals>(&text).unwrap(), before);
}
