//! A volume without room. It takes a file system of its own, which only root can mount.

use std::{
    fs::File,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use reqwest::{Method, StatusCode};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::json;

use crate::{
    lab::{Lab, ids},
    past::ago,
};

/// A file system of 8 MiB; unmounted when it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(place: &Path) -> Result<Self> {
        std::fs::create_dir_all(place)?;
        mount("tmpfs", place, "tmpfs", MountFlags::empty(), Some(c"size=8m"))
            .context("cannot mount a tmpfs: run this as root")?;
        Ok(Self(place.to_owned()))
    }

    /// Takes all the room that is left; removing the file gives it back.
    fn fill(&self) -> Result<PathBuf> {
        let path = self.0.join("filler");
        let mut file = File::create(&path)?;
        loop {
            match file.write_all(&[0; 4096]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(path),
                Err(error) => bail!(error),
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The process of the door may still have it open.
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[tokio::test]
async fn a_volume_without_room_is_told_of_keeps_what_it_has_and_can_still_be_thinned_out() -> Result<()> {
    let lab = Lab::without_stores().await?;
    let disk = SmallDisk::mount(&lab.folder.path().join("claims/small"))?;
    lab.make_store("volume", json!({"volume": {"claim": "small"}})).await?;
    lab.until_reason("volume", "True", "Probed").await?;
    let acme = lab.customer("acme", "standard").await?;
    let (first, second) = ids();
    lab.put_backup(&acme, "volume", first, b"data").await?;

    // More than there is: nothing of it stays.
    let path = acme.path("volume", &format!("{second}/data"));
    let (status, reason, message) =
        lab.refusal(Method::PUT, &acme.token, &path, vec![b'x'; 16 << 20]).await?;
    assert_eq!((status, reason.as_str()), (StatusCode::INSUFFICIENT_STORAGE, "OutOfSpace"), "{message}");
    assert_eq!(lab.get(&acme, "volume", &format!("{second}/data")).await?.status(), StatusCode::NOT_FOUND);
    lab.until_reason("volume", "True", "Probed").await?;

    let filler = disk.fill()?;
    let message = lab.until_reason("volume", "False", "OutOfSpace").await?;
    assert!(message.contains("make it larger"), "{message}");
    let (status, reason, _) = lab.refusal(Method::PUT, &acme.token, &path, "data").await?;
    assert_eq!((status, reason.as_str()), (StatusCode::INSUFFICIENT_STORAGE, "OutOfSpace"));
    assert_eq!(lab.list(&acme, "volume").await?, [first], "what is there can be read");
    std::fs::remove_file(filler)?;
    lab.until_reason("volume", "True", "Probed").await?;
    lab.put_backup(&acme, "volume", second, b"data").await?;
    assert_eq!(lab.list(&acme, "volume").await?, [second, first]);

    // Where there is no room, room is made.
    let place = lab.folder.path().join("claims/small/acme").join(&acme.uid);
    lab.plant("prepared", &acme, ago(9, 0), "Scheduled")?;
    let prepared = lab.place("prepared", &acme);
    let old = std::fs::read_dir(&prepared)?.next().context("it was planted")??.file_name();
    std::fs::create_dir(place.join(&old))?;
    for part in ["data", "manifest.json"] {
        let text = std::fs::read_to_string(prepared.join(&old).join(part))?;
        std::fs::write(place.join(&old).join(part), text.replace("\"prepared\"", "\"volume\""))?;
    }
    disk.fill()?;
    lab.until_reason("volume", "False", "OutOfSpace").await?;
    lab.plan("standard", "volume", json!({"daily": 1, "weekly": 0, "monthly": 0})).await?;
    lab.until_metric("tenantry_store_removed_objects_total", &["volume", "expired"], 2.0).await?;
    assert!(!place.join(old).exists());
    assert!(place.join(first).exists() && place.join(second).exists());
    Ok(())
}
