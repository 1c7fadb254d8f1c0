//! A mounted volume.
//!
//! Not through `object_store`, whose file system takes a finished upload to its place by a rename, which replaces what is
//! there, and does not wait until the disk has it.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use tokio::{
    fs::{self, File},
    io::AsyncWriteExt,
    task::spawn_blocking,
};
use tokio_util::io::ReaderStream;

use super::{Error, OWN, Object, Stored};

/// The folder of files that are not finished.
const UPLOADS: &str = "uploads";
/// How much is read at a time.
const READ_BYTES: usize = 256 << 10;

/// A folder on a volume.
#[derive(Debug)]
pub(in crate::store) struct Volume {
    root: Arc<Path>,
}

impl Volume {
    /// Opens the volume of a claim.
    pub(super) fn open(claims: &Path, claim: &str) -> Result<Self, Error> {
        let root = claims.join(claim);
        if !root.is_dir() {
            return Err(Error::ClaimNotMounted(claim.to_owned()));
        }
        std::fs::create_dir_all(uploads(&root)).map_err(|error| classify(&error))?;
        Ok(Self { root: root.into() })
    }

    pub(super) async fn size(&self, path: &str) -> Result<Option<u64>, Error> {
        present(fs::metadata(self.root.join(path)).await).map(|meta| meta.map(|meta| meta.len()))
    }

    pub(super) async fn upload(&self, path: &str) -> Result<VolumeUpload, Error> {
        let name = hex::encode(rand::random::<[u8; 16]>());
        let unfinished = Unfinished(uploads(&self.root).join(name));
        let file = File::options().write(true).create_new(true).open(&unfinished.0).await;
        let file = file.map_err(|error| classify(&error))?;
        Ok(VolumeUpload { file, unfinished, root: self.root.clone(), place: self.root.join(path) })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Option<Object>, Error> {
        let Some(file) = present(File::open(self.root.join(path)).await)? else { return Ok(None) };
        let size = file.metadata().await.map_err(|error| classify(&error))?.len();
        let content = ReaderStream::with_capacity(file, READ_BYTES).map_err(|error| classify(&error)).boxed();
        Ok(Some(Object { size, content }))
    }

    /// The names of the folders in one.
    pub(super) async fn names(&self, path: &str) -> Result<Vec<String>, Error> {
        let Some(mut entries) = present(fs::read_dir(self.root.join(path)).await)? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        while let Some(entry) = entries.next_entry().await.map_err(|error| classify(&error))? {
            names.extend(entry.file_name().to_str().map(str::to_owned));
        }
        Ok(names)
    }

    /// All files beneath a folder, without its path.
    pub(super) async fn contents(&self, path: &str) -> Result<Vec<(String, Stored)>, Error> {
        let folder = self.root.join(path);
        in_background(move || {
            let mut contents = Vec::new();
            walk(&folder, "", &mut contents)?;
            Ok(contents)
        })
        .await
    }

    /// Removes a file, if it is there, and the folders that are empty without it.
    pub(super) async fn remove(&self, path: &str) -> Result<(), Error> {
        let (root, place) = (self.root.clone(), self.root.join(path));
        in_background(move || take_away(&root, &place)).await
    }
}

/// Does what may wait for a disk.
async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    match spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| classify(&error)),
        Err(error) => Err(Error::Failing(error.to_string())),
    }
}

/// Collects the files in a folder and in those in it. Links are followed nowhere.
fn walk(folder: &Path, above: &str, contents: &mut Vec<(String, Stored)>) -> io::Result<()> {
    let Some(entries) = present_entries(folder)? else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().map(|name| format!("{above}{name}")) else { continue };
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), &format!("{name}/"), contents)?;
            continue;
        }
        match entry.metadata() {
            Ok(meta) => {
                let modified = Timestamp::try_from(meta.modified()?).unwrap_or(Timestamp::MAX);
                contents.push((name, Stored { size: meta.len(), modified }));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Removes a file and waits until the disk knows, so that of two files that are removed one after the other the second is never
/// gone without the first.
fn take_away(root: &Path, place: &Path) -> io::Result<()> {
    match std::fs::remove_file(place) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for folder in place.ancestors().skip(1).take_while(|folder| *folder != root) {
        match std::fs::remove_dir(folder) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {
                return std::fs::File::open(folder)?.sync_all();
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::File::open(root)?.sync_all()
}

/// Clears away what an earlier process did not finish on any volume. Nobody else writes there.
pub(in crate::store) fn clear_unfinished(claims: &Path) -> io::Result<()> {
    let Some(mounted) = present_entries(claims)? else { return Ok(()) };
    for claim in mounted {
        match std::fs::remove_dir_all(uploads(&claim?.path())) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => (),
        }
    }
    Ok(())
}

fn present_entries(folder: &Path) -> io::Result<Option<std::fs::ReadDir>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => Ok(Some(entries)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn uploads(root: &Path) -> PathBuf {
    root.join(OWN).join(UPLOADS)
}

/// A file that gets its name when it is finished.
#[derive(Debug)]
pub(in crate::store) struct VolumeUpload {
    file: File,
    unfinished: Unfinished,
    root: Arc<Path>,
    place: PathBuf,
}

impl VolumeUpload {
    pub(super) async fn write(&mut self, piece: Bytes) -> Result<(), Error> {
        self.file.write_all(&piece).await.map_err(|error| classify(&error))
    }

    pub(super) async fn finish(mut self) -> Result<(), Error> {
        self.file.flush().await.map_err(|error| classify(&error))?;
        let Self { file, unfinished, root, place } = self;
        let file = file.into_std().await;
        in_background(move || {
            file.sync_all()?;
            put_in_place(&unfinished.0, &root, &place)
            // The other name goes here, with `unfinished`.
        })
        .await
    }
}

/// Gives a file its name, unless another file has it, and waits until the disk knows. A link never replaces; the renaming that
/// does not is unknown to NFS.
fn put_in_place(file: &Path, root: &Path, place: &Path) -> io::Result<()> {
    let folder = place.parent().unwrap_or(root);
    std::fs::create_dir_all(folder)?;
    std::fs::hard_link(file, place)?;
    for folder in folder.ancestors().take_while(|folder| folder.starts_with(root)) {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Removes a file when it is dropped.
#[derive(Debug)]
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%error, "an unfinished file stays until the door starts again");
        }
    }
}

fn present<T>(found: io::Result<T>) -> Result<Option<T>, Error> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(classify(&error)),
    }
}

