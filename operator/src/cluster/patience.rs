//! A limit on the time until the API server begins to answer.
//!
//! A connection whose other end has vanished without a word (a node that lost power, a load balancer that forgot the flow)
//! stays open for a quarter of an hour and longer, and the client waits as long as that by default. A reconcile that waits
//! on it would hold up its tenant. Watches begin to be answered at once, and have limits of their own from then on.

use std::{
    error::Error,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Request;
use kube::{Client, Config, client::Body, client::ClientBuilder};
use tokio::time::timeout;
use tower_layer::layer_fn;
use tower_service::Service;

/// Half of what the API server itself grants a request.
const LIMIT: Duration = Duration::from_secs(30);

/// A client that gives up on requests to which nobody answers.
pub fn client(config: Config) -> kube::Result<Client> {
    let limited = layer_fn(|inner| Patience { inner, limit: LIMIT });
    Ok(ClientBuilder::try_from(config)?.with_layer(&limited).build())
}

struct Patience<S> {
    inner: S,
    limit: Duration,
}

type BoxError = Box<dyn Error + Send + Sync>;

/// Nobody answered.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", .0.as_secs())]
struct NoAnswer(Duration);

impl<S> Service<Request<Body>> for Patience<S>
where
    S: Service<Request<Body>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (answer, limit) = (self.inner.call(request), self.limit);
        Box::pin(async move { timeout(limit, answer).await.unwrap_or_else(|_| Err(NoAnswer(limit).into())) })
    }
}

#[cfg(test)]
mod tests {
    use tower::service_fn;

    use super::*;

    #[tokio::test]
    async fn silence_is_an_error_and_an_answer_is_passed_on() {
        let limit = Duration::from_millis(20);
        let silent = service_fn(|_: Request<Body>| std::future::pending::<Result<(), BoxError>>());
        let error = Patience { inner: silent, limit }.call(Request::new(Body::empty())).await.unwrap_err();
        assert!(error.to_string().contains("no answer"), "{error}");
        let quick = service_fn(|_: Request<Body>| async { Ok::<_, BoxError>(7) });
        assert_eq!(Patience { inner: quick, limit }.call(Request::new(Body::empty())).await.unwrap(), 7);
    }
}
