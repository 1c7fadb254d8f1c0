//! The schema's version: what this build brings and needs, and what the database has.

use sqlx::{PgConnection, migrate::Migrator};

/// The migrations of this build.
#[cfg(not(feature = "test-releases"))]
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// The migrations of the release that this process is.
#[cfg(feature = "test-releases")]
pub static MIGRATOR: std::sync::LazyLock<Migrator> =
    std::sync::LazyLock::new(|| crate::test_release::migrator(sqlx::migrate!("./migrations")));

/// The schema that this build was written for. It works on every newer one too, because migrations expand
/// first and contract only when no running release needs the old shape.
pub fn needed() -> i64 {
    MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// The newest migration that the database has; `None` before the first one.
pub async fn current(db: &mut PgConnection) -> Result<Option<i64>, sqlx::Error> {
    match sqlx::query_scalar!("select max(version) from crm.schema_migration where success")
        .fetch_one(db)
        .await
    {
        // Undefined table or schema: nobody has migrated yet. Denied: the rights are given at the end.
        Err(sqlx::Error::Database(e))
            if ["42P01", "3F000", "42501"].contains(&e.code().as_deref().unwrap_or("")) =>
        {
            Ok(None)
        }
        other => other,
    }
}
