//! Why a reconcile could not finish.

use std::error::Error as _;

use crate::{
    cluster::{self, truncated},
    tenant::validate::Invalid,
};

/// The longest message of a condition.
const MAX_MESSAGE_BYTES: usize = 1000;

/// Why a reconcile could not finish. Every message names the cause and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The spec cannot be carried out.
    #[error(transparent)]
    Invalid(Invalid),
    /// The Plan is not there.
    #[error(
        "Plan {name:?} does not exist, so the tenant stays as it is: make the Plan, or set spec.plan to {known}"
    )]
    PlanNotFound {
        /// The name in the spec.
        name: String,
        /// Those that are there.
        known: String,
    },
    /// The Release is not there.
    #[error(
        "Release {name:?} does not exist, so the tenant stays as it is: make the Release, or set spec.release to {known}"
    )]
    ReleaseNotFound {
        /// The name in the spec.
        name: String,
        /// Those that are there.
        known: String,
    },
    /// The Channel is not there.
    #[error(
        "Channel {name:?} does not exist, so the tenant stays as it is: make the Channel, or set spec.channel to {known}"
    )]
    ChannelNotFound {
        /// The name in the spec.
        name: String,
        /// Those that are there.
        known: String,
    },
    /// The Channel is there and cannot be read.
    #[error(
        "Channel {name:?} cannot be read, so the tenant stays as it is: {cause}. Repair it: kubectl edit channel {name}"
    )]
    ChannelMalformed {
        /// The name in the spec.
        name: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The channel has not said which release a new tenant begins with.
    #[error(
        "Channel {channel} has not yet told which release to begin with; see kubectl get channel {channel}"
    )]
    NotToldYet {
        /// The name in the spec.
        channel: String,
    },
    /// The Plan is there and cannot be read.
    #[error(
        "Plan {name:?} cannot be read, so the tenant stays as it is: {cause}. Repair it: kubectl edit plan {name}"
    )]
    PlanMalformed {
        /// The name in the spec.
        name: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The Release is there and cannot be read.
    #[error(
        "Release {name:?} cannot be read, so the tenant stays as it is: {cause}. Set spec.release to another one"
    )]
    ReleaseMalformed {
        /// The name in the spec.
        name: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The backups of a deleted tenant of that name are kept.
    #[error(
        "a tenant of this name was deleted, and its backups are kept until {expires_at:.0} (TenantTombstone {tombstone}): nothing is made in its place. To bring the data back, make the Tenant with spec: {{bootstrap: {{restore: {{tenantUID: {uid}}}}}}}. If it is not needed, destroy it: kubectl annotate tenanttombstone {tombstone} tenantry.dev/confirm-delete={tombstone} && kubectl delete tenanttombstone {tombstone}"
    )]
    TombstoneExists {
        /// The name.
        name: String,
        /// The tombstone.
        tombstone: String,
        /// Uid of the deleted tenant.
        uid: String,
        /// When the backups go.
        expires_at: jiff::Timestamp,
    },
    /// Nothing is known that reads the backup with which the tenant begins.
    #[error(
        "no key is there that reads the backups of tenant {tenant} (uid {uid}), with one of which this tenant begins: no tombstone has one, and no Tenant of that name and uid lives. If you have one of the recovery keys of BackupStore {store}: kubectl -n {keys_namespace} create secret generic {secret} --from-file=identity=FILE",
        secret = crate::names::RECOVERY_IDENTITY
    )]
    RestoreKeyMissing {
        /// Name of the Tenant whose backups they are.
        tenant: String,
        /// Its uid.
        uid: String,
        /// Where they are.
        store: String,
        /// Where the key should be.
        keys_namespace: String,
    },
    /// The namespace is somebody else's.
    #[error(
        "namespace {namespace} exists and {owner}: nothing in it is touched. Rename or remove it, or, if its data is this tenant's, hand it over with: kubectl annotate namespace {namespace} tenantry.dev/adopt={uid}"
    )]
    ForeignNamespace {
        /// The namespace.
        namespace: String,
        /// Whose it is.
        owner: String,
        /// Uid of this Tenant.
        uid: String,
    },
    /// The namespace is being deleted.
    #[error("namespace {namespace} is being deleted; the tenant is made again when it is gone{held_by}")]
    NamespaceTerminating {
        /// The namespace.
        namespace: String,
        /// What holds it, if Kubernetes says so.
        held_by: String,
    },
    /// The database has been made, but its passwords are gone.
    #[error(
        "Secret {name} is gone, and the database knows its passwords only: put the Secret back from a backup; or delete StatefulSet database in namespace {namespace}, then new passwords are made and set when it starts again (the data stays)"
    )]
    SecretLost {
        /// The Secret.
        name: String,
        /// Where it should be.
        namespace: String,
    },
    /// The key pair of the backups is gone, or another one is there.
    #[error(
        "Secret backup-identity in namespace {namespace} is not the one that the backups so far were made with (public key {recipient}), and no other can read them: put it back. If it is lost for good, delete the Secret and remove the annotation {annotation} from the namespace: then a new key is made, and older backups can be read only with the store's recovery keys",
        annotation = crate::names::BACKUP_RECIPIENT
    )]
    BackupKeyLost {
        /// Where it should be.
        namespace: String,
        /// Its public half.
        recipient: String,
    },
    /// Which database serves is not written where it should be, or not so that it could be true.
    #[error(
        "which database serves the tenant cannot be told from the annotations of namespace {namespace}, so nothing is changed. If it is number {witnessed}: kubectl annotate --overwrite namespace {namespace} {annotation}={witnessed}",
        annotation = crate::names::DATABASE_GENERATION
    )]
    DatabaseUnknown {
        /// Where it should stand.
        namespace: String,
        /// What the Tenant's status and the CRM's Deployment say.
        witnessed: i64,
    },
    /// A Secret lacks keys.
    #[error(
        "Secret {name} in namespace {namespace} lacks {missing}: put it back as it was, or delete it if nothing uses it yet"
    )]
    SecretIncomplete {
        /// The Secret.
        name: String,
        /// Where it is.
        namespace: String,
        /// What it lacks.
        missing: String,
    },
    /// A pull secret is not there.
    #[error(
        "pull secret {name} is not in namespace {namespace}: make it there, or take it out of the operator's settings"
    )]
    PullSecretMissing {
        /// The Secret.
        name: String,
        /// The operator's namespace.
        namespace: String,
    },
    /// A request to the API server failed.
    #[error(transparent)]
    Cluster(cluster::Error),
    /// A child could not be turned into JSON.
    #[error("failed to encode the entitlement")]
    Encode(#[source] serde_json::Error),
}

