//! How backups, drills, restores and exports end, in the words of the pod's termination message: codes and names, never values.

use jiff::Timestamp;
use serde::Serialize;

use super::manifest::BackupId;
use crate::db;

/// How it ended well.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "code", rename_all_fields = "camelCase")]
pub enum Outcome {
    /// The backup and its manifest are with the door.
    BackedUp {
        /// Its id.
        backup: BackupId,
        /// The snapshot's time.
        created_at: Timestamp,
        /// In bytes, as stored.
        size: u64,
        /// The newest migration in it.
        schema_version: i64,
    },
    /// The backup was restored, and what was restored is sound.
    Drilled {
        /// Its id.
        backup: BackupId,
        /// The snapshot's time.
        created_at: Timestamp,
        /// From the first byte to the last check, in seconds, rounded up.
        restored_in: u64,
        /// Rows of all tables.
        rows: u64,
        /// The newest migration in it.
        schema_version: i64,
        /// Whether somebody in it could be signed in, to try what only people who are can do.
        signed_in: bool,
    },
    /// The backup was restored into a database that is ready to serve.
    Restored {
        /// Its id.
        backup: BackupId,
        /// The snapshot's time: what was committed later is lost.
        created_at: Timestamp,
        /// From the first byte to the last check, in seconds, rounded up.
        restored_in: u64,
        /// Rows of all tables, as in the backup.
        rows: u64,
        /// The newest migration in the database now.
        schema_version: i64,
    },
    /// The exit bundle is written.
    Exported {
        /// The snapshot's time.
        created_at: Timestamp,
        /// Rows of all tables in it.
        rows: u64,
        /// The newest migration in it.
        schema_version: i64,
        /// Of the file `SHA256SUMS` in it, and so of everything in it.
        sha256: String,
        /// Of the archive, in bytes.
        size: u64,
    },
    /// The exit bundle is with the door, encrypted.
    Delivered {
        /// Its id.
        export: BackupId,
        /// Name of the store behind the door.
        store: String,
        /// The snapshot's time.
        created_at: Timestamp,
        /// Rows of all tables in it.
        rows: u64,
        /// The newest migration in it.
        schema_version: i64,
        /// As stored, in bytes.
        size: u64,
        /// As stored.
        sha256: String,
        /// Of the file `SHA256SUMS` in it, and so of everything in it.
        sums_sha256: String,
    },
    /// A database that no longer served is gone.
    Dropped,
}

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Step {
    /// The snapshot is taken.
    Snapshot,
    /// The dump streams to the door.
    Dump,
    /// The manifest goes to the door.
    Manifest,
    /// The backup is looked for at the door.
    Find,
    /// The backup streams from the door into the database.
    Restore,
    /// What was restored is looked at.
    Examine,
    /// What was restored is served.
    Serve,
    /// The exit bundle is written.
    Export,
    /// The database to restore into is made.
    Prepare,
    /// The restored database is marked as whole.
    Finish,
    /// A database is dropped.
    Drop,
}

