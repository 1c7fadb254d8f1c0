//! A certificate that is replaced while it is in use, through the Kubernetes API as in a cluster.

use std::convert::Infallible;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::channel::mpsc;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::{body::Frame, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use crate::{
    kubernetes::{Api, followed, table},
    support::{Edge, boxed, eventually, route, tenant, text, with, within},
    tls::{ask, shown},
};

const HOST: &str = "crm.acme.example";

/// A certificate of our host: its PEM, its key's, and what a client sees of it.
struct Made {
    certificate: String,
    key: String,
    der: CertificateDer<'static>,
}

impl Made {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
        Self {
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            der: made.cert.der().clone(),
        }
    }

    fn data(&self) -> Value {
        data(&self.certificate, &self.key)
    }
}

fn data(certificate: &str, key: &str) -> Value {
    json!({"tls.crt": BASE64_STANDARD.encode(certificate), "tls.key": BASE64_STANDARD.encode(key)})
}

/// Waits until new connections are shown this certificate.
async fn shows(edge: &Edge, expected: &Made, trusted: &[&CertificateDer<'static>]) {
    eventually("new connections to see the certificate", async || {
        // Before the first one is there, the handshake fails.
        edge.connect(HOST, "http/1.1", trusted).await.is_ok_and(|stream| shown(&stream) == expected.der)
    })
    .await;
}

/// A gateway whose one tenant streams, over TLS, what the test sends into the channel.
async fn serving(first: &Made) -> (Edge, Api, impl Sized, mpsc::UnboundedSender<&'static str>) {
    let (edge, api, following) = followed().await;
    let (pieces, body) = mpsc::unbounded::<&'static str>();
    let body = std::sync::Mutex::new(Some(body));
    let body = std::sync::Arc::new(body);
    let acme = tenant(move |request| {
        let streamed = (request.uri().path() == "/stream").then(|| body.lock().unwrap().take()).flatten();
        std::future::ready(Response::new(match streamed {
            Some(body) => {
                use futures::StreamExt;
                boxed(StreamBody::new(body.map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from(piece))))))
            }
            None => text("ok"),
        }))
    })
    .await;
    api.put("Secret", "acme-tls", &first.data());
    api.put("ConfigMap", "routes", &table(&[with(route(HOST, "acme", acme), "tlsSecret", "acme-tls")]));
    (edge, api, following, pieces)
}

#[tokio::test]
async fn what_is_under_way_goes_on_with_the_old_certificate_and_new_connections_get_the_new_one() {
    let [one, two] = [Made::new(), Made::new()];
    let (edge, api, _following, pieces) = serving(&one).await;
    let trusted = [&one.der, &two.der];
    shows(&edge, &one, &trusted).await;

    let over_h2 = edge.connect(HOST, "h2", &trusted).await.unwrap();
    let stream = edge.connect(HOST, "http/1.1", &trusted).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let get = |path: &str| Request::get(path).header("host", HOST).body(text("")).unwrap();
    let mut body = within("the head", sender.send_request(get("/stream"))).await.unwrap().into_body();
    pieces.unbounded_send("first").unwrap();
    let first = within("the first piece", body.frame()).await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "first");

    api.put("Secret", "acme-tls", &two.data());
    shows(&edge, &two, &trusted).await;
    pieces.unbounded_send("second").unwrap();
    drop(pieces);
    assert_eq!(within("the rest", body.collect()).await.unwrap().to_bytes(), "second");
    within("the connection", sender.ready()).await.unwrap();
    let next = within("another answer", sender.send_request(get("/"))).await.unwrap();
    assert_eq!(next.status(), 200);
    assert_eq!(ask(over_h2, HOST, &[]).await.0, 200);
}

#[tokio::test]
async fn a_bad_certificate_leaves_the_last_good_one_in_use_until_a_good_one_comes() {
    let [one, two] = [Made::new(), Made::new()];
    let (edge, api, _following, _) = serving(&one).await;
    let trusted = [&one.der, &two.der];
    shows(&edge, &one, &trusted).await;
    let bad = [
        ("no PEM", data("nonsense", "nonsense")),
        ("another certificate's key", data(&two.certificate, &one.key)),
        ("no certificate", data("", &one.key)),
        ("cut off", data(&two.certificate[..two.certificate.len() / 2], &two.key)),
        ("no key", json!({"tls.crt": BASE64_STANDARD.encode(&two.certificate)})),
    ];
    for (count, (what, data)) in (1..).zip(&bad) {
        api.put("Secret", "acme-tls", data);
        eventually(what, async || edge.metric("certificate_errors_total{reason=\"invalid\"}").await == count)
            .await;
        let stream = edge.connect(HOST, "http/1.1", &trusted).await.unwrap();
        assert!(shown(&stream) == one.der, "{what}");
    }
    api.delete("Secret", "acme-tls");
    eventually("the deletion to be noticed", async || {
        1 <= edge.metric("certificate_errors_total{reason=\"absent\"}").await
    })
    .await;
    let stream = edge.connect(HOST, "http/1.1", &trusted).await.unwrap();
    assert!(shown(&stream) == one.der, "deleted");
    api.put("Secret", "acme-tls", &two.data());
    shows(&edge, &two, &trusted).await;
}
