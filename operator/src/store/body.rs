//! Bodies: never held, and never waited for without end.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use tokio::time::timeout;

use super::{backend, problem::Problem};

/// The body of an answer.
pub(super) type Answer = UnsyncBoxBody<Bytes, backend::Error>;

/// What is still read of a request that was refused, so that its sender gets to read why: a connection that is closed with
/// something unread is reset, and the answer is lost.
const LINGER_BYTES: u64 = 16 << 20;
const LINGER: Duration = Duration::from_secs(5);

/// A body that is there already.
pub(super) fn whole(bytes: Bytes) -> Answer {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// A body that comes piece by piece.
pub(super) fn streamed(pieces: impl Stream<Item = Result<Bytes, backend::Error>> + Send + 'static) -> Answer {
    StreamBody::new(pieces.map_ok(Frame::data)).boxed_unsync()
}

/// What a client sends.
#[derive(Debug)]
pub(super) struct Upload {
    body: Incoming,
    max_silence: Duration,
}

impl Upload {
    pub(super) fn new(body: Incoming, max_silence: Duration) -> Self {
        Self { body, max_silence }
    }

    /// The next piece. It ends only where the client says that it ends: a connection that breaks is an error.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let frame = match timeout(self.max_silence, self.body.frame()).await {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Err(broken_off(&error)),
                Err(_) => return Err(silent(self.max_silence)),
            };
            // Trailers say nothing that we want to know.
            if let Ok(piece) = frame.into_data() {
                return Ok(Some(piece));
            }
        }
    }

    /// All of it, which must not be more than `max` bytes.
    pub(super) async fn collect(&mut self, max: usize) -> Result<Bytes, Problem> {
        let mut all = Vec::new();
        while let Some(piece) = self.next().await? {
            if max < all.len() + piece.len() {
                return Err(Problem::too_large(format!("a manifest has at most {max} bytes")));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.into())
    }

    /// Reads on for a moment.
    pub(super) async fn linger(mut self) {
        let reading = async {
            let mut left = LINGER_BYTES;
            while let Ok(Some(piece)) = self.next().await {
                match left.checked_sub(piece.len() as u64) {
                    Some(now) => left = now,
                    None => return,
                }
            }
        };
        // Whoever goes on sending after that is not reading.
        let _ = timeout(LINGER, reading).await;
    }
}

fn broken_off(error: &hyper::Error) -> Problem {
    let message = format!("the body ended early, so nothing of it is kept: {error}");
    Problem::new(http::StatusCode::BAD_REQUEST, "BrokenOff", message)
}

fn silent(limit: Duration) -> Problem {
    let message = format!("nothing came for {} s, so nothing of the body is kept", limit.as_secs());
    Problem::new(http::StatusCode::REQUEST_TIMEOUT, "SilentClient", message)
}
