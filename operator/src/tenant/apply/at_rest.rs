//! Whether there is anything to apply, as far as can be known without what is not watched.

use k8s_openapi::api::batch::v1::Job;
use kube::Resource as _;

use super::{PRUNED, live_pods, routes, told, unwanted, wanted};
use crate::{
    cluster::{
        cache::Snapshot,
        facts::{ChildKind, Kind},
    },
    names::Host,
    tenant::{
        Context, Error, bootstrap,
        build::{self, Children},
        closing,
        course::{self, Course},
        entitlement,
        observe::Observed,
        upgrade,
        validate::ValidTenant,
    },
};

/// Whether [`apply`](super::apply) would leave alone everything that is watched.
///
/// Of the entitlement the pods bear witness: they are told after the file is written. If one of them says something else, or there
/// is none, the file has to be read.
pub(in crate::tenant) fn is_at_rest(
    ctx: &Context,
    tenant: &ValidTenant,
    course: &Course,
    granted: &[Host],
    observed: &Observed,
) -> Result<bool, Error> {
    let seen = &observed.seen;
    let entitlement = entitlement::next(entitlement::content(tenant), &told(seen));
    let text = entitlement.to_json().map_err(Error::Encode)?;
    let mut pods = live_pods(seen).map(|(_, _, pod)| pod.entitlement.as_ref() == Some(&text)).peekable();
    let recipient = observed.recorded_recipient();
    let lacks_key = tenant.backup.is_some() && recipient.is_none();
    if pods.peek().is_none() || !pods.all(|is_told| is_told) || lacks_key {
        return Ok(false);
    }
    let children =
        build::build(tenant, course, &entitlement, recipient, &ctx.settings).map_err(Error::Encode)?;
    let is_unwanted = unwanted(seen, &PRUNED, &wanted(tenant, &children)).next().is_some()
        || !course::superseded(tenant, course, seen).is_empty()
        || !bootstrap::unwanted(course.bootstrap.as_ref(), seen).is_empty()
        || !closing::unwanted(course.closing.as_ref(), seen).is_empty()
        || !upgrade::unwanted(course, seen).is_empty();
    if is_unwanted {
        return Ok(false);
    }
    let routes = build::routes(tenant, granted, &ctx.settings);
    let are_there =
        has_children(seen, &children).and_then(|has| Ok(has && routes::are_there(seen, &routes)?));
    are_there.map_err(Error::Encode)
}

fn has_children(seen: &Snapshot, children: &Children) -> Result<bool, serde_json::Error> {
    // No `..`: a new child that nobody looks for does not compile.
    let Children {
        namespace,
        role_binding,
        quota,
        limits,
        service_accounts,
        network_policies,
        // Not watched.
        database_init: _,
        entitlement: _,
        claim,
        services,
        budgets,
        database,
        migration,
        app,
        backup,
        drill,
        bootstrap,
        closing,
        upgrade,
    } = children;
    // What is to run once is something to be done, until it is there.
    let jobs = [migration, bootstrap, closing, upgrade].into_iter().flatten();
    let are_there = |job: &Job| seen.get(Kind::Job, job.meta().name.as_deref().unwrap_or_default()).is_some();
    Ok(jobs.into_iter().all(are_there)
        && seen.has(namespace)?
        && seen.has(role_binding)?
        && seen.has(quota)?
        && seen.has(limits)?
        && has_all(seen, service_accounts)?
        && has_all(seen, network_policies)?
        && seen.has(claim)?
        && has_all(seen, services)?
        && has_all(seen, budgets)?
        && seen.has(database)?
        && has_all(seen, app)?
        && has_all(seen, backup)?
        && has_all(seen, drill)?)
}

/// Whether all of these are there as they are wanted.
pub(super) fn has_all<'a, K: ChildKind>(
    seen: &Snapshot,
    children: impl IntoIterator<Item = &'a K>,
) -> Result<bool, serde_json::Error> {
    for child in children {
        if !seen.has(child)? {
            return Ok(false);
        }
    }
    Ok(true)
}
