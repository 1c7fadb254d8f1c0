//! Where objects are kept: a bucket or a volume. Whichever it is, an object appears whole or not at all, and never in the
//! place of another.

mod answers;
mod no_replacing;
mod removal;
mod s3;
mod volume;

use std::{collections::BTreeMap, path::Path, time::Duration};

use bytes::Bytes;
use futures::{TryStreamExt, stream::BoxStream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

pub(super) use volume::clear_unfinished;

use super::path::{self, BackupId, EXPORTS, Key, Part, Prefix};
use crate::api::BackupStoreSpec;

/// The folder of the door's own objects; no tenant can have that name.
const OWN: &str = ".tenantry";

/// A place for backups.
#[derive(Debug)]
pub(super) enum Backend {
    S3(s3::S3),
    Volume(volume::Volume),
}

/// An object that is being written. It does not exist before it is finished.
#[derive(Debug)]
pub(super) enum Upload {
    S3(Box<s3::S3Upload>),
    Volume(volume::VolumeUpload),
}

/// An object that is being read.
pub(super) struct Object {
    pub(super) size: u64,
    pub(super) content: BoxStream<'static, Result<Bytes, Error>>,
}

/// What a store says of an object when it lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) size: u64,
    pub(super) modified: Timestamp,
}

/// What there is of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) id: BackupId,
    pub(super) data: Option<Stored>,
    pub(super) has_manifest: bool,
}

/// An exit bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundBundle {
    pub(super) id: BackupId,
    pub(super) stored: Stored,
}

/// What came of removing an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// It is not there any more, or was not there.
    Removed,
    /// The store keeps it, until then where it says so.
    Locked(Option<Timestamp>),
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("an object of that name is there")]
    AlreadyExists,
    #[error("{0}")]
    CredentialsMissing(String),
    #[error("{0}")]
    Misconfigured(String),
    #[error(
        "the store refuses the door ({0}): give the credentials the right to put, get, list and delete objects"
    )]
    AccessDenied(String),
    #[error("there is no bucket {0:?}: make it, or correct spec.s3")]
    BucketMissing(String),
    #[error("the claim {0:?} is not mounted: name it in the chart's value store.claims")]
    ClaimNotMounted(String),
    #[error("the store has no space left ({0}): make it larger")]
    OutOfSpace(String),
    #[error("the store does not answer ({0}): see whether it runs, and whether the door may reach it")]
    Unreachable(String),
    #[error("the store answers with an error ({0})")]
    Failing(String),
    #[error("an object has at most {0} bytes")]
    TooLarge(u64),
}

impl Error {
    /// One word for conditions, answers and metrics.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::AlreadyExists => "AlreadyExists",
            Self::CredentialsMissing(_) => "CredentialsMissing",
            Self::Misconfigured(_) => "Misconfigured",
            Self::AccessDenied(_) => "AccessDenied",
            Self::BucketMissing(_) => "BucketMissing",
            Self::ClaimNotMounted(_) => "ClaimNotMounted",
            Self::OutOfSpace(_) => "OutOfSpace",
            Self::Unreachable(_) => "Unreachable",
            Self::Failing(_) => "Failing",
            Self::TooLarge(_) => "TooLarge",
        }
    }
}

/// What opening a store takes besides its spec.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings<'a> {
    /// Where the claims are mounted.
    pub(super) claims: &'a Path,
    /// How long a store may be silent.
    pub(super) patience: Duration,
    pub(super) now: fn() -> Timestamp,
}

impl Backend {
    /// Makes ready for requests; asks nothing of the store yet.
    pub(super) fn open(
        spec: &BackupStoreSpec,
        credentials: Option<&Secret>,
        surroundings: &Surroundings<'_>,
    ) -> Result<Self, Error> {
        match (&spec.s3, &spec.volume) {
            (Some(bucket), None) => {
                let lock_days = spec.lock.as_ref().map(|lock| lock.days);
                s3::S3::open(bucket, lock_days, credentials, surroundings).map(Self::S3)
            }
            (None, Some(volume)) => {
                volume::Volume::open(surroundings.claims, &volume.claim).map(Self::Volume)
            }
            _ => Err(Error::Misconfigured("set exactly one of spec.s3 and spec.volume".to_owned())),
        }
    }

    /// The size of an object, if it is there.
    pub(super) async fn size(&self, key: &Key) -> Result<Option<u64>, Error> {
        match self {
            Self::S3(s3) => s3.size(&key.to_string()).await,
            Self::Volume(volume) => volume.size(&key.to_string()).await,
        }
    }

    /// Begins an object.
    pub(super) async fn upload(&self, key: &Key) -> Result<Upload, Error> {
        self.upload_to(&key.to_string()).await
    }

    async fn upload_to(&self, path: &str) -> Result<Upload, Error> {
        match self {
            Self::S3(s3) => Ok(Upload::S3(Box::new(s3.upload(path)))),
            Self::Volume(volume) => volume.upload(path).await.map(Upload::Volume),
        }
    }

    /// An object, if it is there.
    pub(super) async fn get(&self, key: &Key) -> Result<Option<Object>, Error> {
        self.get_from(&key.to_string()).await
    }

    async fn get_from(&self, path: &str) -> Result<Option<Object>, Error> {
        match self {
            Self::S3(s3) => s3.get(path).await,
            Self::Volume(volume) => volume.get(path).await,
        }
    }

    /// The names beneath a prefix that are names of backups, complete or not, in no order.
    pub(super) async fn backups(&self, prefix: &Prefix) -> Result<Vec<BackupId>, Error> {
        let names = match self {
            Self::S3(s3) => s3.names(&prefix.to_string()).await?,
            Self::Volume(volume) => volume.names(&prefix.to_string()).await?,
        };
        Ok(names.iter().filter_map(|name| BackupId::parse(name).ok()).collect())
    }

