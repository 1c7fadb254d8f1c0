//! The operator's rights in a tenant's namespace.

use std::time::Duration;

use jiff::SignedDuration;
use kube::ResourceExt;

use crate::{
    api::Tenant,
    cluster::{facts::Kind, write::Applied},
    names,
    tenant::{Context, Error, build, observe::NamespaceState, snapshot},
};

/// Rights that were just granted may not have reached every cache of the API server.
const LAG: SignedDuration = SignedDuration::from_secs(6);
/// Until it is tried again meanwhile.
pub(super) const RETRY: Duration = Duration::from_millis(100);

/// Puts our rights right before anything else: without them nothing there can be read, and a reconcile that fails while it reads
/// would never come to put them right.
pub(super) async fn restore(tenant: &Tenant, ctx: &Context) -> Result<Applied, Error> {
    let seen = snapshot(tenant, ctx);
    let is_ours = seen.namespace().is_some_and(|(namespace, facts)| {
        NamespaceState::of(tenant, namespace.deleting, facts) == NamespaceState::Ours
    });
    if !is_ours {
        return Ok(Applied::Unchanged);
    }
    let rights = build::role_binding(&tenant.name_any(), &tenant.uid().unwrap_or_default(), &ctx.settings);
    ctx.cluster.apply(&seen, &rights).await.map_err(Error::Cluster)
}

/// The refusal comes so soon after our rights were granted that it says nothing.
pub(super) fn lag(tenant: &Tenant, ctx: &Context, outcome: &Result<(), Error>) -> bool {
    let Err(Error::Cluster(error)) = outcome else { return false };
    let seen = snapshot(tenant, ctx);
    let bound = seen.get(Kind::RoleBinding, names::OPERATOR);
    let since = bound.and_then(|binding| binding.created).map(|created| (ctx.now)().duration_since(created));
    error.is_forbidden() && since.is_some_and(|since| since < LAG)
}
