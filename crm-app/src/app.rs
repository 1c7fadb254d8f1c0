//! The application's state and its assembled router.

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware::from_fn_with_state,
    response::{IntoResponse as _, Response},
};
use sqlx::PgPool;
use tower_http::compression::{
    CompressionLayer, DefaultPredicate,
    predicate::{NotForContentType, Predicate as _},
};

use crate::{
    api,
    args::PublicUrl,
    assets,
    auth::password::Passwords,
    clock::Clock,
    entitlement::Watched,
    error::Error,
    exchange::download,
    http::{headers, observe},
    metrics::Metrics,
};

/// No record is larger.
const LARGEST_BODY_BYTES: usize = 256 * 1024;

/// What handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The database.
    pub db: PgPool,
    /// What the tenant may do.
    pub entitlement: Watched,
    /// The time.
    pub clock: Clock,
    /// The gate before the password hash.
    pub passwords: Arc<Passwords>,
    /// Where people come in.
    pub public_url: Arc<PublicUrl>,
    /// What exit bundles are made with.
    pub exit: download::Source,
    /// What is counted.
    pub metrics: Metrics,
}

/// Everything under one roof. Layers that come last here come first for a request.
pub fn router(app: App) -> Router {
    let (api, _) = api::routes();
    // Most of an exit bundle is packed already.
    let packable = DefaultPredicate::new().and(NotForContentType::const_new("application/zip"));
    let router = api
        .route("/api/{*rest}", axum::routing::any(not_found))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(LARGEST_BODY_BYTES))
        .layer(CompressionLayer::new().gzip(true).compress_when(packable))
        .fallback(assets::serve)
        .layer(from_fn_with_state(app.clone(), observe::same_origin))
        .layer(from_fn_with_state(app.clone(), headers::add));
    #[cfg(feature = "test-releases")]
    let router = crate::test_release::around(router);
    router.layer(from_fn_with_state(app.clone(), observe::request)).with_state(app)
}

async fn not_found() -> Response {
    Error::NotFound.into_response()
}

async fn method_not_allowed() -> Response {
    Error::MethodNotAllowed.into_response()
}
