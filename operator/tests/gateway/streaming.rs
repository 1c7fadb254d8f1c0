//! Large bodies pass piece by piece, and their limits hold.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    process::Process,
    support::{TestBody, boxed, edge, eventually, mirror, read_all, route, tenant, text, within},
};

const MEGABYTE: usize = 1_000_000;
static CHUNK: [u8; 50_000] = [b'x'; 50_000];

/// A body of this many megabytes that is never in memory as a whole.
pub(crate) fn megabytes(count: usize) -> TestBody {
    let chunks = stream::repeat(Bytes::from_static(&CHUNK)).take(count * MEGABYTE / CHUNK.len());
    boxed(StreamBody::new(chunks.map(|chunk| Ok::<_, Infallible>(Frame::data(chunk)))))
}

async fn count(mut body: Incoming) -> usize {
    let mut bytes = 0;
    while let Some(frame) = within("the next piece", body.frame()).await {
        bytes += frame.unwrap().data_ref().map_or(0, Bytes::len);
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gigabyte_up_and_a_gigabyte_down_take_no_memory() {
    let acme = tenant(|request| async move {
        let received = count(request.into_body()).await;
        let mut response = Response::new(megabytes(1000));
        response.headers_mut().insert("x-received", received.into());
        response
    })
    .await;
    let edge =
        Process::start(&["--max-body-bytes", "1000000000"], &[route("acme.example", "acme", acme)]).await;
    let mut sender = edge.connection().await;
    let request = |body| http::Request::post("/").header("host", "acme.example").body(body).unwrap();
    // What is needed once, such as a connection to the tenant, does not count.
    let first = within("the first answer", sender.send_request(request(text("")))).await.unwrap();
    assert_eq!(count(first.into_body()).await, 1000 * MEGABYTE);
    within("the connection", sender.ready()).await.unwrap();

    edge.begin_peak();
    let before = edge.peak_bytes();
    let response = within("the answer", sender.send_request(request(megabytes(1000)))).await.unwrap();
    assert_eq!(response.headers()["x-received"], "1000000000");
    let grown_by_upload = edge.peak_bytes().saturating_sub(before);
    assert_eq!(count(response.into_body()).await, 1000 * MEGABYTE);
    let grown = edge.peak_bytes().saturating_sub(before);
    println!("memory: {before} bytes, {grown_by_upload} more while sending, {grown} more in all");
    assert!(grown < 8 * MEGABYTE, "memory grew by {grown} bytes, {grown_by_upload} of them while sending");
}

#[tokio::test]
async fn a_body_announced_too_large_never_reaches_the_tenant() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let edge = edge(&["--max-body-bytes", "1000"]).await;
    let acme = tenant(|_| async {
        CALLS.fetch_add(1, Ordering::SeqCst);
        Response::new(text(""))
    })
    .await;
    edge.route(&[route("acme.example", "acme", acme)]);
    // Like curl: the body is not sent before the gateway wants it, and it never does.
    let answer = edge
        .raw("POST / HTTP/1.1\r\nHost: acme.example\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(CALLS.load(Ordering::SeqCst), 0);
    let fits =
        edge.send(edge.request("POST", "acme.example", "/").body(text(vec![b'x'; 1000])).unwrap()).await;
    assert_eq!(fits.status, 200);
}

#[tokio::test]
async fn a_body_that_turns_out_too_large_is_cut_off() {
    let edge = edge(&["--max-body-bytes", "100000"]).await;
    edge.route(&[route("acme.example", "acme", mirror("acme").await)]);
    let chunk = format!("{:x}\r\n{}\r\n", CHUNK.len(), "x".repeat(CHUNK.len()));
    let request = format!(
        "POST / HTTP/1.1\r\nHost: acme.example\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        chunk.repeat(3)
    );
    let answer = edge.raw(request).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_client_that_stops_in_the_middle_of_a_body_is_let_go() {
    let edge = edge(&["--body-timeout", "100ms"]).await;
    edge.route(&[route("acme.example", "acme", mirror("acme").await)]);
    let mut stream = TcpStream::connect(edge.http).await.unwrap();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: acme.example\r\nContent-Length: 10\r\n\r\nhalf")
        .await
        .unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let edge =
        edge(&["--response-timeout", "50ms", "--connect-timeout", "50ms", "--body-timeout", "50ms"]).await;
    let acme = tenant(|_| async { Response::new(megabytes(100)) }).await;
    edge.route(&[route("acme.example", "acme", acme)]);
    let mut stream = TcpStream::connect(edge.http).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: acme.example\r\n\r\n").await.unwrap();
    eventually("the cut", async || edge.metric("connections_cut_total{reason=\"stalled\"}").await == 1).await;
    eventually("all requests to be over", async || edge.metric("requests_open").await == 0).await;
}
