//! Following the route table and certificates, against an API server of the test that lists and watches by name.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use operator::gateway::watch;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio_util::task::AbortOnDropHandle;

use crate::support::{Edge, TestBody, boxed, edge, eventually, mirror, route, tenant, text, with};

/// An API server that knows ConfigMaps and Secrets of one namespace.
#[derive(Clone)]
pub(crate) struct Api(Arc<Mutex<State>>);

struct State {
    version: u64,
    objects: BTreeMap<(String, String), Value>,
    is_forbidden: bool,
    /// Dropped and made anew to end all watches.
    events: broadcast::Sender<(String, Value)>,
}

impl Api {
    pub(crate) fn new() -> Self {
        let state = State {
            version: 1,
            objects: BTreeMap::new(),
            is_forbidden: false,
            events: broadcast::channel(64).0,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    pub(crate) fn put(&self, kind: &str, name: &str, data: &Value) {
        let mut state = self.0.lock().unwrap();
        state.version += 1;
        let metadata = json!({"name": name, "namespace": "tenantry-gateway", "resourceVersion": state.version.to_string()});
        let object = json!({"metadata": metadata, "data": data});
        let key = (kind.to_owned(), name.to_owned());
        let verb = if state.objects.insert(key, object.clone()).is_some() { "MODIFIED" } else { "ADDED" };
        let _ = state.events.send((kind.to_owned(), json!({"type": verb, "object": object})));
    }

    pub(crate) fn delete(&self, kind: &str, name: &str) {
        let mut state = self.0.lock().unwrap();
        state.version += 1;
        let mut object = state.objects.remove(&(kind.to_owned(), name.to_owned())).unwrap();
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        let _ = state.events.send((kind.to_owned(), json!({"type": "DELETED", "object": object})));
    }

    /// From now on, or no longer, everything is refused. Open watches end.
    fn forbid(&self, is_forbidden: bool) {
        let mut state = self.0.lock().unwrap();
        state.is_forbidden = is_forbidden;
        state.events = broadcast::channel(64).0;
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<TestBody> {
        let state = self.0.lock().unwrap();
        let kind = match request.uri().path() {
            "/api/v1/namespaces/tenantry-gateway/configmaps" => "ConfigMap",
            "/api/v1/namespaces/tenantry-gateway/secrets" => "Secret",
            other => panic!("the gateway has no business at {other}"),
        };
        let query = request.uri().query().unwrap_or_default().replace("%3D", "=");
        let fields = query.split('&').find_map(|pair| pair.strip_prefix("fieldSelector="));
        let name = fields.and_then(|fields| fields.strip_prefix("metadata.name="));
        let name = name.expect("everything is asked for by name").to_owned();
        if state.is_forbidden {
            let status = json!({"kind": "Status", "status": "Failure", "message": "forbidden", "reason": "Forbidden",
                                "code": 403});
            return Response::builder().status(403).body(text(status.to_string())).unwrap();
        }
        if query.contains("watch=true") {
            let events = tokio_stream(state.events.subscribe()).filter_map(move |(of, event)| {
                let is_wanted = of == kind && event["object"]["metadata"]["name"] == name;
                let line = Bytes::from(format!("{event}\n"));
                std::future::ready(is_wanted.then(|| Ok::<_, Infallible>(Frame::data(line))))
            });
            return Response::new(boxed(StreamBody::new(events)));
        }
        let items: Vec<_> = state.objects.get(&(kind.to_owned(), name)).into_iter().collect();
        let list = json!({"kind": format!("{kind}List"), "apiVersion": "v1", "items": items,
                          "metadata": {"resourceVersion": state.version.to_string()}});
        Response::new(text(list.to_string()))
    }
}

impl Api {
    /// Answers over HTTP, for a gateway in a process of its own.
    pub(crate) async fn listen(&self) -> SocketAddr {
        let api = self.clone();
        tenant(move |request| std::future::ready(api.answer(&request))).await
    }
}

fn tokio_stream<T: Clone + Send + 'static>(
    receiver: broadcast::Receiver<T>,
) -> impl futures::Stream<Item = T> + Send {
    futures::stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await.ok()?, receiver)))
}

/// A gateway that follows an API server.
pub(crate) async fn followed() -> (Edge, Api, AbortOnDropHandle<()>) {
    let edge = edge(&[]).await;
    let api = Api::new();
    let answering = api.clone();
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let response = answering.answer(&request);
        std::future::ready(Ok::<_, Infallible>(response.map(BodyExt::boxed_unsync)))
    });
    let client = kube::Client::new(service, "tenantry-gateway");
    let gateway = Arc::clone(&edge.gateway);
    let following =
        tokio::spawn(async move { watch::follow(client, "tenantry-gateway", "routes", gateway).await });
    (edge, api, AbortOnDropHandle::new(following))
}

