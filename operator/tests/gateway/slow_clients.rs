//! Slow clients and too many of them.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures::future::pending;
use http::{Method, Response};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::interval,
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    process::Process,
    streaming::megabytes,
    support::{edge, eventually, mirror, read_all, read_until, route, tenant, text, within},
};

/// Of each kind of slow client.
const EACH: usize = 40;
/// The pace of the slow ones.
const STEP: Duration = Duration::from_millis(50);

/// Sends a beginning, and then a byte now and then, for ever. Never silent, never done.
async fn send_slowly(address: SocketAddr, beginning: &str) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(beginning.as_bytes()).await.unwrap();
    let mut turns = interval(STEP);
    while stream.write_all(b"x").await.is_ok() {
        turns.tick().await;
    }
}

/// Asks for something large and takes it in small bites.
async fn read_slowly(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: acme.example\r\n\r\n").await.unwrap();
    let mut turns = interval(STEP);
    while stream.read_exact(&mut [0; 100]).await.is_ok() {
        turns.tick().await;
    }
}

/// Says nothing, after a beginning.
async fn stay_silent(address: SocketAddr, beginning: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(beginning).await.unwrap();
    pending::<()>().await;
}

/// What requests over one connection take, in the median and at the 99th percentile of three hundred.
async fn latency(address: SocketAddr) -> [Duration; 2] {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut latencies = Vec::new();
    for _ in 0..300 {
        let begun = Instant::now();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: acme.example\r\n\r\n").await.unwrap();
        assert!(read_until(&mut stream, "quick").await.starts_with("HTTP/1.1 200 "));
        latencies.push(begun.elapsed());
    }
    latencies.sort();
    [latencies[149], latencies[296]]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_slow_clients_beside_a_fast_one() {
    let acme = tenant(|request| async move {
        match (request.method(), request.uri().path()) {
            // The test ends in the middle of these.
            (&Method::POST, _) => {
                let _ = request.into_body().collect().await;
                Response::new(text(""))
            }
            (_, "/large") => Response::new(megabytes(100)),
            _ => Response::new(text("quick")),
        }
    })
    .await;
    let edge = Process::start(&["--header-timeout", "60s"], &[route("acme.example", "acme", acme)]).await;
    let alone = latency(edge.http).await;
    edge.begin_peak();
    let before = edge.peak_bytes();

    let mut slow = Vec::new();
    for _ in 0..EACH {
        let (http, https) = (edge.http, edge.https);
        slow.extend([
            tokio::spawn(stay_silent(http, b"")),
            // The beginning of a TLS handshake of 512 bytes.
            tokio::spawn(stay_silent(https, &[0x16, 3, 1, 2, 0, 1])),
            tokio::spawn(send_slowly(http, "GET / HTTP/1.1\r\nX-")),
            tokio::spawn(send_slowly(
                http,
                "POST / HTTP/1.1\r\nHost: acme.example\r\nContent-Length: 9999\r\n\r\n",
            )),
            tokio::spawn(read_slowly(http)),
        ]);
    }
    let _slow: Vec<_> = slow.into_iter().map(AbortOnDropHandle::new).collect();
    let all_are_there = async || {
        edge.metric("connections{listener=\"http\"}").await == 4 * EACH
            && edge.metric("connections{listener=\"https\"}").await == EACH
            && edge.metric("requests_open").await == 2 * EACH
    };
    eventually("all slow clients to be at it", all_are_there).await;
    let beside = latency(edge.http).await;
    eventually("the fast client to have left", all_are_there).await;
    assert_eq!(edge.metric("connections_cut_total").await, 0);

    println!("median and 99th percentile: {alone:?} alone, {beside:?} beside {} slow clients", 5 * EACH);
    // A busy machine has hiccups; a gateway that waits for slow clients would take seconds for most requests.
    let [median, p99] = beside;
    assert!(
        median < Duration::from_millis(100) && p99 < Duration::from_secs(1),
        "{beside:?}, alone {alone:?}"
    );
    let grown = edge.peak_bytes().saturating_sub(before);
    println!("memory grew by {grown} bytes");
    assert!(grown < 300_000 * 5 * EACH, "memory grew by {grown} bytes");
}

#[tokio::test]
async fn slow_clients_are_cut_off_while_a_fast_one_is_served() {
    let edge = edge(&["--header-timeout", "300ms"]).await;
    edge.route(&[route("acme.example", "acme", mirror("acme").await)]);
    let slow = async |first: &'static str, next: &'static str| {
        let (mut reading, mut writing) = TcpStream::connect(edge.http).await.unwrap().into_split();
        // One byte now and then, for ever: never silent, never done.
        let trickle = async {
            let mut turns = tokio::time::interval(std::time::Duration::from_millis(20));
            writing.write_all(first.as_bytes()).await.unwrap();
            while !next.is_empty() && writing.write_all(next.as_bytes()).await.is_ok() {
                turns.tick().await;
            }
            std::future::pending::<()>().await;
        };
        let mut answer = Vec::new();
        let read = async {
            let _ = tokio::io::AsyncReadExt::read_to_end(&mut reading, &mut answer).await;
        };
        within("the cut", async {
            tokio::select! { () = trickle => {}, () = read => {} }
        })
        .await;
        assert!(answer.is_empty());
    };
    let fast = async {
        for _ in 0..20 {
            assert_eq!(edge.get("acme.example", "/").await.status, 200);
        }
    };
    // Nothing at all, half of a line, headers without end, and a beginning that could be HTTP/2 as well.
    tokio::join!(
        slow("", ""),
        slow("GET /", ""),
        slow("GET / HTTP/1.1\r\nX-", "x"),
        slow("PRI * HTTP/2", ""),
        fast
    );
    eventually("all cuts to be counted", async || {
        edge.metric("connections_cut_total{reason=\"slow_head\"}").await == 4
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_used_one_is_kept() {
    let edge = edge(&["--idle-timeout", "300ms", "--header-timeout", "300ms"]).await;
    edge.route(&[]);
    let mut stream = TcpStream::connect(edge.http).await.unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET /api/ HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
        read_until(&mut stream, "}").await;
    }
    assert_eq!(read_all(&mut stream).await, "");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let edge = edge(&["--max-connections", "1"]).await;
    edge.route(&[]);
    let request = b"GET /api/ HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let mut first = TcpStream::connect(edge.http).await.unwrap();
    first.write_all(request).await.unwrap();
    read_until(&mut first, "}").await;
    let mut second = TcpStream::connect(edge.http).await.unwrap();
    second.write_all(request).await.unwrap();
    assert_eq!(edge.metric("connections{listener=\"http\"}").await, 1);
    drop(first);
    read_until(&mut second, "}").await;
}
