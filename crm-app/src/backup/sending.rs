//! What goes to the door while it is made, encrypted on the way.

use std::{io, pin::pin};

use futures_util::future::{Either, select};
use hyper::body::Bytes;
use tokio::sync::mpsc::Sender;

use super::{
    Problem, Recipients,
    door::Piece,
    seal::Sealer,
    tally::{Sum, Tally},
};

/// Pieces between what is made and the door.
pub(crate) const PIECES: usize = 4;

/// What is written here leaves encrypted.
pub(crate) struct Sealed {
    sealer: Sealer,
    tally: Tally,
    pieces: Sender<Piece>,
}

impl Sealed {
    pub(crate) fn new(recipients: &Recipients, pieces: Sender<Piece>) -> Result<Self, Problem> {
        let sealer = Sealer::new(recipients).map_err(|error| failed(&error))?;
        Ok(Self { sealer, tally: Tally::default(), pieces })
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let sealed = self.sealer.seal(bytes).map_err(|error| failed(&error))?;
        pass_on(sealed, &mut self.tally, &self.pieces).await
    }

    /// Sends the last part, and the end: without that nothing of it ever looks whole. Says what has left.
    pub(crate) async fn finish(self) -> Result<Sum, Problem> {
        let Self { sealer, mut tally, pieces } = self;
        let sealed = sealer.finish().map_err(|error| failed(&error))?;
        pass_on(sealed, &mut tally, &pieces).await?;
        pieces.send(Piece::End).await.map_err(|_| Problem::DoorUnreachable)?;
        Ok(tally.sum())
    }
}

async fn pass_on(sealed: Vec<u8>, tally: &mut Tally, pieces: &Sender<Piece>) -> Result<(), Problem> {
    if sealed.is_empty() {
        return Ok(());
    }
    tally.update(&sealed);
    pieces.send(Piece::Data(Bytes::from(sealed))).await.map_err(|_| Problem::DoorUnreachable)
}

fn failed(error: &io::Error) -> Problem {
    tracing::error!(%error, "seal.failed");
    Problem::DumpFailed { status: None, sqlstate: None }
}

/// Makes and sends at the same time. When both fail, the one that failed first says why.
pub(crate) async fn sent_while_made<T>(
    sending: impl Future<Output = Result<Sum, Problem>>,
    making: impl Future<Output = Result<T, Problem>>,
) -> Result<(Sum, T), Problem> {
    match select(pin!(sending), pin!(making)).await {
        Either::Left((stored, making)) => Ok((stored?, making.await?)),
        Either::Right((Ok(made), sending)) => Ok((sending.await?, made)),
        // Nobody takes the pieces any more: the door's own words say why, if it had any.
        Either::Right((Err(Problem::DoorUnreachable), sending)) => {
            sending.await?;
            Err(Problem::DoorUnreachable)
        }
        Either::Right((Err(problem), _)) => Err(problem),
    }
}
