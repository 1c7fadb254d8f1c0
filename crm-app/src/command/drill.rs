//! `crm-app drill`: proves a backup by restoring it on a PostgreSQL that serves nothing else, looking at what came of it, and
//! dropping it.

use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection, migrate::MigrateError};

use super::{doctor, report, stop};
use crate::{
    args,
    backup::{BackupId, Deadline, Door, Identities, Manifest, Outcome, Problem, Programs, Step, restore},
    db::{
        self, Login,
        grants::{self, APP_ROLE, OWNER_ROLE},
        schema, scratch,
        snapshot::{self, TableRows},
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
    /// Which; the newest when none is named.
    pub backup: Option<BackupId>,
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
    let identities = tokio::fs::read_to_string(&args.identity_file).await.map_err(|error| {
        tracing::error!(%error, "identity.unreadable");
        Problem::IdentityInvalid
    })?;
    Ok(Plan {
        door: Door::new(args.store.clone()),
        backup: match &args.backup {
            args::Which::Newest => None,
            args::Which::Id(id) => Some(id.clone()),
        },
        identities: Identities::parse(&identities)?,
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

/// Restores a backup, compares, examines. The scratch database is dropped whatever happens, also when this ends early
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
    let manifest = deadline.hold(Step::Find, find(plan, deadline)).await?;
    tracing::info!(backup = %manifest.id, "drill.begun");
    let begun = Instant::now();
    let owner = plan.scratch.to(&plan.scratch_database, OWNER_ROLE);
    let restoring = async {
        prepare(plan, deadline).await?;
        restore(&plan.door, &manifest, &plan.identities, &owner, &plan.programs, deadline).await
    };
    deadline.hold(Step::Restore, restoring).await?;
    deadline.hold(Step::Examine, examine(plan, &manifest, &owner)).await?;
    let took = begun.elapsed();
    Ok(Outcome::Drilled {
        rows: manifest.rows(),
        backup: manifest.id,
        created_at: manifest.created_at,
        restored_in: took.as_secs() + u64::from(took.subsec_nanos() != 0),
        schema_version: manifest.schema_version,
    })
}

async fn find(plan: &Plan, deadline: Deadline) -> Result<Manifest, Problem> {
    let id = match &plan.backup {
        Some(id) => id.clone(),
        None => plan.door.newest(deadline).await?,
    };
    plan.door.manifest(&id, deadline).await
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
    let found = snapshot::rows(&mut db).await.map_err(failed)?;
    compare(&manifest.tables, &found)?;
    let known = schema::needed();
    match schema::current(&mut db).await.map_err(failed)? {
        Some(schema_version) if known < schema_version => {
            return Err(Problem::SchemaTooNew { schema_version, known });
        }
        Some(current) if current == known => {}
        _ => migrate(&mut db).await?,
    }
    let pool = db::unhurried_pool(plan.scratch.to(&owner.database, APP_ROLE).options());
    let examined = doctor::examine(&pool).await.map_err(failed)?;
    pool.close().await;
    for one in &examined {
        tracing::info!(check = one.check, findings = one.findings.len(), "drill.examined");
    }
    let checks: Vec<_> =
        examined.iter().filter(|one| !one.findings.is_empty()).map(|one| one.check).collect();
    if checks.is_empty() { Ok(()) } else { Err(Problem::Unsound { checks }) }
}

async fn migrate(db: &mut PgConnection) -> Result<(), Problem> {
    let failed = |error: &sqlx::Error| Problem::MigrationFailed { sqlstate: db::sqlstate(error) };
    schema::MIGRATOR.run(&mut *db).await.map_err(|error| match error {
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => failed(&source),
        _ => Problem::MigrationFailed { sqlstate: None },
    })?;
    grants::set(db).await.map_err(|error| failed(&error))
}

/// Both lists name each table once.
fn compare(expected: &[TableRows], restored: &[TableRows]) -> Result<(), Problem> {
    let rows = |tables: &[TableRows], name: &str| {
        tables.iter().find(|table| table.name == name).map(|table| table.rows)
    };
    let unknown = restored.iter().filter(|table| rows(expected, &table.name).is_none());
    let mut different = expected
        .iter()
        .chain(unknown)
        .map(|table| (&table.name, rows(expected, &table.name), rows(restored, &table.name)))
        .filter(|(_, expected, restored)| expected != restored);
    match different.next() {
        None => Ok(()),
        Some((table, expected, restored)) => {
            let tables = 1 + different.count();
            Err(Problem::RowsDiffer { tables, table: table.clone(), expected, restored })
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn tables(rows: &[(&str, u64)]) -> Vec<TableRows> {
        rows.iter().map(|(name, rows)| TableRows { name: (*name).to_owned(), rows: *rows }).collect()
    }

    #[rstest]
    #[case(&[("a", 1), ("b", 2)], None)]
    #[case(&[("b", 2), ("a", 1)], None)]
    #[case(&[("a", 1), ("b", 3)], Some((1, "b", Some(2), Some(3))))]
    #[case(&[("b", 1)], Some((2, "a", Some(1), None)))]
    #[case(&[("a", 1), ("b", 2), ("c", 0)], Some((1, "c", None, Some(0))))]
    fn each_table_is_compared(
        #[case] restored: &[(&str, u64)],
        #[case] problem: Option<(usize, &str, Option<u64>, Option<u64>)>,
    ) {
        let problem = problem.map(|(tables, table, expected, restored)| Problem::RowsDiffer {
            tables,
            table: table.to_owned(),
            expected,
            restored,
        });
        assert_eq!(compare(&tables(&[("a", 1), ("b", 2)]), &tables(restored)).err(), problem);
    }
}
