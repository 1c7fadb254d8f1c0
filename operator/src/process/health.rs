//! `/livez`, `/readyz` and `/metrics`.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::net::TcpListener;

/// What the endpoints show.
pub trait Vitals: Send + Sync + 'static {
    /// It can do its part: its caches are complete, or it stands by for the replica that works.
    fn is_ready(&self) -> bool;
    /// In Prometheus' text format.
    fn metrics(&self) -> Result<String, prometheus::Error>;
}

/// Binds the address; told at once when that is not possible.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers for ever.
pub async fn serve(listener: TcpListener, vitals: Arc<impl Vitals>) {
    loop {
        let connection = match listener.accept().await {
            Ok((connection, _)) => TokioIo::new(connection),
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::task::yield_now().await;
                continue;
            }
        };
        let vitals = vitals.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = answer(&request, vitals.as_ref());
                async move { Ok::<_, Infallible>(response) }
            });
            // A client that goes away in the middle is its own matter.
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(connection, service).await;
        });
    }
}

fn answer(request: &Request<Incoming>, vitals: &impl Vitals) -> Response<Full<Bytes>> {
    let text = |status, body: String| {
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, http::HeaderValue::from_static("text/plain; version=0.0.4"));
        response
    };
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
    }
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" if vitals.is_ready() => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "caches are being filled\n".to_owned()),
        "/metrics" => match vitals.metrics() {
            Ok(metrics) => text(StatusCode::OK, metrics),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        _ => text(StatusCode::NOT_FOUND, "livez, readyz, metrics\n".to_owned()),
    }
}
