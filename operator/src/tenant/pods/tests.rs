use rstest::rstest;

use super::*;
use crate::testing;

fn settings(template: u32, plan: &str, cpu: &str) -> PodSettings {
    let mut spec = testing::plan();
    spec.spec.app.cpu = cpu.to_owned();
    PodSettings::wanted(plan, &spec, template)
}

fn old() -> PodSettings {
    settings(1, "standard", "50m")
}

/// Everything is as it was, but for what the case says.
fn scene<'a>(recorded: &'a PodSettings, wanted: &'a PodSettings) -> Scene<'a> {
    Scene { recorded: Some(recorded), wanted, told: None, follows: true, moment: Moment::Calm }
}

#[rstest]
#[case::a_template(settings(2, "standard", "50m"))]
#[case::a_size(settings(1, "standard", "100m"))]
fn what_follows_a_channel_waits_for_its_turn(#[case] wanted: PodSettings) {
    let old = old();
    let waits = scene(&old, &wanted);
    assert_eq!(in_force(&waits), old);
    let digest = wanted.digest();
    assert_eq!(in_force(&Scene { told: Some(&digest), ..waits }), wanted, "its turn has come");
    let other = old.digest();
    assert_eq!(in_force(&Scene { told: Some(&other), ..waits }), old, "that was another one's turn");
    let upgrading = Scene { told: Some(&digest), moment: Moment::Upgrading, ..waits };
    assert_eq!(in_force(&upgrading), old, "pods are not restarted twice");
    assert_eq!(in_force(&Scene { moment: Moment::Rolling, ..upgrading }), wanted);
    assert_eq!(in_force(&Scene { moment: Moment::Stopped, ..waits }), wanted, "nothing is restarted");
    assert_eq!(in_force(&Scene { recorded: None, ..waits }), wanted, "it begins");
}

#[test]
fn what_is_asked_of_one_tenant_comes_at_once() {
    let (old, wanted) = (old(), settings(2, "large", "50m"));
    assert_eq!(in_force(&scene(&old, &wanted)), wanted);
}

#[test]
fn a_pinned_tenant_follows_its_plan_and_keeps_its_template_until_it_rolls() {
    let (old, template, size) = (old(), settings(2, "standard", "50m"), settings(2, "standard", "1"));
    let pinned = |wanted| Scene { follows: false, ..scene(&old, wanted) };
    assert_eq!(in_force(&pinned(&template)), old);
    assert_eq!(in_force(&Scene { moment: Moment::Rolling, ..pinned(&template) }), template);
    assert_eq!(in_force(&pinned(&size)), size);
}

#[test]
fn settings_are_read_as_they_are_written() {
    let mut wanted = settings(2, "standard", "50m");
    wanted.scheduling =
        Some(serde_json::from_value(serde_json::json!({"nodeSelector": {"pool": "a"}})).unwrap());
    assert_eq!(PodSettings::read(&wanted.written().unwrap()), Some(wanted.clone()));
    assert_ne!(wanted.digest(), settings(2, "standard", "50m").digest());
    assert_eq!(wanted.digest().len(), 8);
    assert_eq!(PodSettings::read("{}"), None);
}
