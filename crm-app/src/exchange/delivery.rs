//! An exit bundle on its way to the backup door: encrypted while it is made, to keys of those who are to have it. The tenant's own
//! backup key does not open it.

use hyper::body::Bytes;
use tokio::sync::mpsc;

use super::{
    archive::Output,
    bundle::{self, Plan},
};
use crate::backup::{
    self, BackupId, Deadline, Door, Outcome, Problem, Recipients, Sealed, Step, sent_while_made,
};

/// Delivers the bundle. An object appears at the door when all of it has arrived, and never before.
pub async fn deliver(
    plan: &Plan,
    door: &Door,
    recipients: &Recipients,
    deadline: Deadline,
) -> Result<Outcome, Problem> {
    // A bundle that nobody would take is no burden for the database.
    let line = deadline.hold(Step::Export, door.connect(deadline)).await?;
    let snapshot = deadline.hold(Step::Snapshot, backup::snapshot(&plan.database, deadline)).await?;
    let export = BackupId::new(snapshot.taken_at);
    tracing::info!(%export, "export.begun");
    let (pieces, sent) = mpsc::channel(backup::PIECES);
    let sending = door.put_bundle(line, &export, sent);
    let making = Box::pin(async {
        let (contents, sealed) = bundle::write(plan, snapshot, Sealed::new(recipients, pieces)?).await?;
        Ok((contents, sealed.finish().await?))
    });
    let (stored, (contents, object)) = deadline.hold(Step::Export, sent_while_made(sending, making)).await?;
    if stored != object {
        return Err(Problem::ChecksumMismatch { of: "bundle" });
    }
    Ok(Outcome::Delivered {
        export,
        store: door.store().to_owned(),
        created_at: contents.created_at,
        rows: contents.rows,
        schema_version: contents.schema_version,
        size: stored.size,
        sha256: stored.sha256,
        sums_sha256: contents.sha256,
    })
}

impl Output for Sealed {
    async fn take(&mut self, portion: Bytes) -> Result<(), Problem> {
        self.write(&portion).await
    }
}
