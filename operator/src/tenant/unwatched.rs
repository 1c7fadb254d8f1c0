//! Reads by name what cannot be watched: Secrets and ConfigMaps.
//!
//! What was not read, what could not be read and what is not there are three things. Whoever needs to know whether a Secret is
//! there needs an [`Unwatched`], and only reading makes one.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;

use crate::{
    api::Tenant,
    cluster::facts::Kind,
    names::{self, child},
    tenant::{
        Context, Error,
        observe::{NamespaceState, Observed, recipient_in},
    },
};

/// Children of kinds that are not watched; `None` is what the API server does not have.
#[derive(Debug, Default)]
pub struct Unwatched {
    /// The passwords.
    pub credentials: Option<Secret>,
    /// The key pair of backups.
    pub backup_identity: Option<Secret>,
    /// Init script and access rules.
    pub database_init: Option<ConfigMap>,
    /// State and limits.
    pub entitlement: Option<ConfigMap>,
    /// Each pull secret that tenants get.
    pub pull_secrets: Vec<PullSecret>,
}

/// A pull secret: the original and the tenant's copy.
#[derive(Debug)]
pub struct PullSecret {
    /// Its name in both namespaces.
    pub name: String,
    /// In the operator's namespace.
    pub source: Option<Secret>,
    /// In the tenant's namespace.
    pub copy: Option<Secret>,
}

impl Unwatched {
    /// The public key of the tenant's backups: what was written down when it was made, or what the Secret says.
    pub fn backup_recipient(&self, observed: &Observed) -> Option<String> {
        let recorded = observed.recorded_recipient().map(str::to_owned);
        recorded.or_else(|| self.backup_identity.as_ref().and_then(recipient_in))
    }
}

/// Reads all of it. A read that fails is an error, never taken for "not there".
pub(super) async fn read(tenant: &Tenant, ctx: &Context, observed: &Observed) -> Result<Unwatched, Error> {
    let namespace = names::namespace_of(&tenant.name_any());
    // In a namespace that does not exist there is nothing to read, and before our rights are there nothing can be read.
    let is_readable = observed.namespace == NamespaceState::Ours
        && observed.seen.get(Kind::RoleBinding, names::OPERATOR).is_some();
    let read =
        if is_readable { read_by_name(ctx, &namespace, observed).await } else { Ok(Unwatched::default()) };
    #[cfg(feature = "mutants")]
    let read = crate::mutants::outcome_of_reading(read);
    let mut unwatched = read?;
    read_pull_secret_sources(ctx, &mut unwatched).await?;
    Ok(unwatched)
}

async fn read_by_name(ctx: &Context, namespace: &str, observed: &Observed) -> Result<Unwatched, Error> {
    let cluster = &ctx.cluster;
    // A key that was made is needed as long as the tenant lives, whatever the plan says now.
    let has_backups = observed.recorded_recipient().is_some()
        || observed.plan.as_ref().is_ok_and(|plan| plan.spec.backup.is_some());
    let backup_identity =
        async { if has_backups { cluster.get(namespace, child::BACKUP_IDENTITY).await } else { Ok(None) } };
    let copies = ctx.settings.image_pull_secrets.iter().map(|name| async {
        let copy = cluster.get(namespace, name).await?;
        Ok(PullSecret { name: name.clone(), source: None, copy })
    });
    let (credentials, backup_identity, database_init, entitlement, pull_secrets) = tokio::try_join!(
        cluster.get(namespace, child::DATABASE_CREDENTIALS),
        backup_identity,
        cluster.get(namespace, child::DATABASE_INIT),
        cluster.get(namespace, child::ENTITLEMENT),
        futures::future::try_join_all(copies),
    )
    .map_err(Error::Cluster)?;
    Ok(Unwatched { credentials, backup_identity, database_init, entitlement, pull_secrets })
}

async fn read_pull_secret_sources(ctx: &Context, unwatched: &mut Unwatched) -> Result<(), Error> {
    for name in &ctx.settings.image_pull_secrets {
        let source = ctx.cluster.get(&ctx.settings.namespace, name).await.map_err(Error::Cluster)?;
        match unwatched.pull_secrets.iter_mut().find(|pull| pull.name == *name) {
            Some(pull) => pull.source = source,
            None => unwatched.pull_secrets.push(PullSecret { name: name.clone(), source, copy: None }),
        }
    }
    Ok(())
}
