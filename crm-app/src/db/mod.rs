//! The only room with SQL: a file per group of tables.
//!
//! Every name is written with its schema, and `search_path` is empty but for the system's own, so that
//! nothing planted elsewhere can stand in for what is meant.

pub mod audit;
pub mod company;
pub mod company_list;
mod errors;
pub mod grants;
pub mod link;
pub mod rate_limit;
pub mod schema;
pub mod session;
pub mod user;
pub mod write;

use std::time::Duration;

use jiff_sqlx::ToSqlx as _;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};

pub(crate) use self::errors::Discreet;
pub use self::errors::{Failure, OnConstraint, classify, constraint, sqlstate};
use crate::args::{self, DefaultRole};

/// A point in time as sqlx reads and writes it.
pub type Instant = jiff_sqlx::Timestamp;
/// A calendar day as sqlx reads and writes it.
pub type Day = jiff_sqlx::Date;

/// For values on their way into a query.
pub(crate) fn instant(timestamp: jiff::Timestamp) -> Instant {
    timestamp.to_sqlx()
}

/// A request waits this long for a connection before it is told that the database is unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(1_500);
/// An idle connection costs the database more than a megabyte, a new one a few milliseconds.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
const MAX_LIFETIME: Duration = Duration::from_mins(30);

/// Reads the password and describes the connection.
pub async fn connect_options<R: DefaultRole>(
    database: &args::Database<R>,
) -> std::io::Result<PgConnectOptions> {
    let password = tokio::fs::read_to_string(&database.database_password_file).await?;
    Ok(PgConnectOptions::new_without_pgpass()
        .host(&database.database_host)
        .port(database.database_port)
        .database(&database.database_name)
        .username(&database.database_user)
        .password(password.trim_end())
        .ssl_mode(PgSslMode::Disable)
        .application_name("crm-app")
        .options([("search_path", "pg_catalog"), ("timezone", "UTC"), ("client_min_messages", "warning")]))
}

/// A small pool that connects when it is first asked.
pub fn pool(options: PgConnectOptions, max_connections: u32) -> PgPool {
    let options = options.options([
        ("statement_timeout", "10s"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "15s"),
    ]);
    PgPoolOptions::new()
        .min_connections(0)
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(IDLE_TIMEOUT)
        .max_lifetime(MAX_LIFETIME)
        .connect_lazy_with(options)
}
