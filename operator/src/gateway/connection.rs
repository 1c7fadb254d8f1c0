//! Client connections: accepting them, serving them, and ending those that take without giving.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use prometheus::IntGauge;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::OwnedSemaphorePermit,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    Gateway,
    activity::{Activity, Overdue},
    headers::Scheme,
    host::Host,
    limits::Limits,
    proxy,
};

/// Requests that one HTTP/2 connection may have open at once.
const MAX_STREAMS: u32 = 128;
/// What hyper may hold of one answer for a client that reads slowly.
const SEND_BUFFER_BYTES: usize = 128 << 10;
/// A dead HTTP/2 peer is noticed after twice this time.
const PING: Duration = Duration::from_secs(20);
/// What a client gets to take the last bytes once its connection is told to end.
const FAREWELL: Duration = Duration::from_secs(5);
/// When accepting fails, it is for want of file descriptors or memory, which need a moment to come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One client connection, as the requests on it see it.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) peer: SocketAddr,
    pub(super) scheme: Scheme,
    /// The Secret whose certificate was shown.
    pub(super) certificate: Option<String>,
    pub(super) activity: Activity,
    _place: Place,
}

/// A place among the connections that are open at once. A WebSocket keeps it after HTTP is over.
#[derive(Debug)]
struct Place {
    open: IntGauge,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn new(open: IntGauge, permit: OwnedSemaphorePermit) -> Self {
        open.inc();
        Self { open, _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// Takes connections until the gateway stops.
pub(super) async fn accept(gateway: Arc<Gateway>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    let scheme = if tls.is_some() { Scheme::Https } else { Scheme::Http };
    let open = gateway.metrics.connections.with_label_values(&[scheme.as_str()]);
    let serving = async {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    // Without a place for this one, the next ones stay in the kernel's queue.
                    let Ok(permit) = Arc::clone(&gateway.places).acquire_owned().await else { return };
                    let place = Place::new(open.clone(), permit);
                    let connection = serve(Arc::clone(&gateway), stream, peer, tls.clone(), place);
                    let abort = gateway.abort.clone();
                    gateway.tasks.spawn(async move { abort.run_until_cancelled(connection).await });
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = serving => {}
        () = gateway.close.cancelled() => {}
    }
}

async fn serve(
    gateway: Arc<Gateway>,
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    place: Place,
) {
    // Small answers must not wait for more; failing to say so costs time only.
    let _ = stream.set_nodelay(true);
    let activity = Activity::new();
    let Some(acceptor) = tls else {
        let client = Client { peer, scheme: Scheme::Http, certificate: None, activity, _place: place };
        return drive(&gateway, stream, Arc::new(client)).await;
    };
    match timeout(gateway.limits.header_timeout, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let sni = stream.get_ref().1.server_name().and_then(|name| Host::from_wire(name).ok());
            let certificate = sni.and_then(|host| gateway.certificate_for(&host)).map(|(secret, _)| secret);
            let client = Client { peer, scheme: Scheme::Https, certificate, activity, _place: place };
            drive(&gateway, stream, Arc::new(client)).await;
        }
        Ok(Err(error)) => {
            gateway.metrics.tls_handshake_failures.inc();
            tracing::debug!(error = &error as &dyn std::error::Error, "TLS handshake failed");
        }
        Err(_) => cut(&gateway, Overdue::SlowHead),
    }
}

/// Serves HTTP until the client leaves, the gateway closes, or the connection is overdue.
async fn drive<S>(gateway: &Arc<Gateway>, stream: S, client: Arc<Client>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = {
        let (gateway, client) = (Arc::clone(gateway), Arc::clone(&client));
        service_fn(move |request| proxy::handle(Arc::clone(&gateway), Arc::clone(&client), request))
    };
    let server = server(&gateway.limits);
    let mut connection = std::pin::pin!(server.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let overdue = tokio::select! {
        result = connection.as_mut() => return finished(result),
        overdue = client.activity.overdue(&gateway.limits) => Some(overdue),
        () = gateway.close.cancelled() => None,
    };
    // Slow heads have nothing in the making; who does not read, or does not wait for answers, gets no farewell.
    if let Some(overdue @ (Overdue::SlowHead | Overdue::Stalled | Overdue::Restless)) = overdue {
        return cut(gateway, overdue);
    }
    connection.as_mut().graceful_shutdown();
    loop {
        tokio::select! {
            result = connection.as_mut() => return finished(result),
            () = sleep(FAREWELL) => {}
        }
        // A request that came in the last moment, or was open when the gateway closed, is finished first.
        if let Some(overdue) = client.activity.overdue_now(&gateway.limits) {
            return cut(gateway, overdue);
        }
    }
}

fn server(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        // Counts idle time as well; `Activity` tells the two apart, and covers HTTP/2 too.
        .header_read_timeout(None)
        .max_buf_size(limits.max_header_bytes as usize);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(limits.max_header_bytes)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    server
}

fn cut(gateway: &Gateway, overdue: Overdue) {
    let reason = match overdue {
        Overdue::SlowHead => "slow_head",
        Overdue::Idle => "idle",
        Overdue::Stalled => "stalled",
        Overdue::Restless => "restless",
    };
    gateway.metrics.connections_cut.with_label_values(&[reason]).inc();
}

/// Clients break connections all the time; it is worth a line only to somebody who looks for it.
fn finished(result: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = result {
        tracing::debug!(%error, "client connection ended");
    }
}
