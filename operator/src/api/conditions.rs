//! Condition types and reasons, and the one way to set a condition.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The desired state is reached. Also True, with reason [`reasons::SUSPENDED`], when a suspended tenant has stopped.
pub const READY: &str = "Ready";
/// The database accepts connections.
pub const DATABASE_READY: &str = "DatabaseReady";
/// The CRM answers requests in the wanted release.
pub const APP_READY: &str = "AppReady";
/// The newest backup is as young as the schedule promises.
pub const BACKUP_RECENT: &str = "BackupRecent";
/// The last drill has proven a backup, and is as young as the schedule of drills promises.
pub const BACKUP_VERIFIED: &str = "BackupVerified";
/// The network policies that separate this tenant from all others are in place.
pub const ISOLATED: &str = "Isolated";
/// A request has been carried out. True and False are final.
pub const COMPLETE: &str = "Complete";
/// Of a tombstone: nobody can read the backups with the tenant's own key any more.
pub const KEY_DESTROYED: &str = "KeyDestroyed";
/// Of a tombstone: nothing is left of the tenant in its store.
pub const BACKUPS_REMOVED: &str = "BackupsRemoved";
/// Of a tenant: it runs the release of its channel. Of a channel: all its tenants do.
pub const UP_TO_DATE: &str = "UpToDate";
/// Of a channel: tenants are being upgraded, or will be without anybody's doing.
pub const PROGRESSING: &str = "Progressing";
/// Of a channel: so many upgrades failed that no further one begins.
pub const HALTED: &str = "Halted";
/// The operator leaves the tenant alone because `spec.paused` is set.
pub const PAUSED: &str = "Paused";

/// Reasons that are not failures; those of failures stand beside the failures.
pub mod reasons {
    /// Everything is as the spec says.
    pub const AS_EXPECTED: &str = "AsExpected";
    /// The first start is under way.
    pub const PROVISIONING: &str = "Provisioning";
    /// A change is being rolled out.
    pub const ROLLING_OUT: &str = "RollingOut";
    /// The database schema is being changed for another release.
    pub const MIGRATING: &str = "Migrating";
    /// Stopped on purpose, data kept.
    pub const SUSPENDED: &str = "Suspended";
    /// The pods of a suspended tenant are still stopping.
    pub const STOPPING: &str = "Stopping";
    /// The last backup before the tenant stops is being made, or tried.
    pub const FINAL_BACKUP: &str = "FinalBackup";
    /// `spec.paused` is set.
    pub const PAUSED: &str = "Paused";
    /// `spec.paused` is not set.
    pub const NOT_PAUSED: &str = "NotPaused";
    /// The newest backup is as young as the schedule promises.
    pub const BACKED_UP: &str = "BackedUp";
    /// The plan has no backups.
    pub const NO_BACKUPS: &str = "NoBackups";
    /// A backup was restored and found whole.
    pub const DRILL_PASSED: &str = "DrillPassed";
    /// The last drill could not prove a backup.
    pub const DRILL_FAILED: &str = "DrillFailed";
    /// The first drill is still to come.
    pub const FIRST_DRILL_DUE: &str = "FirstDrillDue";
    /// The last drill is longer ago than the schedule allows.
    pub const DRILL_OVERDUE: &str = "DrillOverdue";
    /// The store of the plan's backups does not exist.
    pub const STORE_NOT_FOUND: &str = "StoreNotFound";
    /// The first backup is still to come.
    pub const FIRST_BACKUP_DUE: &str = "FirstBackupDue";
    /// The newest backup is older than the schedule allows.
    pub const BACKUP_OVERDUE: &str = "BackupOverdue";
    /// All network policies are in place.
    pub const POLICIES_APPLIED: &str = "PoliciesApplied";
    /// Some network policy is missing or differs.
    pub const POLICIES_MISSING: &str = "PoliciesMissing";
    /// Another tenant holds a wanted host, or nobody may have it.
    pub const HOST_NOT_GRANTED: &str = "HostNotGranted";
    /// The object is being deleted without the confirming annotation; the tenant keeps serving.
    pub const DELETION_UNCONFIRMED: &str = "DeletionUnconfirmed";
    /// Confirmed removal is under way.
    pub const DELETING: &str = "Deleting";
    /// The object does not have the form of its kind, and is left alone.
    pub const MALFORMED: &str = "Malformed";
    /// A request names a Tenant that does not exist.
    pub const TENANT_NOT_FOUND: &str = "TenantNotFound";
    /// A request waits until the tenant is in order.
    pub const TENANT_NOT_READY: &str = "TenantNotReady";
    /// A request waits for another one of the same tenant.
    pub const QUEUED: &str = "Queued";
    /// The Job of a request is at work.
    pub const RUNNING: &str = "Running";
    /// The Job of a request ended, or is gone, without a word that could be believed.
    pub const RESULT_UNKNOWN: &str = "ResultUnknown";
    /// The backup that was asked for could not be made.
    pub const BACKUP_FAILED: &str = "BackupFailed";
    /// A backup takes the place of the tenant's data.
    pub const RESTORING: &str = "Restoring";
    /// The backup that was asked for serves.
    pub const RESTORED: &str = "Restored";
    /// The backup that was asked for could not be restored.
    pub const RESTORE_FAILED: &str = "RestoreFailed";
    /// The database of a suspended tenant starts for an exit bundle.
    pub const STARTING_DATABASE: &str = "StartingDatabase";
    /// The exit bundle is in the store.
    pub const EXPORTED: &str = "Exported";
    /// The exit bundle that was asked for could not be made.
    pub const EXPORT_FAILED: &str = "ExportFailed";
    /// A release has gone through all waves.
    pub const ROLLED_OUT: &str = "RolledOut";
    /// No further upgrade begins, because others failed.
    pub const HALTED: &str = "Halted";
    /// Upgrades may begin.
    pub const NOT_HALTED: &str = "NotHalted";
    /// More tenants failed than the channel allows.
    pub const TOO_MANY_FAILURES: &str = "TooManyFailures";
    /// All tenants of a wave that tried a release failed.
    pub const NOBODY_SUCCEEDED: &str = "NobodySucceeded";
    /// A wave waits for somebody to let it begin.
    pub const AWAITING_APPROVAL: &str = "AwaitingApproval";
    /// Of a channel: the tenants of the wave wait for their maintenance windows.
    pub const AWAITING_WINDOW: &str = "AwaitingWindow";
    /// The release or the waves of a channel cannot be used.
    pub const UNUSABLE: &str = "Unusable";
    /// The tenant's turn has not come.
    pub const WAITING: &str = "Waiting";
    /// The release runs and is watched.
    pub const BAKING: &str = "Baking";
    /// The tenant could not run the release, and runs the one before.
    pub const UPGRADE_FAILED: &str = "UpgradeFailed";
    /// The tenant cannot be upgraded now, through no fault of the release.
    pub const SET_ASIDE: &str = "SetAside";
    /// Nothing is known yet.
    pub const NOT_OBSERVED: &str = "NotObserved";
}