/// Why it did not end well.
#[derive(Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "code", rename_all_fields = "camelCase")]
pub enum Problem {
    /// The password file cannot be read.
    #[error("the database password cannot be read")]
    PasswordUnreadable,
    /// The token file cannot be read.
    #[error("the token for the door cannot be read")]
    TokenUnreadable,
    /// There is no recipient, or one that is none: a backup that nobody could decrypt is not taken.
    #[error("the recipients' file names nobody, or is wrong in line {line:?}")]
    RecipientsInvalid {
        /// Where; absent when the file is missing or empty.
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<usize>,
    },
    /// The identity file is missing or holds no key.
    #[error("the identity file is missing or holds no key")]
    IdentityInvalid,
    /// A program of PostgreSQL cannot be started.
    #[error("{program} cannot be started")]
    ProgramMissing {
        /// Which.
        program: &'static str,
    },
    /// The database does not answer, or stopped answering.
    #[error("the database does not answer (SQLSTATE {sqlstate:?})")]
    DatabaseUnreachable {
        /// What it said last, if it said anything.
        #[serde(skip_serializing_if = "Option::is_none")]
        sqlstate: Option<String>,
    },
    /// The database refused what was asked of it.
    #[error("the database refused (SQLSTATE {sqlstate:?})")]
    DatabaseRefused {
        /// What it said.
        #[serde(skip_serializing_if = "Option::is_none")]
        sqlstate: Option<String>,
    },
    /// The database holds something else, or somebody is in it: nothing was changed.
    #[error("the database holds something else, or somebody is in it")]
    DatabaseInUse,
    /// The database is the one that serves.
    #[error("the database is the one that serves")]
    DatabaseCurrent,
    /// The entitlement's file is missing or malformed.
    #[error("the entitlement cannot be read")]
    EntitlementUnreadable,
    /// The archive cannot be written.
    #[error("the archive cannot be written")]
    OutputUnwritable,
    /// There is no room left for the archive.
    #[error("there is no room left for the archive")]
    OutputFull,
    /// The volume has not enough room left for another database.
    #[error("the database needs {needed} bytes, and there are {free} left")]
    NoRoom {
        /// In bytes.
        needed: u64,
        /// In bytes, as far as the server knows.
        free: u64,
    },
    /// There is no schema to back up.
    #[error("the database was never migrated")]
    NotMigrated,
    /// `pg_dump` ended badly.
    #[error("pg_dump failed (status {status:?}, SQLSTATE {sqlstate:?})")]
    DumpFailed {
        /// Its exit status; absent when a signal ended it.
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<i32>,
        /// What the database said, where its words are known.
        #[serde(skip_serializing_if = "Option::is_none")]
        sqlstate: Option<&'static str>,
    },
    /// The door does not answer, or hung up.
    #[error("the door does not answer, or hung up")]
    DoorUnreachable,
    /// The door said no.
    #[error("the door refused with status {status} ({reason:?})")]
    DoorRefused {
        /// The HTTP status.
        status: u16,
        /// Its word for why.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// What is stored is not what was sent, or what the manifest says.
    #[error("size or checksum of the {of} differ")]
    ChecksumMismatch {
        /// Of what: `data` or `bundle`, as stored, or `dump`, inside.
        of: &'static str,
    },
    /// The stored object ends too early.
    #[error("the stored object has {size} bytes instead of {expected}")]
    Truncated {
        /// What is there.
        size: u64,
        /// What should be.
        expected: u64,
    },
    /// No backup of this tenant is with the door.
    #[error("there is no backup")]
    NoBackup,
    /// The manifest cannot be understood.
    #[error("the manifest is malformed")]
    ManifestInvalid,
    /// The manifest is of a newer kind.
    #[error("the manifest is of version {version}, known is {known}")]
    ManifestTooNew {
        /// What it is.
        version: u32,
        /// What this release reads.
        known: u32,
    },
    /// The manifest is of another backup, store or tenant.
    #[error("the manifest is of another backup, store or tenant")]
    ManifestForeign,
    /// A newer release made the backup.
    #[error("the backup's schema is at {schema_version}, this release knows up to {known}")]
    SchemaTooNew {
        /// What is in the backup.
        schema_version: i64,
        /// What this build knows.
        known: i64,
    },
    /// The identity is of none of the backup's recipients.
    #[error("the identity cannot decrypt this backup")]
    WrongKey,
    /// The object is what was stored, and yet it cannot be decrypted.
    #[error("the stored object is not a whole encrypted file")]
    Undecryptable,
    /// `pg_restore` ended badly.
    #[error("pg_restore failed (status {status:?}, SQLSTATE {sqlstate:?})")]
    RestoreFailed {
        /// Its exit status; absent when a signal ended it.
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<i32>,
        /// What the database said, where its words are known.
        #[serde(skip_serializing_if = "Option::is_none")]
        sqlstate: Option<&'static str>,
    },
    /// Tables have other rows than the manifest says.
    #[error(
        "{tables} tables have other rows than the manifest says, {table} for one: {restored:?} instead of {expected:?}"
    )]
    RowsDiffer {
        /// How many tables do.
        tables: usize,
        /// The first of them.
        table: String,
        /// What the manifest says; absent when it does not know the table.
        #[serde(skip_serializing_if = "Option::is_none")]
        expected: Option<u64>,
        /// What was restored; absent when the table was not.
        #[serde(skip_serializing_if = "Option::is_none")]
        restored: Option<u64>,
    },
    /// The restored database cannot be brought to this release's schema.
    #[error("the restored database cannot be migrated (SQLSTATE {sqlstate:?})")]
    MigrationFailed {
        /// What it said.
        #[serde(skip_serializing_if = "Option::is_none")]
        sqlstate: Option<String>,
    },
    /// The doctor found something in the restored database.
    #[error("the doctor found something in the restored database: {checks:?}")]
    Unsound {
        /// In which of its checks.
        checks: Vec<&'static str>,
    },
    /// The application does not answer on the restored database as it should.
    #[error("{request} was answered with {answer}")]
    NotServed {
        /// Method and route.
        request: &'static str,
        /// In our own words: the status and what was expected, or `nothing`.
        answer: String,
    },
    /// The deadline came first.
    #[error("the deadline came in the step {step:?}")]
    DeadlineExceeded {
        /// What was being done.
        step: Step,
    },
    /// Somebody ended the process.
    #[error("ended by a signal")]
    Interrupted,
}

