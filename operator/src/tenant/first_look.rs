//! Looks that do without what cannot be watched: the first one after the operator has started, or has become the one that works, and
//! those that come soon after one that has read everything.
//!
//! # The first look
//!
//! A start looks at the whole fleet at once. What can be watched is in the cache by then; what cannot ([`unwatched`]) is read by
//! name, which is nearly all that a start would ask of the API server, and of a large fleet it is much. So what was left in order
//! is not read at this look: if the tenant says that all is well, what is watched says the same, and nothing is to be done, it is
//! read some time within the next five minutes, as it would be if the operator had never been away. What was lost meanwhile is
//! then found as late as what is lost while it is there.
//!
//! # Soon after
//!
//! While something happens to a tenant, an upgrade for example, each bit of news brings a look, and most of them find nothing to do but
//! to say how far it is. For five minutes after everything was read and was as wanted, such a look does not read it again: it would be
//! found as late if there had been no news. Whoever touches the Tenant has everything read.
//!
//! Nothing is written on the strength of what was not read: whatever is to be done is done by a look that has read everything.
//!
//! [`unwatched`]: super::unwatched

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    api::{
        Tenant,
        conditions::{self, Word, reasons},
    },
    names::TENANT_FINALIZER,
    tenant::{
        Context, Error, Progress, RESYNC, apply, course::Course, is_deleting, observe::Observed, requests,
        status, upgrade::decide::Work,
    },
};

/// How much a look reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Look {
    /// Everything.
    #[default]
    Whole,
    /// Only what is watched, since nothing is to be done; the rest is left for the next look.
    Brief,
    /// The same, since the rest was read at that moment.
    SoonAfter(Timestamp),
}

/// The tenants that were looked at since the start; of those that were as wanted when everything was read last, when that was.
#[derive(Debug, Default)]
pub struct Looked(Mutex<BTreeMap<String, Option<Whole>>>);

/// A look that has read everything, and after which everything was as wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// When.
    pub at: Timestamp,
    /// Stands for what people had written of the tenant.
    words: u64,
}

impl Whole {
    pub(super) fn now(tenant: &Tenant, ctx: &Context) -> Self {
        Self { at: (ctx.now)(), words: words_of(tenant) }
    }
}

impl Looked {
    /// Forgets tenants that are gone.
    pub fn retain(&self, present: &BTreeSet<String>) {
        self.lock().retain(|name, _| present.contains(name));
    }

    /// Notes that everything was read.
    pub(super) fn note(&self, tenant: &Tenant, whole: Whole) {
        self.lock().insert(tenant.name_any(), Some(whole));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Option<Whole>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known when a look begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    /// It is the first, at one that needs nothing before it is observed.
    pub(super) is_first: bool,
    /// The last look that has read everything, if it still counts.
    pub(super) whole: Option<Whole>,
}

/// Notes a look at a tenant. Until it has come to its end, none before it counts any more: what fails is read again.
pub(super) fn begin(tenant: &Tenant, ctx: &Context) -> Before {
    let is_held = tenant.finalizers().iter().any(|finalizer| finalizer == TENANT_FINALIZER);
    let known = ctx.looked.lock().insert(tenant.name_any(), None);
    let still_counts = |whole: &Whole| {
        !is_deleting(tenant)
            && whole.words == words_of(tenant)
            && (ctx.now)().duration_since(whole.at).unsigned_abs() < RESYNC
    };
    Before { is_first: known.is_none() && is_held, whole: known.flatten().filter(still_counts) }
}

fn words_of(tenant: &Tenant) -> u64 {
    let metadata = &tenant.metadata;
    let mut hasher = DefaultHasher::new();
    (&metadata.uid, metadata.generation, &metadata.annotations, &metadata.labels).hash(&mut hasher);
    hasher.finish()
}

/// Whether there is nothing to do, as far as can be known without reading what is not watched.
pub(super) fn finds_nothing_to_do(
    tenant: &Tenant,
    ctx: &Context,
    progress: &Progress,
    observed: &Observed,
) -> Result<bool, Error> {
    let (Some(valid), Some(course), Some(hosts)) = (&progress.valid, &progress.course, &progress.hosts)
    else {
        return Ok(false);
    };
    let undoes = matches!(
        course.upgrade.as_ref().and_then(|upgrade| upgrade.work.as_ref()),
        Some(Work::Restore { .. })
    );
    // The manual says that a new start copies pull secrets at once.
    let is_due = !ctx.settings.image_pull_secrets.is_empty()
        || course.bootstrap.is_some()
        || course.closing.is_some()
        || undoes
        || requests::are_open(ctx, &tenant.name_any());
    if is_due {
        return Ok(false);
    }
    apply::is_at_rest(ctx, valid, course, &hosts.granted, observed)
}

/// Whether there is nothing to do and nothing to say, as far as can be known without reading what is not watched.
pub(super) fn finds_all_well(
    tenant: &Tenant,
    ctx: &Context,
    progress: &Progress,
    observed: &Observed,
) -> Result<bool, Error> {
    let is_settled = progress.course.as_ref().is_some_and(Course::is_settled);
    let has_one_database =
        progress.valid.as_ref().is_some_and(|valid| valid.databases.oldest == valid.databases.current);
    Ok(is_settled
        && has_one_database
        && is_said(tenant, ctx, progress, observed)
        && finds_nothing_to_do(tenant, ctx, progress, observed)?)
}

/// Whether the status says already what it would say now, and that is that all is well.
fn is_said(tenant: &Tenant, ctx: &Context, progress: &Progress, observed: &Observed) -> bool {
    let said = tenant.status.as_ref().map(status::own).unwrap_or_default();
    let now = status::status(tenant, &said, progress, &observed.seen, &Ok(()), (ctx.now)());
    let ready = conditions::find(&now.conditions, conditions::READY);
    let is_well = ready
        .is_some_and(|ready| ready.status == Word::True.as_str() && ready.reason == reasons::AS_EXPECTED);
    is_well && now == said
}