    /// What there is beneath a prefix: backups, and exit bundles; whatever has another name is left out.
    pub(super) async fn found(&self, prefix: &Prefix) -> Result<(Vec<Found>, Vec<FoundBundle>), Error> {
        self.contents(prefix).await.map(sorted_out)
    }

    /// What there is in the whole store, tenant by tenant; whatever has another name is left out.
    pub(super) async fn all(&self) -> Result<BTreeMap<Prefix, Vec<Found>>, Error> {
        let contents = match self {
            Self::S3(s3) => s3.contents("").await?,
            Self::Volume(volume) => volume.contents("").await?,
        };
        let mut all = BTreeMap::<Prefix, Vec<(String, Stored)>>::new();
        for (name, stored) in contents {
            let Some((tenant, rest)) = name.split_once('/') else { continue };
            let Some((uid, rest)) = rest.split_once('/') else { continue };
            let Ok(prefix) = Prefix::parse(tenant, uid) else { continue };
            all.entry(prefix).or_default().push((rest.to_owned(), stored));
        }
        Ok(all.into_iter().map(|(prefix, contents)| (prefix, sorted_out(contents).0)).collect())
    }

    /// The paths of all objects beneath a prefix, whatever they are, without it.
    pub(super) async fn names(&self, prefix: &Prefix) -> Result<Vec<String>, Error> {
        Ok(self.contents(prefix).await?.into_iter().map(|(name, _)| name).collect())
    }

    async fn contents(&self, prefix: &Prefix) -> Result<Vec<(String, Stored)>, Error> {
        match self {
            Self::S3(s3) => s3.contents(&prefix.to_string()).await,
            Self::Volume(volume) => volume.contents(&prefix.to_string()).await,
        }
    }

    /// Removes an object, if it is there.
    pub(super) async fn remove(&self, key: &Key) -> Result<Removal, Error> {
        self.remove_at(&key.to_string()).await
    }

    /// Removes an object that a list of [`names`](Self::names) has.
    pub(super) async fn remove_beneath(&self, prefix: &Prefix, name: &str) -> Result<Removal, Error> {
        self.remove_at(&format!("{prefix}/{name}")).await
    }

    async fn remove_at(&self, path: &str) -> Result<Removal, Error> {
        match self {
            Self::S3(s3) => s3.remove(path).await,
            Self::Volume(volume) => volume.remove(path).await.map(|()| Removal::Removed),
        }
    }

    /// Writes a small object, reads it back, and removes it again where the store lets us.
    pub(super) async fn probe(&self, name: &str) -> Result<(), Error> {
        let path = format!("{OWN}/probe-{name}");
        let written = Bytes::from(format!("written by tenantry-store to see whether it can: {name}\n"));
        let mut upload = self.upload_to(&path).await?;
        match upload.write(written.clone()).await {
            Ok(()) => upload.finish().await?,
            Err(error) => {
                upload.abandon().await;
                return Err(error);
            }
        }
        let read = match self.get_from(&path).await? {
            Some(object) => Some(object.collect(written.len()).await?),
            None => None,
        };
        match self.remove_at(&path).await {
            Ok(Removal::Removed) => {}
            // A bucket that lets nobody delete keeps it; its content says what it is.
            kept => tracing::debug!(?kept, "the object of a probe stays"),
        }
        if read.as_ref() == Some(&written) {
            Ok(())
        } else {
            Err(Error::Failing("what was written was not what was read".to_owned()))
        }
    }
}

fn sorted_out(contents: Vec<(String, Stored)>) -> (Vec<Found>, Vec<FoundBundle>) {
    let mut all = BTreeMap::<BackupId, Found>::new();
    let mut bundles = Vec::new();
    for (name, stored) in contents {
        let Some((id, part)) = name.split_once('/') else { continue };
        if id == EXPORTS {
            bundles.extend(path::export(part).ok().map(|id| FoundBundle { id, stored }));
            continue;
        }
        let (Ok(id), Ok(part)) = (BackupId::parse(id), Part::parse(part)) else { continue };
        let found = all.entry(id.clone()).or_insert(Found { id, data: None, has_manifest: false });
        match part {
            Part::Data => found.data = Some(stored),
            Part::Manifest => found.has_manifest = true,
            Part::Bundle => (),
        }
    }
    (all.into_values().collect(), bundles)
}

impl Upload {
    /// Takes the next piece.
    pub(super) async fn write(&mut self, piece: Bytes) -> Result<(), Error> {
        match self {
            Self::S3(upload) => upload.write(piece).await,
            Self::Volume(upload) => upload.write(piece).await,
        }
    }

    /// Makes the object appear.
    pub(super) async fn finish(self) -> Result<(), Error> {
        match self {
            Self::S3(upload) => upload.finish().await,
            Self::Volume(upload) => upload.finish().await,
        }
    }

    /// Lets go of what was written.
    pub(super) async fn abandon(self) {
        match self {
            Self::S3(upload) => upload.abandon().await,
            // Its file goes when it is dropped.
            Self::Volume(upload) => drop(upload),
        }
    }
}

impl Object {
    /// All of it, which must not be more than `max` bytes.
    pub(super) async fn collect(self, max: usize) -> Result<Bytes, Error> {
        let limit = u64::try_from(max).unwrap_or(u64::MAX);
        if limit < self.size {
            return Err(Error::TooLarge(limit));
        }
        let mut content = self.content;
        let mut all = Vec::with_capacity(max.min(64 << 10));
        while let Some(piece) = content.try_next().await? {
            if max < all.len() + piece.len() {
                return Err(Error::TooLarge(limit));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.into())
    }
}