impl Problem {
    /// From an error of one of our own connections.
    pub(crate) fn database(source: &sqlx::Error) -> Self {
        let sqlstate = db::sqlstate(source);
        tracing::warn!(error = %db::Discreet(source), "database.failed");
        match db::classify(source) {
            _ if sqlstate.as_deref() == Some(db::OBJECT_IN_USE) => Self::DatabaseInUse,
            db::Failure::Unavailable => Self::DatabaseUnreachable { sqlstate },
            db::Failure::Ours => Self::DatabaseRefused { sqlstate },
        }
    }

    /// Whether only the database was away, which may pass.
    pub(crate) fn is_of_absence(&self) -> bool {
        matches!(self, Self::DatabaseUnreachable { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_that_the_operator_reads() {
        let text = |outcome: &Outcome| serde_json::to_string(outcome).unwrap();
        let backup: BackupId = "20261122T010000Z-k3v9x2".parse().unwrap();
        let created_at: Timestamp = "2026-11-22T01:00:00.25Z".parse().unwrap();
        let backed_up =
            Outcome::BackedUp { backup: backup.clone(), created_at, size: 4711, schema_version: 3 };
        assert_eq!(
            text(&backed_up),
            r#"{"code":"BackedUp","backup":"20261122T010000Z-k3v9x2","createdAt":"2026-11-22T01:00:00.25Z","size":4711,"schemaVersion":3}"#
        );
        let drilled = Outcome::Drilled {
            backup,
            created_at,
            restored_in: 2,
            rows: 42,
            schema_version: 3,
            signed_in: true,
        };
        assert_eq!(
            text(&drilled),
            r#"{"code":"Drilled","backup":"20261122T010000Z-k3v9x2","createdAt":"2026-11-22T01:00:00.25Z","restoredIn":2,"rows":42,"schemaVersion":3,"signedIn":true}"#
        );
        let backup = "20261122T010000Z-k3v9x2".parse().unwrap();
        let restored = Outcome::Restored { backup, created_at, restored_in: 2, rows: 42, schema_version: 3 };
        assert_eq!(
            text(&restored),
            r#"{"code":"Restored","backup":"20261122T010000Z-k3v9x2","createdAt":"2026-11-22T01:00:00.25Z","restoredIn":2,"rows":42,"schemaVersion":3}"#
        );
        let exported =
            Outcome::Exported { created_at, rows: 42, schema_version: 3, sha256: "ab".into(), size: 4711 };
        assert_eq!(
            text(&exported),
            r#"{"code":"Exported","createdAt":"2026-11-22T01:00:00.25Z","rows":42,"schemaVersion":3,"sha256":"ab","size":4711}"#
        );
        let delivered = Outcome::Delivered {
            export: "20261122T010000Z-k3v9x2".parse().unwrap(),
            store: "main".into(),
            created_at,
            rows: 42,
            schema_version: 3,
            size: 4711,
            sha256: "ab".into(),
            sums_sha256: "cd".into(),
        };
        assert_eq!(
            text(&delivered),
            r#"{"code":"Delivered","export":"20261122T010000Z-k3v9x2","store":"main","createdAt":"2026-11-22T01:00:00.25Z","rows":42,"schemaVersion":3,"size":4711,"sha256":"ab","sumsSha256":"cd"}"#
        );
        assert_eq!(text(&Outcome::Dropped), r#"{"code":"Dropped"}"#);
        let text = |problem: &Problem| serde_json::to_string(problem).unwrap();
        assert_eq!(
            text(&Problem::DumpFailed { status: Some(1), sqlstate: Some("42501") }),
            r#"{"code":"DumpFailed","status":1,"sqlstate":"42501"}"#
        );
        assert_eq!(
            text(&Problem::DeadlineExceeded { step: Step::Dump }),
            r#"{"code":"DeadlineExceeded","step":"Dump"}"#
        );
        let not_served =
            Problem::NotServed { request: "GET /readyz", answer: "503 instead of 200".to_owned() };
        assert_eq!(
            text(&not_served),
            r#"{"code":"NotServed","request":"GET /readyz","answer":"503 instead of 200"}"#
        );
        assert_eq!(not_served.to_string(), "GET /readyz was answered with 503 instead of 200");
    }
}
