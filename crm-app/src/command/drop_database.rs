//! `crm-app drop-database`: drops a database that no longer serves.

use super::{proof, report, stop};
use crate::{
    args,
    backup::{Deadline, Outcome, Problem, Step},
    db::{Login, databases::Turn},
};

/// Runs to the end and says how it went: in the log, and to the operator.
pub async fn run(args: args::DropDatabase) -> Result<Outcome, Problem> {
    let deadline = Deadline::within(args.deadline);
    let dropping = async {
        let old = proof::login(&args.database).await?;
        deadline.hold(Step::Drop, drop_database(&old, &args.current, deadline)).await
    };
    let result = tokio::select! {
        result = dropping => result,
        problem = stop::interrupted() => Err(problem),
    };
    let database = args.database.database_name;
    match &result {
        Ok(outcome) => tracing::info!(?outcome, database, "drop.done"),
        Err(problem) => tracing::error!(error = %problem, database, "drop.failed"),
    }
    report::write(&args.report, &result);
    result
}

/// Drops the database `old`, unless it is `current`, the one that serves. It may be gone already; while another role is in
/// it, it is in use.
pub async fn drop_database(old: &Login, current: &str, deadline: Deadline) -> Result<Outcome, Problem> {
    if old.database == current {
        return Err(Problem::DatabaseCurrent);
    }
    let options = old.to(current, &old.user).options();
    let attempt = async || {
        let dropped = async {
            let mut turn = Turn::take(&options).await?;
            turn.drop_database(&old.database).await?;
            turn.end().await;
            Ok(())
        };
        dropped.await.map_err(|error: sqlx::Error| Problem::database(&error))
    };
    // A backup of it may be on its way, or somebody's last request.
    let passes = |problem: &Problem| problem.is_of_absence() || *problem == Problem::DatabaseInUse;
    deadline.patiently(attempt, passes).await?;
    Ok(Outcome::Dropped)
}
