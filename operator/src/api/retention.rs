//! How many backups are kept.
#![expect(unreachable_pub, reason = "KubeSchema derives from hidden copies of the structs")]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// How many backups are kept: of the last days, weeks and months that have any, the newest each, by the tenant's time zone.
/// Everything younger than a day is kept besides, and the newest that can be read always.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("0 < self.daily || 0 < self.weekly || 0 < self.monthly").message("keep at least one: write 1 or more for one of keep.daily, keep.weekly and keep.monthly")
)]
pub struct Retention {
    /// For how many days.
    #[serde(default = "daily")]
    #[x_kube(validation = Rule::new("0 <= self && self <= 366").message("keep.daily is a number from 0 to 366"))]
    pub daily: i32,
    /// For how many weeks, which begin on Monday.
    #[serde(default = "weekly")]
    #[x_kube(validation = Rule::new("0 <= self && self <= 260").message("keep.weekly is a number from 0 to 260"))]
    pub weekly: i32,
    /// For how many months.
    #[serde(default = "monthly")]
    #[x_kube(validation = Rule::new("0 <= self && self <= 120").message("keep.monthly is a number from 0 to 120"))]
    pub monthly: i32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { daily: daily(), weekly: weekly(), monthly: monthly() }
    }
}

fn daily() -> i32 {
    7
}

fn weekly() -> i32 {
    4
}

fn monthly() -> i32 {
    12
}
