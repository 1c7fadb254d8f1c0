//! The only room with SQL: a file per group of tables.
//!
//! Every name is written with its schema, and `search_path` is empty but for the system's own, so that
//! nothing planted elsewhere can stand in for what is meant.

pub mod audit;
pub mod company;
pub mod company_list;
pub mod databases;
mod errors;
pub mod exit_bundle;
pub mod export;
pub mod grants;
pub mod link;
mod login;
pub mod rate_limit;
pub mod schema;
pub mod scratch;
pub mod session;
pub mod snapshot;
pub mod user;
pub mod write;

use std::time::Duration;

use jiff_sqlx::ToSqlx as _;
use sqlx::{
    ConnectOptions as _,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions},
};
use tokio::sync::watch;

pub(crate) use self::errors::{Discreet, OBJECT_IN_USE, is_unavailable};
pub use self::{
    errors::{Failure, OnConstraint, classify, constraint, sqlstate},
    login::Login,
};
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
/// Nobody waits at a screen for what walks whole tables.
const UNHURRIED_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// An idle connection costs the database more than a megabyte, a new one a few milliseconds.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
const MAX_LIFETIME: Duration = Duration::from_mins(30);

/// How often the password's file is looked at. It is a few bytes in memory, and a look costs microseconds.
const LOOK: Duration = Duration::from_secs(1);

/// Reads the password and describes the connection.
pub async fn connect_options<R: DefaultRole>(
    database: &args::Database<R>,
) -> std::io::Result<PgConnectOptions> {
    Ok(Login::read(database).await?.options())
}

/// No statement of a server takes longer than this.
fn bounded(options: PgConnectOptions) -> PgConnectOptions {
    options.options([
        ("statement_timeout", "10s"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "15s"),
    ])
}

/// A small pool that connects when it is first asked.
pub fn pool(options: PgConnectOptions, max_connections: u32) -> PgPool {
    PgPoolOptions::new()
        .min_connections(0)
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(IDLE_TIMEOUT)
        .max_lifetime(MAX_LIFETIME)
        .connect_lazy_with(bounded(options))
}

/// For what walks whole tables: nothing ends it but the deadline of the process, and nobody is told that it is slow.
pub(crate) fn unhurried(options: PgConnectOptions) -> PgConnectOptions {
    let limits = ["statement_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"];
    options.options(limits.map(|limit| (limit, "0"))).disable_statement_logging()
}

/// One such connection.
pub fn unhurried_pool(options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(UNHURRIED_ACQUIRE_TIMEOUT)
        .connect_lazy_with(unhurried(options))
}

/// Gives connections to come the password that the file holds by then, until dropped. The database got a new one when its
/// Secret was lost; without this every process that was there before would be shut out until it is started again. `login` holds it
/// for those who connect without the pool.
pub async fn follow_password<R: DefaultRole>(
    pool: PgPool,
    login: watch::Sender<Login>,
    database: args::Database<R>,
) {
    let mut known = None;
    loop {
        match Login::read(&database).await {
            Ok(now) if known.as_ref() != Some(&now) => {
                if known.is_some() {
                    tracing::info!("database.password_changed");
                }
                pool.set_connect_options(bounded(now.options()));
                login.send_replace(now.clone());
                known = Some(now);
            }
            Ok(_) => {}
            // Kubernetes replaces the file in one step, so this is no half-way state; the old password may still do.
            Err(error) => tracing::warn!(%error, "database.password_unreadable"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        time::timeout,
    };

    use super::*;
    use crate::args::{AppRole, Database};

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        database: Database<AppRole>,
    }

    /// Asks the next connection for its password in clear text, as a server may, and hangs up.
    async fn offered(server: &TcpListener) -> String {
        let (mut client, _) = server.accept().await.unwrap();
        let length = client.read_u32().await.unwrap();
        let mut startup = vec![0; length as usize - 4];
        client.read_exact(&mut startup).await.unwrap();
        client.write_all(&[b'R', 0, 0, 0, 8, 0, 0, 0, 3]).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'p');
        let length = client.read_u32().await.unwrap();
        let mut password = vec![0; length as usize - 4];
        client.read_exact(&mut password).await.unwrap();
        String::from_utf8(password).unwrap().trim_end_matches('\0').to_owned()
    }

    #[tokio::test]
    async fn connections_to_come_use_the_password_that_the_file_holds_by_then() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port().to_string();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "first\n").unwrap();
        let flags = ["--database-host", "127.0.0.1", "--database-port", &port, "--database-password-file"];
        let words = std::iter::once("test").chain(flags).chain([file.to_str().unwrap()]);
        let database = Arguments::parse_from(words).database;
        let (login, known) = watch::channel(Login::read(&database).await.unwrap());
        let pool = pool(known.borrow().options(), 1);
        let following = tokio::spawn(follow_password(pool.clone(), login, database));
        let next = async || tokio::join!(offered(&server), pool.acquire()).0;

        assert_eq!(next().await, "first");
        // The first change may come before the first look; the second one cannot.
        for changed in ["second", "third"] {
            std::fs::write(&file, format!("{changed}\n")).unwrap();
            timeout(Duration::from_secs(10), async { while next().await != changed {} }).await.unwrap();
            assert_eq!(known.borrow().password.as_deref(), Some(changed));
        }
        // A file that is away for a moment takes nothing away.
        std::fs::remove_file(&file).unwrap();
        assert_eq!(next().await, "third");
        following.abort();
    }
}
