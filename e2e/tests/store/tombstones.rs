//! The backups of deleted tenants: protected until their key is destroyed, and then gone.

use anyhow::{Context, Result};
use e2e::{
    cluster::kubeconfig,
    host::wait::{Look, Wait},
};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use operator::api::{
    TenantTombstone,
    conditions::{BACKUPS_REMOVED, KEY_DESTROYED, find},
};
use serde_json::json;

use crate::{
    lab::{DEADLINE, Lab, STORES, Tenant, now},
    lock::put_long_ago,
    past::{ago, whole},
    relay::{Fate, Relay},
    retention::is_removal,
};

const UID: &str = "0b7f8f0e-5a1b-4c3d-9e8f-000000000001";

impl Lab {
    /// A tombstone as the operator makes it; returns its name.
    async fn bury(&self, tenant: &Tenant, store: &str) -> Result<String> {
        let name = format!("{}-{store}", tenant.name);
        let tombstone = json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantTombstone", "metadata": {"name": name},
            "spec": {
                "tenant": tenant.name, "uid": tenant.uid, "store": store, "finalBackup": "Verified",
                "deletedAt": now(), "expiresAt": now() + SignedDuration::from_hours(720), "tenantSpec": {},
            },
        });
        let made = serde_json::from_value(tombstone)?;
        Api::<TenantTombstone>::all(self.client.clone()).create(&PostParams::default(), &made).await?;
        Ok(name)
    }

    /// A tombstone without a key, until the door has done its part.
    pub(crate) async fn bury_for_good(&self, tenant: &Tenant, store: &str) -> Result<()> {
        let name = self.bury(tenant, store).await?;
        self.destroy_key(&name).await?;
        self.until_buried(&name, "True", "Removed").await.map(drop)
    }

    /// Says that the key is destroyed, as the operator does.
    async fn destroy_key(&self, name: &str) -> Result<()> {
        let client = kubeconfig::break_glass(self.control_plane.kubeconfig()).await?;
        let patch = json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantTombstone", "metadata": {"name": name},
            "status": {"conditions": [{
                "type": KEY_DESTROYED, "status": "True", "reason": "Destroyed", "message": "", "lastTransitionTime": now(),
            }]},
        });
        let params = PatchParams::apply("tenantry-tombstones");
        Api::<TenantTombstone>::all(client).patch_status(name, &params, &Patch::Apply(&patch)).await?;
        Ok(())
    }

    async fn conditions(&self, name: &str) -> Result<Vec<Condition>> {
        let tombstone = Api::<TenantTombstone>::all(self.client.clone()).get(name).await?;
        Ok(tombstone.status.unwrap_or_default().conditions)
    }

    /// Waits until the door says that of the backups; returns the message.
    async fn until_buried(&self, name: &str, status: &str, reason: &str) -> Result<String> {
        Wait::new(format!("{name}: BackupsRemoved={status}, {reason}"), DEADLINE)
            .explained_by(&self.door.log)
            .until(async || {
                let conditions = self.conditions(name).await?;
                Ok(match find(&conditions, BACKUPS_REMOVED) {
                    Some(found) if found.status == status && found.reason == reason => {
                        Look::Done(found.message.clone())
                    }
                    other => Look::NotYet(format!("{other:?}")),
                })
            })
            .await
    }
}

#[tokio::test]
async fn a_tombstone_protects_until_the_key_is_gone_and_then_everything_goes() -> Result<()> {
    let lab = Lab::start().await?;
    let acme = lab.tenant("acme", UID).await?;
    // A new tenant has the old one's name.
    let again = Tenant { name: "acme", uid: UID.replace("01", "02"), token: String::new() };
    for store in STORES {
        for tenant in [&acme, &again] {
            lab.plant(store, tenant, ago(9, 0), "Scheduled")?;
            lab.plant(store, tenant, ago(400, 0), "Final")?;
            lab.plant_parts(store, tenant, "of-somebody", ago(90, 0), &[("notes", "?".to_owned())])?;
        }
        let theirs = lab.kept(store, &again);
        let name = lab.bury(&acme, store).await?;
        lab.until_swept(store).await?;
        assert_eq!(lab.kept(store, &acme).len(), 5, "{store}: protected");
        lab.destroy_key(&name).await?;
        lab.until_buried(&name, "True", "Removed").await?;
        assert_eq!(lab.kept(store, &acme), [""; 0], "{store}");
        assert!(!lab.place(store, &acme).exists(), "{store}");
        assert_eq!(lab.kept(store, &again), theirs, "{store}: another tenant's");
        let conditions = lab.conditions(&name).await?;
        assert!(find(&conditions, KEY_DESTROYED).is_some_and(|found| found.reason == "Destroyed"));
        let removed = lab.metric("tenantry_store_removed_objects_total", &[store, "tenant_deleted"]).await?;
        assert_eq!(removed.to_string(), "5", "{store}");
    }
    Ok(())
}

