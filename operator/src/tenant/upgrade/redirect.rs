//! How an upgrade begins, and what becomes of it when something else is wanted in the meantime, or the same once more. Pure.

use jiff::SignedDuration;

use crate::{
    api::conditions::whole_seconds,
    tenant::upgrade::{
        decide::Look,
        record::{Failure, Record},
    },
};

/// The record of an upgrade that begins now, if one does.
pub(super) fn begun(look: &Look<'_>) -> Option<Record> {
    (look.running != look.wanted).then(|| from(look.running, look))
}

fn from(release: &str, look: &Look<'_>) -> Record {
    Record {
        from: release.to_owned(),
        to: look.wanted.to_owned(),
        started_at: whole_seconds(look.now),
        generation: look.generation,
        safety: None,
        backup: None,
        is_rehearsed: false,
        has_migrated: false,
        before: None,
        rolling_since: None,
        healthy_since: None,
        writable_since: None,
        failure: None,
        attempts: 1,
        retry: look.retry.map(str::to_owned),
    }
}

/// What becomes of a record; `None` when it is of no importance any more.
pub(super) fn redirected(record: Record, look: &Look<'_>) -> Option<Record> {
    if record.to == look.wanted { Some(same(record, look)) } else { other(record, look) }
}

/// The same is wanted: it goes on. What has failed is tried again when somebody says so.
fn same(record: Record, look: &Look<'_>) -> Record {
    let is_retried = look.retry.is_some() && look.retry != record.retry.as_deref();
    match &record.failure {
        Some(failure) if failure.is_undone && is_retried => {
            let again = from(look.running, look);
            // Jobs are named by it, and those of the try before may still be there.
            let started_at = again.started_at.max(record.started_at + SignedDuration::from_secs(1));
            Record { started_at, attempts: record.attempts + 1, ..again }
        }
        // The new release runs: it gets another chance to stay healthy.
        Some(failure) if failure.is_left && is_retried => Record {
            failure: None,
            rolling_since: None,
            healthy_since: None,
            attempts: record.attempts + 1,
            retry: look.retry.map(str::to_owned),
            ..record
        },
        _ => record,
    }
}

/// Something else is wanted.
fn other(record: Record, look: &Look<'_>) -> Option<Record> {
    let goes_back = look.wanted == record.from;
    match &record.failure {
        Some(failure) if failure.is_undone => return None,
        Some(failure) if failure.is_left && goes_back => {
            let failure = Failure { is_left: false, ..failure.clone() };
            return Some(Record { failure: Some(failure), ..record });
        }
        // First back to what is known to run; then the next one.
        Some(failure) if !failure.is_left => return Some(record),
        _ => (),
    }
    let runs = look.running == record.to;
    if record.must_restore() && (goes_back || !runs) {
        return Some(Record { failure: Some(taken_back(look)), ..record });
    }
    // What runs has not shown that it can: if the next one fails as well, it is not what to go back to. But what it needs to go
    // back further is a backup, and that of the next upgrade will be another one.
    let is_unproven = runs && !goes_back && !record.must_restore();
    is_unproven.then(|| from(&record.from, look))
}

fn taken_back(look: &Look<'_>) -> Failure {
    Failure {
        at: whole_seconds(look.now),
        reason: "TakenBack".to_owned(),
        message: "another release was wanted before this one had proven itself".to_owned(),
        is_undone: false,
        is_left: false,
        lost: None,
    }
}
