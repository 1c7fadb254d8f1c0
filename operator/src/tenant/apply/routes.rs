//! What leads requests to the tenant when it is not our gateway that does.

use super::{all, at_rest::has_all, names, prune, unwanted};
use crate::{
    cluster::{cache::Snapshot, facts::Kind},
    tenant::{Context, Error, build::Routes, validate::ValidTenant},
};

const ROUTES: [Kind; 2] = [Kind::Ingress, Kind::HttpRoute];

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
    prune(ctx, tenant, seen, &ROUTES, &wanted(routes)).await
}

/// Whether [`apply`] would leave the routes alone.
pub(super) fn are_there(seen: &Snapshot, routes: &Routes) -> Result<bool, serde_json::Error> {
    let Routes { ingresses, http_routes } = routes;
    let is_unwanted = unwanted(seen, &ROUTES, &wanted(routes)).next().is_some();
    Ok(!is_unwanted
        && has_all(seen, ingresses)?
        && (!seen.serves(Kind::HttpRoute) || has_all(seen, http_routes)?))
}

fn wanted(Routes { ingresses, http_routes }: &Routes) -> Vec<(Kind, String)> {
    names(ingresses).chain(names(http_routes)).collect()
}
