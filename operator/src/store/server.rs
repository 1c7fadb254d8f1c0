//! Connections: as many as there is room for, none for ever.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep, sleep},
};

use super::{Door, request};

/// The largest head of a request. A token takes about a kilobyte of it.
const MAX_HEAD_BYTES: usize = 32 << 10;
/// From the end of one request to the head of the next, and for probes and scrapes.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// When accepting fails, it is for want of file descriptors or memory, which need a moment to come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes the connections of Jobs and of the operator until the door closes.
pub(super) async fn accept(door: Arc<Door>, listener: TcpListener) {
    let serving = async {
        loop {
            let Ok(permit) = door.connections.clone().acquire_owned().await else { return };
            let stream = next(&listener).await;
            let connection = serve(door.clone(), stream);
            let abort = door.abort.clone();
            door.tasks.spawn(async move {
                abort.run_until_cancelled(connection).await;
                drop(permit);
            });
        }
    };
    door.close.run_until_cancelled(serving).await;
}

async fn next(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(door: Arc<Door>, stream: TcpStream) {
    door.metrics.connections.inc();
    // Failing to say that small answers must not wait costs time only.
    let _ = stream.set_nodelay(true);
    let stream = TokioIo::new(Attentive::new(stream, door.limits.body_timeout));
    let service = service_fn(|request| request::handle(door.clone(), request));
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD_BYTES.max(128 << 10))
            .serve_connection(stream, service)
    );
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = door.close.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // Jobs that end break connections; it is worth a line only to somebody who looks for it.
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended");
    }
    door.metrics.connections.dec();
}

/// A connection whose other end must go on reading what it asked for.
struct Attentive {
    stream: TcpStream,
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    is_waiting: bool,
}

impl Attentive {
    fn new(stream: TcpStream, limit: Duration) -> Self {
        Self { stream, limit, timer: Box::pin(sleep(limit)), is_waiting: false }
    }

    fn watch<T>(&mut self, poll: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.is_waiting = false;
            return poll;
        }
        if !self.is_waiting {
            self.is_waiting = true;
            self.timer.as_mut().reset(Instant::now() + self.limit);
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Attentive {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Attentive {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(poll, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(poll, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Serves `/livez`, `/readyz` and `/metrics` until dropped.
pub(super) async fn manage(door: Arc<Door>, listener: TcpListener) {
    loop {
        let (stream, door) = (next(&listener).await, door.clone());
        tokio::spawn(async move {
            let service =
                service_fn(|request| std::future::ready(Ok::<_, Infallible>(vitals(&door, &request))));
            // A probe that hangs up is no event.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn vitals(door: &Door, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
    }
    match request.uri().path() {
        "/readyz" if door.close.is_cancelled() => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        "/readyz" if !door.stores.are_listed() => {
            text(StatusCode::SERVICE_UNAVAILABLE, "the BackupStores have not been read yet\n")
        }
        "/livez" | "/readyz" => text(StatusCode::OK, "ok\n"),
        "/metrics" => match door.metrics.render() {
            Ok(metrics) => text(StatusCode::OK, metrics),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        _ => text(StatusCode::NOT_FOUND, "/livez /readyz /metrics\n"),
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}
