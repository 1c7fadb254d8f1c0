//! Object Lock: what even the owner of the bucket cannot remove.

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    lab::{Lab, Tenant, id, ids, manifest, now},
    past::{ago, whole},
};

impl Lab {
    /// Makes the lock of a backup one of the past.
    pub(crate) fn end_lock(&self, tenant: &Tenant, id: &str) -> Result<()> {
        for part in ["data", "manifest.json"] {
            let object = format!("{}/{}/{id}/{part}", tenant.name, tenant.uid);
            let mut retention: Value = serde_json::from_str(&self.storage.retention("locked", &object)?)?;
            assert!(retention["RetainUntilDate"].is_string(), "{retention}");
            retention["RetainUntilDate"] = json!(now() - SignedDuration::from_hours(24));
            self.storage.set_retention("locked", &object, &retention.to_string())?;
        }
        Ok(())
    }
}

/// Puts a backup as it is put now, and then makes it an old one; returns its name.
pub(crate) async fn put_long_ago(lab: &Lab, tenant: &Tenant, at: Timestamp) -> Result<String> {
    let (young, old) = (id(now(), "aaaaaa"), id(at, "aaaaaa"));
    lab.put_backup(tenant, "locked", &young, b"data").await?;
    let place = lab.place("locked", tenant);
    // In place, so that what the storage knows of the object stays.
    std::fs::write(
        place.join(&young).join("manifest.json"),
        manifest(tenant, "locked", &old, 4).to_string(),
    )?;
    std::fs::rename(place.join(young), place.join(&old))?;
    Ok(old)
}

#[tokio::test]
async fn what_is_locked_goes_when_the_lock_ends_and_leaves_nothing() -> Result<()> {
    let lab = Lab::without_stores().await?;
    lab.storage.make_bucket("locked", &["--object-lock-enabled-for-bucket"]).await?;
    lab.make_store("locked", json!({"s3": lab.storage.s3("locked"), "lock": {"days": 1}})).await?;
    lab.until_reason("locked", "True", "Probed").await?;
    let acme = lab.customer("acme", "standard").await?;
    let old = [put_long_ago(&lab, &acme, ago(9, 0)).await?, put_long_ago(&lab, &acme, ago(8, 0)).await?];
    let newest = put_long_ago(&lab, &acme, ago(7, 0)).await?;
    lab.plan("standard", "locked", json!({"daily": 1, "weekly": 0, "monthly": 0})).await?;

    lab.until_metric("tenantry_store_backups", &["state=\"locked\""], 2.0).await?;
    assert_eq!(lab.kept("locked", &acme), whole(&[&old[0], &old[1], &newest]));
    let failed = lab.metric("tenantry_store_sweep_failures_total", &[]).await?;
    assert!(failed < 0.5, "a lock is no failure: {failed}");

    lab.end_lock(&acme, &old[0])?;
    lab.until_kept("locked", &acme, &whole(&[&old[1], &newest])).await?;
    // Neither markers nor older versions, of backups or of probes.
    assert_eq!(lab.storage.versions("locked"), 0);
    Ok(())
}

#[tokio::test]
async fn backups_are_locked_and_probes_are_not() -> Result<()> {
    let lab = Lab::without_stores().await?;
    let acme = lab.tenant("acme", "0b7f8f0e-5a1b-4c3d-9e8f-000000000001").await?;
    lab.storage.make_bucket("locked", &["--object-lock-enabled-for-bucket"]).await?;
    lab.make_store("locked", json!({"s3": lab.storage.s3("locked"), "lock": {"days": 30}})).await?;
    lab.until_reason("locked", "True", "Probed").await?;
    for (id, size) in [(ids().0, 10), (ids().1, 20 << 20)] {
        lab.put_backup(&acme, "locked", id, &vec![b'x'; size]).await?;
        for part in ["data", "manifest.json"] {
            let object = format!("{}/{}/{id}/{part}", acme.name, acme.uid);
            let retention = lab.storage.retention("locked", &object)?;
            assert!(retention.contains("COMPLIANCE"), "{object}: {retention:?}");
        }
    }
    let probes = lab.storage.root.join("locked/.tenantry");
    for probe in std::fs::read_dir(probes).into_iter().flatten() {
        let name = format!(".tenantry/{}", probe?.file_name().to_string_lossy());
        assert_eq!(lab.storage.retention("locked", &name)?, "", "{name}");
    }
    Ok(())
}
