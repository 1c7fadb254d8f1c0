//! `Tenant`: one customer.
#![expect(unreachable_pub, reason = "KubeSchema derives from hidden copies of the structs")]

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{Bootstrap, RestoredFrom, Retention, UpgradeStatus, Window, rules};

/// A customer: becomes a CRM of its own, with its own namespace, database, application and web address.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "tenantry.dev",
    version = "v1alpha1",
    kind = "Tenant",
    doc = "A customer: becomes a CRM of its own, with its own namespace, database, application and web address.",
    status = "TenantStatus",
    shortname = "tn",
    category = "tenantry",
    derive = "PartialEq",
    validation = Rule::new("self.metadata.name.size() <= 40").message(
        "metadata.name is too long: write at most 40 characters; the namespace becomes tenant-<name>"
    ),
    validation = Rule::new("self.metadata.name.size() > 40 || self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message(
        "metadata.name becomes part of a web address: write lower-case letters, digits and '-', beginning and ending with a letter or digit, without dots"
    ),
    validation = Rule::new("!(self.metadata.name in ['console', 'www', 'api']) && !self.metadata.name.startsWith('xn--')").message(
        "metadata.name is reserved: console, www, api and names beginning with xn-- cannot be used; write another name"
    ),
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"State","type":"string","jsonPath":".status.state"}"#,
    printcolumn = r#"{"name":"Plan","type":"string","jsonPath":".spec.plan"}"#,
    printcolumn = r#"{"name":"Release","type":"string","jsonPath":".status.release"}"#,
    printcolumn = r#"{"name":"URL","type":"string","jsonPath":".status.url"}"#,
    printcolumn = r#"{"name":"Backup","type":"date","jsonPath":".status.lastBackup.createdAt"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.channel) != has(self.release)").message(
        "set either spec.channel to the name of a Channel (kubectl get channels), or spec.release to that of a Release (kubectl get releases)"
    ),
    validation = Rule::new("(has(self.database) && has(self.database.storageClass) ? self.database.storageClass : '') == (has(oldSelf.database) && has(oldSelf.database.storageClass) ? oldSelf.database.storageClass : '')").message(
        "database.storageClass cannot be changed once the tenant exists: put the old value back, or make a new Tenant and move the data"
    ),
    validation = Rule::new("!(has(oldSelf.database) && has(oldSelf.database.storage)) || (has(self.database) && has(self.database.storage) && isQuantity(self.database.storage) && !quantity(self.database.storage).isLessThan(quantity(oldSelf.database.storage)))").message(
        "database.storage only grows: write the old size or more"
    ),
    validation = Rule::new("has(self.bootstrap) == has(oldSelf.bootstrap) && (!has(self.bootstrap) || self.bootstrap == oldSelf.bootstrap)").message(
        "bootstrap says how the tenant began: it cannot be added, changed or removed later. To put a backup into the place of a tenant's data, make a TenantRestore"
    )
)]
pub struct TenantSpec {
    /// Name of the customer as people write it.
    #[schemars(length(min = 1, max = 120))]
    #[x_kube(validation = Rule::new(rules::ONE_LINE).message("displayName is one line of text without spaces at its ends"))]
    pub display_name: String,
    /// The first administrator, who gets the one-time sign-in link.
    pub admin: Admin,
    /// Name of the Plan: what the tenant is entitled to and how it is sized.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(rules::OBJECT_NAME).message("plan is the name of a Plan (kubectl get plans)"))]
    pub plan: String,
    /// Name of the Channel whose releases the tenant is to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(rules::OBJECT_NAME).message("channel is the name of a Channel (kubectl get channels)"))]
    pub channel: Option<String>,
    /// Instead of a channel: name of the Release that the tenant is to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(rules::OBJECT_NAME).message("release is the name of a Release (kubectl get releases)"))]
    pub release: Option<String>,
    /// Web addresses besides the one under the base domain, in the order of preference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub hosts: Vec<HostClaim>,
    /// Language of the workspace, of its error pages and of the first e-mails.
    #[serde(default)]
    pub locale: Locale,
    /// IANA time zone, for example `Asia/Shanghai`.
    #[serde(default = "default_time_zone")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^(UTC|[A-Z][A-Za-z_]+(/[A-Z][A-Za-z0-9_+-]*){1,2})$')").message("timeZone is an IANA name such as Asia/Shanghai or UTC"))]
    pub time_zone: String,
    /// ISO 4217 currency of amounts in the workspace, for example `CNY`.
    #[serde(default = "default_currency")]
    #[schemars(length(min = 3, max = 3))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Z]{3}$')").message("currency is an ISO 4217 code of three capital letters such as CNY or EUR"))]
    pub currency: String,
    /// What the people in charge want: `Active` serves, `ReadOnly` serves without changes, `Suspended` runs nothing and keeps the data.
    #[serde(default)]
    pub state: State,
    /// Leave everything as it is, for maintenance by hand.
    #[serde(default)]
    pub paused: bool,
    /// Size and class of the database's volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<TenantDatabase>,
    /// Backups that differ from the plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<TenantBackups>,
    /// When upgrades may begin, by the clock of `timeZone`; instead of the channel's window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_window: Option<Window>,
    /// What happens when the tenant is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<Deletion>,
    /// What the tenant begins with; without it, with an empty CRM. Cannot be added, changed or removed later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Bootstrap>,
}

