//! `crm-app restore`: brings a backup back, into a database of its own beside the one that serves.
//!
//! A database counts as restored when it is marked as finished (`backup::mark`), which is the last thing done to it. What is
//! marked as begun, or holds nothing, may be thrown away; anything else is somebody's, and left as it is.

use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};

use super::{proof, report, stop};
use crate::{
    args::{self, Which},
    backup::{
        self, Deadline, Door, Identities, Manifest, Mark, Outcome, Problem, Programs, Restored, Run, Step,
        Tenant,
    },
    clock::Clock,
    db::{
        self, Login,
        audit::Entry,
        databases::{self, Found, Turn},
        exit_bundle, grants, link, schema, session,
        write::Tx,
    },
    domain::company::Changes,
};

/// For tidying up after the deadline, or after a signal.
const LONGEST_GOODBYE: Duration = Duration::from_secs(10);

/// What a restore is done with.
pub struct Plan {
    /// Where the backup is.
    pub door: Door,
    /// Which.
    pub backup: Which,
    /// Who asked for it, if somebody says so.
    pub request: Option<String>,
    /// What decrypts it.
    pub identities: Identities,
    /// The database to restore into, as the role that owns it.
    pub target: Login,
    /// Name of the database that serves now. When it is the target, that has to be there and to be empty.
    pub current: String,
    /// How large the volume of the server's data is, in bytes, if somebody knows.
    pub volume_size: Option<u64>,
    /// What restores.
    pub programs: Programs,
    /// The time.
    pub clock: Clock,
}

/// Runs to the end and says how it went: in the log, and to the operator.
pub async fn run(args: args::Restore) -> Result<Outcome, Problem> {
    let deadline = Deadline::within(args.deadline);
    let result = match plan(&args).await {
        Ok(plan) => restore(&plan, deadline, stop::interrupted()).await,
        Err(problem) => Err(problem),
    };
    match &result {
        Ok(outcome) => tracing::info!(?outcome, "restore.done"),
        Err(problem) => tracing::error!(error = %problem, "restore.failed"),
    }
    report::write(&args.report, &result);
    result
}

async fn plan(args: &args::Restore) -> Result<Plan, Problem> {
    Ok(Plan {
        door: Door::new(args.store.clone()),
        backup: args.backup.clone(),
        request: args.request.clone(),
        identities: proof::identities(&args.identity_file).await?,
        target: proof::login(&args.database).await?,
        current: args.current.clone(),
        volume_size: args.volume_size,
        programs: Programs::default(),
        clock: Clock::system(),
    })
}

/// Restores a backup, or finds that it was restored before. What fails, or ends early because of `stopped`, leaves no half
/// database behind as long as the server answers; and otherwise one that the next run throws away.
pub async fn restore(
    plan: &Plan,
    deadline: Deadline,
    stopped: impl Future<Output = Problem>,
) -> Result<Outcome, Problem> {
    let run = Run::begin();
    let result = tokio::select! {
        result = restored(plan, &run, deadline) => result,
        problem = stopped => Err(problem),
    };
    if result.is_err() {
        match tokio::time::timeout(LONGEST_GOODBYE, forget(plan, &run)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = %db::Discreet(&error), "restore.not_dropped"),
            Err(_) => tracing::warn!("restore.not_dropped"),
        }
    }
    result.map(Outcome::from)
}

async fn restored(plan: &Plan, run: &Run, deadline: Deadline) -> Result<Restored, Problem> {
    // First of all without the door: what was restored before needs no backup any more.
    if let Some(done) = deadline.hold(Step::Prepare, look(plan, deadline)).await? {
        return Ok(done);
    }
    let manifest = deadline.hold(Step::Find, plan.door.find(&plan.backup, deadline)).await?;
    tracing::info!(backup = %manifest.id, "restore.begun");
    let begun = Instant::now();
    deadline.hold(Step::Prepare, find_room(plan, &manifest, deadline)).await?;
    if let Some(done) = deadline.hold(Step::Prepare, prepare(plan, run, deadline)).await? {
        return Ok(done);
    }
    let Plan { door, identities, target, programs, .. } = plan;
    let restoring = backup::restore(door, &manifest, identities, target, programs, deadline);
    deadline.hold(Step::Restore, restoring).await?;
    deadline.hold(Step::Examine, settle(plan, run, &manifest, deadline)).await?;
    let restored = Restored {
        tenant: manifest.tenant.clone(),
        rows: manifest.rows(),
        backup: manifest.id,
        created_at: manifest.created_at,
        schema_version: schema::needed(),
        restored_in: proof::seconds(begun.elapsed()),
        restored_at: plan.clock.now(),
    };
    deadline.hold(Step::Finish, finish(plan, run, restored, deadline)).await
}

