//! An exit bundle on its way to the browser of the one who asked for it, in a process that serves others at the same time.
//!
//! It is made in a task of its own, so that a browser that takes nothing is noticed although nobody asks for more. The task ends
//! with the answer's body: who hangs up ends `pg_dump` and the snapshot. And the body ends well only when the task says so:
//! whatever else becomes of it breaks the answer off.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use futures_util::Stream;
use hyper::body::Bytes;
use tokio::{
    sync::{
        mpsc::{self, Receiver, Sender},
        watch,
    },
    task::AbortHandle,
    time::timeout,
};
use tracing::Instrument as _;

use super::{
    archive::Output,
    bundle::{self, Plan},
};
use crate::{
    backup::{Deadline, Problem, Programs, Step},
    db::{Login, snapshot::Snapshot},
};

/// Between what makes it and the connection.
const PIECES: usize = 2;
/// A snapshot keeps the database from tidying up, so nobody holds one open for longer without reading.
pub const PATIENCE: Duration = Duration::from_mins(2);
/// Enough for some gigabytes on a slow line.
const LONGEST: Duration = Duration::from_hours(6);

/// What the bundles of a server are made with.
#[derive(Clone)]
pub struct Source {
    /// The way into the database, as it is now.
    pub login: watch::Receiver<Login>,
    /// Whose data these are; a server that was not told makes no bundles.
    pub origin: Option<Origin>,
    /// What dumps.
    pub programs: Programs,
    /// With a browser that takes nothing: [`PATIENCE`].
    pub patience: Duration,
}

/// Where a bundle comes from, as is said in it.
#[derive(Clone)]
pub struct Origin {
    /// Name of the Tenant.
    pub tenant: String,
    /// The CRM's image, as others can get it.
    pub image: String,
}

enum Piece {
    Data(Bytes),
    End,
}

/// Begins to make the bundle of a snapshot; this is the answer's body.
pub fn begin(plan: Plan, snapshot: Snapshot, patience: Duration) -> Body {
    let (sender, pieces) = mpsc::channel(PIECES);
    let making = tokio::spawn(make(plan, snapshot, Pipe { sender, patience }).in_current_span());
    Body::from_stream(Download { pieces, making: making.abort_handle(), has_ended: false })
}

async fn make(plan: Plan, snapshot: Snapshot, pipe: Pipe) {
    let making = async {
        let (contents, Pipe { sender, .. }) = bundle::write(&plan, snapshot, pipe).await?;
        sender.send(Piece::End).await.map_err(|_| Problem::OutputUnwritable)?;
        Ok(contents)
    };
    match Deadline::within(LONGEST).hold(Step::Export, making).await {
        Ok(contents) => tracing::info!(?contents, "export.done"),
        Err(problem) => tracing::error!(error = %problem, "export.failed"),
    }
}

struct Pipe {
    sender: Sender<Piece>,
    patience: Duration,
}

impl Output for Pipe {
    async fn take(&mut self, portion: Bytes) -> Result<(), Problem> {
        match timeout(self.patience, self.sender.send(Piece::Data(portion))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Problem::OutputUnwritable),
        }
    }
}

/// What has been made, as it is asked for.
struct Download {
    pieces: Receiver<Piece>,
    making: AbortHandle,
    has_ended: bool,
}

impl Stream for Download {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let next = ready!(self.pieces.poll_recv(cx));
        self.has_ended = !matches!(next, Some(Piece::Data(_)));
        Poll::Ready(match next {
            Some(Piece::Data(portion)) => Some(Ok(portion)),
            Some(Piece::End) => None,
            // Never an end like any other: half a bundle must not look like one.
            None => Some(Err(io::Error::other("the exit bundle was broken off"))),
        })
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if !self.has_ended {
            tracing::info!("export.not_taken");
            self.making.abort();
        }
    }
}