/// The data of a ConfigMap with these routes.
pub(crate) fn table(routes: &[Value]) -> Value {
    json!({"routes.json": json!({"version": 1, "routes": routes}).to_string()})
}

fn certificate(host: &str) -> Value {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    json!({"tls.crt": BASE64_STANDARD.encode(made.cert.pem()),
           "tls.key": BASE64_STANDARD.encode(made.signing_key.serialize_pem())})
}

async fn answers(edge: &Edge, host: &str, status: u16) {
    eventually(&format!("{host} to answer {status}"), async || edge.get(host, "/").await.status == status)
        .await;
}

#[tokio::test]
async fn the_route_table_is_followed() {
    let (edge, api, _following) = followed().await;
    let acme = mirror("acme").await;
    eventually("the missing table to be noticed", async || {
        1 <= edge.metric("route_table_errors_total{reason=\"absent\"}").await
    })
    .await;
    assert_eq!(edge.manage("/readyz").await.status, 503);
    api.put("ConfigMap", "routes", &table(&[route("acme.example", "acme", acme)]));
    answers(&edge, "acme.example", 200).await;
    assert_eq!(edge.manage("/readyz").await.status, 200);
    assert_eq!(edge.metric("route_table_stale").await, 0);
    api.put("ConfigMap", "routes", &table(&[route("new.example", "acme", acme)]));
    answers(&edge, "new.example", 200).await;
    assert_eq!(edge.get("acme.example", "/").await.status, 404);
}

#[tokio::test]
async fn a_table_that_is_gone_broken_or_unreadable_leaves_the_last_one_in_use() {
    let (edge, api, _following) = followed().await;
    let good = table(&[route("acme.example", "acme", mirror("acme").await)]);
    let stale = async |expected| {
        eventually("staleness to change", async || edge.metric("route_table_stale").await == expected).await;
        assert_eq!(edge.get("acme.example", "/").await.status, 200);
        assert_eq!(edge.manage("/readyz").await.status, 200);
    };
    api.put("ConfigMap", "routes", &good);
    answers(&edge, "acme.example", 200).await;

    api.delete("ConfigMap", "routes");
    stale(1).await;
    api.put("ConfigMap", "routes", &good);
    stale(0).await;
    api.put("ConfigMap", "routes", &json!({"routes.json": "{"}));
    stale(1).await;
    api.put("ConfigMap", "routes", &good);
    stale(0).await;
    api.forbid(true);
    stale(1).await;
    api.forbid(false);
    stale(0).await;
    assert!(1 <= edge.metric("route_table_errors_total{reason=\"unreadable\"}").await);
}

#[tokio::test]
async fn certificates_are_followed_by_name_and_a_bad_one_changes_nothing() {
    let (edge, api, _following) = followed().await;
    let acme = mirror("acme").await;
    let host = |name: &str| with(route(name, "acme", acme), "tlsSecret", format!("{name}-tls"));
    let certificates = async |expected: u64| {
        eventually("the number of certificates", async || edge.metric("certificates ").await == expected)
            .await;
    };
    api.put("Secret", "a.example-tls", &certificate("a.example"));
    api.put("Secret", "of-no-concern", &certificate("c.example"));
    api.put("ConfigMap", "routes", &table(&[host("a.example"), host("b.example")]));
    certificates(1).await;
    assert_eq!(edge.get("a.example", "/").await.status, 308);
    assert_eq!(edge.get("b.example", "/").await.status, 200);
    api.put("Secret", "b.example-tls", &certificate("b.example"));
    certificates(2).await;
    api.put("Secret", "wildcard-tls", &certificate("*.crm.localhost"));
    certificates(3).await;

    api.put("Secret", "a.example-tls", &json!({"tls.crt": "bm8=", "tls.key": "bm8="}));
    eventually("the bad certificate to be noticed", async || {
        edge.metric("certificate_errors_total{reason=\"invalid\"}").await == 1
    })
    .await;
    api.delete("Secret", "b.example-tls");
    eventually("the missing certificate to be noticed", async || {
        2 <= edge.metric("certificate_errors_total{reason=\"absent\"}").await
    })
    .await;
    assert_eq!(edge.metric("certificates ").await, 3);
    assert_eq!(edge.get("a.example", "/").await.status, 308);
    assert_eq!(edge.get("b.example", "/").await.status, 308);

    // A route that is gone takes its certificate along.
    api.put("ConfigMap", "routes", &table(&[host("a.example")]));
    certificates(2).await;
}
