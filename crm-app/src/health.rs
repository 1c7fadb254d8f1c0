//! The second port: `/livez`, `/readyz`, `/metrics`.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::{
    app::App,
    db::{schema, user},
    leaving::Leaving,
};

/// A probe must not wait for a database that hangs.
const LONGEST_CHECK: Duration = Duration::from_millis(800);

/// Whether requests can be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// The process is about to end.
    #[error("shutting down")]
    Leaving,
    /// The database does not answer.
    #[error("the database does not answer")]
    Database,
    /// `migrate` has not run, or is not done.
    #[error("the schema is at {current}, needed is {needed}")]
    Schema {
        /// What the database has.
        current: i64,
        /// What this build needs.
        needed: i64,
    },
    /// `migrate` has not added the first administrator yet.
    #[error("nobody can sign in yet: `migrate --first-sign-in-dir` adds the first administrator")]
    Nobody,
}

/// The routes of the second port.
pub fn router(app: App, leaving: Leaving) -> Router {
    Router::new()
        .route("/livez", get(async || "ok"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state((app, leaving))
}

/// Asks the database, each time: these are two cheap statements on a connection of the pool.
pub async fn check(app: &App) -> Result<(), NotReady> {
    let checked = tokio::time::timeout(LONGEST_CHECK, async {
        let mut db = app.db.acquire().await?;
        let (current, needed) = (schema::current(&mut db).await?.unwrap_or_default(), schema::needed());
        if current < needed {
            return Ok(Err(NotReady::Schema { current, needed }));
        }
        Ok(if user::exists(&mut db).await? { Ok(()) } else { Err(NotReady::Nobody) })
    });
    match checked.await {
        Ok(Ok(ready)) => ready,
        Ok(Err::<_, sqlx::Error>(_)) | Err(_) => Err(NotReady::Database),
    }
}

async fn readyz(State((app, leaving)): State<(App, Leaving)>) -> Response {
    let ready = if leaving.has_begun() { Err(NotReady::Leaving) } else { check(&app).await };
    match ready {
        Ok(()) => "ok".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason.to_string()).into_response(),
    }
}

async fn metrics(State((app, _)): State<(App, Leaving)>) -> Response {
    let entitlement = app.entitlement.borrow().clone();
    match app.metrics.render(&app.db, &entitlement) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
