//! Tenants that are objects, and backups that the door took long ago.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};
use e2e::host::wait::{Look, Wait};
use jiff::{SignedDuration, Timestamp};
use kube::{Api, ResourceExt, api::PostParams};
use operator::api::{Plan, Tenant as TenantObject};
use serde_json::{Value, json};

use crate::lab::{CLAIM, DEADLINE, Lab, Tenant, id, manifest, now};

/// So long ago.
pub(crate) fn ago(days: i64, hours: i64) -> Timestamp {
    now() - SignedDuration::from_hours(24 * days + hours)
}

/// A few seconds after midnight, so many days before today.
pub(crate) fn midnight(days: i64, seconds: i64) -> Timestamp {
    const DAY: i64 = 24 * 60 * 60;
    let today = now().as_second() / DAY - days;
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(today * DAY + seconds)
}

impl Lab {
    /// A tenant that is an object, on a plan that need not be there.
    pub(crate) async fn customer(&self, name: &'static str, plan: &str) -> Result<Tenant> {
        let object = json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": name},
            "spec": {
                "displayName": name, "admin": {"name": "A", "email": "a@example.com"}, "plan": plan, "release": "r1",
                "timeZone": "UTC",
            },
        });
        let tenants: Api<TenantObject> = Api::all(self.client.clone());
        let made = tenants.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        self.tenant(name, &made.uid().context("an object has a uid")?).await
    }

    /// A plan whose backups go to `store`, and of which so many are kept.
    pub(crate) async fn plan(&self, name: &str, store: &str, keep: Value) -> Result<()> {
        let plan = json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "Plan", "metadata": {"name": name},
            "spec": {
                "seats": 1, "app": {"cpu": "10m", "memory": "64Mi"},
                "database": {"storage": "1Gi", "cpu": "10m", "memory": "128Mi"},
                "backup": {"store": store, "keep": keep},
            },
        });
        let plans: Api<Plan> = Api::all(self.client.clone());
        plans.create(&PostParams::default(), &serde_json::from_value(plan)?).await?;
        Ok(())
    }

    /// Where the backups of a tenant are on the disk.
    pub(crate) fn place(&self, store: &str, tenant: &Tenant) -> PathBuf {
        let root = match store {
            "volume" => self.folder.path().join("claims").join(CLAIM),
            "bucket" => self.storage.root.join("backups"),
            bucket => self.storage.root.join(bucket),
        };
        root.join(tenant.name).join(&tenant.uid)
    }

    /// Puts a backup where the door would have put it at that time; returns its name.
    pub(crate) fn plant(&self, store: &str, tenant: &Tenant, at: Timestamp, reason: &str) -> Result<String> {
        static PLANTED: AtomicU32 = AtomicU32::new(0);
        let id = id(at, &format!("{:06}", PLANTED.fetch_add(1, Ordering::Relaxed)));
        let mut manifest = manifest(tenant, store, &id, 4);
        manifest["reason"] = json!(reason);
        let parts = [("data", "data".to_owned()), ("manifest.json", manifest.to_string())];
        self.plant_parts(store, tenant, &id, at, &parts)?;
        Ok(id)
    }

    /// Puts files that are as old as `at`, all at once.
    pub(crate) fn plant_parts(
        &self,
        store: &str,
        tenant: &Tenant,
        name: &str,
        at: Timestamp,
        parts: &[(&str, String)],
    ) -> Result<()> {
        let (prepared, place) = (self.folder.path().join("prepared"), self.place(store, tenant));
        std::fs::create_dir_all(&prepared)?;
        for (part, content) in parts {
            let path = prepared.join(part);
            std::fs::write(&path, content)?;
            File::options().write(true).open(&path)?.set_modified(at.into())?;
        }
        std::fs::create_dir_all(&place)?;
        std::fs::rename(&prepared, place.join(name)).context("a backup is put in its place")
    }

    /// Everything that a tenant has in a store, as `<backup>/<part>`, in order.
    pub(crate) fn kept(&self, store: &str, tenant: &Tenant) -> Vec<String> {
        let place = self.place(store, tenant);
        let files = walkdir::WalkDir::new(&place).into_iter().filter_map(Result::ok);
        let files = files.filter(|entry| entry.file_type().is_file());
        let mut names: Vec<_> = files.map(|entry| relative(&place, entry.path())).collect();
        names.sort();
        names
    }

    /// The sum of a metric's values over the lines that contain all these words.
    pub(crate) async fn metric(&self, name: &str, words: &[&str]) -> Result<f64> {
        let metrics = reqwest::get(format!("http://{}/metrics", self.door.management)).await?.text().await?;
        let lines = metrics.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        let lines = lines.filter(|line| words.iter().all(|word| line.contains(word)));
        lines.map(|line| Ok(line.rsplit(' ').next().context("a value")?.parse::<f64>()?)).sum()
    }

    pub(crate) async fn until_metric(&self, name: &str, words: &[&str], least: f64) -> Result<()> {
        Wait::new(format!("{name} {words:?} to reach {least}"), DEADLINE)
            .explained_by(&self.door.log)
            .until(async || {
                let value = self.metric(name, words).await?;
                Ok(if least <= value { Look::Done(()) } else { Look::NotYet(value.to_string()) })
            })
            .await
    }

    /// Waits until a store was swept from its beginning to its end after now.
    pub(crate) async fn until_swept(&self, store: &str) -> Result<()> {
        let words = [store, "ok"];
        let before = self.metric("tenantry_store_sweeps_total", &words).await?;
        // One may be under way.
        self.until_metric("tenantry_store_sweeps_total", &words, before + 2.0).await
    }

    /// Waits until a tenant has that in a store, and then until a sweep has left it so.
    pub(crate) async fn until_kept(&self, store: &str, tenant: &Tenant, expected: &[String]) -> Result<()> {
        let mut expected = expected.to_vec();
        expected.sort();
        Wait::new(format!("{store} to keep {expected:?}"), DEADLINE)
            .explained_by(&self.door.log)
            .until(async || {
                let kept = self.kept(store, tenant);
                Ok(if kept == expected { Look::Done(()) } else { Look::NotYet(format!("{kept:?}")) })
            })
            .await?;
        self.until_swept(store).await?;
        assert_eq!(self.kept(store, tenant), expected);
        Ok(())
    }
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

/// Both objects of backups.
pub(crate) fn whole(ids: &[&String]) -> Vec<String> {
    ids.iter().flat_map(|id| [format!("{id}/data"), format!("{id}/manifest.json")]).collect()
}
