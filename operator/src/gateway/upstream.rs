//! Requests to tenants: pooled connections, connecting again while nothing has been sent, silence limited.

use std::{
    error::Error as StdError,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response, Uri, request::Parts};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper_util::{
    client::legacy::{
        self,
        connect::{HttpConnector, dns::GaiResolver},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use prometheus::IntCounter;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout_at},
};
use tower_service::Service;

use super::{
    answer::Answer,
    body::{BodyError, TenantBody},
    exchange::Exchange,
    limits::Limits,
};

/// Unused connections to one tenant that are kept.
const IDLE_CONNECTIONS: usize = 32;
/// For how long they are kept: for a shorter time than a CRM that ends goes on listening to them (`crm-app/src/leaving.rs`), so that no
/// request meets a connection that is being closed.
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);
/// Waiting time between attempts to connect: the first one, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// One attempt. Shorter than what a lost SYN needs to be sent three times: another try may meet another endpoint.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

type BoxError = Box<dyn StdError + Send + Sync>;

/// The connections to all tenants.
#[derive(Debug)]
pub(super) struct Upstreams {
    client: legacy::Client<Connector, TenantBody>,
    response_timeout: Duration,
}

/// What became of a request, when it did not become an answer.
enum Failure {
    /// The answer that the client gets instead.
    Final(Answer),
    /// The connection broke before anything of the answer was there.
    ConnectionLost,
}

impl Upstreams {
    pub(super) fn new(limits: &Limits, connect_retries: IntCounter) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.set_connect_timeout(Some(ATTEMPT_TIMEOUT.min(limits.connect_timeout)));
        let connector = Connector { http, deadline: limits.connect_timeout, retries: connect_retries };
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .http1_max_buf_size(limits.max_header_bytes as usize)
            .build(connector);
        Self { client, response_timeout: limits.response_timeout }
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// A request that changes nothing and has no body is sent once more when a connection breaks under it before any
    /// answer: this happens to a kept connection when the tenant's pod goes away (RFC 9110 section 9.2.2).
    pub(super) async fn send(
        &self,
        parts: Parts,
        body: TenantBody,
        exchange: &Exchange,
    ) -> Result<Response<Incoming>, Answer> {
        let spare = (parts.method.is_safe() && body.is_end_stream()).then(|| parts.clone());
        let lost = match self.attempt(Request::from_parts(parts, body), exchange).await {
            Ok(response) => return Ok(response),
            Err(Failure::Final(answer)) => return Err(answer),
            Err(Failure::ConnectionLost) => spare,
        };
        let Some(parts) = lost else { return Err(Answer::BrokenAnswer) };
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        match self.attempt(Request::from_parts(parts, body), exchange).await {
            Ok(response) => Ok(response),
            Err(Failure::Final(answer)) => Err(answer),
            Err(Failure::ConnectionLost) => Err(Answer::BrokenAnswer),
        }
    }

    async fn attempt(
        &self,
        request: Request<TenantBody>,
        exchange: &Exchange,
    ) -> Result<Response<Incoming>, Failure> {
        // Silence is measured from the last piece of the request body, so that a long upload is no silence.
        tokio::select! {
            response = self.client.request(request) => response.map_err(|error| classify(&error)),
            () = exchange.pulse().silent_for(self.response_timeout) => Err(Failure::Final(Answer::SilentTenant)),
        }
    }
}

fn classify(error: &legacy::Error) -> Failure {
    tracing::debug!(error = error as &dyn StdError, "request to a tenant failed");
    if error.is_connect() {
        return Failure::Final(Answer::Unreachable);
    }
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(body) = error.downcast_ref::<BodyError>() {
            return Failure::Final(match body {
                BodyError::TooLarge => Answer::TooLarge,
                BodyError::Silent => Answer::SilentClient,
                BodyError::BrokenOff(_) => Answer::BadRequest,
            });
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            && (error.is_incomplete_message() || error.is_canceled() || error.is_closed())
        {
            return Failure::ConnectionLost;
        }
        if let Some(error) = error.downcast_ref::<io::Error>()
            && matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
        {
            return Failure::ConnectionLost;
        }
        cause = error.source();
    }
    Failure::Final(Answer::BrokenAnswer)
}

/// Connects, and tries again until its time is over: a Service whose pod is being replaced refuses for a moment. Nothing
/// of any request has been sent at this point, so trying again repeats nothing.
#[derive(Clone, Debug)]
struct Connector {
    http: HttpConnector<GaiResolver>,
    deadline: Duration,
    retries: IntCounter,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { mut http, deadline, retries } = self.clone();
        Box::pin(async move {
            let deadline = Instant::now() + deadline;
            let mut pause = FIRST_PAUSE;
            loop {
                let error: BoxError = match timeout_at(deadline, http.call(uri.clone())).await {
                    Ok(Ok(stream)) => return Ok(stream),
                    Ok(Err(error)) => error.into(),
                    Err(elapsed) => return Err(elapsed.into()),
                };
                if deadline < Instant::now() + pause {
                    return Err(error);
                }
                retries.inc();
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        })
    }
}
