//! The first look at a tenant after the operator has started, or has become the one that works.
//!
//! A start looks at the whole fleet at once. What can be watched is in the cache by then; what cannot ([`unwatched`]) is read by
//! name, which is nearly all that a start would ask of the API server, and of a large fleet it is much. So what was left in order
//! is not read at this look: if the tenant says that all is well, what is watched says the same, and nothing is to be done, it is
//! read some time within the next five minutes, as it would be if the operator had never been away. What was lost meanwhile is
//! then found as late as what is lost while it is there.
//!
//! Nothing is written on the strength of what was not read: whatever is to be done is done by a look that has read everything.
//!
//! [`unwatched`]: super::unwatched

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use kube::ResourceExt;

use crate::{
    api::{
        Tenant,
        conditions::{self, Word, reasons},
    },
    names::TENANT_FINALIZER,
    tenant::{Context, Error, Progress, apply, observe::Observed, requests, status},
};

/// How much a look reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Look {
    /// Everything.
    #[default]
    Whole,
    /// Only what is watched, since nothing is to be done; the rest is left for the next look.
    Brief,
}

/// Names of the tenants that were looked at since the start.
#[derive(Debug, Default)]
pub struct Looked(Mutex<BTreeSet<String>>);

impl Looked {
    /// Notes a look; says whether it is the first.
    fn is_first(&self, tenant: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant.to_owned())
    }

    /// Forgets tenants that are gone.
    pub fn retain(&self, present: &BTreeSet<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|name| present.contains(name));
    }
}

/// Notes a look at a tenant; says whether it is the first, at one that needs nothing before it is observed.
pub(super) fn begin(tenant: &Tenant, ctx: &Context) -> bool {
    let is_held = tenant.finalizers().iter().any(|finalizer| finalizer == TENANT_FINALIZER);
    ctx.looked.is_first(&tenant.name_any()) && is_held
}

/// Whether there is nothing to do and nothing to say, as far as can be known without reading what is not watched.
pub(super) fn finds_all_well(
    tenant: &Tenant,
    ctx: &Context,
    progress: &Progress,
    observed: &Observed,
) -> Result<bool, Error> {
    let (Some(valid), Some(course), Some(hosts)) = (&progress.valid, &progress.course, &progress.hosts)
    else {
        return Ok(false);
    };
    // The manual says that a new start copies pull secrets at once.
    let is_due = !ctx.settings.image_pull_secrets.is_empty()
        || !course.is_settled()
        || requests::are_open(ctx, &tenant.name_any())
        || valid.databases.oldest != valid.databases.current;
    if is_due || !is_said(tenant, ctx, progress, observed) {
        return Ok(false);
    }
    apply::is_at_rest(ctx, valid, course, &hosts.granted, observed)
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
