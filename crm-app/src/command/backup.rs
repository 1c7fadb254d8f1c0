//! `crm-app backup`: takes a backup and gives it to the door of the backup store.

use std::path::Path;

use super::{proof, report, stop};
use crate::{
    args,
    backup::{self, Deadline, Door, Outcome, Plan, Problem, Programs, Recipients},
};

/// Runs to the end and says how it went: in the log, and to the operator.
pub async fn run(args: args::Backup) -> Result<Outcome, Problem> {
    let deadline = Deadline::within(args.deadline);
    let taking = async { backup::take(&plan(&args).await?, deadline).await };
    // What is not awaited any more is dropped: that kills pg_dump and breaks off what was on its way to the door.
    let result = tokio::select! {
        result = taking => result,
        problem = stop::interrupted() => Err(problem),
    };
    match &result {
        Ok(outcome) => tracing::info!(?outcome, "backup.done"),
        Err(problem) => tracing::error!(error = %problem, "backup.failed"),
    }
    report::write(&args.report, &result);
    result
}

/// Who will be able to decrypt, from that file.
pub(super) async fn recipients(file: &Path) -> Result<Recipients, Problem> {
    let text = tokio::fs::read_to_string(file).await.map_err(|error| {
        tracing::error!(%error, "recipients.unreadable");
        Problem::RecipientsInvalid { line: None }
    })?;
    Recipients::parse(&text)
}

async fn plan(args: &args::Backup) -> Result<Plan, Problem> {
    Ok(Plan {
        database: proof::login(&args.database).await?,
        door: Door::new(args.store.clone()),
        recipients: recipients(&args.recipients_file).await?,
        reason: args.reason,
        programs: Programs::default(),
    })
}
