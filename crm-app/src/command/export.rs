//! `crm-app export`: writes an exit bundle.

use super::{proof, report, stop};
use crate::{
    args,
    backup::{Deadline, Outcome, Problem, Programs, Tenant},
    entitlement::Entitlement,
    exchange::bundle::{self, Plan},
};

/// Runs to the end and says how it went: in the log, and to the operator.
pub async fn run(args: args::Export) -> Result<Outcome, Problem> {
    let deadline = Deadline::within(args.deadline);
    let exporting = async { bundle::export(&plan(&args).await?, deadline).await };
    // What is not awaited any more is dropped: that kills pg_dump and removes what was half written.
    let result = tokio::select! {
        result = exporting => result,
        problem = stop::interrupted() => Err(problem),
    };
    match &result {
        Ok(outcome) => tracing::info!(?outcome, "export.done"),
        Err(problem) => tracing::error!(error = %problem, "export.failed"),
    }
    report::write(&args.report, &result);
    result
}

async fn plan(args: &args::Export) -> Result<Plan, Problem> {
    let text = tokio::fs::read_to_string(&args.entitlement_config).await.map_err(|error| {
        tracing::error!(%error, "entitlement.unreadable");
        Problem::EntitlementUnreadable
    })?;
    Ok(Plan {
        database: proof::login(&args.database).await?,
        tenant: Tenant { name: args.tenant.clone(), uid: args.tenant_uid.clone() },
        image: args.image.clone(),
        entitlement: Entitlement::parse(&text).ok().flatten().ok_or(Problem::EntitlementUnreadable)?,
        output: args.output.clone(),
        programs: Programs::default(),
    })
}