impl Error {
    /// One stable CamelCase word for the condition, the event and the metric.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "InvalidSpec",
            Self::PlanNotFound { .. } => "PlanNotFound",
            Self::ReleaseNotFound { .. } => "ReleaseNotFound",
            Self::ChannelNotFound { .. } => "ChannelNotFound",
            Self::ChannelMalformed { .. } => "ChannelMalformed",
            Self::NotToldYet { .. } => "NotToldYet",
            Self::PlanMalformed { .. } => "PlanMalformed",
            Self::ReleaseMalformed { .. } => "ReleaseMalformed",
            Self::TombstoneExists { .. } => "TombstoneExists",
            Self::RestoreKeyMissing { .. } => "RestoreKeyMissing",
            Self::ForeignNamespace { .. } => "ForeignNamespace",
            Self::NamespaceTerminating { .. } => "NamespaceTerminating",
            Self::SecretLost { .. } | Self::BackupKeyLost { .. } => "SecretLost",
            Self::DatabaseUnknown { .. } => "DatabaseUnknown",
            Self::SecretIncomplete { .. } => "SecretIncomplete",
            Self::PullSecretMissing { .. } => "PullSecretMissing",
            Self::Encode(_) => "EncodeFailed",
            Self::Cluster(error) => match error {
                _ if error.is_volume_not_grown() => "StorageNotGrown",
                _ if error.is_quota() => "QuotaExceeded",
                _ if error.is_forbidden() => "Forbidden",
                _ if error.is_conflict() => "Conflict",
                cluster::Error::Read { .. } => "ReadFailed",
                cluster::Error::Write { .. } => "WriteFailed",
                cluster::Error::Contested { .. } => "Contested",
                cluster::Error::TermOver { .. } => "NotLeader",
                cluster::Error::Encode { .. } => "EncodeFailed",
            },
        }
    }

    /// Only a change of some object can help, and every such change wakes the tenant: trying again is of no use.
    pub fn is_terminal(&self) -> bool {
        match self {
            Self::Invalid(_)
            | Self::PlanNotFound { .. }
            | Self::ReleaseNotFound { .. }
            | Self::ChannelNotFound { .. }
            | Self::ChannelMalformed { .. }
            | Self::NotToldYet { .. }
            | Self::PlanMalformed { .. }
            | Self::ReleaseMalformed { .. }
            | Self::NamespaceTerminating { .. }
            | Self::DatabaseUnknown { .. }
            | Self::TombstoneExists { .. }
            | Self::Encode(_) => true,
            // These wait for objects that are not watched.
            Self::ForeignNamespace { .. }
            | Self::RestoreKeyMissing { .. }
            | Self::SecretLost { .. }
            | Self::BackupKeyLost { .. }
            | Self::SecretIncomplete { .. }
            | Self::PullSecretMissing { .. }
            | Self::Cluster(_) => false,
        }
    }

    /// The error and what caused it, in one line for a condition.
    pub fn message(&self) -> String {
        let mut text = self.to_string();
        match self {
            // The API server's own words, once; the client's error type would repeat them with all its fields.
            Self::Cluster(error) if let Some(status) = error.status() => {
                text.push_str(": ");
                text.push_str(status.message.trim_end_matches('.'));
            }
            Self::Cluster(error) => text.push_str(&causes(error.source())),
            other => text.push_str(&causes(other.source())),
        }
        if let Self::Cluster(error) = self
            && error.is_volume_not_grown()
        {
            text.push_str(". Let the storage class grow volumes (allowVolumeExpansion), or, if the plan's size was raised, set that back");
        }
        truncated(&text, MAX_MESSAGE_BYTES)
    }
}

fn causes(mut source: Option<&(dyn std::error::Error + 'static)>) -> String {
    let mut text = String::new();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
