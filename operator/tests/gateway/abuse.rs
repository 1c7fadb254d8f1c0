//! Ambiguous requests, slow clients and too many of them, sent as raw bytes.

use std::sync::{Arc, Mutex};

use http::Response;
use http_body_util::BodyExt;
use rstest::rstest;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::{Edge, edge, eventually, mirror, read_all, read_until, route, tenant, text, within};

/// A gateway before one tenant, and what that tenant was asked: method, path, body.
async fn watched(flags: &[&str]) -> (Edge, Arc<Mutex<Vec<String>>>) {
    let edge = edge(flags).await;
    let log = Arc::new(Mutex::new(Vec::new()));
    let writing = Arc::clone(&log);
    let acme = tenant(move |request| {
        let log = Arc::clone(&writing);
        async move {
            let (parts, body) = request.into_parts();
            let framing = ["content-length", "transfer-encoding"]
                .map(|name| parts.headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned());
            let body = body.collect().await.unwrap().to_bytes();
            log.lock().unwrap().push(format!(
                "{} {} [{}] {}",
                parts.method,
                parts.uri,
                framing.join(" "),
                String::from_utf8_lossy(&body)
            ));
            Response::new(text("ok"))
        }
    })
    .await;
    edge.route(&[route("acme.example", "acme", acme), route("other.example", "other", acme)]);
    (edge, log)
}

#[rstest]
#[case::no_host("GET / HTTP/1.1\r\n\r\n")]
#[case::no_host_in_http_1_0("GET / HTTP/1.0\r\n\r\n")]
#[case::two_hosts("GET / HTTP/1.1\r\nHost: acme.example\r\nHost: other.example\r\n\r\n")]
#[case::the_same_host_twice("GET / HTTP/1.1\r\nHost: acme.example\r\nhost: acme.example\r\n\r\n")]
#[case::another_authority("GET http://other.example/ HTTP/1.1\r\nHost: acme.example\r\n\r\n")]
#[case::authority_with_user("GET http://acme.example@other.example/ HTTP/1.1\r\nHost: other.example\r\n\r\n")]
#[case::space_before_the_colon("GET / HTTP/1.1\r\nHost : acme.example\r\n\r\n")]
#[case::space_inside("GET / HTTP/1.1\r\nHost: acme.example other.example\r\n\r\n")]
#[case::list_of_hosts("GET / HTTP/1.1\r\nHost: acme.example, other.example\r\n\r\n")]
#[case::host_with_user("GET / HTTP/1.1\r\nHost: x@acme.example\r\n\r\n")]
#[case::host_with_path("GET / HTTP/1.1\r\nHost: acme.example/x\r\n\r\n")]
#[case::host_with_a_bad_port("GET / HTTP/1.1\r\nHost: acme.example:x\r\n\r\n")]
#[case::folded_line("GET / HTTP/1.1\r\nHost: acme.example\r\nX-A: 1\r\n Host: other.example\r\n\r\n")]
#[case::folded_host("GET / HTTP/1.1\r\nHost:\r\n acme.example\r\n\r\n")]
#[case::bare_carriage_return("GET / HTTP/1.1\r\nHost: acme.example\rX-A: 1\r\n\r\n")]
#[case::zero_byte("GET / HTTP/1.1\r\nHost: acme.example\0\r\n\r\n")]
#[case::differing_lengths(
    "POST / HTTP/1.1\r\nHost: acme.example\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"
)]
#[case::list_of_lengths("POST / HTTP/1.1\r\nHost: acme.example\r\nContent-Length: 5, 6\r\n\r\nhello")]
#[case::length_with_a_sign("POST / HTTP/1.1\r\nHost: acme.example\r\nContent-Length: +5\r\n\r\nhello")]
#[case::negative_length("POST / HTTP/1.1\r\nHost: acme.example\r\nContent-Length: -1\r\n\r\n")]
#[case::unknown_encoding(
    "POST / HTTP/1.1\r\nHost: acme.example\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"
)]
#[case::chunked_not_last(
    "POST / HTTP/1.1\r\nHost: acme.example\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"
)]
#[case::chunked_in_http_1_0(
    "POST / HTTP/1.0\r\nHost: acme.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
)]
#[case::encoding_with_a_space(
    "POST / HTTP/1.1\r\nHost: acme.example\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"
)]
#[case::proxy_request("CONNECT acme.example:80 HTTP/1.1\r\nHost: acme.example:80\r\n\r\n")]
#[case::trace("TRACE / HTTP/1.1\r\nHost: acme.example\r\n\r\n")]
#[case::server_wide_options("OPTIONS * HTTP/1.1\r\nHost: acme.example\r\n\r\n")]
#[tokio::test]
async fn what_two_parsers_could_read_differently_is_refused(#[case] request: &str) {
    let (edge, log) = watched(&["--idle-timeout", "200ms"]).await;
    let answer = edge.raw(request).await;
    assert!(
        answer.starts_with("HTTP/1.1 400 ")
            || answer.starts_with("HTTP/1.1 405 ")
            || answer.starts_with("HTTP/1.0 400 "),
        "{answer}"
    );
    assert_eq!(answer.matches("HTTP/1.").count(), 1, "{answer}");
    assert_eq!(*log.lock().unwrap(), Vec::<String>::new());
}

