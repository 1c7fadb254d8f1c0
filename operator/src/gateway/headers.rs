//! What may and what may not pass from one side to the other in header fields.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
        STRICT_TRANSPORT_SECURITY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
};

use super::host::Address;

/// The field that names a request in every log on its way.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Fields that speak about one connection only (RFC 9110 section 7.6.1), besides those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Fields by which an application might be told who is calling or what is called. Only the gateway may say that.
const NEVER_FROM_OUTSIDE: [HeaderName; 3] = [FORWARDED, HeaderName::from_static("x-real-ip"), REQUEST_ID];

/// One year, the least that counts as a promise.
const ONE_YEAR_OF_TLS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// How the client reached the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// The scheme as it stands in an address.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What the gateway tells the tenant about a request.
#[derive(Debug)]
pub(super) struct Origin<'a> {
    pub(super) client: IpAddr,
    pub(super) scheme: Scheme,
    pub(super) address: &'a Address,
    pub(super) request_id: &'a HeaderValue,
}

/// Whether the passage to the other side becomes a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    Message,
    WebSocket,
}

/// Prepares a request's fields for the tenant.
pub(super) fn to_tenant(headers: &mut HeaderMap, origin: &Origin<'_>, passage: Passage) {
    strip_hop_by_hop(headers);
    let forwarded: Vec<_> =
        headers.keys().filter(|name| name.as_str().starts_with("x-forwarded-")).cloned().collect();
    for name in forwarded.iter().chain(&NEVER_FROM_OUTSIDE) {
        headers.remove(name);
    }
    // The gateway itself says "continue" as soon as it wants the body.
    headers.remove(EXPECT);
    join_cookies(headers);

    let address = text(&origin.address.to_string());
    headers.insert(HOST, address.clone());
    headers.insert(FORWARDED_HOST, address);
    headers.insert(FORWARDED_FOR, text(&origin.client.to_string()));
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(origin.scheme.as_str()));
    headers.insert(REQUEST_ID, origin.request_id.clone());
    if passage == Passage::WebSocket {
        set_upgrade(headers);
    }
}

/// Prepares an answer's fields for the client.
pub(super) fn to_client(headers: &mut HeaderMap, scheme: Scheme, request_id: &HeaderValue, passage: Passage) {
    // Where both are given the encoding holds, and a length that is left would cut the body short or make it look broken
    // (RFC 9112 section 6.3). For requests hyper does the same as it reads them.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    strip_hop_by_hop(headers);
    headers.insert(REQUEST_ID, request_id.clone());
    if scheme == Scheme::Https {
        headers.entry(STRICT_TRANSPORT_SECURITY).or_insert(ONE_YEAR_OF_TLS);
    }
    if passage == Passage::WebSocket {
        set_upgrade(headers);
    }
}

/// Whether the fields ask to turn the connection into a WebSocket. No other protocol is let through: `h2c` in
/// particular would carry requests past every check made here.
pub(super) fn wants_web_socket(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(UPGRADE).iter();
    let is_web_socket =
        protocols.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    is_web_socket
        && protocols.next().is_none()
        && connection_options(headers).any(|it| it.eq_ignore_ascii_case("upgrade"))
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = connection_options(headers).filter_map(|it| it.parse().ok()).collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// HTTP/2 may split cookies over several lines to compress them better; HTTP/1.1 knows only one (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() < 2 {
        return;
    }
    let joined = HeaderValue::from_bytes(&lines.join(&b"; "[..]));
    headers.remove(COOKIE);
    if let Ok(joined) = joined {
        headers.insert(COOKIE, joined);
    }
}

