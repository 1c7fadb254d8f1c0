//! Clients: as many requests as go through, requests at a fixed rate whatever happens to them, and large bodies.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use http::{Method, Request, Response, header::HOST};
use http_body_util::BodyExt as _;
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    sync::{Mutex, mpsc},
    task::JoinSet,
};

use super::pattern::{Pattern, Summary};

/// The host that the gateway has a route for; the backend takes any.
pub(super) const HOSTNAME: &str = "bench.crm.localhost";

/// One connection that is kept.
struct Connection(SendRequest<Pattern>);

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream =
            TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    async fn send(&mut self, method: Method, path: &str, body: Pattern) -> Result<Response<Incoming>> {
        let request = Request::builder().method(method).uri(path).header(HOST, HOSTNAME).body(body)?;
        self.0.ready().await?;
        let response = self.0.send_request(request).await?;
        ensure!(response.status().is_success(), "{path} was answered {}", response.status());
        Ok(response)
    }

    /// A small request, and its answer to the end.
    async fn get(&mut self, path: &str) -> Result<()> {
        let response = self.send(Method::GET, path, Pattern::new(0)).await?;
        let answer = response.into_body().collect().await?.to_bytes();
        ensure!(answer.len() == 2048, "an answer of {} bytes", answer.len());
        Ok(())
    }
}

/// An error unless a gateway's management port says that it is ready.
pub(super) async fn is_ready(management: SocketAddr) -> Result<()> {
    Connection::open(management).await?.send(Method::GET, "/readyz", Pattern::new(0)).await.map(drop)
}

/// Requests per second that go through these many connections, each of which asks again as soon as it is answered.
pub(super) async fn saturate(
    address: SocketAddr,
    path: &'static str,
    connections: usize,
    time: Duration,
) -> Result<f64> {
    let mut opened = Vec::new();
    for _ in 0..connections {
        let mut connection = Connection::open(address).await?;
        // Connecting, here and behind the gateway, is not what is measured.
        connection.get(path).await?;
        opened.push(connection);
    }
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for mut connection in opened {
        clients.spawn(async move {
            let mut count: u32 = 0;
            while begun.elapsed() < time {
                connection.get(path).await?;
                count += 1;
            }
            Ok::<_, anyhow::Error>(count)
        });
    }
    let mut count = 0.0;
    while let Some(answered) = clients.join_next().await {
        count += f64::from(answered??);
    }
    Ok(count / begun.elapsed().as_secs_f64())
}

/// Sends requests at moments that are fixed in advance, and says how long after its moment each one was answered.
///
/// Because the moments do not wait for answers, one that is late makes the next ones late as well instead of hiding
/// them ("coordinated omission").
pub(super) async fn at_rate(
    address: SocketAddr,
    per_second: u32,
    connections: usize,
    time: Duration,
) -> Result<Vec<Duration>> {
    let (due, moments) = mpsc::unbounded_channel::<Instant>();
    let moments = Arc::new(Mutex::new(moments));
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let mut connection = Connection::open(address).await?;
        connection.get("/").await?;
        let moments = Arc::clone(&moments);
        clients.spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let moment = moments.lock().await.recv().await;
                let Some(moment) = moment else { return Ok::<_, anyhow::Error>(latencies) };
                connection.get("/").await?;
                latencies.push(moment.elapsed());
            }
        });
    }
    // A thread of its own, because timers of the runtime are exact to a millisecond only.
    let pacing = tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        let (step, mut moment) = (Duration::from_secs(1) / per_second, Duration::ZERO);
        while moment < time {
            std::thread::sleep(moment.saturating_sub(begun.elapsed()));
            if due.send(begun + moment).is_err() {
                return;
            }
            moment += step;
        }
    });
    let mut latencies = Vec::new();
    while let Some(measured) = clients.join_next().await {
        latencies.append(&mut measured??);
    }
    pacing.await?;
    Ok(latencies)
}

/// Reads a body over one connection; megabytes per second until it has been hashed.
pub(super) async fn download(address: SocketAddr, bytes: u64, expected: &Summary) -> Result<f64> {
    let mut connection = Connection::open(address).await?;
    connection.get("/").await?;
    let begun = Instant::now();
    let response = connection.send(Method::GET, &format!("/{bytes}"), Pattern::new(0)).await?;
    let received = Summary::of(response.into_body()).await?;
    ensure!(received == *expected, "{received} came down instead of {expected}");
    Ok(megabytes_per_second(bytes, begun))
}

/// Sends a body over one connection; megabytes per second until the backend has said what came.
pub(super) async fn upload(address: SocketAddr, bytes: u64, expected: &Summary) -> Result<f64> {
    let mut connection = Connection::open(address).await?;
    connection.get("/").await?;
    let begun = Instant::now();
    let response = connection.send(Method::PUT, "/", Pattern::new(bytes)).await?;
    let received = response.into_body().collect().await?.to_bytes();
    ensure!(
        received == expected.to_string().as_bytes(),
        "{} came up instead of {expected}",
        String::from_utf8_lossy(&received)
    );
    Ok(megabytes_per_second(bytes, begun))
}

fn megabytes_per_second(bytes: u64, begun: Instant) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let megabytes = bytes as f64 / 1e6;
    megabytes / begun.elapsed().as_secs_f64()
}
