//! HTTP/2 from clients that do not keep to it, frame by frame, over a connection without TLS.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::Response;
use rstest::rstest;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    smuggling::watched,
    support::{TestBody, edge, eventually, nobody, route, tenant, within},
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

/// A request as it should be.
const GOOD: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "acme.example"), (":path", "/")];

/// A frame that came from the gateway.
#[derive(Debug)]
struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// A frame (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields that are neither indexed nor compressed (RFC 7541 section 6.2.2); none is longer than 126 bytes.
fn fields<'a>(fields: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.into_iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

async fn connect(address: std::net::SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat();
    stream.write_all(&preface).await.unwrap();
    stream
}

/// The next frame; none when the gateway has closed.
async fn next(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<Frame> {
    within("a frame", async {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], stream, payload })
    })
    .await
}

/// What becomes of the request on the first stream.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// An answer; its status if it is one of those that have a number of their own in the static table.
    Answered(Option<u16>),
    Reset,
    ConnectionEnded,
}

async fn end(stream: &mut TcpStream) -> End {
    while let Some(frame) = next(stream).await {
        match frame.kind {
            GOAWAY => return End::ConnectionEnded,
            RST_STREAM if frame.stream == 1 => return End::Reset,
            HEADERS if frame.stream == 1 => {
                let statuses = [200, 204, 206, 304, 400, 404, 500];
                let index = frame.payload[0].checked_sub(0x88).map(usize::from);
                return End::Answered(index.and_then(|index| statuses.get(index).copied()));
            }
            _ => {}
        }
    }
    End::ConnectionEnded
}

#[tokio::test]
async fn a_request_as_it_should_be_is_answered() {
    let (edge, log) = watched(&[]).await;
    let mut stream = connect(edge.http).await;
    stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&GOOD))).await.unwrap();
    assert_eq!(end(&mut stream).await, End::Answered(Some(200)));
    assert_eq!(*log.lock().unwrap(), ["GET / [- -] "]);
}

/// Each would mean something else once it is written down as HTTP/1.1.
#[rstest]
#[case::encoding(&[("transfer-encoding", "chunked")])]
#[case::connection(&[("connection", "close")])]
#[case::keep_alive(&[("keep-alive", "timeout=5")])]
#[case::upgrade(&[("upgrade", "h2c")])]
#[case::another_host(&[("host", "other.example")])]
#[case::two_hosts(&[("host", "acme.example"), ("host", "acme.example")])]
#[case::upper_case(&[("X-A", "1")])]
#[case::space_in_a_name(&[("x a", "1")])]
#[case::colon_in_a_name(&[("x:a", "1")])]
#[case::line_end_in_a_name(&[("x-a: 1\r\nhost", "other.example")])]
#[case::line_end_in_a_value(&[("x-a", "1\r\nx-forwarded-for: 10.0.0.1")])]
#[case::line_feed_in_a_value(&[("x-a", "1\nx-forwarded-for: 10.0.0.1")])]
#[case::zero_byte_in_a_value(&[("x-a", "\0")])]
#[case::second_path(&[(":path", "/other")])]
#[case::second_authority(&[(":authority", "other.example")])]
#[case::pseudo_field_behind_others(&[("x-a", "1"), (":path", "/other")])]
#[case::unknown_pseudo_field(&[(":host", "other.example")])]
#[case::pseudo_field_of_answers(&[(":status", "200")])]
#[case::length_with_a_sign(&[("content-length", "+5")])]
#[case::length_without_a_body(&[("content-length", "5")])]
#[tokio::test]
async fn a_field_that_must_not_be_there_makes_no_request(#[case] more: &[(&str, &str)]) {
    let (edge, log) = watched(&[]).await;
    let mut stream = connect(edge.http).await;
    let all = fields(GOOD.iter().chain(more));
    stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &all)).await.unwrap();
    let end = end(&mut stream).await;
    assert_ne!(end, End::Answered(Some(200)));
    assert_eq!(*log.lock().unwrap(), Vec::<String>::new(), "{end:?}");
}

#[rstest]
#[case::no_path(":path", None)]
#[case::empty_path(":path", Some(""))]
#[case::path_with_an_authority(":path", Some("http://other.example/"))]
#[case::path_without_a_slash(":path", Some("other"))]
#[case::star(":path", Some("*"))]
#[case::space_in_the_path(":path", Some("/ HTTP/1.1"))]
#[case::line_end_in_the_path(":path", Some("/ HTTP/1.1\r\nhost: other.example"))]
#[case::no_method(":method", None)]
#[case::line_in_the_method(":method", Some("GET / HTTP/1.1\r\nhost: other.example\r\n\r\nGET"))]
#[case::trace(":method", Some("TRACE"))]
#[case::connect(":method", Some("CONNECT"))]
#[case::no_authority(":authority", None)]
#[case::empty_authority(":authority", Some(""))]
#[case::authority_with_user(":authority", Some("acme.example@other.example"))]
#[case::two_authorities(":authority", Some("acme.example,other.example"))]
#[case::authority_with_path(":authority", Some("acme.example/x"))]
#[case::unknown_authority(":authority", Some("nobody.example"))]
#[tokio::test]
async fn a_pseudo_field_that_is_wrong_makes_no_request(#[case] name: &str, #[case] value: Option<&str>) {
    let (edge, log) = watched(&[]).await;
    let mut stream = connect(edge.http).await;
    let mut all: Vec<_> = GOOD.into_iter().filter(|(kept, _)| *kept != name).collect();
    all.extend(value.map(|value| (name, value)));
    stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&all))).await.unwrap();
    let end = end(&mut stream).await;
    assert_ne!(end, End::Answered(Some(200)));
    assert_eq!(*log.lock().unwrap(), Vec::<String>::new(), "{end:?}");
}

