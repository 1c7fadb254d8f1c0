//! One moment of the database, which another connection can see as well, and what is in it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, postgres::PgConnectOptions};

use super::{schema, unhurried};

/// How many rows a table has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRows {
    /// The table, without its schema.
    pub name: String,
    /// Rows.
    pub rows: u64,
}

/// A read-only transaction that sees one moment. Others can see it too for as long as this lives.
pub struct Snapshot {
    db: PgConnection,
    /// What others call it.
    pub name: String,
    /// When it was taken, by the server's clock: all that was committed before is in it.
    pub taken_at: Timestamp,
    /// Where the server's log stood, or a little later.
    pub lsn: String,
    /// Of the whole database on its server, in bytes.
    pub database_size: u64,
    /// Of the server.
    pub postgres_version: String,
    /// The newest migration; `None` before the first.
    pub schema_version: Option<i64>,
}

impl Snapshot {
    /// Takes it.
    pub async fn take(options: &PgConnectOptions) -> Result<Self, sqlx::Error> {
        let mut db = PgConnection::connect_with(&unhurried(options.clone())).await?;
        sqlx::query("begin transaction isolation level repeatable read, read only").execute(&mut db).await?;
        // `now()` is the beginning of the transaction, and the snapshot is taken by its first query: this one.
        let facts = sqlx::query!(
            r#"select pg_export_snapshot() as "name!", now() as "taken_at!", pg_current_wal_lsn()::text as "lsn!",
                      pg_database_size(current_database()) as "size!",
                      split_part(current_setting('server_version'), ' ', 1) as "postgres_version!""#
        )
        .fetch_one(&mut db)
        .await?;
        let schema_version = schema::current(&mut db).await?;
        Ok(Self {
            db,
            name: facts.name,
            taken_at: facts.taken_at.to_jiff(),
            lsn: facts.lsn,
            database_size: u64::try_from(facts.size).unwrap_or_default(),
            postgres_version: facts.postgres_version,
            schema_version,
        })
    }

    /// For other queries of the same moment.
    pub fn db(&mut self) -> &mut PgConnection {
        &mut self.db
    }

    /// Counts what is in it.
    pub async fn rows(&mut self) -> Result<Vec<TableRows>, sqlx::Error> {
        rows(&mut self.db).await
    }

    /// Lets go of it. A connection that just ends in a transaction is remarked on in the server's log.
    pub async fn end(&mut self) -> Result<(), sqlx::Error> {
        sqlx::query("rollback").execute(&mut self.db).await.map(drop)
    }
}

/// Counts the rows of each table of the schema `crm`, in the order of their names.
pub async fn rows(db: &mut PgConnection) -> Result<Vec<TableRows>, sqlx::Error> {
    let tables = sqlx::query!(
        r#"select relname::text as "name!", quote_ident(relname) as "quoted!" from pg_class
           where relnamespace = 'crm'::regnamespace and relkind = 'r' order by relname::text collate "C""#
    )
    .fetch_all(&mut *db)
    .await?;
    let mut all = Vec::with_capacity(tables.len());
    for table in tables {
        let count = AssertSqlSafe(format!("select count(*) from crm.{}", table.quoted));
        let rows: i64 = sqlx::query_scalar(count).fetch_one(&mut *db).await?;
        all.push(TableRows { name: table.name, rows: u64::try_from(rows).unwrap_or_default() });
    }
    Ok(all)
}
