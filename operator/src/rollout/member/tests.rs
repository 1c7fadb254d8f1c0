use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rstest::rstest;

use super::*;
use crate::{
    api::{TenantStatus, Window},
    testing::{self, at},
};

/// A tenant of a channel whose status says this; `upgrade` is where from, where to, and how far.
fn tenant(release: &str, told: &str, upgrade: Option<(&str, &str, UpgradeStep)>) -> Tenant {
    let name = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let mut tenant = testing::tenant();
    tenant.spec.release = None;
    tenant.spec.channel = Some("stable".to_owned());
    tenant.status = Some(TenantStatus {
        release: name(release),
        schema_version: name(release).map(|_| 1),
        target_release: name(told),
        upgrade: upgrade.map(|(from, to, step)| testing::upgrade(from, to, step)),
        ..TenantStatus::default()
    });
    tenant
}

#[rstest]
#[case::new("", "", None, Stage::Aside)]
#[case::another("r1", "r1", None, Stage::Waiting)]
#[case::told("r1", "r2", None, Stage::Upgrading)]
#[case::checking("r1", "r2", Some(("r1", "r2", UpgradeStep::Checking)), Stage::Upgrading)]
#[case::migrating("r1", "r2", Some(("r1", "r2", UpgradeStep::Migrating)), Stage::Upgrading)]
#[case::rolling("r2", "r2", Some(("r1", "r2", UpgradeStep::Rolling)), Stage::Upgrading)]
#[case::baking("r2", "r2", Some(("r1", "r2", UpgradeStep::Baking)), Stage::Baking)]
#[case::done("r2", "r2", None, Stage::Done)]
#[case::done_and_never_told("r2", "", None, Stage::Done)]
#[case::going_back("r2", "r2", Some(("r1", "r2", UpgradeStep::GoingBack)), Stage::Failed)]
#[case::restoring("r1", "r2", Some(("r1", "r2", UpgradeStep::Restoring)), Stage::Failed)]
#[case::failed("r1", "r2", Some(("r1", "r2", UpgradeStep::Failed)), Stage::Failed)]
#[case::failed_with_another("r1", "r3", Some(("r1", "r3", UpgradeStep::Failed)), Stage::Waiting)]
#[case::on_the_way_elsewhere("r1", "r3", Some(("r1", "r3", UpgradeStep::Migrating)), Stage::Busy)]
fn so_far_it_is(
    #[case] release: &str,
    #[case] told: &str,
    #[case] upgrade: Option<(&str, &str, UpgradeStep)>,
    #[case] expected: Stage,
) {
    assert_eq!(stage(&tenant(release, told, upgrade), "r2", None, at(0)), expected);
}

#[rstest]
#[case::suspended(|tenant: &mut Tenant| tenant.spec.state = State::Suspended)]
#[case::paused(|tenant: &mut Tenant| tenant.spec.paused = true)]
#[case::leaving(|tenant: &mut Tenant| tenant.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH)))]
fn nobody_waits_for_one_that_cannot(#[case] change: fn(&mut Tenant)) {
    let mut tenant = tenant("r1", "r1", None);
    change(&mut tenant);
    assert_eq!(stage(&tenant, "r2", None, at(0)), Stage::Aside);
}

#[rstest]
#[case::new("", "", None, false, Some("r1"))]
#[case::new_and_told("", "r1", None, false, None)]
#[case::its_turn("r1", "r1", None, true, Some("r2"))]
#[case::not_its_turn("r1", "r1", None, false, None)]
#[case::never_told("r2", "", None, false, Some("r2"))]
#[case::back_to_where_it_comes_from("r3", "r3", Some(("r2", "r3", UpgradeStep::Rolling)), false, Some("r2"))]
#[case::on_the_way_elsewhere("r1", "r3", Some(("r1", "r3", UpgradeStep::Migrating)), false, None)]
fn it_is_told(
    #[case] release: &str,
    #[case] told: &str,
    #[case] upgrade: Option<(&str, &str, UpgradeStep)>,
    #[case] goes: bool,
    #[case] expected: Option<&str>,
) {
    assert_eq!(target(&tenant(release, told, upgrade), "r2", "r1", goes, at(0)), expected);
}

#[test]
fn one_that_cannot_begin_gives_its_place_to_others() {
    let checking = tenant("r1", "r2", Some(("r1", "r2", UpgradeStep::Checking)));
    assert_eq!(target(&checking, "r2", "r1", false, at(300)), None);
    assert_eq!(target(&checking, "r2", "r1", false, at(301)), Some("r1"));
    let migrating = tenant("r1", "r2", Some(("r1", "r2", UpgradeStep::Migrating)));
    assert_eq!(target(&migrating, "r2", "r1", false, at(301)), None, "what has begun is brought to its end");
}

