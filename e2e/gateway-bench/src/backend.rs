//! What the benchmark measures against: a tenant that is nothing but HTTP, on threads of its own.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, runtime, sync::oneshot};

use super::pattern::{Pattern, Summary};

type Answer = Response<Either<Full<Bytes>, Pattern>>;

/// Length of the answer to a small request: about a page of companies in JSON, compressed.
const SMALL: [u8; 2048] = [b'x'; 2048];

/// A running backend; it ends when dropped.
pub(super) struct Backend {
    pub(super) address: SocketAddr,
    _stop: oneshot::Sender<Infallible>,
}

/// A piece of computing that takes a known time on this machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    /// How much is hashed, in answers' lengths.
    blocks: u32,
}

impl Backend {
    /// Starts a backend that does `work` for each small request below `/work`.
    pub(super) async fn start(work: Work) -> Result<Self> {
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let (tell, told) = oneshot::channel();
        let serve = move || -> Result<()> {
            let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(async {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                // If nobody listens any more, the channel to stop is closed as well.
                let _ = tell.send(listener.local_addr()?);
                tokio::select! {
                    () = accept(listener, work) => {}
                    _ = stopped => {}
                }
                Ok(())
            })
        };
        std::thread::Builder::new().name("backend".to_owned()).spawn(serve)?;
        let address = told.await.context("the backend did not start")?;
        Ok(Self { address, _stop: stop })
    }
}

impl Work {
    /// Finds out how much computing takes this long. The best of several attempts counts: others may be busy.
    pub(super) fn lasting(time: Duration) -> Self {
        const PROBE: Work = Work { blocks: 32 };
        let attempts = (0..50).map(|_| {
            let begun = Instant::now();
            PROBE.compute();
            begun.elapsed()
        });
        let per_block = attempts.min().unwrap_or_default() / PROBE.blocks;
        let blocks = time.as_nanos() / per_block.as_nanos().max(1);
        Self { blocks: u32::try_from(blocks).unwrap_or(u32::MAX) }
    }

    fn compute(self) {
        let mut hash = Sha256::new();
        for _ in 0..self.blocks {
            hash.update(SMALL);
        }
        std::hint::black_box(hash.finalize());
    }
}

async fn accept(listener: TcpListener, work: Work) {
    while let Ok((stream, _)) = listener.accept().await {
        // As servers do; without it, answers in two parts would wait for the kernel.
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, work));
            // Clients come and go.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// `GET /` and `GET /work`: something small. `GET /BYTES`: that many bytes. `PUT /`: what came.
async fn answer(request: Request<Incoming>, work: Work) -> Result<Answer, Infallible> {
    if request.method() == Method::PUT {
        return Ok(match Summary::of(request.into_body()).await {
            Ok(summary) => small(StatusCode::OK, summary.to_string()),
            Err(error) => small(StatusCode::UNPROCESSABLE_ENTITY, format!("{error:#}")),
        });
    }
    let path = request.uri().path().trim_start_matches('/').to_owned();
    // A body that nobody reads would end the connection.
    let _ = request.into_body().collect().await;
    Ok(match (path.as_str(), path.parse()) {
        (_, Ok(bytes)) => Response::new(Either::Right(Pattern::new(bytes))),
        ("work", _) => {
            work.compute();
            small(StatusCode::OK, Bytes::from_static(&SMALL))
        }
        _ => small(StatusCode::OK, Bytes::from_static(&SMALL)),
    })
}

fn small(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Either::Left(Full::new(text.into())));
    *response.status_mut() = status;
    response
}
