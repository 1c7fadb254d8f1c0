//! Stands between the operator and the API server: records what the operator asks, and lets one fault happen at a time.
//!
//! The operator talks plain HTTP to it over loopback; it talks to the API server as the operator's service account, so
//! that roles and admission policies hold as they do in a cluster. Requests that were sent on are always followed to
//! their end, even when the operator that sent them is dead by then: what the API server did stands in the trace.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use futures::channel::mpsc;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Bytes, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};

use super::{
    delivery::{Delivery, Watched},
    plan::{Fault, Trouble},
    state::{Decision, State},
    trace::{Asked, Trace, Verb, Write},
    watches,
};

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// What a streamed answer consists of.
pub(super) type Chunk = Result<Frame<Bytes>, BoxError>;
type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// Events of a watch that wait for an operator that reads slowly.
const EVENTS_IN_FLIGHT: usize = 64;

/// A running proxy; it ends when dropped.
pub(super) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

/// What all connections share.
pub(super) struct Shared {
    /// Speaks to the API server as the operator.
    backend: Client,
    pub(super) state: State,
}

impl Proxy {
    /// Listens on a free port of loopback.
    pub(super) async fn start(backend: Client) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared { backend, state: State::default() });
        let accepting = tokio::spawn(accept(listener, shared.clone())).abort_handle();
        Ok(Self { port, shared, accepting })
    }

    /// The operator's way to the proxy; it needs no credentials, since the proxy has them.
    pub(super) fn kubeconfig(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "faults", "cluster": {"server": format!("http://127.0.0.1:{}", self.port)}}],
            "users": [{"name": "operator", "user": {}}],
            "contexts": [{"name": "faults", "context": {"cluster": "faults", "user": "operator"}}],
            "current-context": "faults",
        })
    }

    /// A course of that tenant begins, with an empty trace; this will go wrong, once.
    pub(super) async fn begin(&self, tenant: &str, fault: Option<Fault>) -> Result<()> {
        let mut lists = Vec::new();
        if fault.as_ref().is_some_and(Fault::rewinds) {
            for path in self.shared.state.listed() {
                lists.push((
                    path.clone(),
                    self.list(&path).await.with_context(|| format!("cannot list {path}"))?,
                ));
            }
        }
        self.shared.state.begin(tenant, fault, lists);
        Ok(())
    }

    async fn list(&self, path: &str) -> Result<Bytes> {
        let response = self.shared.backend.send(Request::get(path).body(Body::empty())?).await?;
        Ok(response.into_body().collect_bytes().await?)
    }

    /// The operator is to be killed now; its requests are held until it is.
    pub(super) fn wants_kill(&self) -> bool {
        self.shared.state.wants_kill()
    }

    /// The former operator is dead: nothing of it is listened to any more, and the next may come.
    pub(super) fn next_process(&self) {
        self.shared.state.next_process();
    }

    /// Whether the fault has happened.
    pub(super) fn has_fired(&self) -> bool {
        self.shared.state.has_fired()
    }

    /// For how long the operator has changed nothing.
    pub(super) fn quiet_for(&self) -> Duration {
        self.shared.state.quiet_for()
    }

    /// What happened since the course began.
    pub(super) fn trace(&self) -> Trace {
        self.shared.state.trace()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropping the set ends the connections.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, shared.clone()));
                }
                Err(error) => tracing::warn!("the fault proxy cannot accept a connection: {error}"),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // Small answers must not wait for more; failing to say so costs time only.
    let _ = stream.set_nodelay(true);
    // A connection that is closed already has no addresses.
    let Ok((stream, delivery)) = Watched::new(stream) else { return };
    let process = shared.state.process();
    let service = service_fn(|request| handle(shared.clone(), process, delivery.clone(), request));
    // A connection that breaks is part of the game.
    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!("a connection to the fault proxy ended: {error}");
    }
}

/// Answers one request of the operator, which is the `process`-th since the start.
async fn handle(
    shared: Arc<Shared>,
    process: u64,
    delivery: Delivery,
    request: Request<Incoming>,
) -> Result<Answer, BoxError> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut onward = Request::builder().method(head.method.clone()).uri(head.uri.clone());
    for name in [header::CONTENT_TYPE, header::ACCEPT, header::USER_AGENT] {
        if let Some(value) = head.headers.get(&name) {
            onward = onward.header(name, value);
        }
    }
    let onward = onward.body(Body::from(body.clone()))?;
    let asked = Asked::of(&head.method, &head.uri, &body, &shared.state.tenant());
    let path = head.uri.path_and_query().map_or("", |path| path.as_str());
    match shared.state.decide(process, asked.as_ref(), path) {
        Decision::Hold => std::future::pending().await,
        Decision::Refuse(status) => refusal(status),
        Decision::Recorded(list) => json_answer(StatusCode::OK, list),
        Decision::SendOn => send_on(shared, delivery, asked, onward, body).await,
    }
}

