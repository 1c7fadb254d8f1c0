//! Tenants whose answers break off, say more than they should, or contradict themselves, byte by byte.

use std::{net::SocketAddr, time::Duration};

use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rstest::rstest;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::interval};

use crate::support::{edge, eventually, listener, read_until, route, text, within};

/// A tenant that answers each connection's first request with these bytes, and then does as told.
async fn scripted(answer: &'static str, then: Then) -> SocketAddr {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                read_until(&mut stream, "\r\n\r\n").await;
                stream.write_all(answer.as_bytes()).await.unwrap();
                if then == Then::Stay {
                    // Until the gateway hangs up.
                    let _ = stream.readable().await;
                    crate::support::read_all(&mut stream).await;
                }
            });
        }
    });
    address
}

/// What a tenant does behind its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    HangUp,
    Stay,
}

#[rstest]
#[case::before_the_length_is_reached("content-length: 10\r\n\r\nhello")]
#[case::between_chunks("transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")]
#[case::inside_a_chunk("transfer-encoding: chunked\r\n\r\na\r\nhello")]
#[case::inside_the_last_chunk("transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n")]
#[case::in_nonsense("transfer-encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense\r\n")]
#[case::in_a_size_beyond_64_bits("transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n10000000000000005\r\n")]
#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_complete(#[case] rest: &str) {
    let edge = edge(&[]).await;
    let answer: &'static str = format!("HTTP/1.1 200 OK\r\n{rest}").leak();
    edge.route(&[route("acme.example", "acme", scripted(answer, Then::HangUp).await)]);
    let stream = TcpStream::connect(edge.http).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("/").header("host", "acme.example").body(text("")).unwrap();
    let response = within("the head", sender.send_request(request)).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = within("the body", response.into_body().collect()).await;
    assert!(body.is_err(), "{body:?}");
    eventually("the broken answer to be counted", async || {
        edge.metric("requests_total{result=\"broken_off\",tenant=\"acme\"}").await == 1
    })
    .await;
}

/// Behind its own answer, the tenant has another one in store for whoever asks next on this connection.
#[rstest]
#[case::two_answers("GET", "200", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")]
#[case::two_answers_in_chunks(
    "GET",
    "200",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
)]
#[case::head_with_a_body("HEAD", "200", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")]
#[case::no_content_with_a_body("GET", "204", "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok")]
#[case::not_modified_with_a_body("GET", "304", "HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\nok")]
#[case::post_with_two_answers("POST", "200", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")]
#[tokio::test]
async fn nobody_gets_an_answer_that_was_not_asked_for(
    #[case] method: &str,
    #[case] status: &str,
    #[case] first: &str,
) {
    let edge = edge(&[]).await;
    let answers: &'static str = format!("{first}HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nsmuggled").leak();
    edge.route(&[route("acme.example", "acme", scripted(answers, Then::Stay).await)]);
    for turn in 0..10 {
        let answer = edge.send(edge.request(method, "acme.example", "/").body(text("")).unwrap()).await;
        assert_eq!(answer.status.as_str(), status, "turn {turn}: {answer:?}");
        assert!(!answer.text.contains("smuggled"), "turn {turn}: {answer:?}");
    }
}

/// One connection of a client, on which more bytes than announced would be taken for the next answer.
#[rstest]
#[case::head("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")]
#[case::no_content("GET", "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok")]
#[case::not_modified("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\nok")]
#[tokio::test]
async fn a_body_where_none_belongs_does_not_reach_the_client(
    #[case] method: &str,
    #[case] answer: &'static str,
) {
    let edge = edge(&[]).await;
    edge.route(&[route("acme.example", "acme", scripted(answer, Then::Stay).await)]);
    let answers = edge
        .raw(format!(
            "{method} / HTTP/1.1\r\nHost: acme.example\r\n\r\n\
             GET /api/ HTTP/1.1\r\nHost: nobody.example\r\nConnection: close\r\n\r\n"
        ))
        .await;
    let (first, second) = answers.split_once("\r\n\r\n").unwrap();
    assert!(first.starts_with("HTTP/1.1 2") || first.starts_with("HTTP/1.1 304 "), "{answers}");
    assert!(second.starts_with("HTTP/1.1 404 "), "{answers}");
}

