//! Takes a backup: one snapshot, dumped, encrypted and sent as it is made; memory does not grow with the database.

use std::process::Stdio;

use tokio::{
    io::AsyncReadExt as _,
    process::Command,
    sync::mpsc::{self, Sender},
};

use super::{
    Deadline, Door, Outcome, Problem, Programs, Recipients, Step,
    door::{Line, Piece},
    manifest::{self, App, BackupId, Manifest, Reason},
    program::{Failed, Running},
    sending::{PIECES, Sealed, sent_while_made},
    tally::{Sum, Tally},
};
use crate::db::{self, Login, snapshot::Snapshot};

/// Read from `pg_dump` at a time.
const PORTION: usize = 64 * 1024;

/// What a backup is taken with.
pub struct Plan {
    /// The database, as a role that may read all of it.
    pub database: Login,
    /// Where it goes.
    pub door: Door,
    /// Who will be able to decrypt it.
    pub recipients: Recipients,
    /// Why it is taken.
    pub reason: Reason,
    /// What dumps.
    pub programs: Programs,
}

/// What `pg_dump` wrote, and what that became.
struct Dumped {
    dump: Sum,
    data: Sum,
}

/// Takes a backup. Its manifest comes last, and without one there is no backup: what fails leaves nothing that counts.
pub async fn take(plan: &Plan, deadline: Deadline) -> Result<Outcome, Problem> {
    // A dump that nobody would take is no burden for the database.
    let line = deadline.hold(Step::Dump, plan.door.connect(deadline)).await?;
    let mut snapshot = deadline.hold(Step::Snapshot, taken(&plan.database, deadline)).await?;
    let Some(schema_version) = snapshot.schema_version else { return Err(Problem::NotMigrated) };
    let id = BackupId::new(snapshot.taken_at);
    tracing::info!(backup = %id, "backup.begun");

    let name = snapshot.name.clone();
    let work = async {
        let counting = async { snapshot.rows().await.map_err(|error| Problem::database(&error)) };
        let done = tokio::try_join!(counting, send(plan, line, &id, &name))?;
        // Whether the goodbye is heard changes nothing.
        _ = snapshot.end().await;
        Ok(done)
    };
    let (tables, Dumped { dump, data }) = deadline.hold(Step::Dump, work).await?;

    let manifest = Manifest {
        version: manifest::VERSION,
        id: id.clone(),
        store: plan.door.store().to_owned(),
        tenant: plan.door.tenant().clone(),
        reason: plan.reason,
        created_at: snapshot.taken_at,
        app: App { version: env!("CARGO_PKG_VERSION").to_owned() },
        schema_version,
        postgres_version: snapshot.postgres_version.clone(),
        lsn: snapshot.lsn.clone(),
        database_size: Some(snapshot.database_size),
        data,
        dump,
        tables,
        recipients: plan.recipients.names(),
    };
    deadline.hold(Step::Manifest, plan.door.put_manifest(&manifest, deadline)).await?;
    let (created_at, size) = (manifest.created_at, manifest.data.size);
    Ok(Outcome::BackedUp { backup: id, created_at, size, schema_version })
}

/// Waits for the database, and takes a snapshot of it.
pub(crate) async fn taken(database: &Login, deadline: Deadline) -> Result<Snapshot, Problem> {
    let options = database.options();
    let take = async || Snapshot::take(&options).await.map_err(|error| Problem::database(&error));
    deadline.patiently(take, Problem::is_of_absence).await
}

/// Dumps and sends at the same time, and compares what left with what arrived.
async fn send(plan: &Plan, line: Line, backup: &BackupId, snapshot: &str) -> Result<Dumped, Problem> {
    let (pieces, sent) = mpsc::channel(PIECES);
    let sending = plan.door.put_data(line, backup, sent);
    let (stored, dumped) = sent_while_made(sending, dump(plan, snapshot, pieces)).await?;
    if stored == dumped.data { Ok(dumped) } else { Err(Problem::ChecksumMismatch { of: "data" }) }
}

/// Hands on what `pg_dump` writes, encrypted. Only when it ended well is the last piece followed by the end.
async fn dump(plan: &Plan, snapshot: &str, pieces: Sender<Piece>) -> Result<Dumped, Problem> {
    let mut command = Command::new(&plan.programs.dump);
    // Several times faster than the default, and packs as well. pg_dump packs in the same thread in which it reads, so that a
    // higher level would hold the snapshot open for longer, and save little.
    command.args(["--format=custom", "--compress=zstd:1"]).arg(format!("--snapshot={snapshot}"));
    let mut running = Running::start("pg_dump", command, &plan.database, Stdio::null(), Stdio::piped())?;
    let mut stdout = running.stdout()?;

    let ours = |error: std::io::Error| {
        tracing::error!(%error, "dump.failed");
        Problem::DumpFailed { status: None, sqlstate: None }
    };
    let mut sealed = Sealed::new(&plan.recipients, pieces)?;
    let mut dump = Tally::default();
    let mut portion = vec![0; PORTION];
    loop {
        let read = stdout.read(&mut portion).await.map_err(ours)?;
        if read == 0 {
            break;
        }
        dump.update(&portion[..read]);
        sealed.write(&portion[..read]).await?;
    }
    running.end().await.map_err(|failed| problem(&failed))?;
    Ok(Dumped { dump: dump.sum(), data: sealed.finish().await? })
}

/// Why a dump failed.
pub(crate) fn problem(failed: &Failed) -> Problem {
    match failed.sqlstate {
        Some(code) if db::is_unavailable(code) => {
            Problem::DatabaseUnreachable { sqlstate: Some(code.to_owned()) }
        }
        sqlstate => Problem::DumpFailed { status: failed.status, sqlstate },
    }
}
