//! `crm-app export`: makes an exit bundle, as a file or for the backup door.

use super::{backup::recipients, proof, report, stop};
use crate::{
    args,
    backup::{Deadline, Door, Outcome, Problem, Programs},
    entitlement::Entitlement,
    exchange::{
        bundle::{Plan, Whose},
        delivery, file,
    },
};

/// Runs to the end and says how it went: in the log, and to the operator.
pub async fn run(args: args::Export) -> Result<Outcome, Problem> {
    let deadline = Deadline::within(args.deadline);
    // What is not awaited any more is dropped: that kills pg_dump, and removes what was half written or breaks it off.
    let result = tokio::select! {
        result = export(&args, deadline) => result,
        problem = stop::interrupted() => Err(problem),
    };
    match &result {
        Ok(outcome) => tracing::info!(?outcome, "export.done"),
        Err(problem) => tracing::error!(error = %problem, "export.failed"),
    }
    report::write(&args.report, &result);
    result
}

async fn export(args: &args::Export, deadline: Deadline) -> Result<Outcome, Problem> {
    let plan = plan(args).await?;
    if let Some(path) = &args.output {
        return file::export(&plan, path, deadline).await;
    }
    // Without a file, all of these are there.
    let (Some(door), Some(store), Some(file)) = (&args.door, &args.store, &args.recipients_file) else {
        return Err(Problem::OutputUnwritable);
    };
    let recipients = recipients(file).await?;
    let door = Door::new(args::Store {
        door: door.clone(),
        token_file: args.token_file.clone(),
        store: store.clone(),
        tenant: args.tenant.clone(),
        tenant_uid: args.tenant_uid.clone(),
    });
    delivery::deliver(&plan, &door, &recipients, deadline).await
}

async fn plan(args: &args::Export) -> Result<Plan, Problem> {
    let text = tokio::fs::read_to_string(&args.entitlement_config).await.map_err(|error| {
        tracing::error!(%error, "entitlement.unreadable");
        Problem::EntitlementUnreadable
    })?;
    Ok(Plan {
        database: proof::login(&args.database).await?,
        tenant: Whose { name: args.tenant.clone(), uid: Some(args.tenant_uid.clone()) },
        image: args.image.clone(),
        entitlement: Entitlement::parse(&text).ok().flatten().ok_or(Problem::EntitlementUnreadable)?,
        programs: Programs::default(),
    })
}