#[rstest]
#[case::early_hints("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n")]
#[case::continue_unasked("HTTP/1.1 100 Continue\r\n\r\n")]
#[case::several(
    "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
)]
#[tokio::test]
async fn what_a_tenant_says_in_between_is_not_taken_for_its_answer(#[case] between: &str) {
    let edge = edge(&[]).await;
    let answer: &'static str = format!("{between}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").leak();
    edge.route(&[route("acme.example", "acme", scripted(answer, Then::Stay).await)]);
    let answers = edge.raw("GET / HTTP/1.1\r\nHost: acme.example\r\nConnection: close\r\n\r\n").await;
    assert!(answers.starts_with("HTTP/1.1 200 ") && answers.ends_with("\r\n\r\nok"), "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
}

#[tokio::test]
async fn a_tenant_that_only_says_in_between_is_not_waited_for_without_end() {
    let edge = edge(&["--response-timeout", "200ms"]).await;
    let listener = listener().await;
    edge.route(&[route("acme.example", "acme", listener.local_addr().unwrap())]);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut turns = interval(Duration::from_millis(10));
        while stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").await.is_ok() {
            turns.tick().await;
        }
    });
    assert_eq!(edge.get("acme.example", "/").await.status, 504);
}

/// RFC 9112 section 6.3: the encoding holds, and who passes the message on removes the length.
#[rstest]
#[case::length_too_small("content-length: 3\r\ntransfer-encoding: chunked\r\n")]
#[case::length_too_large("transfer-encoding: chunked\r\ncontent-length: 300\r\n")]
#[tokio::test]
async fn a_length_beside_an_encoding_is_not_passed_on(#[case] framing: &str) {
    let edge = edge(&[]).await;
    let answer: &'static str = format!("HTTP/1.1 200 OK\r\n{framing}\r\n5\r\nhello\r\n0\r\n\r\n").leak();
    edge.route(&[route("acme.example", "acme", scripted(answer, Then::Stay).await)]);
    let answer = edge.raw("GET / HTTP/1.1\r\nHost: acme.example\r\nConnection: close\r\n\r\n").await;
    assert!(!answer.contains("content-length"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{answer}");
}

#[rstest]
#[case::differing_lengths("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello")]
#[case::length_with_a_sign("HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\nhello")]
#[case::chunked_in_http_1_0("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")]
#[case::folded_line("HTTP/1.1 200 OK\r\nx-a: 1\r\n x-b: 2\r\ncontent-length: 0\r\n\r\n")]
#[case::space_before_the_colon("HTTP/1.1 200 OK\r\ncontent-length : 0\r\n\r\n")]
#[case::zero_byte("HTTP/1.1 200 OK\r\nx-a: \0\r\ncontent-length: 0\r\n\r\n")]
#[case::no_status("HTTP/1.1 OK\r\ncontent-length: 0\r\n\r\n")]
#[case::switching_unasked(
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
)]
#[tokio::test]
async fn an_answer_that_could_be_read_in_two_ways_is_not_passed_on(#[case] answer: &'static str) {
    let edge = edge(&[]).await;
    edge.route(&[route("acme.example", "acme", scripted(answer, Then::Stay).await)]);
    let page = edge.get("acme.example", "/").await;
    assert_eq!(page.status, 502, "{page:?}");
    assert_eq!(edge.metric("requests_total{result=\"broken_answer\",tenant=\"acme\"}").await, 1);
}

#[tokio::test]
async fn the_head_of_an_answer_is_not_read_without_end() {
    let edge = edge(&["--max-header-bytes", "8192"]).await;
    let answer: &'static str =
        format!("HTTP/1.1 200 OK\r\nx-a: {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(20_000)).leak();
    edge.route(&[route("acme.example", "acme", scripted(answer, Then::Stay).await)]);
    assert_eq!(edge.get("acme.example", "/").await.status, 502);
}
