//! What the status says of a tenant that begins from a backup.

use crate::{
    api::conditions::{Verdict, Word, reasons},
    cluster::cache::Snapshot,
    tenant::{
        Progress,
        attempt::Step,
        bootstrap::{Bootstrap, Stage},
        diagnose,
    },
};

/// What keeps the tenant from its first start; `None` when the backup is in the database, or when there is none to begin with.
pub(super) fn unfinished(
    progress: &Progress,
    database: &Verdict,
    seen: &Snapshot,
    namespace: &str,
) -> Option<Verdict> {
    let valid = progress.valid.as_ref()?;
    let Bootstrap { source, backup, stage } = progress.course.as_ref()?.bootstrap.as_ref()?;
    let what = format!("backup {backup} of tenant {} (uid {})", source.tenant, source.uid);
    let attempt = match stage {
        Stage::Restored(_) => return None,
        Stage::NoBackups => {
            let message = format!(
                "{what} cannot be restored: the tenant's plan names no BackupStore. Set spec.backup in the Plan, or spec.plan to another one"
            );
            return Some(Verdict::no(reasons::NO_BACKUPS, message));
        }
        Stage::NoStore => {
            let store = valid.backup.as_ref().map(|backup| backup.store.as_str()).unwrap_or_default();
            let message = format!(
                "{what} cannot be restored: BackupStore {store:?} of the tenant's plan does not exist or cannot be read. Make it"
            );
            return Some(Verdict::no(reasons::STORE_NOT_FOUND, message));
        }
        Stage::Restoring(attempt) => attempt,
    };
    if let Some(failure) = &attempt.failure {
        let next = attempt.step.what_next();
        let message = format!(
            "{what} could not be restored: {failure}. {next}; see the log of Job {} in namespace {namespace}. The CRM starts when it is restored; to begin empty instead, make the Tenant again without spec.bootstrap",
            attempt.job
        );
        return Some(Verdict::no(reasons::RESTORE_FAILED, message));
    }
    if attempt.step == Step::Postponed || database.word != Word::True {
        return Some(database.clone());
    }
    let problem = diagnose::restore(seen, namespace);
    problem.or_else(|| {
        Some(Verdict::no(reasons::RESTORING, format!("{what} is being restored into the empty database")))
    })
}

#[cfg(test)]
mod tests;
