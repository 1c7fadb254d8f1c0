//! What is known of an upgrade that is under way, or failed: one record on the Namespace, so that it survives an operator that is
//! killed and a status that is emptied.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

use crate::{
    api::{Lost, UpgradeCheck, UpgradeFailure, UpgradeStatus, UpgradeStep},
    tenant::vitals::Vitals,
};

/// An upgrade, as it is recorded on the Namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Name of the release that ran before.
    pub from: String,
    /// Name of the release that is to run.
    pub to: String,
    /// When it began.
    pub started_at: Timestamp,
    /// Number of the database that served then.
    pub generation: i64,
    /// What is done for safety, as it was decided when all checks had passed; until then nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety: Option<Safety>,
    /// Name of the backup that was made before anything was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// The new release has migrated and served that backup on trial.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_rehearsed: bool,
    /// The new release may have touched the schema.
    #[serde(default, skip_serializing_if = "is_false")]
    pub has_migrated: bool,
    /// How the release before did, when it was looked at last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Vitals>,
    /// Since when pods of the new release take the place of the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling_since: Option<Timestamp>,
    /// Since when all pods of the new release have answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy_since: Option<Timestamp>,
    /// Since when people may have written with the new release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writable_since: Option<Timestamp>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// How often it was tried, this time included.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub attempts: i32,
    /// The value of the annotation `tenantry.dev/retry` when it began: another one lets it begin again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<String>,
}

/// What is done so that nothing can be lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Safety {
    /// A backup is made first.
    #[serde(default, skip_serializing_if = "is_false")]
    pub backs_up: bool,
    /// The new release is tried on it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub rehearses: bool,
    /// The release before cannot work on the new schema. So nobody may write from the backup until the new release answers, and the
    /// way back is the backup.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_one_way: bool,
}

/// Why an upgrade failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// When.
    pub at: Timestamp,
    /// One CamelCase word for machines.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// The release before serves again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_undone: bool,
    /// It stays as it is until somebody decides.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_left: bool,
    /// What was written in this time is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Lost>,
}

impl Record {
    /// The record in the annotation; `None` if it is none, or makes no sense.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// What is done for safety; until that is decided, nothing.
    pub fn safety(&self) -> Safety {
        self.safety.unwrap_or_default()
    }

    /// How far it is, when that release runs.
    pub fn step(&self, running: &str) -> UpgradeStep {
        let safety = self.safety();
        match &self.failure {
            Some(failure) if failure.is_undone || failure.is_left => UpgradeStep::Failed,
            Some(_) if self.must_restore() => UpgradeStep::Restoring,
            Some(_) => UpgradeStep::GoingBack,
            None if self.safety.is_none() => UpgradeStep::Checking,
            None if safety.backs_up && self.backup.is_none() => UpgradeStep::BackingUp,
            None if safety.rehearses && !self.is_rehearsed => UpgradeStep::Rehearsing,
            None if running != self.to => UpgradeStep::Migrating,
            None if self.healthy_since.is_some() => UpgradeStep::Baking,
            None => UpgradeStep::Rolling,
        }
    }

    /// Whether the release before needs the backup to be able to serve.
    pub fn must_restore(&self) -> bool {
        self.safety().is_one_way && self.has_migrated
    }

    /// Whether people must not change records now.
    pub fn is_read_only(&self) -> bool {
        let is_over = self.failure.as_ref().is_some_and(|failure| failure.is_undone);
        self.safety().is_one_way && self.writable_since.is_none() && !is_over
    }

    /// What the Tenant's status says of it.
    pub fn status(&self, running: &str, checks: Vec<UpgradeCheck>, message: Option<String>) -> UpgradeStatus {
        UpgradeStatus {
            from: self.from.clone(),
            to: self.to.clone(),
            step: self.step(running),
            started_at: Time(self.started_at),
            attempts: self.attempts,
            checks,
            message,
            backup: self.backup.clone(),
            lost: self.failure.as_ref().and_then(|failure| failure.lost.clone()),
            last_failure: self.failure.as_ref().map(|failure| UpgradeFailure {
                at: Time(failure.at),
                reason: failure.reason.clone(),
                message: failure.message.clone(),
            }),
        }
    }
}

fn one() -> i32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_one(attempts: &i32) -> bool {
    *attempts == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(word: &bool) -> bool {
    !word
}