fn set_upgrade(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// For values that we made ourselves: addresses and parsed host names hold nothing that a header field may not.
fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn sent_to_tenant(lines: &[(&str, &str)], passage: Passage) -> HeaderMap {
        let mut headers = map(lines);
        let origin = Origin {
            client: "203.0.113.7".parse().unwrap(),
            scheme: Scheme::Https,
            address: &Address::parse("Acme.example:8443").unwrap(),
            request_id: &HeaderValue::from_static("id-1"),
        };
        to_tenant(&mut headers, &origin, passage);
        headers
    }

    #[test]
    fn hop_by_hop_fields_end_here_also_those_that_connection_names() {
        let sent = sent_to_tenant(
            &[
                ("connection", "close, X-Secret"),
                ("connection", "host"),
                ("keep-alive", "timeout=5"),
                ("proxy-authorization", "Basic x"),
                ("te", "trailers"),
                ("transfer-encoding", "chunked"),
                ("upgrade", "h2c"),
                ("x-secret", "1"),
                ("accept", "*/*"),
            ],
            Passage::Message,
        );
        for gone in [
            "connection",
            "keep-alive",
            "proxy-authorization",
            "te",
            "transfer-encoding",
            "upgrade",
            "x-secret",
        ] {
            assert!(!sent.contains_key(gone), "{gone}");
        }
        assert_eq!(sent["accept"], "*/*");
        assert_eq!(sent["host"], "acme.example:8443");
    }

    #[test]
    fn only_the_gateway_says_where_a_request_comes_from() {
        let sent = sent_to_tenant(
            &[
                ("x-forwarded-for", "10.0.0.1"),
                ("x-forwarded-for", "10.0.0.2"),
                ("x-forwarded-proto", "http"),
                ("x-forwarded-host", "other.example"),
                ("x-forwarded-prefix", "/admin"),
                ("forwarded", "for=10.0.0.1"),
                ("x-real-ip", "10.0.0.1"),
                ("x-request-id", "chosen"),
            ],
            Passage::Message,
        );
        let all = |name: &str| sent.get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(all("x-forwarded-for"), ["203.0.113.7"]);
        assert_eq!(all("x-forwarded-proto"), ["https"]);
        assert_eq!(all("x-forwarded-host"), ["acme.example:8443"]);
        assert_eq!(all("x-request-id"), ["id-1"]);
        for gone in ["x-forwarded-prefix", "forwarded", "x-real-ip"] {
            assert!(!sent.contains_key(gone), "{gone}");
        }
    }

    #[test]
    fn cookies_split_by_http_2_are_one_line_again() {
        let sent = sent_to_tenant(&[("cookie", "a=1"), ("cookie", "b=2")], Passage::Message);
        assert_eq!(sent.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    }

    #[test]
    fn only_web_sockets_may_upgrade() {
        let asks =
            |upgrade, connection| wants_web_socket(&map(&[("upgrade", upgrade), ("connection", connection)]));
        assert!(asks("WebSocket", "keep-alive, Upgrade"));
        assert!(!asks("h2c", "upgrade"));
        assert!(!asks("websocket", "keep-alive"));
        assert!(!asks("websocket, h2c", "upgrade"));
        assert!(!wants_web_socket(&map(&[
            ("upgrade", "websocket"),
            ("upgrade", "h2c"),
            ("connection", "upgrade")
        ])));
        let sent = sent_to_tenant(&[("upgrade", "websocket"), ("connection", "upgrade")], Passage::WebSocket);
        assert_eq!(
            (&sent["upgrade"], &sent["connection"]),
            (&"websocket".parse().unwrap(), &"upgrade".parse().unwrap())
        );
    }

    #[test]
    fn an_answer_carries_the_request_id_and_over_tls_the_promise_to_stay_there() {
        let id = HeaderValue::from_static("id-1");
        let mut headers =
            map(&[("transfer-encoding", "chunked"), ("connection", "close"), ("etag", "\"1\"")]);
        to_client(&mut headers, Scheme::Https, &id, Passage::Message);
        assert_eq!(headers.len(), 3);
        assert_eq!(headers["strict-transport-security"], "max-age=31536000");
        let mut headers = map(&[]);
        to_client(&mut headers, Scheme::Http, &id, Passage::Message);
        assert!(!headers.contains_key("strict-transport-security"));
    }
}
