//! Large bodies: made of one piece of memory, and hashed on arrival, so that a byte that is lost, doubled or changed shows.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use sha2::{Digest as _, Sha256};

/// One period of the pattern, in bytes. A prime number, so that a piece that is lost or comes twice, whose length is more
/// likely a power of two, shifts what follows.
const PERIOD: usize = 65_537;
/// What a sender hands over at once.
const PIECE: usize = 64 << 10;

/// Two periods, so that a piece may begin at any place of the first one.
static PATTERN: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state: u32 = 1;
    let period: Vec<u8> = (0..PERIOD)
        .map(|_| {
            // A linear congruential generator (Numerical Recipes): cheap, and no two places look alike.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect();
    Bytes::from([period.as_slice(), period.as_slice()].concat())
});

/// A body of this many bytes of the pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    sent: u64,
    length: u64,
}

impl Pattern {
    pub(super) fn new(length: u64) -> Self {
        Self { sent: 0, length }
    }
}

impl Body for Pattern {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let left = self.length - self.sent;
        if left == 0 {
            return Poll::Ready(None);
        }
        let start = place(self.sent);
        let size = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        self.sent += size as u64;
        Poll::Ready(Some(Ok(Frame::data(PATTERN.slice(start..start + size)))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent == self.length
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length - self.sent)
    }
}

/// What a body was, when two bodies need not be kept to be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    bytes: u64,
    sha256: String,
}

impl Summary {
    /// Of a whole body of the pattern.
    pub(super) async fn of_pattern(length: u64) -> Result<Self> {
        Self::of(Pattern::new(length)).await
    }

    /// Of a body on its way in, without keeping it.
    ///
    /// # Errors
    /// When it breaks off.
    pub(super) async fn of<B>(body: B) -> Result<Self>
    where
        B: Body<Data = Bytes>,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let (mut body, mut bytes, mut hash) = (std::pin::pin!(body), 0, Sha256::new());
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.context("the body broke off")?.into_data() else { continue };
            bytes += data.len() as u64;
            hash.update(&data);
        }
        Ok(Self { bytes, sha256: hex::encode(hash.finalize()) })
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} bytes with SHA-256 {}", self.bytes, self.sha256)
    }
}

/// Where in the pattern a body continues that is this long already.
fn place(offset: u64) -> usize {
    usize::try_from(offset % PERIOD as u64).unwrap_or_default()
}
