//! Bodies on their way through: never held, always watched.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::exchange::{Exchange, Outcome};

/// A body on its way to a tenant.
pub(super) type TenantBody = UnsyncBoxBody<Bytes, BodyError>;
/// A body on its way to a client.
pub(super) type ClientBody = UnsyncBoxBody<Bytes, BodyError>;

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body is larger than allowed")]
    TooLarge,
    #[error("the sender has been silent for too long")]
    Silent,
    #[error("the sender broke off")]
    BrokenOff(#[source] hyper::Error),
}

/// A request body: limited in size, and its sender in silence.
#[derive(Debug)]
pub(super) struct RequestBody {
    inner: Incoming,
    left_bytes: u64,
    silence: Silence,
    exchange: Arc<Exchange>,
}

impl RequestBody {
    pub(super) fn new(
        inner: Incoming,
        max_bytes: u64,
        max_silence: Duration,
        exchange: Arc<Exchange>,
    ) -> Self {
        Self { inner, left_bytes: max_bytes, silence: Silence::new(max_silence), exchange }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let Some(frame) = ready!(this.silence.poll_frame(&mut this.inner, cx)?) else {
            return Poll::Ready(None);
        };
        let bytes = data_len(&frame);
        this.exchange.received(bytes);
        match this.left_bytes.checked_sub(bytes) {
            Some(left) => this.left_bytes = left,
            None => return Poll::Ready(Some(Err(BodyError::TooLarge))),
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An answer's body: its sender is limited in silence. The exchange is over when it is dropped.
#[derive(Debug)]
pub(super) struct ResponseBody {
    inner: Incoming,
    silence: Silence,
    status: http::StatusCode,
    exchange: Arc<Exchange>,
}

impl ResponseBody {
    pub(super) fn new(
        inner: Incoming,
        max_silence: Duration,
        status: http::StatusCode,
        exchange: Arc<Exchange>,
    ) -> Self {
        Self { inner, silence: Silence::new(max_silence), status, exchange }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = ready!(this.silence.poll_frame(&mut this.inner, cx));
        match &frame {
            Ok(Some(frame)) => this.exchange.sent(data_len(frame)),
            Ok(None) => this.exchange.complete(),
            Err(_) => this.exchange.record(Outcome::BrokenOff(this.status)),
        }
        Poll::Ready(frame.transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        // A body of known length is not asked again after its last byte.
        if self.inner.is_end_stream() {
            self.exchange.complete();
        }
    }
}

/// Measures how long a sender is silent while somebody waits for it. Time in which nobody asks does not count.
#[derive(Debug)]
struct Silence {
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    is_waiting: bool,
}

impl Silence {
    fn new(limit: Duration) -> Self {
        Self { limit, timer: Box::pin(sleep(limit)), is_waiting: false }
    }

    fn poll_frame(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, BodyError>> {
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            self.is_waiting = false;
            return Poll::Ready(frame.transpose().map_err(BodyError::BrokenOff));
        }
        if !self.is_waiting {
            self.is_waiting = true;
            self.timer.as_mut().reset(Instant::now() + self.limit);
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(Err(BodyError::Silent))
    }
}

fn data_len(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| u64::try_from(data.remaining()).unwrap_or(u64::MAX))
}
