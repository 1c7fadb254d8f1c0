use std::collections::BTreeSet;

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const NOW: &str = "2026-11-22T12:00:00Z";
const DEFAULT: Retention = Retention { daily: 7, weekly: 4, monthly: 12 };

fn keep(daily: i32, weekly: i32, monthly: i32) -> Retention {
    Retention { daily, weekly, monthly }
}

fn backup(created_at: Timestamp, number: usize) -> Backup {
    let id = format!("{}-{number:06}", created_at.strftime("%Y%m%dT%H%M%SZ"));
    Backup { id: BackupId::parse(&id).unwrap(), created_at, reason: Reason::Scheduled, is_good: true }
}

/// Backups made at these times, which all leave out the seconds and `Z`.
fn made(times: &[&str]) -> Vec<Backup> {
    let parsed = times.iter().map(|time| format!("{time}:00Z").parse().unwrap());
    parsed.enumerate().map(|(number, time)| backup(time, number)).collect()
}

/// The times of those that go, in the form of [`made`].
fn going(backups: &[Backup], keep: Retention, zone: &str) -> Vec<String> {
    let zone = TimeZone::get(zone).unwrap();
    let ids = expendable(backups, keep, &zone, NOW.parse().unwrap());
    ids.iter().map(|id| id.time().strftime("%Y-%m-%dT%H:%M").to_string()).collect()
}

#[rstest]
#[case::none(&[], DEFAULT, &[])]
#[case::one_that_is_old(&["2020-01-01T00:00"], DEFAULT, &[])]
#[case::all_of_the_last_day(&["2026-11-22T11:00", "2026-11-22T10:00", "2026-11-21T12:01"], keep(1, 0, 0), &[])]
#[case::a_day_and_a_minute(&["2026-11-22T11:00", "2026-11-21T11:59"], keep(1, 0, 0), &["2026-11-21T11:59"])]
#[case::the_newest_of_each_day(
    &["2026-11-20T01:00", "2026-11-20T02:00", "2026-11-19T01:00", "2026-11-19T23:00"], keep(7, 0, 0),
    &["2026-11-19T01:00", "2026-11-20T01:00"]
)]
// Days without a backup do not count.
#[case::days_that_have_some(&["2026-11-20T01:00", "2026-10-01T01:00", "2024-01-01T01:00"], keep(2, 0, 0), &["2024-01-01T01:00"])]
// 15 and 22 November 2026 are Sundays.
#[case::weeks_end_on_sunday(&["2026-11-16T01:00", "2026-11-15T23:00", "2026-11-09T01:00", "2026-11-08T01:00"], keep(0, 2, 0), &["2026-11-08T01:00", "2026-11-09T01:00"])]
// The last week of 2020 went on until 3 January.
#[case::a_week_over_new_year(&["2021-01-02T01:00", "2020-12-31T01:00", "2020-12-27T01:00"], keep(0, 5, 0), &["2020-12-31T01:00"])]
#[case::months(&["2026-11-01T00:00", "2026-10-31T00:00", "2026-10-01T00:00", "2025-10-01T00:00"], keep(0, 0, 2), &["2025-10-01T00:00", "2026-10-01T00:00"])]
#[case::the_newest_stays_whatever_its_age(&["2024-11-01T00:00", "2024-10-31T00:00"], keep(0, 0, 1), &["2024-10-31T00:00"])]
fn those_go(#[case] times: &[&str], #[case] keep: Retention, #[case] gone: &[&str]) {
    assert_eq!(going(&made(times), keep, "UTC"), gone);
}

#[test]
fn a_day_is_the_tenants_own() {
    // In Shanghai, eight hours ahead, these are of one day.
    let backups = made(&["2026-11-20T15:00", "2026-11-19T16:30"]);
    assert_eq!(going(&backups, keep(7, 0, 0), "UTC"), [""; 0]);
    assert_eq!(going(&backups, keep(7, 0, 0), "Asia/Shanghai"), ["2026-11-19T16:30"]);
    // The hour that Berlin has twice is of one day also.
    let backups = made(&["2026-10-25T01:30", "2026-10-25T00:30"]);
    assert_eq!(going(&backups, keep(7, 0, 0), "Europe/Berlin"), ["2026-10-25T00:30"]);
}

#[test]
fn a_year_of_backups_comes_down_to_what_the_plan_says() {
    let now: Timestamp = NOW.parse().unwrap();
    let backups: Vec<_> =
        (0..365).map(|day| backup(now - SignedDuration::from_hours(24 * day + 10), 0)).collect();
    let kept = backups.len() - going(&backups, DEFAULT, "UTC").len();
    // The newest of this week and of this month is that of today; November a year ago would be the thirteenth month.
    assert_eq!(kept, 7 + 3 + 11);
}

#[rstest]
#[case(Reason::Scheduled, true)]
#[case(Reason::OnDemand, true)]
#[case(Reason::Final, false)]
#[case(Reason::Safety, false)]
#[case(Reason::BeforeUpgrade, false)]
fn what_was_made_before_something_final_stays_for_a_month(#[case] reason: Reason, #[case] goes: bool) {
    let mut backups = made(&["2026-11-22T01:00", "2026-10-23T12:01", "2026-10-23T11:59"]);
    for backup in &mut backups[1..] {
        backup.reason = reason;
    }
    let gone = going(&backups, keep(1, 0, 0), "UTC");
    assert_eq!(gone.contains(&"2026-10-23T12:01".to_owned()), goes);
    assert!(gone.contains(&"2026-10-23T11:59".to_owned()));
}

