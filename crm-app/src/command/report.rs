//! What a Job tells the operator through the pod's termination message, and the words of `migrate`: codes and names, never
//! values.

use std::{fs::OpenOptions, io::Write as _, path::Path};

use serde::Serialize;
use sqlx::migrate::MigrateError;

use crate::db;

/// How it ended well.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "code", rename_all_fields = "camelCase")]
pub enum Outcome {
    /// The database has this version's schema.
    Migrated {
        /// Its version.
        schema_version: i64,
    },
}

/// Why it did not.
#[derive(Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "code", rename_all_fields = "camelCase")]
pub enum Problem {
    /// A migration failed; everything it did is undone.
    #[error("migration {migration:?} failed (SQLSTATE {sqlstate:?}, constraint {constraint:?})")]
    MigrationFailed {
        /// Which; absent when it was none of them, but what comes before or after.
        #[serde(skip_serializing_if = "Option::is_none")]
        migration: Option<i64>,
        /// What the database said.
        #[serde(skip_serializing_if = "Option::is_none")]
        sqlstate: Option<String>,
        /// What was in the way.
        #[serde(skip_serializing_if = "Option::is_none")]
        constraint: Option<String>,
    },
    /// A migration that was applied is not the one of this build.
    #[error("migration {migration} was changed after it had been applied")]
    MigrationChanged {
        /// Which.
        migration: i64,
    },
    /// A newer release has migrated this database already.
    #[error("the schema is at {schema_version}, this release knows up to {known}")]
    SchemaTooNew {
        /// What the database has.
        schema_version: i64,
        /// What this build knows.
        known: i64,
    },
    /// No answer before the deadline.
    #[error("the database did not answer in time (last SQLSTATE {sqlstate:?})")]
    DatabaseUnreachable {
        /// What it said last, if it said anything.
        #[serde(skip_serializing_if = "Option::is_none")]
        sqlstate: Option<String>,
    },
    /// The work took longer than the deadline allows; what was not committed is undone.
    #[error("the migration did not end in time")]
    DeadlineExceeded,
    /// Somebody held a lock until the deadline.
    #[error("a lock could not be had in time")]
    Locked,
    /// The mounted files of the first sign-in are missing or malformed.
    #[error("the file {file} of the first sign-in is missing or malformed")]
    FirstSignInInvalid {
        /// Which.
        file: &'static str,
    },
    /// The password file cannot be read.
    #[error("the database password cannot be read")]
    PasswordUnreadable,
}

impl Problem {
    /// From an error of the database; `migration` says during which, if it was during one.
    pub(super) fn database(migration: Option<i64>, source: &sqlx::Error) -> Self {
        let sqlstate = db::sqlstate(source);
        match (sqlstate.as_deref(), db::classify(source)) {
            (Some("55P03" | "40P01"), _) => Self::Locked,
            (_, db::Failure::Unavailable) => Self::DatabaseUnreachable { sqlstate },
            (_, db::Failure::Ours) => {
                let constraint = db::constraint(source).map(str::to_owned);
                Self::MigrationFailed { migration, sqlstate, constraint }
            }
        }
    }

    /// From sqlx's migrator.
    pub(super) fn migration(error: &MigrateError, known: i64) -> Self {
        match error {
            MigrateError::ExecuteMigration(source, migration) => Self::database(Some(*migration), source),
            MigrateError::Execute(source) => Self::database(None, source),
            MigrateError::VersionMismatch(migration) => Self::MigrationChanged { migration: *migration },
            MigrateError::VersionMissing(schema_version) => {
                Self::SchemaTooNew { schema_version: *schema_version, known }
            }
            _ => Self::MigrationFailed { migration: None, sqlstate: None, constraint: None },
        }
    }
}

/// Writes the result where kubelet looks for it. Elsewhere there is no such file, and none is made.
pub(super) fn write(file: &Path, result: &Result<impl Serialize, impl Serialize>) {
    let text = match result {
        Ok(outcome) => serde_json::to_string(outcome),
        Err(problem) => serde_json::to_string(problem),
    };
    let Ok(text) = text else { return };
    let written = OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(file)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, "report.not_written");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_that_the_operator_reads() {
        let migrated = Outcome::Migrated { schema_version: 3 };
        assert_eq!(serde_json::to_string(&migrated).unwrap(), r#"{"code":"Migrated","schemaVersion":3}"#);
        let failed = Problem::MigrationFailed {
            migration: Some(2),
            sqlstate: Some("23505".into()),
            constraint: Some("company_name_key".into()),
        };
        assert_eq!(
            serde_json::to_string(&failed).unwrap(),
            r#"{"code":"MigrationFailed","migration":2,"sqlstate":"23505","constraint":"company_name_key"}"#
        );
        let unreachable = Problem::DatabaseUnreachable { sqlstate: None };
        assert_eq!(serde_json::to_string(&unreachable).unwrap(), r#"{"code":"DatabaseUnreachable"}"#);
    }
}
