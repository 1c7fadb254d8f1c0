//! Requests that the gateway and a tenant could read differently, sent as raw bytes: what the tenant is asked decides.

use std::sync::{Arc, Mutex};

use http::Response;
use http_body_util::BodyExt;
use rstest::rstest;

use crate::support::{Edge, edge, mirror, route, seen, tenant, text};

/// A gateway before one tenant, and what that tenant was asked: method, path, body.
pub(crate) async fn watched(flags: &[&str]) -> (Edge, Arc<Mutex<Vec<String>>>) {
    let edge = edge(flags).await;
    let log = Arc::new(Mutex::new(Vec::new()));
    let writing = Arc::clone(&log);
    let acme = tenant(move |request| {
        let log = Arc::clone(&writing);
        async move {
            let (parts, body) = request.into_parts();
            let framing = ["content-length", "transfer-encoding"]
                .map(|name| parts.headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned());
            // A body that breaks off is no request that a tenant would act on.
            let Ok(body) = body.collect().await else { return Response::new(text("broken off")) };
            log.lock().unwrap().push(format!(
                "{} {} [{}] {}",
                parts.method,
                parts.uri,
                framing.join(" "),
                String::from_utf8_lossy(&body.to_bytes())
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
#[case::encoding_then_identity(
    "POST / HTTP/1.1\r\nHost: acme.example\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"
)]
#[case::encoding_in_quotes(
    "POST / HTTP/1.1\r\nHost: acme.example\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"
)]
#[case::encoding_with_a_parameter(
    "POST / HTTP/1.1\r\nHost: acme.example\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"
)]
#[case::encoding_behind_a_vertical_tab(
    "POST / HTTP/1.1\r\nHost: acme.example\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"
)]
#[case::folded_encoding(
    "POST / HTTP/1.1\r\nHost: acme.example\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"
)]
#[case::empty_length("POST / HTTP/1.1\r\nHost: acme.example\r\nContent-Length:\r\n\r\n")]
#[case::hexadecimal_length("POST / HTTP/1.1\r\nHost: acme.example\r\nContent-Length: 0x5\r\n\r\nhello")]
#[case::length_with_a_space("POST / HTTP/1.1\r\nHost: acme.example\r\nContent-Length: 5 5\r\n\r\nhello")]
#[case::length_beyond_64_bits(
    "POST / HTTP/1.1\r\nHost: acme.example\r\nContent-Length: 18446744073709551621\r\n\r\nhello"
)]
#[case::length_with_a_space_before_the_colon(
    "POST / HTTP/1.1\r\nHost: acme.example\r\nContent-Length : 5\r\n\r\nhello"
)]
#[case::line_without_a_name("GET / HTTP/1.1\r\nHost: acme.example\r\n: x\r\n\r\n")]
#[case::line_without_a_colon("GET / HTTP/1.1\r\nHost: acme.example\r\nX-A\r\n\r\n")]
#[case::space_before_the_first_name("GET / HTTP/1.1\r\n Host: acme.example\r\n\r\n")]
#[case::two_spaces_in_the_request_line("GET  / HTTP/1.1\r\nHost: acme.example\r\n\r\n")]
#[case::space_in_the_path("GET /a b HTTP/1.1\r\nHost: acme.example\r\n\r\n")]
#[case::tab_in_the_path("GET /a\tb HTTP/1.1\r\nHost: acme.example\r\n\r\n")]
#[case::path_without_a_slash("GET x HTTP/1.1\r\nHost: acme.example\r\n\r\n")]
#[case::another_version("GET / HTTP/1.2\r\nHost: acme.example\r\n\r\n")]
#[case::a_version_in_words("GET / HTTP/2.0\r\nHost: acme.example\r\n\r\n")]
#[case::no_version("GET /\r\n\r\n")]
#[case::authority_with_another_port("GET http://acme.example:81/ HTTP/1.1\r\nHost: acme.example\r\n\r\n")]
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

