use rstest::rstest;
use serde_json::json;

use super::*;
use crate::{
    api::{TenantCounts, TenantStatus, UpgradeFailure, UpgradeStatus},
    rollout::turn::Turn,
    testing,
};

fn waves() -> Waves {
    let rollout = json!({"waves": [{"name": "canary", "percent": 5, "approval": "Required"}]});
    Waves::of("stable", &serde_json::from_value(rollout).unwrap()).unwrap()
}

fn turn(wave: Option<usize>) -> Turn {
    let counts = TenantCounts { total: 3, up_to_date: 1, waiting: 2, ..TenantCounts::default() };
    Turn {
        go: Vec::new(),
        wave,
        halt: None,
        failures: 0,
        awaits_approval: false,
        awaits_windows: false,
        next_opening: None,
        counts,
    }
}

fn all_done() -> Turn {
    let counts = TenantCounts { total: 3, up_to_date: 2, set_aside: 1, ..TenantCounts::default() };
    Turn { counts, ..turn(None) }
}

/// A tenant that failed with that release at that second.
fn failed(name: &str, release: &str, second: i64) -> Box<Tenant> {
    let at = Time(Timestamp::from_second(second).unwrap());
    let failure = UpgradeFailure { at, reason: "CrashLooping".into(), message: format!("{name} crashes") };
    let mut tenant = testing::tenant();
    tenant.metadata.name = Some(name.to_owned());
    tenant.status = Some(TenantStatus {
        upgrade: Some(UpgradeStatus {
            last_failure: Some(failure),
            ..testing::upgrade("r1", release, UpgradeStep::Failed)
        }),
        ..TenantStatus::default()
    });
    tenant.into()
}

fn says(status: &ChannelStatus, type_: &str) -> (String, String) {
    let found = conditions::find(&status.conditions, type_).unwrap();
    (found.status.clone(), found.reason.clone())
}

const NOBODY: [Box<Tenant>; 0] = [];

#[test]
fn who_waits_for_a_window_is_told_when_it_opens() {
    let opening = "2027-03-28T01:30:00Z".parse().unwrap();
    let turn = Turn { awaits_windows: true, next_opening: Some(opening), ..turn(Some(0)) };
    let status =
        channel_status(&testing::channel("r2", Some("r1")), &waves(), &turn, &NOBODY, Timestamp::UNIX_EPOCH);
    let progressing = conditions::find(&status.conditions, conditions::PROGRESSING).unwrap();
    assert!(progressing.message.ends_with("the next one opens at 2027-03-28T01:30:00Z"), "{progressing:?}");
}

#[rstest]
#[case::under_way(turn(Some(1)), false, ["False RollingOut", "True RollingOut", "False NotHalted"])]
#[case::paused(turn(Some(1)), true, ["False RollingOut", "False Paused", "False NotHalted"])]
#[case::for_a_word(Turn { awaits_approval: true, ..turn(Some(0)) }, false, ["False RollingOut", "False AwaitingApproval", "False NotHalted"])]
#[case::for_windows(Turn { awaits_windows: true, ..turn(Some(0)) }, false, ["False RollingOut", "True AwaitingWindow", "False NotHalted"])]
#[case::halted(Turn { halt: Some(Halt::TooManyFailures), ..turn(Some(1)) }, false, ["False RollingOut", "False Halted", "True TooManyFailures"])]
#[case::halted_and_nobody_is_left(Turn { halt: Some(Halt::TooManyFailures), ..turn(None) }, false, ["False RollingOut", "False Halted", "True TooManyFailures"])]
#[case::nobody(Turn { halt: Some(Halt::NobodySucceeded { wave: 0 }), ..turn(Some(0)) }, true, ["False RollingOut", "False Halted", "True NobodySucceeded"])]
#[case::done(all_done(), false, ["True AsExpected", "False RolledOut", "False NotHalted"])]
fn a_channel_says(#[case] turn: Turn, #[case] paused: bool, #[case] expected: [&str; 3]) {
    let mut channel = testing::channel("r2", Some("r1"));
    channel.spec.paused = paused;
    let status = channel_status(&channel, &waves(), &turn, &NOBODY, Timestamp::UNIX_EPOCH);
    let said = ["UpToDate", "Progressing", "Halted"].map(|type_| {
        let (status, reason) = says(&status, type_);
        format!("{status} {reason}")
    });
    assert_eq!(said, expected);
    let settled = if turn == all_done() { "r2" } else { "r1" };
    assert_eq!(status.settled_release.as_deref(), Some(settled), "with which new tenants begin");
}

#[test]
fn who_reads_of_a_wave_that_waits_is_told_what_to_write() {
    let awaits = Turn { awaits_approval: true, ..turn(Some(0)) };
    let status =
        channel_status(&testing::channel("r2", None), &waves(), &awaits, &NOBODY, Timestamp::UNIX_EPOCH);
    let message = &conditions::find(&status.conditions, "Progressing").unwrap().message;
    assert!(message.contains("{release: r2, wave: canary} to spec.rollout.approvals"), "{message}");
}

