//! Object Lock: what even the owner of the bucket cannot remove.

use anyhow::Result;
use serde_json::json;

use crate::lab::Lab;

#[tokio::test]
async fn backups_are_locked_and_probes_are_not() -> Result<()> {
    let lab = Lab::without_stores().await?;
    let acme = lab.tenant("acme", "0b7f8f0e-5a1b-4c3d-9e8f-000000000001").await?;
    lab.storage.make_bucket("locked", &["--object-lock-enabled-for-bucket"]).await?;
    lab.make_store("locked", json!({"s3": lab.storage.s3("locked"), "lock": {"days": 30}})).await?;
    lab.until_reason("locked", "True", "Probed").await?;
    for (id, size) in [("20261122T140000Z-aaaaaa", 10), ("20261123T140000Z-bbbbbb", 20 << 20)] {
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