/// What happens when the tenant is deleted.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Deletion {
    /// Make a backup and restore it on trial before anything is removed, if the plan has backups.
    #[serde(default = "yes")]
    pub final_backup: bool,
    /// How long the backups and their key are kept afterwards, for example `720h`.
    #[serde(default = "thirty_days")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$')").message("deletion.keepFor is a time such as 720h"))]
    pub keep_for: String,
}

impl Default for Deletion {
    fn default() -> Self {
        Self { final_backup: true, keep_for: thirty_days() }
    }
}

/// Backups that differ from the plan's.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TenantBackups {
    /// When backups are made, as in the plan; without it, when the plan says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 9, max = 120))]
    #[x_kube(validation = Rule::new(rules::SCHEDULE).message("backup.schedule has five fields such as 'H 2 * * *': minute, hour, day of month, month, day of week"))]
    pub schedule: Option<String>,
    /// When backups are tried, as in the plan; without it, when the plan says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 9, max = 120))]
    #[x_kube(validation = Rule::new(rules::SCHEDULE).message("backup.drill has five fields such as 'H 5 * * 0': minute, hour, day of month, month, day of week"))]
    pub drill: Option<String>,
    /// How many backups are kept, instead of all that the plan says of it; what is left out here is not the plan's but 7 days,
    /// 4 weeks and 12 months.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Retention>,
}

/// The first administrator.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Admin {
    /// Name as people write it.
    #[schemars(length(min = 1, max = 120))]
    #[x_kube(validation = Rule::new(rules::ONE_LINE).message("admin.name is one line of text without spaces at its ends"))]
    pub name: String,
    /// E-mail address, which is also the name for signing in.
    #[schemars(length(min = 3, max = 254))]
    #[x_kube(validation = Rule::new("self.matches('^[^@\\\\s\\\\p{C}]+@[^@\\\\s\\\\p{C}]+$')").message("admin.email is one address such as fang@acme.example"))]
    pub email: String,
}

/// A web address that the tenant would like to have.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HostClaim {
    /// Host name without scheme and port; letters beyond ASCII are allowed.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[^\\\\s/:@*?#\\\\[\\\\]]+$') && self.contains('.')").message("hosts[].name is a full host name such as crm.acme.example: no scheme, port, path or wildcard"))]
    pub name: String,
    /// Name of the TLS Secret that serves this host: in the gateway's namespace, or with an ingress controller in the tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(rules::OBJECT_NAME).message("hosts[].tlsSecret is the name of a Secret of type kubernetes.io/tls"))]
    pub tls_secret: Option<String>,
}

