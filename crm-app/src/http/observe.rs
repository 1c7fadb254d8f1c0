//! Around every request: its id, its log line, its metrics, its time limit.

use std::time::{Duration, Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tracing::Instrument as _;

use crate::{app::App, auth::origin, error::Error};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Statements are cut off by the database before this; it is for what even that does not end.
const LONGEST: Duration = Duration::from_secs(12);

/// Answers. What may change something is counted before anything else looks at it, and goes to its end even when nobody waits for the
/// answer any more: otherwise a commit could be on its way to the database while no change is counted.
pub async fn request(State(app): State<App>, request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return answer(app, request, next).await;
    }
    let change = app.metrics.change_begins();
    let answering = tokio::spawn(async move {
        let response = answer(app, request, next).await;
        drop(change);
        response
    });
    // Only a panic gets lost, and in the program that is built for people it ends the process.
    answering.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// Logs and counts. The line names the route, not the address: a search holds what people look for.
async fn answer(app: App, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers()).unwrap_or_else(|| app.clock.new_id().to_string());
    let route = route(&request);
    let method = method_name(request.method());
    let span = tracing::info_span!("request", request_id = id);
    let answer = async {
        let answer = tokio::time::timeout(LONGEST, next.run(request)).await;
        let mut response = answer.unwrap_or_else(|_| Error::TimedOut.into_response());
        let elapsed = started.elapsed();
        let status = response.status().as_u16();
        app.metrics.request(method, &route, status, elapsed);
        tracing::info!(method, route, status, duration_ms = elapsed.as_secs_f64() * 1_000.0, "request.done");
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        response
    };
    answer.instrument(span).await
}

/// Refuses what changes something and does not come from our own pages.
pub async fn same_origin(State(app): State<App>, request: Request, next: Next) -> Response {
    if request.method().is_safe() || origin::is_our_own(request.headers(), &app.public_url) {
        return next.run(request).await;
    }
    Error::Forbidden("this request does not come from our own pages").into_response()
}

/// The gateway's id, if it is one that can go into a log.
fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let plain = (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    plain.then(|| id.to_owned())
}

/// Bounded: a route of ours, or one word for all else.
fn route(request: &Request) -> String {
    match request.extensions().get::<MatchedPath>() {
        Some(path) => path.as_str().to_owned(),
        None if request.uri().path().starts_with("/api/") => "unknown".to_owned(),
        None => "assets".to_owned(),
    }
}

fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