fn classify(error: &io::Error) -> Error {
    match error.kind() {
        ErrorKind::AlreadyExists => Error::AlreadyExists,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Error::OutOfSpace(error.to_string())
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Error::AccessDenied(error.to_string()),
        ErrorKind::Unsupported => Error::Misconfigured(format!(
            "the volume's file system has no hard links ({error}): choose another StorageClass"
        )),
        ErrorKind::TimedOut | ErrorKind::StaleNetworkFileHandle => Error::Unreachable(error.to_string()),
        _ => Error::Failing(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(claims: &Path) -> Volume {
        std::fs::create_dir_all(claims.join("backups")).unwrap();
        Volume::open(claims, "backups").unwrap()
    }

    async fn put(volume: &Volume, path: &str, content: &'static str) -> Result<(), Error> {
        let mut upload = volume.upload(path).await.unwrap();
        upload.write(Bytes::from_static(content.as_bytes())).await.unwrap();
        upload.finish().await
    }

    fn unfinished(claims: &Path) -> usize {
        std::fs::read_dir(uploads(&claims.join("backups"))).map_or(0, Iterator::count)
    }

    #[tokio::test]
    async fn a_file_appears_when_it_is_finished_and_is_never_replaced() {
        let claims = tempfile::tempdir().unwrap();
        let volume = volume(claims.path());
        let mut upload = volume.upload("a/b/c").await.unwrap();
        upload.write(Bytes::from_static(b"first")).await.unwrap();
        assert_eq!(volume.size("a/b/c").await.unwrap(), None);
        upload.finish().await.unwrap();
        let again = put(&volume, "a/b/c", "second").await.unwrap_err();
        assert!(matches!(again, Error::AlreadyExists), "{again}");
        let content = volume.get("a/b/c").await.unwrap().unwrap().collect(100).await.unwrap();
        assert_eq!(content, "first");
        assert_eq!(volume.names("a").await.unwrap(), ["b"]);
        assert_eq!(unfinished(claims.path()), 0);
    }

    #[tokio::test]
    async fn what_is_removed_leaves_no_empty_folders_and_no_others_go() {
        let claims = tempfile::tempdir().unwrap();
        let volume = volume(claims.path());
        for path in ["acme/1/a/data", "acme/1/a/manifest", "acme/1/b/data", "acme/2/odd"] {
            put(&volume, path, path).await.unwrap();
        }
        let names = async |path: &str| {
            let mut names: Vec<_> = volume
                .contents(path)
                .await
                .unwrap()
                .into_iter()
                .map(|(name, stored)| (name, stored.size))
                .collect();
            names.sort();
            names
        };
        let all =
            [("a/data", 13), ("a/manifest", 17), ("b/data", 13)].map(|(name, size)| (name.to_owned(), size));
        assert_eq!(names("acme/1").await, all);
        for path in ["acme/1/a/data", "acme/1/a/data", "acme/1/a/manifest"] {
            volume.remove(path).await.unwrap();
        }
        assert_eq!(volume.names("acme/1").await.unwrap(), ["b"]);
        volume.remove("acme/1/b/data").await.unwrap();
        assert_eq!(volume.names("acme").await.unwrap(), ["2"]);
        assert_eq!(names("acme/1").await, []);
    }

    #[tokio::test]
    async fn what_is_not_finished_is_not_there_and_goes() {
        let claims = tempfile::tempdir().unwrap();
        let volume = volume(claims.path());
        let mut upload = volume.upload("a").await.unwrap();
        upload.write(Bytes::from_static(b"half")).await.unwrap();
        assert_eq!(unfinished(claims.path()), 1);
        drop(upload);
        assert_eq!((volume.size("a").await.unwrap(), unfinished(claims.path())), (None, 0));
        // As a process leaves it that had no time to drop anything.
        std::mem::forget(volume.upload("b").await.unwrap());
        assert_eq!(unfinished(claims.path()), 1);
        clear_unfinished(claims.path()).unwrap();
        assert_eq!(unfinished(claims.path()), 0);
        clear_unfinished(&claims.path().join("none")).unwrap();
    }

    #[test]
    fn a_claim_that_is_not_mounted_is_named() {
        let claims = tempfile::tempdir().unwrap();
        let error = Volume::open(claims.path(), "backups").unwrap_err();
        assert_eq!(error.reason(), "ClaimNotMounted");
    }
}
