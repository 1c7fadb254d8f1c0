//! Requests that name no Tenant: no reconcile looks after them, so that is said here.

use kube::{ResourceExt, runtime::reflector::Store};

use super::{Request, is_known, saying, write};
use crate::{
    api::conditions::{Verdict, reasons},
    tenant::{Context, Error},
};

/// Says of every open request without a Tenant what it waits for.
pub async fn settle(ctx: &Context) -> Result<(), Error> {
    say(ctx, &ctx.requests.backups).await?;
    say(ctx, &ctx.requests.restores).await?;
    say(ctx, &ctx.requests.exports).await
}

async fn say<K: Request>(ctx: &Context, requests: &Store<K>) -> Result<(), Error> {
    for request in requests.state_filter(|request| !request.is_finished()) {
        let tenant = request.tenant();
        if is_known(ctx, tenant) {
            continue;
        }
        let message = format!(
            "there is no Tenant {tenant:?} (kubectl get tenants): it waits until there is one; if it is not wanted any more, delete it: kubectl delete {} {}",
            K::kind(&()).to_lowercase(),
            request.name_any()
        );
        let status = saying(&*request, Verdict::unknown(reasons::TENANT_NOT_FOUND, message), (ctx.now)());
        write(ctx, &*request, &status).await?;
    }
    Ok(())
}