async fn send_on(
    shared: Arc<Shared>,
    delivery: Delivery,
    asked: Option<Asked>,
    onward: Request<Body>,
    body: Bytes,
) -> Result<Answer, BoxError> {
    let backend = shared.backend.clone();
    match asked {
        Some(asked) if asked.verb == Verb::Watch => {
            watch(shared, backend.send(onward).await?, asked.subject.resource)
        }
        Some(asked) if asked.verb.writes() => {
            // A task of its own: the operator's death must not hide what the API server did.
            let task = tokio::spawn(async move {
                let answered = answer(backend.send(onward).await?).await?;
                let write = Write::new(0, asked, answered.status().as_u16(), &body);
                let trouble = shared.state.written(write);
                Ok::<_, BoxError>((shared, answered, trouble))
            });
            let (shared, answered, trouble) = task.await??;
            troubled(&shared, &delivery, answered, trouble).await
        }
        _ => answer(backend.send(onward).await?).await,
    }
}

/// The answer to a write that is done, as far as it reaches the operator.
async fn troubled(
    shared: &Arc<Shared>,
    delivery: &Delivery,
    answered: Answer,
    trouble: Option<Trouble>,
) -> Result<Answer, BoxError> {
    match trouble {
        None | Some(Trouble::KillBefore | Trouble::Refuse(_)) => Ok(answered),
        Some(Trouble::KillAfterCommit) => {
            shared.state.kill();
            std::future::pending().await
        }
        Some(Trouble::KillAfterResponse | Trouble::KillAndRewind) => {
            let (shared, delivered) = (shared.clone(), delivery.of_next_answer());
            tokio::spawn(async move {
                if let Err(error) = delivered.await {
                    tracing::warn!("the operator is killed without its answer: {error:#}");
                }
                shared.state.kill();
            });
            Ok(answered)
        }
        Some(Trouble::TimeOutAfterCommit) => refusal(504),
        Some(Trouble::BreakAfterCommit) => Err("the connection breaks on purpose".into()),
        Some(Trouble::SilenceAfterCommit) => std::future::pending().await,
    }
}

/// Passes the events of a watch on, through whatever disturbs them.
fn watch(shared: Arc<Shared>, response: Response<Body>, resource: String) -> Result<Answer, BoxError> {
    let (head, body) = response.into_parts();
    let (sender, events) = mpsc::channel::<Chunk>(EVENTS_IN_FLIGHT);
    tokio::spawn(watches::relay(shared, resource, body, sender));
    Ok(Response::builder()
        .status(head.status)
        .header(header::CONTENT_TYPE, "application/json")
        .body(StreamBody::new(events).boxed_unsync())?)
}

/// A complete answer of the API server.
async fn answer(response: Response<Body>) -> Result<Answer, BoxError> {
    let (head, body) = response.into_parts();
    let content = body.collect_bytes().await?;
    let mut answer = Response::builder().status(head.status);
    for name in [header::CONTENT_TYPE, header::RETRY_AFTER] {
        if let Some(value) = head.headers.get(&name) {
            answer = answer.header(name, value);
        }
    }
    Ok(answer.body(whole(content))?)
}

/// What the API server says when it does not do what was asked.
fn refusal(status: u16) -> Result<Answer, BoxError> {
    let reason = match status {
        409 => "Conflict",
        429 => "TooManyRequests",
        504 => "Timeout",
        _ => "InternalError",
    };
    let content = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": status, "reason": reason,
        "message": format!("{status} on purpose"),
    });
    let mut answer = json_answer(StatusCode::from_u16(status)?, Bytes::from(content.to_string()))?;
    if status == 429 {
        answer.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    Ok(answer)
}

fn json_answer(status: StatusCode, content: Bytes) -> Result<Answer, BoxError> {
    Ok(Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .body(whole(content))?)
}

fn whole(content: Bytes) -> UnsyncBoxBody<Bytes, BoxError> {
    Full::new(content).map_err(|never| match never {}).boxed_unsync()
}
