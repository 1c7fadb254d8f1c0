//! A tenant of the demo that somebody deleted comes back with its data: what is left of it keeps its name for that.

use anyhow::{Result, bail};
use kube::{Api, ResourceExt as _, api::ListParams};
use operator::api::{
    Bootstrap, BootstrapRestore, Tenant, TenantTombstone,
    conditions::{self, KEY_DESTROYED},
};

use crate::fleet::Installed;

/// The sample as it is to be applied: as it once began, and from its last backup if it was deleted.
pub(super) async fn as_it_begins(installed: &Installed, sample: &Tenant) -> Result<Tenant> {
    let client = installed.client().await?;
    let (tenants, tombstones) = (Api::<Tenant>::all(client.clone()), Api::<TenantTombstone>::all(client));
    let name = sample.name_any();
    let present = tenants.get_opt(&name).await?;
    let left = tombstones.list(&ListParams::default()).await?.items;
    let mut tenant = sample.clone();
    tenant.spec.bootstrap = beginning(&name, present.as_ref(), &left)?;
    if present.is_none() && tenant.spec.bootstrap.is_some() {
        println!("  {name} was deleted: it comes back from its last backup");
    }
    Ok(tenant)
}

/// What a tenant begins with can never be changed, so of one that is there it is what it was.
fn beginning(name: &str, present: Option<&Tenant>, left: &[TenantTombstone]) -> Result<Option<Bootstrap>> {
    if let Some(present) = present {
        return Ok(present.spec.bootstrap.clone());
    }
    let keeps_its_name = |tombstone: &&TenantTombstone| {
        let conditions = tombstone.status.as_ref().map(|status| status.conditions.as_slice());
        let destroyed = conditions::find(conditions.unwrap_or_default(), KEY_DESTROYED);
        tombstone.spec.tenant == name && destroyed.is_none_or(|destroyed| destroyed.status != "True")
    };
    let newest = left.iter().filter(keeps_its_name).max_by_key(|tombstone| tombstone.spec.deleted_at.0);
    let Some(newest) = newest else { return Ok(None) };
    if newest.spec.backup.is_none() {
        let tombstone = newest.name_any();
        bail!(
            "tenant {name} was deleted, and no backup of it is known. To begin anew, destroy what is left of it, and run this again: \
             cargo e2e kubectl annotate tenanttombstone {tombstone} tenantry.dev/confirm-delete={tombstone} && \
             cargo e2e kubectl delete tenanttombstone {tombstone}"
        );
    }
    let tenant_uid = newest.spec.uid.clone();
    Ok(Some(Bootstrap { restore: BootstrapRestore { tenant: None, tenant_uid, backup: None, time: None } }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fleet::small_tenant;

    fn tombstone(tenant: &str, uid: &str, deleted: &str, backup: &Value) -> TenantTombstone {
        serde_json::from_value(json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantTombstone", "metadata": {"name": format!("{tenant}-{uid}")},
            "spec": {
                "tenant": tenant, "uid": uid, "deletedAt": deleted, "expiresAt": "2026-12-22T00:00:00Z",
                "finalBackup": "Verified", "backup": backup, "tenantSpec": {},
            },
        }))
        .unwrap()
    }

    fn backup() -> Value {
        json!({"backup": "20261122T132501Z-ab12cd", "createdAt": "2026-11-22T13:25:01Z", "size": 1, "schemaVersion": 1})
    }

    fn uid(beginning: Option<Bootstrap>) -> Option<String> {
        beginning.map(|bootstrap| bootstrap.restore.tenant_uid)
    }

    #[test]
    fn what_was_deleted_last_comes_back() {
        let left = [
            tombstone("acme", "second", "2026-11-22T12:00:00Z", &backup()),
            tombstone("acme", "first", "2026-11-20T12:00:00Z", &backup()),
            tombstone("bluesky", "other", "2026-11-22T13:00:00Z", &backup()),
        ];
        assert_eq!(uid(beginning("acme", None, &left).unwrap()).as_deref(), Some("second"));
        assert_eq!(uid(beginning("hangzhou", None, &left).unwrap()), None);
    }

    #[test]
    fn one_that_is_there_stays_as_it_began() {
        let left = [tombstone("acme", "first", "2026-11-20T12:00:00Z", &backup())];
        let mut present = small_tenant("acme", "r1");
        assert_eq!(beginning("acme", Some(&present), &left).unwrap(), None);
        present.spec.bootstrap = beginning("acme", None, &left).unwrap();
        assert_eq!(uid(beginning("acme", Some(&present), &[]).unwrap()).as_deref(), Some("first"));
    }

    #[test]
    fn what_is_destroyed_keeps_no_name_and_what_has_no_backup_is_said() {
        let mut left = [tombstone("acme", "first", "2026-11-20T12:00:00Z", &Value::Null)];
        let said = beginning("acme", None, &left).unwrap_err().to_string();
        assert!(said.contains("kubectl delete tenanttombstone acme-first"), "{said}");
        let destroyed = json!({"conditions": [{
            "type": "KeyDestroyed", "status": "True", "reason": "Expired", "message": "", "lastTransitionTime": "2026-11-21T00:00:00Z",
        }]});
        left[0].status = serde_json::from_value(destroyed).unwrap();
        assert_eq!(beginning("acme", None, &left).unwrap(), None);
    }
}
