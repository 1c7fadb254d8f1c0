//! What leads requests to the tenant when it is not our gateway that does.

use super::{all, names, prune};
use crate::{
    cluster::{cache::Snapshot, facts::Kind},
    tenant::{Context, Error, build::Routes, validate::ValidTenant},
};

/// Makes the routes as the settings want them, and then removes those that other settings or other hosts had made: the new
/// way is there before the old one goes.
pub(super) async fn apply(
    ctx: &Context,
    tenant: &ValidTenant,
    seen: &Snapshot,
    routes: &Routes,
) -> Result<(), Error> {
    let Routes { ingresses, http_routes } = routes;
    all(&ctx.cluster, seen, ingresses).await.map_err(Error::Cluster)?;
    // That the cluster does not know them is said in the status, and is no reason to fail.
    if seen.serves(Kind::HttpRoute) {
        all(&ctx.cluster, seen, http_routes).await.map_err(Error::Cluster)?;
    }
    let wanted: Vec<_> = names(ingresses).chain(names(http_routes)).collect();
    prune(ctx, tenant, seen, &[Kind::Ingress, Kind::HttpRoute], &wanted).await
}
