//! Which backups go: a pure function of what is there, what is to be kept, and the time.
//!
//! As restic's `forget --keep-daily`, `--keep-weekly` and `--keep-monthly` do
//! (<https://restic.readthedocs.io/en/stable/060_forget.html>), days, weeks and months count that have a backup: a tenant that
//! was suspended for a year loses nothing by it. Only backups that could be restored count, and only those ever go. So
//! damage never makes the last good one expendable, and what is damaged stays to be looked into.

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

use super::{manifest::Reason, path::BackupId};
use crate::api::Retention;

/// How far a clock may be ahead of ours.
pub(super) const AHEAD: SignedDuration = SignedDuration::from_mins(10);
/// Every backup is kept for so long.
const ANY: SignedDuration = SignedDuration::from_hours(24);
/// Those that were made before something that cannot be undone are kept for so long.
const SPECIAL: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A backup that has a manifest.
#[derive(Clone, Debug)]
pub(super) struct Backup {
    pub(super) id: BackupId,
    pub(super) created_at: Timestamp,
    pub(super) reason: Reason,
    /// Its manifest can be read, and the data that it speaks of is there.
    pub(super) is_good: bool,
}

/// The backups that need not be kept, the oldest first.
///
/// Taking all for good and scheduled finds at least those that knowing better would find.
pub(super) fn expendable(
    backups: &[Backup],
    keep: Retention,
    zone: &TimeZone,
    now: Timestamp,
) -> Vec<BackupId> {
    // Either our clock is wrong or the one that made it: no time to decide by.
    if backups.iter().any(|backup| now + AHEAD < backup.created_at) {
        return Vec::new();
    }
    let mut good: Vec<&Backup> = backups.iter().filter(|backup| backup.is_good).collect();
    good.sort_unstable_by_key(|backup| std::cmp::Reverse((backup.created_at, &backup.id)));
    let mut periods = [
        Period { left: keep.daily, last: None, of: day },
        Period { left: keep.weekly, last: None, of: week },
        Period { left: keep.monthly, last: None, of: month },
    ];
    let mut expendable = Vec::new();
    for (at, backup) in good.into_iter().enumerate() {
        let date = backup.created_at.to_zoned(zone.clone()).date();
        // Each is asked, whatever the others say.
        let represents = periods.each_mut().map(|period| period.is_represented_by(date)).contains(&true);
        let is_young = now.duration_since(backup.created_at) < least(backup.reason);
        if 0 < at && !represents && !is_young {
            expendable.push(backup.id.clone());
        }
    }
    expendable.reverse();
    expendable
}

/// How long a backup is kept whatever else there is.
fn least(reason: Reason) -> SignedDuration {
    match reason {
        Reason::Scheduled | Reason::OnDemand => ANY,
        Reason::Final | Reason::Safety | Reason::BeforeUpgrade => SPECIAL,
    }
}

/// In which period a day is: the year, and the number in it.
type PeriodOf = fn(Date) -> (i16, i16);

/// Periods of one length that still want a backup, going back in time.
struct Period {
    left: i32,
    last: Option<(i16, i16)>,
    of: PeriodOf,
}

impl Period {
    /// Whether a backup of that date, older than all before, is the newest of one of them.
    fn is_represented_by(&mut self, date: Date) -> bool {
        let period = Some((self.of)(date));
        if self.left <= 0 || self.last == period {
            return false;
        }
        self.last = period;
        self.left -= 1;
        true
    }
}

fn day(date: Date) -> (i16, i16) {
    (date.year(), date.day_of_year())
}

fn week(date: Date) -> (i16, i16) {
    let week = date.iso_week_date();
    (week.year(), i16::from(week.week()))
}

fn month(date: Date) -> (i16, i16) {
    (date.year(), i16::from(date.month()))
}

#[cfg(test)]
mod tests;