async fn look(plan: &Plan, deadline: Deadline) -> Result<Option<Restored>, Problem> {
    let mut turn = take_turn(plan, deadline).await?;
    let found = turn.find(&plan.target.database).await.map_err(failed)?;
    let done = judge(plan, &mut turn, found.as_ref()).await?;
    turn.end().await;
    Ok(done)
}

/// Looks whether the volume has room for another database, as far as anybody knows: one that is full would stop the database that
/// serves as well.
async fn find_room(plan: &Plan, manifest: &Manifest, deadline: Deadline) -> Result<(), Problem> {
    let (Some(volume), Some(needed)) = (plan.volume_size, manifest.database_size) else { return Ok(()) };
    let mut turn = take_turn(plan, deadline).await?;
    let used = turn.used_without(&plan.target.database).await.map_err(failed)?;
    turn.end().await;
    let free = volume.saturating_sub(used);
    if needed <= free { Ok(()) } else { Err(Problem::NoRoom { needed, free }) }
}

/// An empty database, marked as ours, unless the restore turns out to be done.
async fn prepare(plan: &Plan, run: &Run, deadline: Deadline) -> Result<Option<Restored>, Problem> {
    let name = &plan.target.database;
    let mut turn = take_turn(plan, deadline).await?;
    let found = turn.find(name).await.map_err(failed)?;
    if let Some(done) = judge(plan, &mut turn, found.as_ref()).await? {
        return Ok(Some(done));
    }
    clear(plan, &mut turn).await.map_err(failed)?;
    if !plan.is_in_place() {
        turn.create(name).await.map_err(failed)?;
    }
    // An earlier run that is not dead after all can finish no more.
    mark(&mut turn, name, &Mark::Begun(run.clone())).await?;
    turn.end().await;
    Ok(None)
}

/// What the target is: restored as it should be, or free to be written; or somebody's, which is an error.
async fn judge(plan: &Plan, turn: &mut Turn, found: Option<&Found>) -> Result<Option<Restored>, Problem> {
    let Some(found) = found else { return Ok(None) };
    if found.is_broken {
        return Ok(None);
    }
    match found.comment.as_deref().and_then(Mark::read) {
        Some(Mark::Begun(_)) => Ok(None),
        Some(Mark::Finished(restored)) if restored.is_of(plan.door.tenant(), &plan.backup) => {
            Ok(Some(restored))
        }
        // Made a moment before it would have been marked, or prepared for us.
        None if is_empty(plan, turn).await? => Ok(None),
        Some(Mark::Finished(_)) | None => Err(Problem::DatabaseInUse),
    }
}

async fn is_empty(plan: &Plan, turn: &mut Turn) -> Result<bool, Problem> {
    if plan.is_in_place() {
        return databases::is_empty(turn.db()).await.map_err(failed);
    }
    let mut db = PgConnection::connect_with(&plan.target.options()).await.map_err(failed)?;
    let is_empty = databases::is_empty(&mut db).await.map_err(failed)?;
    db.close().await.map_err(failed)?;
    Ok(is_empty)
}

/// Rows as the manifest counted them; this release's schema and rights, whatever those of the backup were; nobody signed in; and
/// then nothing for the doctor to find.
async fn settle(plan: &Plan, run: &Run, manifest: &Manifest, deadline: Deadline) -> Result<(), Problem> {
    // Another run that has taken its place has other rows by now.
    ours(plan, run, deadline).await?.end().await;
    let options = db::unhurried(plan.target.options());
    let mut db = PgConnection::connect_with(&options).await.map_err(failed)?;
    proof::compare_rows(&mut db, manifest).await?;
    proof::migrate(&mut db).await?;
    // The rights on the database itself are in no dump.
    grants::set(&mut db).await.map_err(failed)?;
    sign_everybody_out(&mut db, &plan.clock).await.map_err(failed)?;
    databases::analyze(&mut db).await.map_err(failed)?;
    db.close().await.map_err(failed)?;
    proof::examine(db::unhurried_pool(plan.target.options())).await
}

