//! What commands on backups do alike: read what they are given, and look at what came of a backup.

use std::{path::Path, time::Duration};

use sqlx::{PgConnection, PgPool, migrate::MigrateError};

use super::doctor;
use crate::{
    args::{self, DefaultRole},
    backup::{Identities, Manifest, Problem},
    db::{
        self, Login, schema,
        snapshot::{self, TableRows},
    },
};

/// Reads the keys.
pub(super) async fn identities(file: &Path) -> Result<Identities, Problem> {
    let text = tokio::fs::read_to_string(file).await.map_err(|error| {
        tracing::error!(%error, "identity.unreadable");
        Problem::IdentityInvalid
    })?;
    Identities::parse(&text)
}

/// Reads the password.
pub(super) async fn login<R: DefaultRole>(database: &args::Database<R>) -> Result<Login, Problem> {
    Login::read(database).await.map_err(|error| {
        tracing::error!(%error, "password.unreadable");
        Problem::PasswordUnreadable
    })
}

/// Rows as the manifest counted them.
pub(super) async fn compare_rows(db: &mut PgConnection, manifest: &Manifest) -> Result<(), Problem> {
    let found = snapshot::rows(db).await.map_err(|error| Problem::database(&error))?;
    compare(&manifest.tables, &found)
}

/// Brings the schema to this release's. Whether it did anything: `false` when it was there already.
pub(super) async fn migrate(db: &mut PgConnection) -> Result<bool, Problem> {
    let known = schema::needed();
    match schema::current(db).await.map_err(|error| Problem::database(&error))? {
        Some(schema_version) if known < schema_version => {
            return Err(Problem::SchemaTooNew { schema_version, known });
        }
        Some(current) if current == known => return Ok(false),
        _ => {}
    }
    schema::MIGRATOR.run(db).await.map_err(|error| match error {
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
            Problem::MigrationFailed { sqlstate: db::sqlstate(&source) }
        }
        _ => Problem::MigrationFailed { sqlstate: None },
    })?;
    Ok(true)
}

/// Nothing for the doctor to find.
pub(super) async fn examine(pool: PgPool) -> Result<(), Problem> {
    let examined = doctor::examine(&pool).await.map_err(|error| Problem::database(&error))?;
    pool.close().await;
    for one in &examined {
        tracing::info!(check = one.check, findings = one.findings.len(), "restored.examined");
    }
    let checks: Vec<_> =
        examined.iter().filter(|one| !one.findings.is_empty()).map(|one| one.check).collect();
    if checks.is_empty() { Ok(()) } else { Err(Problem::Unsound { checks }) }
}

/// In whole seconds; one that has begun counts.
pub(super) fn seconds(took: Duration) -> u64 {
    took.as_secs() + u64::from(took.subsec_nanos() != 0)
}

/// Both lists name each table once.
fn compare(expected: &[TableRows], restored: &[TableRows]) -> Result<(), Problem> {
    let rows = |tables: &[TableRows], name: &str| {
        tables.iter().find(|table| table.name == name).map(|table| table.rows)
    };
    let unknown = restored.iter().filter(|table| rows(expected, &table.name).is_none());
    let mut different = expected
        .iter()
        .chain(unknown)
        .map(|table| (&table.name, rows(expected, &table.name), rows(restored, &table.name)))
        .filter(|(_, expected, restored)| expected != restored);
    match different.next() {
        None => Ok(()),
        Some((table, expected, restored)) => {
            let tables = 1 + different.count();
            Err(Problem::RowsDiffer { tables, table: table.clone(), expected, restored })
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn tables(rows: &[(&str, u64)]) -> Vec<TableRows> {
        rows.iter().map(|(name, rows)| TableRows { name: (*name).to_owned(), rows: *rows }).collect()
    }

    #[rstest]
    #[case(&[("a", 1), ("b", 2)], None)]
    #[case(&[("b", 2), ("a", 1)], None)]
    #[case(&[("a", 1), ("b", 3)], Some((1, "b", Some(2), Some(3))))]
    #[case(&[("b", 1)], Some((2, "a", Some(1), None)))]
    #[case(&[("a", 1), ("b", 2), ("c", 0)], Some((1, "c", None, Some(0))))]
    fn each_table_is_compared(
        #[case] restored: &[(&str, u64)],
        #[case] problem: Option<(usize, &str, Option<u64>, Option<u64>)>,
    ) {
        let problem = problem.map(|(tables, table, expected, restored)| Problem::RowsDiffer {
            tables,
            table: table.to_owned(),
            expected,
            restored,
        });
        assert_eq!(compare(&tables(&[("a", 1), ("b", 2)]), &tables(restored)).err(), problem);
    }
}