/// hyper takes the encoding, drops the length and closes the connection afterwards, which RFC 9112 section 6.3 allows:
/// what was meant to be a second request is never read as one, neither here nor by the tenant.
#[rstest]
#[case::length_first("Content-Length: 44\r\nTransfer-Encoding: chunked\r\n")]
#[case::encoding_first("Transfer-Encoding: chunked\r\nContent-Length: 44\r\n")]
#[case::around("Content-Length: 44\r\nTransfer-Encoding: chunked\r\nContent-Length: 44\r\n")]
#[tokio::test]
async fn a_length_beside_an_encoding_smuggles_nothing(#[case] framing: &str) {
    let (edge, log) = watched(&[]).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: other.example\r\n\r\n";
    let answer =
        edge.raw(format!("POST / HTTP/1.1\r\nHost: acme.example\r\n{framing}\r\n0\r\n\r\n{smuggled}")).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    let log = log.lock().unwrap();
    assert!(
        log.len() <= 1
            && log
                .iter()
                .all(|line| line.starts_with("POST / [- chunked]") || line.starts_with("POST / [0 -]")),
        "{log:?}"
    );
}

#[tokio::test]
async fn a_length_said_twice_is_said_once_to_the_tenant() {
    let (edge, log) = watched(&["--idle-timeout", "200ms"]).await;
    edge.raw("POST / HTTP/1.1\r\nHost: acme.example\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello")
        .await;
    assert_eq!(*log.lock().unwrap(), ["POST / [5 -] hello"]);
}

#[tokio::test]
async fn a_removed_length_does_not_change_where_a_body_ends() {
    let (edge, log) = watched(&["--idle-timeout", "200ms"]).await;
    edge.raw("POST / HTTP/1.1\r\nHost: acme.example\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(*log.lock().unwrap(), ["POST / [5 -] hello"]);
}

#[tokio::test]
async fn requests_on_one_connection_are_told_apart() {
    let (edge, log) = watched(&["--idle-timeout", "200ms"]).await;
    let one = "POST /1 HTTP/1.1\r\nHost: acme.example\r\nContent-Length: 5\r\n\r\nhello";
    let two = "GET /2 HTTP/1.1\r\nHost: nobody.example\r\n\r\n";
    let three =
        "POST /3 HTTP/1.1\r\nHost: acme.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nworld\r\n0\r\n\r\n";
    let answer = edge.raw([one, two, three].concat()).await;
    let codes: Vec<_> = answer.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(codes, ["200", "404", "200"]);
    assert_eq!(*log.lock().unwrap(), ["POST /1 [5 -] hello", "POST /3 [- chunked] world"]);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let (edge, log) = watched(&["--max-header-bytes", "8192"]).await;
    let answer = edge
        .raw(format!("GET / HTTP/1.1\r\nHost: acme.example\r\nX-A: {}\r\n\r\n", "x".repeat(10_000)))
        .await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let many = "X-A: 1\r\n".repeat(200);
    let answer = edge.raw(format!("GET / HTTP/1.1\r\nHost: acme.example\r\n{many}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(log.lock().unwrap().is_empty());
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
