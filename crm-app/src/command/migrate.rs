//! `crm-app migrate`: brings the database to this version's schema.
//!
//! Safe to run again, and side by side: runs take turns. Every statement gives up a lock after two seconds and
//! is tried again, so that a waiting migration never makes the serving application wait behind it.

use std::time::{Duration, Instant};

use sqlx::{
    Connection as _,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions},
};

use super::{
    Outcome, Problem,
    first_sign_in::{self, FirstSignIn},
    report,
};
use crate::{args, clock::Clock, db};

/// Runs take turns on this; any number, as long as nothing else uses it.
const TURN_LOCK: i64 = 0x0043_524d_4d49_4752;
const LONGEST_CONNECT: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Runs to the end and says how it went: in the log, and to the operator.
pub async fn run(args: args::Migrate) -> Result<Outcome, Problem> {
    let result = prepared(&args).await;
    match &result {
        Ok(Outcome::Migrated { schema_version }) => tracing::info!(schema_version, "migrate.done"),
        Err(problem) => tracing::error!(error = %problem, "migrate.failed"),
    }
    report::write(&args.report, &result);
    result
}

async fn prepared(args: &args::Migrate) -> Result<Outcome, Problem> {
    let first = args.first_sign_in_dir.as_deref().map(first_sign_in::read).transpose()?;
    let options = db::connect_options(&args.database).await.map_err(|error| {
        tracing::error!(%error, "password.unreadable");
        Problem::PasswordUnreadable
    })?;
    migrate(options, &db::schema::MIGRATOR, first.as_ref(), args.deadline, &Clock::system()).await
}

/// The same with everything passed in.
pub async fn migrate(
    options: PgConnectOptions,
    migrator: &Migrator,
    first: Option<&FirstSignIn>,
    within: Duration,
    clock: &Clock,
) -> Result<Outcome, Problem> {
    let options = options.options([("lock_timeout", "2s"), ("statement_timeout", "0")]);
    let deadline = Instant::now() + within;
    let left = || deadline.saturating_duration_since(Instant::now());
    let (mut pause, mut last) = (FIRST_PAUSE, None);
    loop {
        let problem = match once(&options, migrator, first, left(), clock).await {
            Ok(outcome) => return Ok(outcome),
            Err(problem) => more_telling(problem, last),
        };
        if !is_worth_another_try(&problem) || left() <= pause {
            return Err(problem);
        }
        tracing::info!(reason = %problem, "migrate.waits");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        last = Some(problem);
    }
}

/// The deadline cuts off the last try; the one before it knows why it could not succeed.
fn more_telling(problem: Problem, last: Option<Problem>) -> Problem {
    match (problem, last) {
        (Problem::DeadlineExceeded, Some(Problem::Locked)) => Problem::Locked,
        (
            Problem::DatabaseUnreachable { sqlstate: None },
            Some(Problem::DatabaseUnreachable { sqlstate }),
        ) => Problem::DatabaseUnreachable { sqlstate },
        (problem, _) => problem,
    }
}

async fn once(
    options: &PgConnectOptions,
    migrator: &Migrator,
    first: Option<&FirstSignIn>,
    within: Duration,
    clock: &Clock,
) -> Result<Outcome, Problem> {
    // One connection keeps the turn, the other adds the first administrator.
    let pool = PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(within.min(LONGEST_CONNECT))
        .connect_with(options.clone())
        .await
        .map_err(|error| Problem::DatabaseUnreachable { sqlstate: db::sqlstate(&error) })?;
    let done = tokio::time::timeout(within, in_turn(&pool, migrator, first, clock)).await;
    // Closing the connections gives back what they hold.
    pool.close().await;
    done.unwrap_or(Err(Problem::DeadlineExceeded))
}

async fn in_turn(
    pool: &PgPool,
    migrator: &Migrator,
    first: Option<&FirstSignIn>,
    clock: &Clock,
) -> Result<Outcome, Problem> {
    let failed = |error: sqlx::Error| Problem::database(None, &error);
    let mut db = pool.acquire().await.map_err(failed)?.detach();
    sqlx::query!("select pg_advisory_lock($1)", TURN_LOCK).execute(&mut db).await.map_err(failed)?;
    let newest = migrator.iter().map(|migration| migration.version).max().unwrap_or_default();
    migrator.run(&mut db).await.map_err(|error| Problem::migration(&error, newest))?;
    db::grants::set(&mut db).await.map_err(failed)?;
    if let Some(first) = first {
        first_sign_in::apply(pool, clock, first).await.map_err(failed)?;
    }
    db.close().await.map_err(failed)?;
    Ok(Outcome::Migrated { schema_version: newest })
}

fn is_worth_another_try(problem: &Problem) -> bool {
    match problem {
        Problem::DatabaseUnreachable { .. } | Problem::Locked => true,
        Problem::MigrationFailed { .. }
        | Problem::MigrationChanged { .. }
        | Problem::SchemaTooNew { .. }
        | Problem::DeadlineExceeded
        | Problem::FirstSignInInvalid { .. }
        | Problem::PasswordUnreadable => false,
    }
}
