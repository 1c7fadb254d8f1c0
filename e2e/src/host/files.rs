//! Small helpers on files: atomic writes, locks, the end of a log.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::{Context, Result};

/// Writes a file so that readers see the old or the new content, never a part of it. Readable by the owner only.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let folder = path.parent().context("a file needs a folder")?;
    let mut file = tempfile::NamedTempFile::new_in(folder)
        .with_context(|| format!("cannot write in {}", folder.display()))?;
    file.write_all(content)?;
    file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

/// Waits for the exclusive lock on `path` and holds it until the returned file is dropped.
pub async fn lock(path: &Path, holder: &str) -> Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    if file.try_lock().is_ok() {
        return Ok(file);
    }
    super::progress::say(&format!("waiting for another process that {holder} ({})", path.display()));
    tokio::task::spawn_blocking(move || {
        file.lock()?;
        Ok(file)
    })
    .await?
}

/// The last bytes of a file as text, from the start of a line.
pub fn read_tail(path: &Path, bytes: usize) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(bytes as u64);
    file.seek(SeekFrom::Start(start))?;
    let mut content = Vec::new();
    file.take(bytes as u64).read_to_end(&mut content)?;
    let text = String::from_utf8_lossy(&content).into_owned();
    if start == 0 {
        return Ok(text);
    }
    Ok(text.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_starts_with_a_whole_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one\ntwo\nthree\n").unwrap();
        assert_eq!(read_tail(file.path(), 8).unwrap(), "three\n");
        assert_eq!(read_tail(file.path(), 100).unwrap(), "one\ntwo\nthree\n");
    }

    #[tokio::test]
    async fn a_lock_is_held_until_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = lock(&path, "tests").await.unwrap();
        let second = tokio::spawn({
            let path = path.clone();
            async move { lock(&path, "tests").await.map(|_| ()) }
        });
        assert!(OpenOptions::new().write(true).open(&path).unwrap().try_lock().is_err());
        drop(held);
        second.await.unwrap().unwrap();
    }
}
