use rstest::rstest;

use super::*;
use crate::{api::conditions::reasons, testing};

fn release(version: &str, schema_version: i64, min_app_schema: i64) -> ValidRelease {
    let mut release = ValidRelease::of(&testing::release("r", schema_version));
    release.version = version.to_owned();
    release.min_app_schema = min_app_schema;
    release
}

fn for_versions(requirement: &str) -> ValidRelease {
    ValidRelease { upgrades_from: Some(requirement.to_owned()), ..release("2.0.0", 2, 1) }
}

fn store() -> ValidBackup {
    testing::valid_tenant().backup.unwrap()
}

fn yes() -> Verdict {
    Verdict::yes(reasons::AS_EXPECTED, "")
}

/// What the checks say when all but the given is as it should be.
fn said(change: impl FnOnce(&mut Scene<'_>)) -> Vec<(String, CheckResult)> {
    let (from, to, fine, store) = (release("1.0.0", 1, 1), release("2.0.0", 2, 1), yes(), store());
    let mut scene = Scene {
        from: Some(&from),
        to: &to,
        database: &fine,
        backup: Some(&store),
        window: None,
        time_zone: "Asia/Shanghai",
        rehearse: true,
        now: Timestamp::UNIX_EPOCH,
    };
    // What the change brings lives as long as this.
    change(&mut scene);
    all(&scene).into_iter().map(|check| (check.name, check.result)).collect()
}

fn result_of(name: &str, checks: &[(String, CheckResult)]) -> CheckResult {
    checks.iter().find(|(known, _)| known == name).unwrap().1
}

fn path_between(from: &ValidRelease, to: &ValidRelease) -> CheckResult {
    let (fine, store) = (yes(), store());
    let scene = Scene {
        from: Some(from),
        to,
        database: &fine,
        backup: Some(&store),
        window: None,
        time_zone: "UTC",
        rehearse: true,
        now: Timestamp::UNIX_EPOCH,
    };
    path(&scene).result
}

#[test]
fn all_pass_when_all_is_well() {
    let checks = said(|_| ());
    let names: Vec<_> = checks.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Path", "Database", "Backup", "Window"]);
    assert!(checks.iter().all(|(_, result)| *result == CheckResult::Passed), "{checks:?}");
}

#[test]
fn what_may_pass_is_waited_for() {
    assert_eq!(result_of("Path", &said(|scene| scene.from = None)), CheckResult::Waiting);
    let no = Box::leak(Box::new(Verdict::no("StorageNotBound", "no volume")));
    assert_eq!(result_of("Database", &said(|scene| scene.database = no)), CheckResult::Waiting);
    let nowhere = Box::leak(Box::new(ValidBackup { recovery: None, ..store() }));
    assert_eq!(result_of("Backup", &said(|scene| scene.backup = Some(nowhere))), CheckResult::Waiting);
}

#[rstest]
#[case::of_any(release("2.0.0", 2, 1), CheckResult::Passed)]
#[case::of_this(for_versions(">=1.0.0, <2.0.0"), CheckResult::Passed)]
#[case::of_later_ones(for_versions(">=1.5.0"), CheckResult::Failed)]
#[case::nonsense(for_versions("one"), CheckResult::Failed)]
fn there_is_a_way_for_versions_that_the_release_names(#[case] to: ValidRelease, #[case] wanted: CheckResult) {
    assert_eq!(path_between(&release("1.0.0", 1, 1), &to), wanted);
}

#[rstest]
#[case::that_works_on_the_schema(release("2.0.0", 2, 1), release("1.0.0", 1, 1), CheckResult::Passed)]
#[case::that_does_not(release("2.0.0", 2, 2), release("1.0.0", 1, 1), CheckResult::Failed)]
fn the_way_back_is_for_an_app(
    #[case] from: ValidRelease,
    #[case] to: ValidRelease,
    #[case] wanted: CheckResult,
) {
    assert_eq!(path_between(&from, &to), wanted);
}

#[rstest]
#[case::forward(release("1.0.0", 1, 1), release("2.0.0", 2, 1), true, Safety { backs_up: true, rehearses: true, is_one_way: false })]
#[case::one_way(release("1.0.0", 1, 1), release("2.0.0", 2, 2), true, Safety { backs_up: true, rehearses: true, is_one_way: true })]
#[case::without_backups(release("1.0.0", 1, 1), release("2.0.0", 2, 1), false, Safety::default())]
#[case::back(release("2.0.0", 2, 1), release("1.0.0", 1, 1), true, Safety::default())]
fn what_is_done_for_safety(
    #[case] from: ValidRelease,
    #[case] to: ValidRelease,
    #[case] has_backups: bool,
    #[case] wanted: Safety,
) {
    let (fine, store) = (yes(), store());
    let scene = Scene {
        from: Some(&from),
        to: &to,
        database: &fine,
        backup: has_backups.then_some(&store),
        window: None,
        time_zone: "UTC",
        rehearse: true,
        now: Timestamp::UNIX_EPOCH,
    };
    assert_eq!(safety(&scene), wanted);
}

#[test]
fn without_backups_there_is_no_one_way() {
    let one_way = Box::leak(Box::new(release("2.0.0", 2, 2)));
    let without = said(|scene| (scene.backup, scene.to) = (None, one_way));
    assert_eq!(result_of("Backup", &without), CheckResult::Failed);
    assert_eq!(result_of("Backup", &said(|scene| scene.backup = None)), CheckResult::Passed);
}

#[rstest]
#[case::open("08:00", CheckResult::Passed)]
#[case::closed("09:00", CheckResult::Waiting)]
fn it_begins_in_its_window(#[case] start: &str, #[case] wanted: CheckResult) {
    let window = Window { days: vec![], start: start.to_owned(), duration: "30m".to_owned() };
    let window = Box::leak(Box::new(window));
    assert_eq!(result_of("Window", &said(|scene| scene.window = Some(window))), wanted);
}
