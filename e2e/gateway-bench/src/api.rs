//! As much of a Kubernetes API as a gateway asks for: one ConfigMap with routes, no Secrets, and watches that never tell of
//! anything. A whole API server would take its part of the two cores that are measured.

use std::{convert::Infallible, fs, net::Ipv4Addr, path::Path};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle};

/// A running stand-in; it takes no new connections once dropped.
pub(super) struct Api(AbortHandle);

impl Api {
    /// Serves this route table on a free port of loopback, and writes a kubeconfig that leads there.
    pub(super) async fn start(routes: &Value, kubeconfig: &Path) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{"name": "bench", "cluster": {"server": format!("http://{}", listener.local_addr()?)}}],
            "users": [{"name": "bench", "user": {}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        });
        // JSON is YAML.
        fs::write(kubeconfig, config.to_string()).context("cannot write the gateway's kubeconfig")?;
        let table = json!({
            "metadata": {"name": "routes", "namespace": "tenantry-gateway", "resourceVersion": "1"},
            "data": {"routes.json": routes.to_string()},
        });
        Ok(Self(tokio::spawn(serve(listener, table)).abort_handle()))
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn serve(listener: TcpListener, table: Value) {
    while let Ok((stream, _)) = listener.accept().await {
        let table = table.clone();
        tokio::spawn(async move {
            let service =
                service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&request, &table))));
            // That the gateway hangs up is its end, not ours.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn answer(request: &Request<Incoming>, table: &Value) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let query = request.uri().query().unwrap_or_default();
    if query.contains("watch=true") {
        let silence = futures::stream::pending::<Result<Frame<Bytes>, Infallible>>();
        return Response::new(StreamBody::new(silence).boxed_unsync());
    }
    let (kind, items) = if request.uri().path().ends_with("/configmaps") {
        ("ConfigMapList", vec![table])
    } else {
        ("SecretList", Vec::new())
    };
    let list =
        json!({"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items});
    Response::new(Full::new(Bytes::from(list.to_string())).boxed_unsync())
}