#[tokio::test]
async fn a_tombstone_of_a_tenant_that_is_there_removes_nothing() -> Result<()> {
    let lab = Lab::start().await?;
    let acme = lab.customer("acme", "standard").await?;
    lab.plant("volume", &acme, ago(9, 0), "Scheduled")?;
    let before = lab.kept("volume", &acme);
    let name = lab.bury(&acme, "volume").await?;
    lab.destroy_key(&name).await?;
    let message = lab.until_buried(&name, "False", "TenantExists").await?;
    assert!(message.contains("its backups stay"), "{message}");
    assert_eq!(lab.kept("volume", &acme), before);
    Ok(())
}

#[tokio::test]
async fn what_is_locked_is_told_with_its_date_and_goes_when_the_lock_ends() -> Result<()> {
    let lab = Lab::without_stores().await?;
    lab.storage.make_bucket("locked", &["--object-lock-enabled-for-bucket"]).await?;
    lab.make_store("locked", json!({"s3": lab.storage.s3("locked"), "lock": {"days": 3}})).await?;
    lab.until_reason("locked", "True", "Probed").await?;
    let acme = lab.tenant("acme", UID).await?;
    let id = put_long_ago(&lab, &acme, ago(9, 0)).await?;
    let name = lab.bury(&acme, "locked").await?;
    lab.destroy_key(&name).await?;
    let message = lab.until_buried(&name, "False", "Locked").await?;
    let date = (now() + SignedDuration::from_hours(72)).strftime("%Y-%m-").to_string();
    assert!(message.contains("2 objects locked") && message.contains(&date), "{message}");
    assert_eq!(lab.kept("locked", &acme), whole(&[&id]));
    lab.end_lock(&acme, &id)?;
    lab.until_buried(&name, "True", "Removed").await?;
    assert_eq!(lab.kept("locked", &acme), [""; 0]);
    assert_eq!(lab.storage.versions("locked"), 0);
    Ok(())
}

#[tokio::test]
async fn a_store_that_fails_or_a_door_that_is_killed_delays_it_only() -> Result<()> {
    let mut lab = Lab::without_stores().await?;
    let acme = lab.tenant("acme", UID).await?;
    for day in 2..4 {
        lab.plant("bucket", &acme, ago(day, 0), "Scheduled")?;
    }
    let name = lab.bury(&acme, "bucket").await?;
    lab.destroy_key(&name).await?;
    let message = lab.until_buried(&name, "False", "StoreNotReady").await?;
    assert!(message.contains("there is no BackupStore"), "{message}");

    let relay = Relay::start(lab.storage.address.clone()).await?;
    let denied =
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 39\r\n\r\n<Error><Code>AccessDenied</Code></Error>";
    relay.judge(move |line| if line.contains("list-type=2") { Fate::Answer(denied) } else { Fate::Pass });
    lab.make_store("bucket", lab.bucket_at(&relay.address)).await?;
    lab.until_buried(&name, "False", "AccessDenied").await?;
    relay.judge(|line| if line.starts_with("HEAD ") { Fate::Silence } else { Fate::Pass });
    lab.until_buried(&name, "False", "Unreachable").await?;
    assert_eq!(lab.kept("bucket", &acme).len(), 4);

    // Each of the four deletions is cut off before the storage has it, and then after.
    for (cut, fate) in (0..8_usize).zip([Fate::Silence, Fate::Unheard].into_iter().cycle()) {
        relay.judge(move |line| if is_removal(line) { fate } else { Fate::Pass });
        lab.restart_door("1h").await?;
        relay.until_disturbed(1).await?;
        lab.kill_door().await?;
        let kept = lab.kept("bucket", &acme);
        assert_eq!(kept.len(), 4 - cut.div_ceil(2), "cut {cut}: {kept:?}");
        let manifest = kept.iter().find(|name| name.ends_with("/manifest.json"));
        let data = manifest.map(|name| name.replace("manifest.json", "data"));
        assert!(data.is_none_or(|data| kept.contains(&data)), "cut {cut}: {kept:?}");
        let conditions = lab.conditions(&name).await?;
        let removed = find(&conditions, BACKUPS_REMOVED).context("it was told of")?;
        assert_eq!(removed.status, "False", "cut {cut}");
    }
    relay.judge(|_| Fate::Pass);
    lab.restart_door("1h").await?;
    lab.until_buried(&name, "True", "Removed").await?;
    Ok(())
}
