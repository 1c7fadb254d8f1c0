//! A tenant that goes, or is suspended, or loses a host, while its answers are under way: what has begun is finished, by
//! the tenant with which it began, and the next request is decided anew, also on a connection that is kept.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{SinkExt, StreamExt, channel::mpsc};
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use rstest::rstest;
use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_tungstenite::{accept_async, client_async, tungstenite::Message};

use crate::support::{
    Edge, boxed, edge, listener, mirror, read_all, read_until, route, tenant, text, with, within,
};

type Piece = Result<Frame<Bytes>, std::io::Error>;

/// What becomes of acme's host.
#[derive(Clone, Copy, Debug)]
enum Change {
    Removed,
    Suspended,
    GivenToAnother,
}

impl Change {
    /// The new route table, in which bluesky stays as it is.
    fn routes(self, acme: SocketAddr, bluesky: SocketAddr) -> Vec<Value> {
        let changed = match self {
            Self::Removed => None,
            Self::Suspended => Some(with(route("acme.example", "acme", acme), "state", "Suspended")),
            Self::GivenToAnother => Some(route("acme.example", "bluesky", bluesky)),
        };
        changed.into_iter().chain([route("bluesky.example", "bluesky", bluesky)]).collect()
    }

    fn next_status(self) -> u16 {
        match self {
            Self::Removed => 404,
            Self::Suspended => 503,
            Self::GivenToAnother => 200,
        }
    }
}

/// A gateway before a tenant whose one answer the test gives piece by piece.
async fn streaming() -> (Edge, SocketAddr, mpsc::UnboundedSender<Piece>) {
    let edge = edge(&[]).await;
    let (pieces, body) = mpsc::unbounded::<Piece>();
    let body = Arc::new(Mutex::new(Some(body)));
    let acme = tenant(move |_| {
        let body = body.lock().unwrap().take().expect("one request");
        std::future::ready(Response::new(boxed(StreamBody::new(body))))
    })
    .await;
    edge.route(&[route("acme.example", "acme", acme)]);
    (edge, acme, pieces)
}

fn piece(text: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(text.as_bytes()))
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: acme.example\r\n\r\n";

#[rstest]
#[case(Change::Removed)]
#[case(Change::Suspended)]
#[case(Change::GivenToAnother)]
#[tokio::test]
async fn an_answer_that_has_begun_is_finished(#[case] change: Change) {
    let (edge, acme, pieces) = streaming().await;
    let mut stream = TcpStream::connect(edge.http).await.unwrap();
    stream.write_all(GET).await.unwrap();
    pieces.unbounded_send(Ok(piece("first"))).unwrap();
    read_until(&mut stream, "first").await;

    edge.route(&change.routes(acme, mirror("bluesky").await));
    assert_eq!(edge.get("acme.example", "/").await.status, change.next_status());
    pieces.unbounded_send(Ok(piece("second"))).unwrap();
    drop(pieces);
    read_until(&mut stream, "second\r\n0\r\n\r\n").await;
    // The same connection, which was acme's while its answer lasted.
    stream.write_all(GET).await.unwrap();
    let next = read_until(&mut stream, "\r\n\r\n").await;
    assert!(next.starts_with(&format!("HTTP/1.1 {} ", change.next_status())), "{next}");
    // What ends after its tenant has gone must not bring back the tenant's metrics.
    let is_known = edge.manage("/metrics").await.text.contains("tenant=\"acme\"");
    assert_eq!(is_known, matches!(change, Change::Suspended));
}

#[tokio::test]
async fn an_answer_whose_tenant_ends_does_not_look_complete() {
    let (edge, _, pieces) = streaming().await;
    let mut stream = TcpStream::connect(edge.http).await.unwrap();
    stream.write_all(GET).await.unwrap();
    pieces.unbounded_send(Ok(piece("first"))).unwrap();
    read_until(&mut stream, "first").await;
    edge.route(&[]);
    pieces.unbounded_send(Err(std::io::Error::other("the pod ends"))).unwrap();
    let rest = read_all(&mut stream).await;
    assert!(!rest.contains("0\r\n\r\n"), "{rest}");
}

#[tokio::test]
async fn a_request_body_that_has_begun_arrives() {
    let edge = edge(&[]).await;
    let (arrived, mut arrivals) = mpsc::unbounded();
    let acme = tenant(move |request| {
        let arrived = arrived.clone();
        async move {
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                arrived.unbounded_send(frame.into_data().unwrap()).unwrap();
            }
            Response::new(text("stored"))
        }
    })
    .await;
    edge.route(&[route("acme.example", "acme", acme)]);
    let mut stream = TcpStream::connect(edge.http).await.unwrap();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: acme.example\r\nContent-Length: 10\r\n\r\nhello")
        .await
        .unwrap();
    assert_eq!(within("the first half", arrivals.next()).await.unwrap(), "hello");
    edge.route(&[]);
    stream.write_all(b"world").await.unwrap();
    assert_eq!(within("the second half", arrivals.next()).await.unwrap(), "world");
    let answer = read_until(&mut stream, "stored").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_web_socket_lasts_as_long_as_its_tenant() {
    let edge = edge(&[]).await;
    let listener = listener().await;
    edge.route(&[route("acme.example", "acme", listener.local_addr().unwrap())]);
    let pod = tokio::spawn(async move {
        let mut socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            socket.send(message).await.unwrap();
        }
    });
    let stream = TcpStream::connect(edge.http).await.unwrap();
    let (mut socket, _) = client_async("ws://acme.example/live", stream).await.unwrap();
    edge.route(&[]);
    socket.send(Message::text("still there?")).await.unwrap();
    let echo = within("the echo", socket.next()).await.unwrap().unwrap();
    assert_eq!(echo, Message::text("still there?"));
    pod.abort();
    assert!(!matches!(within("the end", socket.next()).await, Some(Ok(_))));
}