/// Unusual, but with one meaning only: the tenant gets the usual form of it, and of what follows nothing.
#[rstest]
#[case::bare_line_feeds("GET /a HTTP/1.1\nHost: acme.example\n\n", "GET /a [- -] ")]
#[case::absolute_form("GET http://acme.example/a HTTP/1.1\r\nHost: acme.example\r\n\r\n", "GET /a [- -] ")]
#[case::absolute_form_with_another_scheme(
    "GET https://acme.example/a HTTP/1.1\r\nHost: acme.example\r\n\r\n",
    "GET /a [- -] "
)]
#[case::path_that_looks_like_an_authority(
    "GET //other.example/a HTTP/1.1\r\nHost: acme.example\r\n\r\n",
    "GET //other.example/a [- -] "
)]
#[case::port_and_upper_case("GET /a HTTP/1.1\r\nHOST: ACME.Example:8080\r\n\r\n", "GET /a [- -] ")]
#[case::trailing_dot("GET /a HTTP/1.1\r\nHost: acme.example.\r\n\r\n", "GET /a [- -] ")]
#[case::body_without_a_length("POST /a HTTP/1.1\r\nHost: acme.example\r\n\r\n", "POST /a [- -] ")]
#[case::get_with_a_body(
    "GET /a HTTP/1.1\r\nHost: acme.example\r\nContent-Length: 5\r\n\r\nhello",
    "GET /a [5 -] hello"
)]
#[case::encoding_in_upper_case(
    "POST /a HTTP/1.1\r\nHost: acme.example\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST /a [- chunked] hello"
)]
#[case::encoding_with_an_underscore(
    "POST /a HTTP/1.1\r\nHost: acme.example\r\nTransfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "POST /a [5 -] 0\r\n\r\n"
)]
#[case::removed_encoding(
    "POST /a HTTP/1.1\r\nHost: acme.example\r\nConnection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n\
     5\r\nhello\r\n0\r\n\r\n",
    "POST /a [- chunked] hello"
)]
#[case::chunk_extension(
    "POST /a HTTP/1.1\r\nHost: acme.example\r\nTransfer-Encoding: chunked\r\n\r\n\
     5;a=\"b\"\r\nhello\r\n0;c\r\n\r\n",
    "POST /a [- chunked] hello"
)]
#[case::trailers(
    "POST /a HTTP/1.1\r\nHost: acme.example\r\nTransfer-Encoding: chunked\r\nTrailer: host\r\n\r\n\
     5\r\nhello\r\n0\r\nHost: other.example\r\nContent-Length: 9\r\n\r\n",
    "POST /a [- chunked] hello"
)]
#[tokio::test]
async fn what_is_unusual_reaches_the_tenant_in_its_usual_form(#[case] request: &str, #[case] seen: &str) {
    let (edge, log) = watched(&["--idle-timeout", "200ms"]).await;
    let answer = edge.raw(request).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.matches("HTTP/1.1 ").count() == 1, "{answer}");
    assert_eq!(*log.lock().unwrap(), [seen]);
}

/// Behind each of these comes what would be a second request, if one of the two took the first one for complete.
#[rstest]
#[case::size_with_a_prefix("0x5\r\nhello\r\n0\r\n\r\n")]
#[case::size_with_a_sign("+5\r\nhello\r\n0\r\n\r\n")]
#[case::negative_size("-1\r\n\r\n")]
#[case::size_beyond_64_bits("10000000000000005\r\nhello\r\n0\r\n\r\n")]
#[case::no_size("\r\nhello\r\n0\r\n\r\n")]
#[case::size_too_small("3\r\nhello\r\n0\r\n\r\n")]
#[case::size_ended_by_a_line_feed("5\nhello\r\n0\r\n\r\n")]
#[case::size_ended_by_a_carriage_return("5\rhello\r\n0\r\n\r\n")]
#[case::chunk_ended_by_a_line_feed("5\r\nhello\n0\r\n\r\n")]
#[case::line_feed_in_an_extension("5;a\nb\r\nhello\r\n0\r\n\r\n")]
#[case::second_size_in_an_extension("5;\n0\r\n\r\nhello\r\n0\r\n\r\n")]
#[tokio::test]
async fn a_body_in_broken_chunks_is_no_request(#[case] chunks: &str) {
    let (edge, log) = watched(&[]).await;
    let answer = edge
        .raw(format!(
            "POST / HTTP/1.1\r\nHost: acme.example\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}\
             GET /smuggled HTTP/1.1\r\nHost: other.example\r\n\r\n"
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert_eq!(*log.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn extensions_of_chunks_are_not_read_without_end() {
    let (edge, log) = watched(&[]).await;
    let extension = "x".repeat(100_000);
    let answer = edge
        .raw(format!(
            "POST / HTTP/1.1\r\nHost: acme.example\r\nTransfer-Encoding: chunked\r\n\r\n5;{extension}\r\nhello\r\n0\r\n\r\n"
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn nothing_is_read_behind_a_request_that_closes() {
    let (edge, log) = watched(&[]).await;
    let answer = edge
        .raw(
            "GET /1 HTTP/1.1\r\nHost: acme.example\r\nConnection: close\r\n\r\n\
             GET /2 HTTP/1.1\r\nHost: acme.example\r\n\r\n",
        )
        .await;
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 1, "{answer}");
    assert_eq!(*log.lock().unwrap(), ["GET /1 [- -] "]);
}

/// What `Connection` names is removed before the gateway says who calls and what is called, not after.
#[tokio::test]
async fn connection_cannot_take_away_what_the_gateway_says() {
    let edge = edge(&[]).await;
    edge.route(&[route("acme.example", "acme", mirror("acme").await)]);
    let request = edge
        .request("GET", "acme.example", "/")
        .header("connection", "close, host, x-forwarded-for, X-Forwarded-Host, x-forwarded-proto")
        .header("connection", "x-request-id, cookie")
        .header("x-forwarded-for", "10.0.0.1")
        .header("cookie", "session=1");
    let answer = edge.send(request.body(text("")).unwrap()).await;
    let mirrored = answer.json();
    assert_eq!(seen(&mirrored, "host"), Some("acme.example"));
    assert_eq!(seen(&mirrored, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen(&mirrored, "x-forwarded-host"), Some("acme.example"));
    assert_eq!(seen(&mirrored, "x-forwarded-proto"), Some("http"));
    assert_eq!(seen(&mirrored, "x-request-id"), Some(answer.header("x-request-id")));
    assert_eq!(seen(&mirrored, "cookie"), None);
    assert_eq!(seen(&mirrored, "connection"), None);
}