#[test]
fn the_newest_failures_are_shown_and_no_more_than_twenty() {
    let mut tenants: Vec<_> = (0..30).map(|number| failed(&format!("t{number}"), "r2", number)).collect();
    tenants.push(failed("earlier", "r0", 99));
    let status = channel_status(
        &testing::channel("r2", None),
        &waves(),
        &turn(Some(0)),
        &tenants,
        Timestamp::UNIX_EPOCH,
    );
    let names: Vec<_> = status.failures.iter().map(|failure| failure.tenant.as_str()).collect();
    assert_eq!((names.len(), names[0], names[19]), (20, "t29", "t10"));
}

#[test]
fn a_status_stays_small_whatever_fails() {
    let wordy = |number: i64| {
        let mut tenant = failed(&format!("{number:0>40}"), "r2", number);
        let upgrade = tenant.status.as_mut().and_then(|status| status.upgrade.as_mut());
        let failure = upgrade.and_then(|upgrade| upgrade.last_failure.as_mut()).unwrap();
        // In JSON each of these takes two bytes.
        failure.message = "\"".repeat(4096);
        tenant
    };
    let tenants: Vec<_> = (0..500).map(wordy).collect();
    let halted = Turn { halt: Some(Halt::TooManyFailures), ..turn(Some(0)) };
    let status =
        channel_status(&testing::channel("r2", None), &waves(), &halted, &tenants, Timestamp::UNIX_EPOCH);
    let bytes = serde_json::to_vec(&status).unwrap().len();
    assert!(bytes <= 20_000, "{bytes} bytes");
}

#[test]
fn a_channel_that_cannot_be_used_keeps_what_it_said_of_its_tenants() {
    let mut channel = testing::channel("r2", Some("r1"));
    let said = channel_status(&channel, &waves(), &turn(Some(1)), &NOBODY, Timestamp::UNIX_EPOCH);
    channel.status = Some(said.clone());
    let status = unusable(&channel, "no tenant is upgraded: why", Timestamp::UNIX_EPOCH);
    assert_eq!(says(&status, "Progressing"), ("False".into(), "Unusable".into()));
    assert_eq!((status.tenants, status.settled_release), (said.tenants, said.settled_release));
}

#[rstest]
#[case::waiting(Stage::Waiting, "False", "Waiting", "comes with wave canary")]
#[case::failed(Stage::Failed, "False", "UpgradeFailed", "acme crashes")]
#[case::aside(Stage::Aside, "Unknown", "SetAside", "when the tenant runs")]
#[case::done(Stage::Done, "True", "AsExpected", "")]
fn a_tenant_is_told(#[case] stage: Stage, #[case] status: &str, #[case] reason: &str, #[case] words: &str) {
    let tenant = failed("acme", "r2", 5);
    let said = tenant_condition(&tenant, "stable", "r2", "canary", stage, Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!((said.status.as_str(), said.reason.as_str()), (status, reason));
    assert!(said.message.contains(words), "{}", said.message);
}

#[test]
fn one_whose_changed_pods_do_not_run_is_a_failure() {
    let mut tenant = failed("acme", "r1", 5);
    let status = tenant.status.as_mut().unwrap();
    (status.upgrade, status.release) = (None, Some("r2".to_owned()));
    let words = |name: &str| Some(name.to_owned());
    (status.pod_settings, status.target_pod_settings) = (words("old"), words("new"));
    let verdict = Verdict::no("OutOfMemory", "a container needs more memory");
    set_condition(&mut status.conditions, conditions::APP_READY, verdict, None, Timestamp::UNIX_EPOCH);
    let rolling = Verdict::no("RollingOut", "");
    set_condition(&mut status.conditions, conditions::UP_TO_DATE, rolling, None, Timestamp::UNIX_EPOCH);
    let said = channel_status(
        &testing::channel("r2", None),
        &waves(),
        &turn(Some(0)),
        std::slice::from_ref(&tenant),
        Timestamp::UNIX_EPOCH,
    );
    let failure = said.failures.first().unwrap();
    assert_eq!((failure.tenant.as_str(), failure.reason.as_str()), ("acme", "OutOfMemory"));
    let said =
        tenant_condition(&tenant, "stable", "r2", "canary", Stage::Failed, Timestamp::UNIX_EPOCH).unwrap();
    assert!(said.message.ends_with("does not run: a container needs more memory"), "{}", said.message);

    // The same later, when nothing is on its way, is the tenant's own trouble.
    let status = tenant.status.as_mut().unwrap();
    status.pod_settings = status.target_pod_settings.clone();
    let said = channel_status(
        &testing::channel("r2", None),
        &waves(),
        &turn(None),
        &[tenant],
        Timestamp::UNIX_EPOCH,
    );
    assert_eq!(said.failures, []);
}
