//! A gateway, tenants behind it and clients in front of it.

use std::{convert::Infallible, iter::Sum, net::SocketAddr, str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;
use clap::Parser;
use http::{Request, Response, StatusCode, header::HOST};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use operator::gateway::{Error, Gateway, Listeners, limits::Limits, routes::RouteTable};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

pub(crate) type TestBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// No wait in these tests takes longer, on however busy a machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// A running gateway.
pub(crate) struct Edge {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) management: SocketAddr,
    stop: Arc<Notify>,
    task: JoinHandle<Result<(), Error>>,
    client: Client<HttpConnector, TestBody>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A gateway with the given limits (as flags) and no routes.
pub(crate) async fn edge(flags: &[&str]) -> Edge {
    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        limits: Limits,
    }
    let quick = if flags.contains(&"--shutdown-delay") {
        vec!["test"]
    } else {
        vec!["test", "--shutdown-delay", "0s"]
    };
    let cli = Cli::parse_from(quick.iter().chain(flags));
    let gateway = Gateway::new("crm.localhost", 443, cli.limits).unwrap();
    let listeners =
        Listeners { http: listener().await, https: listener().await, management: listener().await };
    let address = |listener: &TcpListener| listener.local_addr().unwrap();
    let (http, https, management) =
        (address(&listeners.http), address(&listeners.https), address(&listeners.management));
    let stop = Arc::new(Notify::new());
    let stopping = Arc::clone(&stop).notified_owned();
    let task = tokio::spawn(Arc::clone(&gateway).serve(listeners, stopping));
    let client = Client::builder(TokioExecutor::new()).build_http();
    Edge { gateway, http, https, management, stop, task, client }
}

impl Edge {
    pub(crate) fn route(&self, routes: &[Value]) {
        let document = json!({"version": 1, "routes": routes}).to_string();
        let (table, left_out) = RouteTable::parse(&document).unwrap();
        assert!(left_out.is_empty(), "{left_out:?}");
        self.gateway.set_routes(table);
    }

    pub(crate) async fn send(&self, request: Request<TestBody>) -> Answer {
        let response = within("an answer", self.client.request(request)).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = within("the answer's body", body.collect()).await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    pub(crate) fn request(&self, method: &str, host: &str, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(format!("http://{}{path}", self.http)).header(HOST, host)
    }

    pub(crate) async fn get(&self, host: &str, path: &str) -> Answer {
        self.send(self.request("GET", host, path).body(text("")).unwrap()).await
    }

    /// Sends bytes as they are and returns what comes back until the gateway closes.
    pub(crate) async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        raw(self.http, bytes).await
    }

    pub(crate) async fn manage(&self, path: &str) -> Answer {
        let uri = format!("http://{}{path}", self.management);
        self.send(Request::get(uri).body(text("")).unwrap()).await
    }

    /// The sum of all series whose text starts so, or zero.
    pub(crate) async fn metric(&self, start: &str) -> u64 {
        sum(&self.manage("/metrics").await.text, start)
    }

    /// Asks the gateway to stop.
    pub(crate) fn begin_stop(&self) {
        self.stop.notify_one();
    }

    /// Asks the gateway to stop and lets go of it.
    pub(crate) fn stop(self) -> JoinHandle<Result<(), Error>> {
        self.begin_stop();
        self.task
    }
}

/// Sends bytes as they are and returns what comes back until the other side closes.
pub(crate) async fn raw(address: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The other side may close while we still write; what it has said before counts.
    let _ = stream.write_all(bytes.as_ref()).await;
    read_all(&mut stream).await
}

/// The sum of all series of the gateway whose text starts so, or zero.
pub(crate) fn sum<T: FromStr + Sum>(metrics: &str, start: &str) -> T {
    let values = metrics.lines().filter(|line| {
        line.strip_prefix("tenantry_gateway_").is_some_and(|series| series.starts_with(start))
    });
    values.filter_map(|line| line.rsplit(' ').next()?.parse::<T>().ok()).sum()
}

/// A route to a tenant of the test.
pub(crate) fn route(host: &str, tenant: &str, upstream: SocketAddr) -> Value {
    json!({"host": host, "tenant": tenant, "upstream": upstream.to_string(), "state": "Active", "locale": "en"})
}

pub(crate) fn with(mut route: Value, field: &str, value: impl Into<Value>) -> Value {
    route[field] = value.into();
    route
}

pub(crate) async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// An address where nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    listener().await.local_addr().unwrap()
}

/// A tenant that answers with `handler`.
pub(crate) async fn tenant<F, Answering>(handler: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> Answering + Clone + Send + Sync + 'static,
    Answering: Future<Output = Response<TestBody>> + Send + 'static,
{
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve_tenant(listener, handler));
    address
}

pub(crate) async fn serve_tenant<F, Answering>(listener: TcpListener, handler: F)
where
    F: Fn(Request<Incoming>) -> Answering + Clone + Send + Sync + 'static,
    Answering: Future<Output = Response<TestBody>> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let handler = handler.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = handler(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let _ =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        });
    }
}

/// A tenant that tells its name and what it was asked, as JSON.
pub(crate) async fn mirror(name: &'static str) -> SocketAddr {
    tenant(move |request| reflect(name, request)).await
}

pub(crate) async fn reflect(name: &'static str, request: Request<Incoming>) -> Response<TestBody> {
    let (parts, body) = request.into_parts();
    let headers: Vec<_> = parts
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    let size = body.collect().await.map(|body| body.to_bytes().len()).ok();
    let answer = json!({"tenant": name, "method": parts.method.as_str(), "uri": parts.uri.to_string(),
                        "headers": headers, "bytes": size});
    Response::new(text(answer.to_string()))
}

/// The value of a header that a mirror saw, if it saw it exactly once.
pub(crate) fn seen<'a>(mirrored: &'a Value, name: &str) -> Option<&'a str> {
    let headers = mirrored["headers"].as_array().unwrap();
    let mut found = headers.iter().filter(|pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap());
    let value = found.next();
    assert!(found.next().is_none(), "{name} twice in {mirrored}");
    value
}

pub(crate) fn text(text: impl Into<Bytes>) -> TestBody {
    boxed(Full::new(text.into()))
}

pub(crate) fn boxed<B>(body: B) -> TestBody
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// Everything until the other side closes; a reset is a way to close.
pub(crate) async fn read_all(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let _ = within("the connection's end", stream.read_to_end(&mut read)).await;
    String::from_utf8_lossy(&read).into_owned()
}

/// Reads until `end` is there.
pub(crate) async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let size = within(end, stream.read(&mut chunk)).await.unwrap();
        read.extend_from_slice(&chunk[..size]);
        let text = String::from_utf8_lossy(&read);
        if text.contains(end) {
            return text.into_owned();
        }
        assert!(0 < size, "closed before {end:?}: {text}");
    }
}

/// A future's result, or a failure that says what was waited for.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("waited {DEADLINE:?} for {what}"))
}

/// Asks again and again until the answer is yes.
pub(crate) async fn eventually<Asking: Future<Output = bool>>(what: &str, ask: impl Fn() -> Asking) {
    let mut turns = tokio::time::interval(Duration::from_millis(5));
    within(what, async {
        while !ask().await {
            turns.tick().await;
        }
    })
    .await;
}
