//! The key that reads the backup with which a tenant begins: copied into its namespace for as long as the restore takes.

use k8s_openapi::{ByteString, api::core::v1::Secret};

use crate::{
    names::{self, child},
    tenant::{
        Context, Error,
        bootstrap::Source,
        build::{self, IDENTITY},
        course::Course,
        observe::{NamespaceState, missing_keys},
        validate::ValidTenant,
    },
};

/// Puts the key where the Job that is to run finds it.
pub(super) async fn ensure(ctx: &Context, tenant: &ValidTenant, course: &Course) -> Result<(), Error> {
    let Some(bootstrap) = course.bootstrap.as_ref().filter(|bootstrap| bootstrap.job().is_some()) else {
        return Ok(());
    };
    let name = child::RESTORE_IDENTITY;
    if let Some(present) = get(ctx, &tenant.namespace, name).await? {
        return super::secrets::complete(tenant, name, &present, &[IDENTITY]);
    }
    let source = &bootstrap.source;
    let Some(key) = find(ctx, source).await? else {
        let store = tenant.backup.as_ref().map(|backup| backup.store.clone()).unwrap_or_default();
        let Source { tenant, uid } = source.clone();
        let keys_namespace = ctx.settings.keys_namespace.clone();
        return Err(Error::RestoreKeyMissing { tenant, uid, store, keys_namespace });
    };
    ctx.cluster.create(&build::restore_identity(tenant, key)).await.map_err(Error::Cluster)
}

/// The key of the deleted tenant, of the living one, or of the stores, in this order.
async fn find(ctx: &Context, source: &Source) -> Result<Option<ByteString>, Error> {
    let keys = &ctx.settings.keys_namespace;
    if let Some(name) = buried(ctx, source)
        && let Some(key) = identity(ctx, keys, &name).await?
    {
        return Ok(Some(key));
    }
    if lives(ctx, source)
        && let Some(key) = identity(ctx, &names::namespace_of(&source.tenant), child::BACKUP_IDENTITY).await?
    {
        return Ok(Some(key));
    }
    identity(ctx, keys, names::RECOVERY_IDENTITY).await
}

/// Name of the Secret that the tombstone of the deleted tenant names.
fn buried(ctx: &Context, source: &Source) -> Option<String> {
    let all = ctx.tombstones.state();
    let tombstone = all
        .iter()
        .find(|tombstone| tombstone.spec.uid == source.uid && tombstone.spec.tenant == source.tenant)?;
    tombstone.spec.key_secret.clone()
}

/// Whether that very tenant is there, and its namespace is its own.
fn lives(ctx: &Context, source: &Source) -> bool {
    let tenant = ctx.tenants.find(|tenant| {
        tenant.metadata.name.as_ref() == Some(&source.tenant)
            && tenant.metadata.uid.as_ref() == Some(&source.uid)
    });
    let seen = ctx.cluster.cache().snapshot(&names::namespace_of(&source.tenant));
    tenant.zip(seen.namespace()).is_some_and(|(tenant, (namespace, facts))| {
        NamespaceState::of(&tenant, namespace.deleting, facts) == NamespaceState::Ours
    })
}

async fn identity(ctx: &Context, namespace: &str, name: &str) -> Result<Option<ByteString>, Error> {
    let Some(secret) = get(ctx, namespace, name).await? else { return Ok(None) };
    let missing = missing_keys(&secret, &[IDENTITY]);
    if !missing.is_empty() {
        let (name, namespace) = (name.to_owned(), namespace.to_owned());
        return Err(Error::SecretIncomplete { name, namespace, missing: missing.join(", ") });
    }
    Ok(secret.data.and_then(|mut data| data.remove(IDENTITY)))
}

async fn get(ctx: &Context, namespace: &str, name: &str) -> Result<Option<Secret>, Error> {
    ctx.cluster.get(namespace, name).await.map_err(Error::Cluster)
}