#[rstest]
#[case::longer("3")]
#[case::shorter("9")]
#[tokio::test]
async fn a_body_of_another_length_than_announced_is_no_request(#[case] announced: &str) {
    let (edge, log) = watched(&[]).await;
    let mut stream = connect(edge.http).await;
    let mut all = GOOD.to_vec();
    all[0].1 = "POST";
    all.push(("content-length", announced));
    let request =
        [frame(HEADERS, END_HEADERS, 1, &fields(&all)), frame(DATA, END_STREAM, 1, b"hello")].concat();
    stream.write_all(&request).await.unwrap();
    assert_ne!(end(&mut stream).await, End::Answered(Some(200)));
    eventually("the request to be over", async || edge.metric("requests_open").await == 0).await;
    assert_eq!(*log.lock().unwrap(), Vec::<String>::new());
}

/// Writes until the gateway closes, while reading what it says; the last frame kinds tell why it closed.
async fn flood(stream: TcpStream, flood: Vec<u8>) -> Vec<u8> {
    let (mut reading, mut writing) = stream.into_split();
    let writing = tokio::spawn(async move {
        // That the gateway closes in the middle is what is waited for.
        let _ = writing.write_all(&flood).await;
        writing
    });
    let mut kinds = Vec::new();
    while let Some(frame) = next(&mut reading).await {
        kinds.push(frame.kind);
    }
    drop(writing);
    kinds
}

#[tokio::test]
async fn a_head_without_end_is_not_read_without_end() {
    let edge = edge(&[]).await;
    edge.route(&[route("acme.example", "acme", nobody().await)]);
    let more =
        frame(CONTINUATION, 0, 1, &fields([("x-a", "x".repeat(100).as_str())].iter().cycle().take(10)));
    let all = [frame(HEADERS, END_STREAM, 1, &fields(&GOOD)), more.repeat(10_000)].concat();
    let kinds = flood(connect(edge.http).await, all).await;
    assert!(kinds.iter().all(|kind| [SETTINGS, GOAWAY, RST_STREAM].contains(kind)), "{kinds:?}");
}

/// How many requests a flood of them begins and how many reach the tenant, if each is taken back, `wave` at a time.
async fn taken_back(wave: u32) -> (u64, usize) {
    let edge = edge(&[]).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let asking = Arc::clone(&asked);
    let acme = tenant(move |_| {
        asking.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<Response<TestBody>>()
    })
    .await;
    edge.route(&[route("acme.example", "acme", acme)]);
    let (mut reading, mut writing) = connect(edge.http).await.into_split();
    // The gateway would not go on if nobody read what it says.
    let reading = tokio::spawn(async move { while next(&mut reading).await.is_some() {} });
    let open = async |expected: u32| {
        eventually("requests to be open or over, or the end", async || {
            reading.is_finished() || edge.metric("requests_open").await == u64::from(expected)
        })
        .await;
    };
    for first in (0..2_000).step_by(wave as usize) {
        let streams = || (first..first + wave).map(|number| 2 * number + 1);
        let heads = streams().flat_map(|id| frame(HEADERS, END_HEADERS | END_STREAM, id, &fields(&GOOD)));
        let resets = streams().flat_map(|id| frame(RST_STREAM, 0, id, &CANCEL.to_be_bytes()));
        let _ = writing.write_all(&heads.collect::<Vec<_>>()).await;
        if 1 < wave {
            open(wave).await;
        }
        let _ = writing.write_all(&resets.collect::<Vec<_>>()).await;
        if 1 < wave {
            open(0).await;
        }
        if reading.is_finished() {
            break;
        }
    }
    within("the gateway to close", reading).await.unwrap();
    eventually("all requests to be over", async || edge.metric("requests_open").await == 0).await;
    (edge.metric("requests_total{result=\"cancelled\"").await, asked.load(Ordering::SeqCst))
}

/// "Rapid reset" (CVE-2023-44487): a request that is taken back makes room for the next one, so that a limit on open
/// requests limits nothing.
#[rstest]
#[case::at_once(1)]
#[case::when_they_have_begun(100)]
#[tokio::test]
async fn requests_that_are_taken_back_end_the_connection(#[case] wave: u32) {
    let (begun, asked) = taken_back(wave).await;
    assert!(begun < 500 && asked < 500, "{begun} requests were begun, {asked} reached the tenant");
}

#[tokio::test]
async fn requests_beyond_what_one_connection_may_have_open_are_refused() {
    let edge = edge(&[]).await;
    let acme = tenant(|_| std::future::pending::<Response<TestBody>>()).await;
    edge.route(&[route("acme.example", "acme", acme)]);
    let mut stream = connect(edge.http).await;
    let heads =
        (0..200).flat_map(|number| frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &fields(&GOOD)));
    stream.write_all(&heads.collect::<Vec<_>>()).await.unwrap();
    let mut refused = Vec::new();
    while refused.len() < 72 {
        let frame = next(&mut stream).await.expect("the connection stays");
        if frame.kind == RST_STREAM {
            assert_eq!(frame.payload, REFUSED_STREAM.to_be_bytes(), "{frame:?}");
            refused.push(frame.stream);
        }
    }
    let last: Vec<u32> = (128..200).map(|number| 2 * number + 1).collect();
    assert_eq!(refused, last);
    eventually("the others to be open", async || edge.metric("requests_open").await == 128).await;
}
