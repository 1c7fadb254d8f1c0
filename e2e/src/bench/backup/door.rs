//! A stand-in for the backup door: it counts and hashes what it is sent, answers as the door does, and keeps nothing.

use std::{
    convert::Infallible,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Result;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, task::JoinSet};

/// It closes with this value.
pub(super) struct StandIn {
    port: u16,
    data_size: Arc<AtomicU64>,
    _server: JoinSet<()>,
}

impl StandIn {
    /// Listens on a port of its own.
    pub(super) async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let data_size = Arc::new(AtomicU64::default());
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::clone(&data_size)));
        Ok(Self { port, data_size, _server: server })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// How large the data object is.
    pub(super) fn data_size(&self) -> u64 {
        self.data_size.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, data_size: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let data_size = Arc::clone(&data_size);
        connections.spawn(async move {
            let service = service_fn(move |request| take(request, Arc::clone(&data_size)));
            // Who hangs up has its reasons, and says them.
            _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn take(
    request: Request<Incoming>,
    data_size: Arc<AtomicU64>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_data = request.uri().path().ends_with("/data");
    let (mut body, mut size, mut hash) = (request.into_body(), 0, Sha256::new());
    while let Some(frame) = body.frame().await {
        let Some(bytes) = frame.ok().and_then(|frame| frame.into_data().ok()) else { break };
        size += bytes.len() as u64;
        hash.update(&bytes);
    }
    if is_data {
        data_size.store(size, Ordering::Relaxed);
    }
    let sha256 = hex::encode(hash.finalize());
    let mut answer = Response::new(Full::from(json!({"size": size, "sha256": sha256}).to_string()));
    *answer.status_mut() = StatusCode::CREATED;
    Ok(answer)
}
