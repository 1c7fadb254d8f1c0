//! A PostgreSQL that only serves a try: its roles, and databases that come and go.

use sqlx::{AssertSqlSafe, PgConnection};

use super::grants::{APP_ROLE, BACKUP_ROLE, OWNER_ROLE};

/// Makes the product's roles where they are missing, with the rights that they have on a tenant's server, but for passwords.
pub async fn ensure_roles(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    for (role, right) in [(OWNER_ROLE, "createdb"), (APP_ROLE, ""), (BACKUP_ROLE, "")] {
        let known = sqlx::query_scalar!(
            r#"select exists (select from pg_roles where rolname = $1) as "known!""#,
            role
        )
        .fetch_one(&mut *db)
        .await?;
        if !known {
            let create = AssertSqlSafe(format!("create role {role} login {right}"));
            sqlx::query(create).execute(&mut *db).await?;
        }
    }
    Ok(())
}

/// Makes an empty database, owned as a tenant's is.
pub async fn create_database(db: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    let create = format!("create database {name} owner {OWNER_ROLE} template template0");
    sqlx::query(AssertSqlSafe(create)).execute(db).await.map(drop)
}

/// Drops a database, and whoever is still in it.
pub async fn drop_database(db: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    let drop_it = format!("drop database if exists {name} with (force)");
    sqlx::query(AssertSqlSafe(drop_it)).execute(db).await.map(drop)
}