/// The word of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The condition holds.
    True,
    /// The condition does not hold.
    False,
    /// It is not known whether the condition holds.
    Unknown,
}

impl Word {
    /// The word as it stands in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What is to be said about one condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the condition holds.
    pub word: Word,
    /// One CamelCase word for machines.
    pub reason: &'static str,
    /// A sentence for people: the cause, and what to do.
    pub message: String,
}

impl Verdict {
    /// The condition holds.
    pub fn yes(reason: &'static str, message: impl Into<String>) -> Self {
        Self { word: Word::True, reason, message: message.into() }
    }
    /// The condition does not hold.
    pub fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self { word: Word::False, reason, message: message.into() }
    }
    /// It cannot be told whether the condition holds.
    pub fn unknown(reason: &'static str, message: impl Into<String>) -> Self {
        Self { word: Word::Unknown, reason, message: message.into() }
    }
}

/// Keeps `lastTransitionTime` unless the word changes, so that an unchanged world writes nothing.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    type_: &str,
    verdict: Verdict,
    observed_generation: Option<i64>,
    now: Timestamp,
) {
    let mut new = Condition {
        type_: type_.to_owned(),
        status: verdict.word.as_str().to_owned(),
        reason: verdict.reason.to_owned(),
        message: verdict.message,
        observed_generation,
        last_transition_time: Time(whole_seconds(now)),
    };
    match conditions.iter_mut().find(|condition| condition.type_ == type_) {
        Some(old) => {
            if old.status == new.status {
                new.last_transition_time = old.last_transition_time.clone();
            }
            *old = new;
        }
        None => conditions.push(new),
    }
}

/// The condition of that type, if it was ever set.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// The API keeps whole seconds; a fraction would make what we wrote differ from what we read back.
pub fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_transition_time_moves_only_with_the_word() {
        let mut all = Vec::new();
        set_condition(&mut all, READY, Verdict::no("A", "a"), Some(1), at(1));
        set_condition(&mut all, READY, Verdict::no("B", "b"), Some(2), at(2));
        assert_eq!((all[0].reason.as_str(), all[0].last_transition_time.0), ("B", at(1)));
        set_condition(&mut all, READY, Verdict::yes("C", ""), Some(2), at(3));
        assert_eq!(all[0].last_transition_time.0, at(3));
        assert_eq!(all.len(), 1);
    }
}