#[test]
fn damaged_ones_stay_and_do_not_count() {
    let mut backups = made(&["2026-11-20T01:00", "2026-11-19T01:00", "2026-11-18T01:00", "2026-11-17T01:00"]);
    backups[0].is_good = false;
    backups[1].is_good = false;
    assert_eq!(going(&backups, keep(1, 0, 0), "UTC"), ["2026-11-17T01:00"]);
}

#[test]
fn a_backup_from_the_future_stops_everything() {
    let old = ["2026-11-18T01:00", "2026-11-18T02:00"];
    assert_eq!(going(&made(&old), keep(1, 0, 0), "UTC").len(), 1);
    for (ahead, gone) in [("2026-11-22T12:09", 2), ("2026-11-22T12:11", 0)] {
        let backups = made(&[old[0], old[1], ahead]);
        assert_eq!(going(&backups, keep(1, 0, 0), "UTC").len(), gone, "{ahead}");
    }
}

prop_compose! {
    /// Some backups of the last two years.
    fn backups()(
        some in prop::collection::vec((0_i64..2 * 365 * 24 * 60, 0..5_u8, prop::bool::weighted(0.8)), 0..60)
    ) -> Vec<Backup> {
        let now: Timestamp = NOW.parse().unwrap();
        some.into_iter().enumerate().map(|(number, (minutes, reason, is_good))| {
            let reasons =
                [Reason::Scheduled, Reason::OnDemand, Reason::Final, Reason::Safety, Reason::BeforeUpgrade];
            let reason = reasons[usize::from(reason)];
            Backup { reason, is_good, ..backup(now - SignedDuration::from_mins(minutes), number) }
        }).collect()
    }
}

prop_compose! {
    fn retentions()(daily in 0..10_i32, weekly in 0..10_i32, monthly in 0..10_i32) -> Retention {
        Retention { daily: daily.max(i32::from(weekly + monthly == 0)), weekly, monthly }
    }
}

fn set(backups: &[Backup], keep: Retention) -> BTreeSet<BackupId> {
    expendable(backups, keep, &TimeZone::UTC, NOW.parse().unwrap()).into_iter().collect()
}

proptest! {
    #[test]
    fn what_goes_is_good_and_not_the_newest_nor_young(backups in backups(), keep in retentions()) {
        let now: Timestamp = NOW.parse().unwrap();
        let gone = set(&backups, keep);
        let newest = backups.iter().filter(|backup| backup.is_good).max_by_key(|backup| (backup.created_at, &backup.id));
        for backup in backups.iter().filter(|backup| gone.contains(&backup.id)) {
            prop_assert!(backup.is_good);
            prop_assert!(newest.is_some_and(|newest| newest.id != backup.id));
            prop_assert!(SignedDuration::from_hours(24) <= now.duration_since(backup.created_at));
        }
    }

    #[test]
    fn each_period_that_is_to_be_kept_has_its_newest(backups in backups(), keep in retentions()) {
        let gone = set(&backups, keep);
        let lengths: [(i32, PeriodOf); 3] = [(keep.daily, day), (keep.weekly, week), (keep.monthly, month)];
        for (count, of) in lengths {
            let period = |backup: &Backup| of(backup.created_at.to_zoned(TimeZone::UTC).date());
            let periods: BTreeSet<_> = backups.iter().filter(|backup| backup.is_good).map(period).collect();
            for wanted in periods.iter().rev().take(count.unsigned_abs() as usize) {
                let newest = backups
                    .iter()
                    .filter(|backup| backup.is_good && period(backup) == *wanted)
                    .max_by_key(|backup| (backup.created_at, &backup.id));
                prop_assert!(newest.is_some_and(|newest| !gone.contains(&newest.id)));
            }
        }
    }

    #[test]
    fn a_second_look_finds_nothing_more(backups in backups(), keep in retentions()) {
        let gone = set(&backups, keep);
        let left: Vec<_> = backups.into_iter().filter(|backup| !gone.contains(&backup.id)).collect();
        prop_assert!(set(&left, keep).is_empty());
    }

    #[test]
    fn who_keeps_more_loses_less(backups in backups(), keep in retentions(), more in retentions()) {
        let sum = Retention {
            daily: keep.daily + more.daily, weekly: keep.weekly + more.weekly, monthly: keep.monthly + more.monthly,
        };
        prop_assert!(set(&backups, sum).is_subset(&set(&backups, keep)));
    }

    #[test]
    fn knowing_nothing_but_their_times_finds_at_least_as_many(backups in backups(), keep in retentions()) {
        let presumed: Vec<_> = backups
            .iter()
            .map(|backup| Backup { reason: Reason::Scheduled, is_good: true, ..backup.clone() })
            .collect();
        prop_assert!(set(&backups, keep).is_subset(&set(&presumed, keep)));
    }
}
