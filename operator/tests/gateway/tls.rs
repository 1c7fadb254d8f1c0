//! TLS: certificates by SNI, replaced while running; HTTP/2; the way from http to https.

use std::sync::Arc;

use http::Request;
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use operator::gateway::certificates;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{Edge, edge, mirror, route, seen, text, with, within};

/// A certificate for these names, as a Secret and as the DER that a client sees.
fn certificate(names: &[&str]) -> (Secret, CertificateDer<'static>) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let data = [("tls.crt", made.cert.pem()), ("tls.key", made.signing_key.serialize_pem())]
        .map(|(key, pem)| (key.to_owned(), ByteString(pem.into_bytes())));
    (Secret { data: Some(data.into()), ..Secret::default() }, made.cert.der().clone())
}

impl Edge {
    fn install(&self, name: &str, secret: &Secret) {
        self.gateway.set_certificate(name, certificates::parse(secret).unwrap());
    }

    pub(crate) async fn connect(
        &self,
        sni: &str,
        protocol: &str,
        trusted: &[&CertificateDer<'static>],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for certificate in trusted {
            roots.add((*certificate).clone()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let stream = TcpStream::connect(self.https).await?;
        let name = ServerName::try_from(sni.to_owned()).unwrap();
        within("the handshake", TlsConnector::from(Arc::new(config)).connect(name, stream)).await
    }
}

pub(crate) fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn each_host_shows_its_own_certificate_and_a_new_one_without_restart() {
    let edge = edge(&[]).await;
    let acme = mirror("acme").await;
    edge.route(&[
        with(route("crm.acme.example", "acme", acme), "tlsSecret", "acme-tls"),
        with(route("crm.bluesky.example", "bluesky", acme), "tlsSecret", "bluesky-tls"),
        route("acme.crm.localhost", "acme", acme),
    ]);
    let (one, one_der) = certificate(&["crm.acme.example"]);
    let (two, two_der) = certificate(&["crm.bluesky.example"]);
    let (wild, wild_der) = certificate(&["*.crm.localhost"]);
    edge.install("acme-tls", &one);
    edge.install("bluesky-tls", &two);
    edge.install("wildcard-tls", &wild);
    let trusted = [&one_der, &two_der, &wild_der];
    for (sni, expected) in
        [("crm.acme.example", &one_der), ("crm.bluesky.example", &two_der), ("acme.crm.localhost", &wild_der)]
    {
        let stream = edge.connect(sni, "http/1.1", &trusted).await.unwrap();
        assert_eq!(&shown(&stream), expected, "{sni}");
    }
    assert_eq!(edge.metric("certificates ").await, 3);

    let old_connection = edge.connect("crm.acme.example", "h2", &trusted).await.unwrap();
    let (new, new_der) = certificate(&["crm.acme.example"]);
    edge.install("acme-tls", &new);
    let stream = edge.connect("crm.acme.example", "http/1.1", &[&new_der]).await.unwrap();
    assert_eq!(shown(&stream), new_der);
    // A connection that was open before goes on.
    assert_eq!(ask(old_connection, "crm.acme.example", &[]).await.0, 200);
}

#[tokio::test]
async fn a_name_that_nobody_has_gets_no_certificate() {
    let edge = edge(&[]).await;
    let (one, one_der) = certificate(&["crm.acme.example"]);
    edge.route(&[with(route("crm.acme.example", "acme", mirror("acme").await), "tlsSecret", "acme-tls")]);
    edge.install("acme-tls", &one);
    for sni in ["other.example", "acme.crm.localhost", "127.0.0.1"] {
        assert!(edge.connect(sni, "h2", &[&one_der]).await.is_err(), "{sni}");
    }
    assert_eq!(edge.metric("tls_handshake_failures_total").await, 3);
}

/// Sends one request over HTTP/2: status, and the body as text.
pub(crate) async fn ask(
    stream: TlsStream<TcpStream>,
    authority: &str,
    headers: &[(&str, &str)],
) -> (u16, String) {
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let io = TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::get(format!("https://{authority}/api/x"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = within("the answer", sender.send_request(request.body(text("")).unwrap())).await.unwrap();
    let status = response.status().as_u16();
    let body = within("the body", response.into_body().collect()).await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn http_2_over_tls_reaches_a_tenant_that_speaks_http_1() {
    let edge = edge(&[]).await;
    edge.route(&[route("acme.crm.localhost", "acme", mirror("acme").await)]);
    let (wild, der) = certificate(&["*.crm.localhost"]);
    edge.install("wildcard-tls", &wild);
    let stream = edge.connect("acme.crm.localhost", "h2", &[&der]).await.unwrap();
    let (status, body) = ask(stream, "acme.crm.localhost", &[("cookie", "a=1"), ("cookie", "b=2")]).await;
    assert_eq!(status, 200);
    let mirrored = serde_json::from_str(&body).unwrap();
    assert_eq!(seen(&mirrored, "host"), Some("acme.crm.localhost"));
    assert_eq!(seen(&mirrored, "cookie"), Some("a=1; b=2"));
    assert_eq!(seen(&mirrored, "x-forwarded-proto"), Some("https"));
    assert_eq!(mirrored["uri"], "/api/x");
}

#[tokio::test]
async fn one_connection_serves_what_its_certificate_covers_and_nothing_else() {
    let edge = edge(&[]).await;
    let acme = mirror("acme").await;
    edge.route(&[
        route("acme.crm.localhost", "acme", acme),
        route("bluesky.crm.localhost", "bluesky", acme),
        with(route("crm.acme.example", "acme", acme), "tlsSecret", "acme-tls"),
    ]);
    let (wild, wild_der) = certificate(&["*.crm.localhost"]);
    let (own, _) = certificate(&["crm.acme.example"]);
    edge.install("wildcard-tls", &wild);
    edge.install("acme-tls", &own);
    for (authority, headers, expected) in [
        ("bluesky.crm.localhost", &[][..], 200),
        ("nobody.crm.localhost", &[][..], 404),
        ("crm.acme.example", &[][..], 421),
        ("acme.crm.localhost", &[("host", "bluesky.crm.localhost")][..], 400),
    ] {
        let stream = edge.connect("acme.crm.localhost", "h2", &[&wild_der]).await.unwrap();
        let (status, body) = ask(stream, authority, headers).await;
        assert_eq!(status, expected, "{authority}: {body}");
    }
}

#[tokio::test]
async fn plain_http_leads_to_tls_where_there_is_a_certificate() {
    let edge = edge(&[]).await;
    let acme = mirror("acme").await;
    edge.route(&[
        with(route("crm.acme.example", "acme", acme), "tlsSecret", "acme-tls"),
        with(route("not-yet.example", "acme", acme), "tlsSecret", "missing-tls"),
        route("acme.crm.localhost", "acme", acme),
    ]);
    edge.install("acme-tls", &certificate(&["crm.acme.example"]).0);
    let redirect = edge.get("crm.acme.example:8080", "/a?b=c").await;
    assert_eq!(redirect.status, 308);
    assert_eq!(redirect.header("location"), "https://crm.acme.example/a?b=c");
    assert_eq!(edge.get("not-yet.example", "/").await.status, 200);
    assert_eq!(edge.get("acme.crm.localhost", "/").await.status, 200);
    edge.install("wildcard-tls", &certificate(&["*.crm.localhost"]).0);
    assert_eq!(edge.get("acme.crm.localhost", "/").await.status, 308);
    // Who is not there is not told apart by where one is sent.
    assert_eq!(edge.get("nobody.crm.localhost", "/").await.status, 404);
}
