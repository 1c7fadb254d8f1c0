//! Forgets what no longer holds. Every replica does it; it is the same work, done twice.

use std::time::Duration;

use crate::{app::App, auth::session, db::rate_limit};

const EVERY: Duration = Duration::from_hours(1);

/// Runs for as long as the process.
pub async fn run(app: App) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        match sweep(&app).await {
            Ok(rows) => tracing::info!(rows, "housekeeping.done"),
            Err(error) => tracing::warn!(error = %crate::db::Discreet(&error), "housekeeping.failed"),
        }
    }
}

/// Expired sessions and drained rate limits.
pub async fn sweep(app: &App) -> Result<u64, sqlx::Error> {
    let now = app.clock.now();
    let mut db = app.db.acquire().await?;
    Ok(session::sweep(&mut db, now).await? + rate_limit::delete_drained(&mut db, now).await?)
}
