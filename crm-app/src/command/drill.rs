//! `crm-app drill`: proves a backup by restoring it on a PostgreSQL that serves nothing else, looking at what came of it, serving it
//! for a moment, and dropping it. By a new release's image it is the rehearsal of an upgrade.

use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};

use super::{proof, report, smoke, stop};
use crate::{
    args::{self, Which},
    backup::{Deadline, Door, Identities, Manifest, Outcome, Problem, Programs, Step, restore},
    db::{
        self, Login,
        grants::{self, APP_ROLE, OWNER_ROLE},
        scratch,
    },
};

/// For tidying up after the deadline, or after a signal.
const LONGEST_GOODBYE: Duration = Duration::from_secs(10);
/// In the socket's name.
const SCRATCH_PORT: u16 = 5432;
/// And the database that every server has.
const SUPERUSER: &str = "postgres";
const SCRATCH_DATABASE: &str = "drill";

/// What a drill is done with.
pub struct Plan {
    /// Where the backup is.
    pub door: Door,
    /// Which.
    pub backup: Which,
    /// What decrypts it.
    pub identities: Identities,
    /// The server for tries, as its superuser: whoever reaches its socket may be anybody.
    pub scratch: Login,
    /// What the database is called there.
    pub scratch_database: String,
    /// What restores.
    pub programs: Programs,
}

/// Runs to the end and says how it went: in the log, and to the operator.
pub async fn run(args: args::Drill) -> Result<Outcome, Problem> {
    let deadline = Deadline::within(args.deadline);
    let result = match plan(&args).await {
        Ok(plan) => drill(&plan, deadline, stop::interrupted()).await,
        Err(problem) => Err(problem),
    };
    match &result {
        Ok(outcome) => tracing::info!(?outcome, "drill.done"),
        Err(problem) => tracing::error!(error = %problem, "drill.failed"),
    }
    report::write(&args.report, &result);
    result
}

async fn plan(args: &args::Drill) -> Result<Plan, Problem> {
    Ok(Plan {
        door: Door::new(args.store.clone()),
        backup: args.backup.clone(),
        identities: proof::identities(&args.identity_file).await?,
        scratch: Login {
            host: args.scratch_socket.clone(),
            port: SCRATCH_PORT,
            database: SUPERUSER.to_owned(),
            user: SUPERUSER.to_owned(),
            password: None,
        },
        scratch_database: SCRATCH_DATABASE.to_owned(),
        programs: Programs::default(),
    })
}

/// Restores a backup, compares, examines, serves. The scratch database is dropped whatever happens, also when this ends early
/// because of `stopped`.
pub async fn drill(
    plan: &Plan,
    deadline: Deadline,
    stopped: impl Future<Output = Problem>,
) -> Result<Outcome, Problem> {
    let result = tokio::select! {
        result = proven(plan, deadline) => result,
        problem = stopped => Err(problem),
    };
    match tokio::time::timeout(LONGEST_GOODBYE, forget(plan)).await {
        Ok(Ok(())) => {}
        // The server goes with its pod.
        Ok(Err(error)) => tracing::warn!(error = %db::Discreet(&error), "drill.not_dropped"),
        Err(_) => tracing::warn!("drill.not_dropped"),
    }
    result
}

async fn proven(plan: &Plan, deadline: Deadline) -> Result<Outcome, Problem> {
    let manifest = deadline.hold(Step::Find, plan.door.find(&plan.backup, deadline)).await?;
    tracing::info!(backup = %manifest.id, "drill.begun");
    let begun = Instant::now();
    let owner = plan.scratch.to(&plan.scratch_database, OWNER_ROLE);
    let restoring = async {
        prepare(plan, deadline).await?;
        restore(&plan.door, &manifest, &plan.identities, &owner, &plan.programs, deadline).await
    };
    deadline.hold(Step::Restore, restoring).await?;
    deadline.hold(Step::Examine, examine(plan, &manifest, &owner)).await?;
    let app = owner.to(&owner.database, APP_ROLE);
    let signed_in = deadline.hold(Step::Serve, smoke::serve(app, &plan.programs, deadline)).await?;
    Ok(Outcome::Drilled {
        rows: manifest.rows(),
        backup: manifest.id,
        created_at: manifest.created_at,
        restored_in: proof::seconds(begun.elapsed()),
        schema_version: manifest.schema_version,
        signed_in,
    })
}

/// An empty database as the backup expects it. The server may still be starting.
async fn prepare(plan: &Plan, deadline: Deadline) -> Result<(), Problem> {
    let failed = |error: sqlx::Error| Problem::database(&error);
    let options = plan.scratch.options();
    let connect = async || PgConnection::connect_with(&options).await.map_err(failed);
    let mut db = deadline.patiently(connect, Problem::is_of_absence).await?;
    scratch::ensure_roles(&mut db).await.map_err(failed)?;
    scratch::drop_database(&mut db, &plan.scratch_database).await.map_err(failed)?;
    scratch::create_database(&mut db, &plan.scratch_database).await.map_err(failed)
}

async fn forget(plan: &Plan) -> Result<(), sqlx::Error> {
    let mut db = PgConnection::connect_with(&plan.scratch.options()).await?;
    scratch::drop_database(&mut db, &plan.scratch_database).await
}

/// Rows as the manifest counted them, and then nothing for the doctor to find. A backup of an older schema is brought to
/// this release's first, as a restore would do.
async fn examine(plan: &Plan, manifest: &Manifest, owner: &Login) -> Result<(), Problem> {
    let failed = |error: sqlx::Error| Problem::database(&error);
    let mut db = PgConnection::connect_with(&db::unhurried(owner.options())).await.map_err(failed)?;
    proof::compare_rows(&mut db, manifest).await?;
    // Otherwise the backup's own rights are looked at.
    if proof::migrate(&mut db).await? {
        grants::set(&mut db).await.map_err(failed)?;
    }
    proof::examine(db::unhurried_pool(plan.scratch.to(&owner.database, APP_ROLE).options())).await
}
