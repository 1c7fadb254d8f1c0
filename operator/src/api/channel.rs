//! `Channel`: which release its tenants run, and how a new one reaches them.
#![expect(unreachable_pub, reason = "KubeSchema derives from hidden copies of the structs")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{Window, rules};

/// Which release its tenants run, and how a new one reaches them: change `spec.release`, and they follow in waves.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "tenantry.dev",
    version = "v1alpha1",
    kind = "Channel",
    doc = "Which release its tenants run, and how a new one reaches them: change spec.release, and they follow in waves.",
    status = "ChannelStatus",
    category = "tenantry",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Release","type":"string","jsonPath":".spec.release"}"#,
    printcolumn = r#"{"name":"UpToDate","type":"string","jsonPath":".status.conditions[?(@.type==\"UpToDate\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Progressing\")].reason"}"#,
    printcolumn = r#"{"name":"Wave","type":"string","jsonPath":".status.wave"}"#,
    printcolumn = r#"{"name":"Done","type":"integer","jsonPath":".status.tenants.upToDate"}"#,
    printcolumn = r#"{"name":"Tenants","type":"integer","jsonPath":".status.tenants.total"}"#,
    printcolumn = r#"{"name":"Failed","type":"integer","jsonPath":".status.tenants.failed"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
pub struct ChannelSpec {
    /// Name of the Release that the channel's tenants are to run. Another name begins a rollout; the former one takes it back.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(rules::OBJECT_NAME).message("release is the name of a Release (kubectl get releases)"))]
    pub release: String,
    /// How a new release reaches the tenants.
    #[serde(default)]
    pub rollout: Rollout,
    /// Begin no upgrades; those under way are finished.
    #[serde(default)]
    pub paused: bool,
}

/// How a new release reaches the tenants.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.waves) || self.waves.filter(wave, !has(wave.tenants) && !has(wave.percent)).size() <= 1").message(
        "waves: only one wave, the last, takes all that is left; give the others tenants or percent"
    ),
    validation = Rule::new("!has(self.waves) || self.waves.size() == 0 || self.waves.all(wave, has(wave.tenants) || has(wave.percent)) || (!has(self.waves[self.waves.size() - 1].tenants) && !has(self.waves[self.waves.size() - 1].percent))").message(
        "waves: the wave that takes all that is left comes last"
    )
)]
pub struct Rollout {
    /// Parts of the fleet that follow one after the other. What none of them takes is the last wave, `rest`; without waves that is
    /// everyone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub waves: Vec<Wave>,
    /// How many tenants may be upgraded at the same time; those that bake are not counted.
    #[serde(default = "five")]
    #[x_kube(validation = Rule::new("1 <= self && self <= 500").message("maxParallel is a number from 1 to 500"))]
    pub max_parallel: i32,
    /// How long a tenant must stay healthy with the new release before it counts as done, for example `10m`.
    #[serde(default = "ten_minutes")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$')").message("bake is a time such as 10m"))]
    pub bake: String,
    /// How many tenants may fail and be set aside. One more halts the rollout, and so does a wave in which nobody succeeds.
    #[serde(default)]
    #[x_kube(validation = Rule::new("0 <= self").message("maxFailures is 0 or more"))]
    pub max_failures: i32,
    /// Which tenants try the release on a restored copy of their data before it comes near the data themselves. Needs backups.
    #[serde(default)]
    pub rehearse: Rehearse,
    /// What happens to a tenant for which the release fails.
    #[serde(default)]
    pub rollback: Rollback,
    /// When upgrades may begin, in each tenant's time zone, unless the tenant has a maintenance window of its own. Without it,
    /// always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// The waves that somebody has let begin, each for one release; only those with `approval: Required` ask for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub approvals: Vec<Approval>,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            waves: Vec::new(),
            max_parallel: five(),
            bake: ten_minutes(),
            max_failures: 0,
            rehearse: Rehearse::default(),
            rollback: Rollback::default(),
            window: None,
            approvals: Vec::new(),
        }
    }
}

/// Which tenants try a release on a restored copy of their data first.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rehearse {
    /// Each.
    #[default]
    Always,
    /// Those of the first wave.
    FirstWave,
    /// None.
    Never,
}

/// What happens to a tenant for which a release fails.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rollback {
    /// It goes back to the release before by itself.
    #[default]
    Automatic,
    /// It stays as it is until somebody sets the channel's release to another one, or says retry.
    Manual,
}

/// A part of the fleet.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.tenants) && has(self.percent))").message("a wave has tenants or percent, not both")
)]
pub struct Wave {
    /// What it is called.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("waves[].name has lower-case letters, digits and '-'"))]
    pub name: String,
    /// The tenants with these labels, if no wave before has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<LabelSelector>,
    /// So many in a hundred of the tenants that no labels choose, but at least one: always the same ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("1 <= self && self <= 100").message("waves[].percent is a number from 1 to 100"))]
    pub percent: Option<i32>,
    /// Whether somebody has to let it begin.
    #[serde(default)]
    pub approval: WaveApproval,
}

/// Whether somebody has to let a wave begin.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaveApproval {
    /// It begins when the one before is done.
    #[default]
    NotNeeded,
    /// It waits besides for an entry in `approvals`.
    Required,
}

/// Somebody lets a wave begin.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The release that it is for.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(rules::OBJECT_NAME).message("approvals[].release is the name of a Release (kubectl get releases)"))]
    pub release: String,
    /// Name of the wave.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("approvals[].wave is the name of a wave"))]
    pub wave: String,
}

/// How far the tenants have followed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ChannelStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// UpToDate, Progressing, Halted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The release with which new tenants begin: the last one that went through all waves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_release: Option<String>,
    /// The first wave that is not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<String>,
    /// How many tenants are how far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<TenantCounts>,
    /// Tenants that failed with this release, the newest first, 20 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub failures: Vec<RolloutFailure>,
}

/// How many tenants are how far.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TenantCounts {
    /// All of the channel.
    pub total: i64,
    /// Those that run the release and have baked.
    pub up_to_date: i64,
    /// Those that are being upgraded.
    pub upgrading: i64,
    /// Those that run the release and bake.
    pub baking: i64,
    /// Those whose turn has not come.
    pub waiting: i64,
    /// Those that failed and are set aside.
    pub failed: i64,
    /// Those that cannot be upgraded now, for example because they are suspended.
    pub set_aside: i64,
}

/// A tenant that failed with a release.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RolloutFailure {
    /// Name of the Tenant.
    pub tenant: String,
    /// When.
    pub at: Time,
    /// One CamelCase word for machines.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

fn five() -> i32 {
    5
}

fn ten_minutes() -> String {
    "10m".to_owned()
}
