//! What is left of a tenant that goes: its tombstone, and the key that reads its backups. Both are made before anything is
//! removed, so whatever happens afterwards, the backups can be found and read.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::ResourceExt;

use crate::{
    api::{
        FinalBackup, Tenant, TenantTombstone, TenantTombstoneSpec,
        conditions::{self, KEY_DESTROYED, whole_seconds},
    },
    cluster::cache::Snapshot,
    names::{self, SKIP_FINAL_BACKUP, TOMBSTONE_FIELD_MANAGER, TOMBSTONE_FINALIZER},
    tenant::{
        Context, Error,
        closing::{Closing, Stage},
        is_deleting,
        newest::Newest,
        observe::{NamespaceState, Observed},
        unwatched::Unwatched,
        validate,
    },
};

/// Whether somebody decided that no backup comes before the removal.
pub(super) fn skips_final_backup(tenant: &Tenant) -> bool {
    let written = tenant.annotations().get(SKIP_FINAL_BACKUP);
    written.is_some() && written == tenant.metadata.name.as_ref()
        || !tenant.spec.deletion.clone().unwrap_or_default().final_backup
}

/// Whether nothing more is to be kept of a tenant whose deletion is confirmed: all that is left to do is to remove it.
pub(super) fn is_over(tenant: &Tenant, ctx: &Context, seen: &Snapshot) -> bool {
    let Some((child, facts)) = seen.namespace() else { return true };
    let is_ours = NamespaceState::of(tenant, child.deleting, facts) == NamespaceState::Ours;
    let uid = tenant.uid();
    let buried = || ctx.tombstones.state().iter().any(|tombstone| Some(&tombstone.spec.uid) == uid.as_ref());
    // Without a schema it never had data, and without a key it never had backups.
    let never_lived = facts.schema_version.is_none() && facts.backup_recipient.is_none();
    !is_ours || never_lived || buried()
}

/// What became of the last backup, once the tenant may go.
pub(super) fn outcome(closing: Option<&Closing>) -> Option<FinalBackup> {
    match closing?.stage {
        Stage::Unneeded => Some(FinalBackup::NotMade),
        Stage::Proven { .. } => Some(FinalBackup::Verified),
        _ => None,
    }
}

/// An empty CRM must not take the place of one whose backups are kept, because somebody applied an old file again. One that
/// begins from a backup is not empty.
pub(super) fn refuse_name_of_deleted(
    tenant: &Tenant,
    ctx: &Context,
    observed: &Observed,
) -> Result<(), Error> {
    let is_made = observed.namespace != NamespaceState::Absent || is_deleting(tenant);
    if is_made || tenant.spec.bootstrap.is_some() {
        return Ok(());
    }
    let name = tenant.name_any();
    let lives = |tombstone: &TenantTombstone| {
        let conditions = tombstone.status.as_ref().map(|status| status.conditions.as_slice());
        let destroyed = conditions::find(conditions.unwrap_or_default(), KEY_DESTROYED);
        tombstone.spec.tenant == name && destroyed.is_none_or(|destroyed| destroyed.status != "True")
    };
    match ctx.tombstones.state().into_iter().find(|tombstone| lives(tombstone)) {
        None => Ok(()),
        Some(tombstone) => Err(Error::TombstoneExists {
            name,
            tombstone: tombstone.name_any(),
            uid: tombstone.spec.uid.clone(),
            expires_at: tombstone.spec.expires_at.0,
        }),
    }
}

/// Moves the key of the backups to where it outlives the tenant, and makes the tombstone. Of a tenant that never had backups
/// nothing is left.
pub(super) async fn bury(
    tenant: &Tenant,
    ctx: &Context,
    observed: &Observed,
    unwatched: &Unwatched,
    final_backup: FinalBackup,
) -> Result<(), Error> {
    let Some(recipient) = unwatched.backup_recipient(observed) else { return Ok(()) };
    let name = names::tombstone(&tenant.name_any(), &tenant.uid().unwrap_or_default());
    let key = unwatched.backup_identity.as_ref();
    if let Some(key) = key {
        let copy = key_secret(&name, &ctx.settings.keys_namespace, tenant, key);
        ctx.cluster.create(&copy).await.map_err(Error::Cluster)?;
    } else if final_backup != FinalBackup::Skipped {
        return Err(Error::BackupKeyLost { namespace: names::namespace_of(&tenant.name_any()), recipient });
    }
    let tombstone = tombstone(tenant, ctx, observed, final_backup, key.map(|_| name.clone()), recipient)?;
    let made = ctx.cluster.create_global(TOMBSTONE_FIELD_MANAGER, &tombstone).await;
    made.map_err(Error::Cluster)?;
    tracing::info!(tenant = tenant.name_any(), tombstone = name, ?final_backup, "the tenant has a tombstone");
    Ok(())
}

fn key_secret(name: &str, namespace: &str, tenant: &Tenant, key: &Secret) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(BTreeMap::from([
                ("app.kubernetes.io/managed-by".to_owned(), "tenantry".to_owned()),
                (names::TENANT_LABEL.to_owned(), tenant.name_any()),
            ])),
            ..ObjectMeta::default()
        },
        type_: key.type_.clone(),
        data: key.data.clone(),
        ..Secret::default()
    }
}

fn tombstone(
    tenant: &Tenant,
    ctx: &Context,
    observed: &Observed,
    final_backup: FinalBackup,
    key_secret: Option<String>,
    recipient: String,
) -> Result<TenantTombstone, Error> {
    let facts = observed.seen.namespace().map(|(_, facts)| facts.clone()).unwrap_or_default();
    let deleted_at = tenant.metadata.deletion_timestamp.clone().unwrap_or(Time((ctx.now)()));
    let keep_for = validate::keep_for(tenant).map_err(Error::Invalid)?;
    let policy = observed.plan.as_ref().ok().and_then(|plan| plan.spec.backup.clone());
    let Newest { backup, drill: _ } = Newest::of(tenant, &observed.seen, (ctx.now)());
    let spec = TenantTombstoneSpec {
        tenant: tenant.name_any(),
        uid: tenant.uid().unwrap_or_default(),
        // From now, not from when it was asked for: a store may have been down for long.
        expires_at: Time(whole_seconds((ctx.now)().checked_add(keep_for).unwrap_or(Timestamp::MAX))),
        deleted_at,
        store: policy.map(|policy| policy.store),
        final_backup,
        backup,
        release: facts.release,
        schema_version: facts.schema_version,
        key_secret,
        recipient: Some(recipient),
        tenant_spec: serde_json::to_value(&tenant.spec).map_err(Error::Encode)?,
    };
    let name = names::tombstone(&spec.tenant, &spec.uid);
    let mut tombstone = TenantTombstone::new(&name, spec);
    tombstone.metadata.labels = Some([(names::TENANT_LABEL.to_owned(), tenant.name_any())].into());
    tombstone.metadata.finalizers = Some(vec![TOMBSTONE_FINALIZER.to_owned()]);
    Ok(tombstone)
}
