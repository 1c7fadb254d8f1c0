//! When a tenant may be worked on: some hours of some days, by the clock on its users' wall.
#![expect(unreachable_pub, reason = "KubeSchema derives from hidden copies of the structs")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Some hours of some days.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// The days on which it begins; without any, every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub days: Vec<Day>,
    /// When it begins, as `hours:minutes` on the tenant's clock, for example `22:30`.
    #[schemars(length(min = 5, max = 5))]
    #[x_kube(validation = Rule::new("self.matches('^([01][0-9]|2[0-3]):[0-5][0-9]$')").message("start is a time of day from 00:00 to 23:59, such as 22:30"))]
    pub start: String,
    /// How long it lasts, for example `4h`; at most a day.
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+h)?([0-9]+m)?$') && duration(self) > duration('0s') && duration(self) <= duration('24h')").message("duration is a time up to 24h, such as 4h or 90m"))]
    pub duration: String,
}

/// A day of the week.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the days of the week")]
pub enum Day {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}
