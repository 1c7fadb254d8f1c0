//! A process that goes, without anybody losing a request by it.
//!
//! Proxies keep connections open and use them again. A server that closes one which nobody uses may close it at the very moment
//! at which a request is on its way: whoever sent it cannot tell whether it was carried out, and must not repeat one that changes
//! something (RFC 9112, section 9.5). So the server closes none at first. Until [`LINGER`] is over it goes on answering, also on new
//! connections, and says with each answer that it is the last one on its connection; those that nobody uses in this time are given
//! up by the proxy, which keeps them for a shorter time (the gateway of Tenantry for two seconds).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    extract::{Request, State},
    http::{HeaderValue, header::CONNECTION},
    middleware::Next,
    response::Response,
};

/// From the signal until connections are closed. Three seconds for every proxy to hear that the pod goes, and two for those to give up
/// that were opened last and not used.
pub const LINGER: Duration = Duration::from_secs(5);

/// Whether the process is about to end. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Leaving(Arc<AtomicBool>);

impl Leaving {
    /// From now on `/readyz` says no, and each answer is the last one on its connection.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Answers, and says when it was the last answer on its connection.
pub async fn last_answers(State(leaving): State<Leaving>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if leaving.has_begun() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
