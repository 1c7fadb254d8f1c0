//! Fetches a backup and restores it into an empty database.
//!
//! `pg_restore` works while the object is still on its way, so it sees data before the checksum of the whole is known.
//! What is restored counts only when this has said that all was well; a database of which it has not is to be dropped.

use std::{
    io::{self, ErrorKind},
    process::Stdio,
};

use age::DecryptError;
use futures_util::{AsyncBufRead, AsyncReadExt as _, StreamExt as _, TryStreamExt as _};
use http_body_util::BodyExt as _;
use tokio::{
    io::AsyncWriteExt as _,
    process::{ChildStdin, Command},
};

use super::{
    Deadline, Door, Identities, Problem, Programs,
    manifest::Manifest,
    program::{Failed, Running},
    tally::{Sum, Tally},
};
use crate::db::{Login, schema};

const PORTION: usize = 64 * 1024;

/// Restores the backup that the manifest describes into an empty database, as the role that will own what is in it.
pub async fn restore(
    door: &Door,
    manifest: &Manifest,
    identities: &Identities,
    database: &Login,
    programs: &Programs,
    deadline: Deadline,
) -> Result<(), Problem> {
    let known = schema::needed();
    if known < manifest.schema_version {
        return Err(Problem::SchemaTooNew { schema_version: manifest.schema_version, known });
    }
    let (body, line) = door.data(&manifest.id, deadline).await?;
    let mut command = Command::new(&programs.restore);
    command.args(["--exit-on-error"]);
    let mut running = Running::start("pg_restore", command, database, Stdio::piped(), Stdio::null())?;
    let stdin = running.child.stdin.take();

    let mut stored = Tally::default();
    let mut hung_up = false;
    let mut pieces = body.into_data_stream().map(|piece| {
        let piece = piece.map_err(|error| {
            tracing::warn!(%error, "door.hung_up");
            hung_up = true;
            io::Error::other(error)
        })?;
        stored.update(&piece);
        // Whatever else it is, it is not what is looked for; and it may have no end.
        if manifest.data.size < stored.size() { Err(ErrorKind::InvalidData.into()) } else { Ok(piece) }
    });
    let opened = open((&mut pieces).into_async_read(), identities, stdin).await;
    // What broke off in the middle is read to its end all the same: only the checksum of the whole tells damage from
    // a wrong key.
    while let Some(Ok(_)) = pieces.next().await {}
    drop(pieces);
    drop(line);

    if hung_up {
        return Err(Problem::DoorUnreachable);
    }
    whole(&stored.sum(), manifest)?;
    if opened? != manifest.dump {
        return Err(Problem::ChecksumMismatch { of: "dump" });
    }
    running.end().await.map_err(|Failed { status, sqlstate }| Problem::RestoreFailed { status, sqlstate })
}

/// Decrypts into the program and says what went in.
async fn open<R: AsyncBufRead + Unpin>(
    sealed: R,
    identities: &Identities,
    mut stdin: Option<ChildStdin>,
) -> Result<Sum, Problem> {
    let mut plain = identities.open(sealed).await.map_err(|error| match error {
        DecryptError::NoMatchingKeys => Problem::WrongKey,
        _ => Problem::Undecryptable,
    })?;
    let mut tally = Tally::default();
    let mut portion = vec![0; PORTION];
    loop {
        let read = plain.read(&mut portion).await.map_err(|_| Problem::Undecryptable)?;
        if read == 0 {
            return Ok(tally.sum());
        }
        tally.update(&portion[..read]);
        // A program that does not listen any more says why by its status.
        if let Some(open) = &mut stdin
            && open.write_all(&portion[..read]).await.is_err()
        {
            stdin = None;
        }
    }
}

/// Whether the object is the one that was stored.
fn whole(stored: &Sum, manifest: &Manifest) -> Result<(), Problem> {
    if stored.size < manifest.data.size {
        return Err(Problem::Truncated { size: stored.size, expected: manifest.data.size });
    }
    if *stored == manifest.data { Ok(()) } else { Err(Problem::ChecksumMismatch { of: "data" }) }
}
