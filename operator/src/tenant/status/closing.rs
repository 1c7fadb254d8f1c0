//! What the status says of a tenant on its way to being stopped.

use crate::{
    api::{
        Tenant,
        conditions::{Verdict, reasons},
    },
    names::{SKIP_FINAL_BACKUP, namespace_of},
    tenant::{Progress, attempt::Attempt, closing::Stage, is_confirmed, is_deleting},
};

/// What is still to be done before the database may stop, or the tenant be removed; `None` when it is done, or when the tenant
/// is not to stop.
pub(super) fn unfinished(tenant: &Tenant, progress: &Progress) -> Option<Verdict> {
    let closing = progress.course.as_ref()?.closing.as_ref()?;
    let backup = progress.valid.as_ref().and_then(|valid| valid.backup.as_ref());
    match &closing.stage {
        Stage::Unneeded | Stage::BackedUp { .. } | Stage::Proven { .. } => None,
        Stage::Quiescing => Some(Verdict::no(reasons::STOPPING, "the CRM is stopping")),
        Stage::NoStore => {
            let store = backup.map(|backup| backup.store.as_str()).unwrap_or_default();
            let message = format!(
                "the last backup before the database stops cannot be made: BackupStore {store:?} does not exist or cannot be read. Make it{}",
                way_out(tenant)
            );
            Some(Verdict::no(reasons::STORE_NOT_FOUND, message))
        }
        Stage::BackingUp(attempt) => Some(told(
            tenant,
            attempt,
            "a last backup is made before the database stops",
            ("FinalBackupFailed", "the last backup before the database stops failed"),
        )),
        Stage::Proving { backup, attempt } => Some(told(
            tenant,
            attempt,
            &format!("backup {backup} is restored on trial before anything is removed"),
            (
                "FinalBackupUnproven",
                &format!("backup {backup} could not be restored on trial, so nothing is removed"),
            ),
        )),
    }
}

fn told(tenant: &Tenant, attempt: &Attempt, course: &str, (reason, failed): (&'static str, &str)) -> Verdict {
    let Some(what) = &attempt.failure else {
        return Verdict::no(reasons::FINAL_BACKUP, course);
    };
    let next = attempt.step.what_next();
    let message = format!(
        "{failed}: {what}. {next}; see the log of Job {} in namespace {}, and kubectl get backupstores{}",
        attempt.job,
        namespace_of(&tenant.metadata.name.clone().unwrap_or_default()),
        way_out(tenant)
    );
    Verdict::no(reason, message)
}

/// Nobody should have to wait for a store that never comes back.
fn way_out(tenant: &Tenant) -> String {
    let name = tenant.metadata.name.clone().unwrap_or_default();
    if is_deleting(tenant) && is_confirmed(tenant) {
        format!(
            ". To remove the tenant without it: kubectl annotate tenant {name} {SKIP_FINAL_BACKUP}={name}"
        )
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests;
