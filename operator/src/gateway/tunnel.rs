//! WebSockets: after the handshake, bytes both ways until one side ends it or both have been silent for too long.

use std::sync::Arc;

use http::{Method, Version, request::Parts};
use hyper::{
    body::{Body, Incoming},
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio_util::io::InspectReader;

use super::{Gateway, exchange::Exchange, headers};

/// The client's half of a WebSocket to be, if the request is a handshake. Anything else that asks for an upgrade is
/// treated as an ordinary request.
pub(super) fn requested(request: &mut Parts, body: &Incoming) -> Option<OnUpgrade> {
    let is_handshake = request.version == Version::HTTP_11
        && request.method == Method::GET
        && body.is_end_stream()
        && headers::wants_web_socket(&request.headers);
    if is_handshake { request.extensions.remove() } else { None }
}

/// Joins both halves in a task of its own. The exchange lasts as long as the tunnel.
pub(super) fn join(gateway: &Arc<Gateway>, client: OnUpgrade, tenant: OnUpgrade, exchange: Arc<Exchange>) {
    let gateway = Arc::clone(gateway);
    gateway.tasks.clone().spawn(async move {
        let (client, tenant) = match tokio::try_join!(client, tenant) {
            Ok(halves) => halves,
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "upgrade failed");
                return;
            }
        };
        let mut client = InspectReader::new(TokioIo::new(client), |data| exchange.received(len(data)));
        let mut tenant = InspectReader::new(TokioIo::new(tenant), |data| exchange.sent(len(data)));
        tokio::select! {
            // How it ends matters to neither side: a broken connection is the usual way for a phone to leave.
            _ = copy_bidirectional(&mut client, &mut tenant) => exchange.complete(),
            () = exchange.pulse().silent_for(gateway.limits.tunnel_timeout) => {}
            () = gateway.abort.cancelled() => {}
        }
    });
}

fn len(data: &[u8]) -> u64 {
    u64::try_from(data.len()).unwrap_or(u64::MAX)
}