#[test]
fn nobody_waits_for_one_whose_database_does_not_answer() {
    let mut tenant = tenant("r1", "r1", None);
    let status = tenant.status.as_mut().unwrap();
    let verdict = conditions::Verdict::no("StorageNotBound", "");
    conditions::set_condition(&mut status.conditions, conditions::DATABASE_READY, verdict, None, at(0));
    assert_eq!(stage(&tenant, "r2", None, at(0)), Stage::Aside);
}

#[test]
fn its_own_window_counts_and_else_the_channels() {
    let window = |start: &str| Window { days: vec![], start: start.to_owned(), duration: "1h".to_owned() };
    let (mut tenant, mut channel) = (tenant("r1", "r1", None), testing::channel("r2", Some("r1")));
    // Eight in Shanghai.
    assert_eq!(opens_at(&tenant, &channel, at(0)), None, "without a window, always");
    channel.spec.rollout.window = Some(window("09:00"));
    assert_eq!(opens_at(&tenant, &channel, at(0)), Some(at(3600)));
    tenant.spec.maintenance_window = Some(window("08:00"));
    assert_eq!(opens_at(&tenant, &channel, at(0)), None);
}

/// A tenant that runs r2 with these settings of its pods, was told at the first moment that others are wanted, and which, and whose CRM
/// says since that moment what is the matter.
fn with_pods(own: Option<&str>, told: Option<&str>, trouble: Option<&'static str>) -> Tenant {
    let mut tenant = tenant("r2", "r2", None);
    let status = tenant.status.as_mut().unwrap();
    status.pod_settings = own.map(str::to_owned);
    status.target_pod_settings = told.map(str::to_owned);
    let verdict = match trouble {
        Some(reason) => conditions::Verdict::no(reason, "in words"),
        None => conditions::Verdict::yes("AsExpected", ""),
    };
    conditions::set_condition(&mut status.conditions, conditions::APP_READY, verdict, None, at(0));
    let waiting = conditions::Verdict::no("RollingOut", "");
    conditions::set_condition(&mut status.conditions, conditions::UP_TO_DATE, waiting, None, at(0));
    tenant
}

#[test]
fn what_was_the_matter_before_may_be_what_other_settings_mend() {
    let mut tenant = with_pods(Some("old"), Some("new"), Some("OutOfMemory"));
    let conditions = &mut tenant.status.as_mut().unwrap().conditions;
    conditions.retain(|condition| condition.type_ != conditions::UP_TO_DATE);
    let verdict = conditions::Verdict::no("RollingOut", "");
    conditions::set_condition(conditions, conditions::UP_TO_DATE, verdict, None, at(100));
    let so_far = |second| stage(&tenant, "r2", Some("new"), at(second));
    assert_eq!((so_far(100), so_far(699), so_far(700)), (Stage::Upgrading, Stage::Upgrading, Stage::Failed));
}

#[rstest]
#[case::as_wanted(Some("new"), None, None, 0, Stage::Done)]
#[case::of_one_that_says_nothing_yet(None, None, None, 0, Stage::Done)]
#[case::its_turn_is_to_come(Some("old"), Some("old"), None, 0, Stage::Waiting)]
#[case::it_was_never_told_any(Some("old"), None, None, 0, Stage::Waiting)]
#[case::told_a_moment_ago(Some("old"), Some("new"), None, 0, Stage::Upgrading)]
#[case::its_pods_start(Some("old"), Some("new"), Some("RollingOut"), 599, Stage::Upgrading)]
#[case::they_do_not(Some("old"), Some("new"), Some("RollingOut"), 600, Stage::Failed)]
#[case::they_never_will(Some("old"), Some("new"), Some("OutOfMemory"), 0, Stage::Failed)]
#[case::a_node_that_is_away_later(Some("new"), Some("new"), Some("CrashLooping"), 900, Stage::Done)]
fn settings_of_pods_travel_like_a_release(
    #[case] own: Option<&str>,
    #[case] told: Option<&str>,
    #[case] trouble: Option<&'static str>,
    #[case] second: i64,
    #[case] expected: Stage,
) {
    assert_eq!(stage(&with_pods(own, told, trouble), "r2", Some("new"), at(second)), expected);
}

#[rstest]
#[case::its_turn("old", Some("old"), true, Some("new"))]
#[case::not_its_turn("old", Some("old"), false, None)]
#[case::told_already("old", Some("new"), true, None)]
#[case::back_to_what_it_had("new", Some("other"), false, Some("new"))]
#[case::nothing_to_tell("new", None, false, None)]
fn it_is_told_settings(
    #[case] own: &str,
    #[case] told: Option<&str>,
    #[case] goes: bool,
    #[case] expected: Option<&str>,
) {
    assert_eq!(target_pods(&with_pods(Some(own), told, None), Some("new"), goes), expected);
}
