//! The databases of a tenant's server, as the role that owns them: found, made, marked and dropped.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, postgres::PgConnectOptions};

use super::unhurried;

/// Any number, as long as nothing else uses it as an advisory lock.
const TURN_LOCK: i64 = 0x0043_524d_5245_5354;
/// Whoever is cut off while it is their turn does not keep it for longer.
const LONGEST_SILENCE: &str = "2min";

/// A connection that manages databases: one at a time, of all that come in by the same database.
pub struct Turn(PgConnection);

/// A database that is there.
pub struct Found {
    /// The comment on it.
    pub comment: Option<String>,
    /// It was half dropped: it can only be dropped again.
    pub is_broken: bool,
}

impl Turn {
    /// Connects and waits for its turn, which ends with this value.
    pub async fn take(options: &PgConnectOptions) -> Result<Self, sqlx::Error> {
        let options = unhurried(options.clone()).options([("idle_session_timeout", LONGEST_SILENCE)]);
        let mut db = PgConnection::connect_with(&options).await?;
        sqlx::query!("select pg_advisory_lock($1)", TURN_LOCK).execute(&mut db).await?;
        Ok(Self(db))
    }

    /// Ends the turn. Whether the goodbye is heard changes nothing.
    pub async fn end(self) {
        _ = self.0.close().await;
    }

    /// For queries in the database by which it came in.
    pub fn db(&mut self) -> &mut PgConnection {
        &mut self.0
    }

    /// Looks for a database.
    pub async fn find(&mut self, name: &str) -> Result<Option<Found>, sqlx::Error> {
        sqlx::query_as!(
            Found,
            r#"select shobj_description(oid, 'pg_database') as comment, datconnlimit = -2 as "is_broken!"
               from pg_database where datname = $1"#,
            name,
        )
        .fetch_optional(&mut self.0)
        .await
    }

    /// Bytes that the server's databases take, but for one of this name, and what its log may take besides.
    pub async fn used_without(&mut self, name: &str) -> Result<u64, sqlx::Error> {
        let used = sqlx::query_scalar!(
            r#"select coalesce(sum(pg_database_size(oid)), 0)::bigint + pg_size_bytes(current_setting('max_wal_size')) as "used!"
               from pg_database where datname <> $1 and datconnlimit <> -2 and has_database_privilege(oid, 'connect')"#,
            name,
        )
        .fetch_one(&mut self.0)
        .await?;
        Ok(u64::try_from(used).unwrap_or_default())
    }

    /// Makes an empty database.
    pub async fn create(&mut self, name: &str) -> Result<(), sqlx::Error> {
        self.execute(format!("create database {} template template0", identifier(name))).await
    }

    /// Comments on a database, or takes the comment away.
    pub async fn comment(&mut self, name: &str, text: Option<&str>) -> Result<(), sqlx::Error> {
        let text = text.map_or_else(|| "null".to_owned(), literal);
        self.execute(format!("comment on database {} is {text}", identifier(name))).await
    }

    /// Ends what else works in a database as the same role: a program whose machine is gone may look alive for hours.
    pub async fn end_others(&mut self, name: &str) -> Result<(), sqlx::Error> {
        sqlx::query_scalar!(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = $1 and usename = current_user and pid <> pg_backend_pid()",
            name,
        )
        .fetch_all(&mut self.0)
        .await
        .map(drop)
    }

    /// Drops a database, if it is there. Fails with SQLSTATE 55006 while another role is in it.
    pub async fn drop_database(&mut self, name: &str) -> Result<(), sqlx::Error> {
        self.end_others(name).await?;
        // PostgreSQL waits for those who are about to leave.
        self.execute(format!("drop database if exists {}", identifier(name))).await
    }

    async fn execute(&mut self, sql: String) -> Result<(), sqlx::Error> {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut self.0).await.map(drop)
    }
}

/// Whether nobody has made anything in this database yet.
pub async fn is_empty(db: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select not exists (
               select from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where n.nspname <> 'information_schema' and n.nspname not like 'pg\_%') as "empty!""#
    )
    .fetch_one(db)
    .await
}

/// Removes the CRM's schema with all that is in it.
pub async fn clear(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("drop schema if exists crm cascade").execute(db).await.map(drop)
}

/// Lets the planner know what is in the tables; after a restore it knows nothing.
pub async fn analyze(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    // Tables of the system belong to somebody else, which is only remarked on.
    sqlx::query("analyze").execute(db).await.map(drop)
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// With the server's usual `standard_conforming_strings`.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!(identifier("crm_2"), "\"crm_2\"");
        assert_eq!(identifier("a\"; drop"), "\"a\"\"; drop\"");
        assert_eq!(literal("o'hare \\ x"), "'o''hare \\ x'");
    }
}
