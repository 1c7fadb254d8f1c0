//! Settings of the whole machine that the kubelet changes: remembered before, and put back when the last cluster goes.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context, Result};

use super::layout::Layout;
use crate::{host::files, toolchain::cache};

/// What the kubelet sets at its start. Among them: after a kernel panic the machine would start again by itself.
const SETTINGS: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

type Settings = BTreeMap<String, String>;

/// Remembers the settings, unless they are remembered already: then another cluster has changed them.
pub(super) fn remember() -> Result<()> {
    let record = record()?;
    if record.exists() {
        return Ok(());
    }
    let read = |name: &str| Some((name.to_owned(), fs::read_to_string(path(name)).ok()?.trim().to_owned()));
    let settings: Settings = SETTINGS.iter().filter_map(|name| read(name)).collect();
    files::write_atomically(&record, &serde_json::to_vec_pretty(&settings)?)
}

/// Puts the settings back if no other cluster needs them changed.
pub(super) fn restore(layout: &Layout) -> Result<()> {
    let record = record()?;
    if !record.exists() || others(layout)? {
        return Ok(());
    }
    let settings: Settings = serde_json::from_slice(&fs::read(&record)?).context("the record is damaged")?;
    for (name, value) in settings {
        let path = path(&name);
        if fs::read_to_string(&path)?.trim() != value {
            fs::write(&path, value).with_context(|| format!("cannot set {name} back"))?;
        }
    }
    Ok(fs::remove_file(record)?)
}

fn path(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name)
}

fn record() -> Result<PathBuf> {
    Ok(cache::root()?.join("run/kernel-settings.json"))
}

/// Whether a native cluster other than this one is there.
fn others(layout: &Layout) -> Result<bool> {
    let clusters = fs::read_dir(cache::root()?.join("run"))?.flatten().map(|entry| entry.path());
    Ok(clusters.filter(|folder| folder != layout.root()).any(|folder| folder.join("plan.json").exists()))
}