/// Sessions that were ended and links that were spent after the backup would hold again.
async fn sign_everybody_out(db: &mut PgConnection, clock: &Clock) -> Result<(), sqlx::Error> {
    session::delete_all(db).await?;
    exit_bundle::revoke_links(db).await?;
    link::revoke_open(db, clock.now()).await
}

async fn finish(plan: &Plan, run: &Run, restored: Restored, deadline: Deadline) -> Result<Restored, Problem> {
    let mut turn = ours(plan, run, deadline).await?;
    // In the same turn, so that it is noted once.
    note(plan, &restored).await.map_err(failed)?;
    mark(&mut turn, &plan.target.database, &Mark::Finished(restored.clone())).await?;
    turn.end().await;
    Ok(restored)
}

/// What came after the backup is in no log of this database, so the log says where it goes back to.
async fn note(plan: &Plan, restored: &Restored) -> Result<(), sqlx::Error> {
    let Tenant { name, uid } = &restored.tenant;
    let mut changes = Changes::from([
        ("backup", (None, Some(restored.backup.to_string()))),
        ("backupCreatedAt", (None, Some(restored.created_at.to_string()))),
        ("backupOf", (None, Some(format!("{name}/{uid}")))),
    ]);
    if let Some(request) = &plan.request {
        changes.insert("request", (None, Some(request.clone())));
    }
    let pool = db::unhurried_pool(plan.target.options());
    let mut tx = Tx::begin(&pool).await?.seal().await?;
    tx.audit(Entry::of_workspace(restored.restored_at, None, "restore", &changes)).await?;
    tx.commit().await?;
    pool.close().await;
    Ok(())
}

/// Throws away what this run has begun, and nothing else.
async fn forget(plan: &Plan, run: &Run) -> Result<(), sqlx::Error> {
    let mut turn = Turn::take(&plan.current().options()).await?;
    if is_ours(&mut turn, &plan.target.database, run).await? {
        clear(plan, &mut turn).await?;
        if plan.is_in_place() {
            turn.comment(&plan.target.database, None).await?;
        }
    }
    turn.end().await;
    Ok(())
}

/// Removes all that is in the target, and where it is not the current database, the target itself.
async fn clear(plan: &Plan, turn: &mut Turn) -> Result<(), sqlx::Error> {
    let name = &plan.target.database;
    if !plan.is_in_place() {
        return turn.drop_database(name).await;
    }
    turn.end_others(name).await?;
    databases::clear(turn.db()).await
}

/// A turn in which the target is still what this run makes of it. Otherwise another run has taken its place, and throws away or
/// keeps what is there.
async fn ours(plan: &Plan, run: &Run, deadline: Deadline) -> Result<Turn, Problem> {
    let mut turn = take_turn(plan, deadline).await?;
    let is_ours = is_ours(&mut turn, &plan.target.database, run).await.map_err(failed)?;
    if is_ours { Ok(turn) } else { Err(Problem::DatabaseInUse) }
}

async fn is_ours(turn: &mut Turn, name: &str, run: &Run) -> Result<bool, sqlx::Error> {
    let comment = turn.find(name).await?.and_then(|found| found.comment);
    Ok(comment.as_deref().and_then(Mark::read) == Some(Mark::Begun(run.clone())))
}

async fn mark(turn: &mut Turn, name: &str, mark: &Mark) -> Result<(), Problem> {
    let text = mark.text().map_err(|_| Problem::ManifestInvalid)?;
    turn.comment(name, Some(&text)).await.map_err(failed)
}

async fn take_turn(plan: &Plan, deadline: Deadline) -> Result<Turn, Problem> {
    let options = plan.current().options();
    let take = async || Turn::take(&options).await.map_err(failed);
    deadline.patiently(take, Problem::is_of_absence).await
}

impl Plan {
    fn is_in_place(&self) -> bool {
        self.current == self.target.database
    }

    fn current(&self) -> Login {
        self.target.to(&self.current, &self.target.user)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn failed(error: sqlx::Error) -> Problem {
    Problem::database(&error)
}