/// The database's volume.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TenantDatabase {
    /// Size of the volume, for example `5Gi`; instead of the plan's. Only grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 24))]
    #[x_kube(validation = Rule::new("isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))").message("database.storage is a size such as 5Gi"))]
    pub storage: Option<String>,
    /// Storage class of the volume; instead of the cluster's default. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(rules::OBJECT_NAME).message("database.storageClass is the name of a StorageClass (kubectl get storageclasses)"))]
    pub storage_class: Option<String>,
}

/// Language of a workspace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Locale {
    /// Simplified Chinese.
    #[default]
    #[serde(rename = "zh-CN")]
    ZhCn,
    /// English.
    #[serde(rename = "en")]
    En,
}

/// What a tenant does for its users.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Serves.
    #[default]
    Active,
    /// Serves, and refuses changes.
    ReadOnly,
    /// Runs nothing; the data is kept.
    Suspended,
}

impl State {
    /// The word as it stands in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::ReadOnly => "ReadOnly",
            Self::Suspended => "Suspended",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a tenant does for its users now.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffectiveState {
    /// It serves.
    Active,
    /// It serves without changes.
    ReadOnly,
    /// It runs nothing and keeps the data.
    Suspended,
    /// A backup takes the place of its data, and it serves nobody meanwhile.
    Restoring,
}

impl EffectiveState {
    /// The word as it stands in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::ReadOnly => "ReadOnly",
            Self::Suspended => "Suspended",
            Self::Restoring => "Restoring",
        }
    }
}

impl From<State> for EffectiveState {
    fn from(state: State) -> Self {
        match state {
            State::Active => Self::Active,
            State::ReadOnly => Self::ReadOnly,
            State::Suspended => Self::Suspended,
        }
    }
}

/// What is true of the tenant.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, DatabaseReady, AppReady, UpToDate, BackupRecent, BackupVerified, Isolated, Paused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The state in effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<EffectiveState>,
    /// Where people find the CRM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The web addresses that lead to this tenant, in lower-case ASCII form.
    // It has one writer, and is replaced as a whole: what left it is gone with that write, whatever the API server knows of owners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub hosts: Vec<GrantedHost>,
    /// The namespace that holds everything of the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the Release that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Name of the Release that the tenant's channel wants it to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_release: Option<String>,
    /// The wave of the channel that the tenant is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_wave: Option<String>,
    /// What is in its pods of its plan and of the operator, once they answer with it: a word that stands for these settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_settings: Option<String>,
    /// The settings of its pods that the tenant's channel lets it take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_pod_settings: Option<String>,
    /// The way to another release: while it is under way, and after it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<UpgradeStatus>,
    /// Version of the database schema, as the last migration reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<i64>,
    /// Number of the database that serves: 1 at first, and one more after each restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_generation: Option<i64>,
    /// The newest backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_backup: Option<LastBackup>,
    /// The newest drill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_drill: Option<LastDrill>,
    /// The backup that the tenant began with; what the tenant that it is of wrote later is not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_from: Option<RestoredFrom>,
}

/// A backup that was restored into a database of its own, or was tried to be.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LastDrill {
    /// When it began.
    pub at: Time,
    /// `Verified`, or what failed.
    pub result: String,
    /// Name of the backup in the store; not known of every drill that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// What would have been lost: the age of the backup when the drill began, for example `7h12m0s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpo: Option<String>,
    /// How long it would have taken: from the first byte to the last check, for example `4s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto: Option<String>,
    /// Rows of all tables, as many as the backup had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,
}

/// A backup that is in the store.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LastBackup {
    /// Its name in the store.
    pub backup: String,
    /// The moment whose data it holds.
    pub created_at: Time,
    /// Its size in the store, in bytes.
    pub size: i64,
    /// Version of the database schema.
    pub schema_version: i64,
}

/// A web address that leads to the tenant.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GrantedHost {
    /// Host name in lower-case ASCII form.
    pub name: String,
}

fn yes() -> bool {
    true
}

fn thirty_days() -> String {
    "720h".to_owned()
}

fn default_time_zone() -> String {
    "Asia/Shanghai".to_owned()
}

fn default_currency() -> String {
    "CNY".to_owned()
}
