//! An S3-compatible bucket.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use object_store::{
    Attributes, BackoffConfig, Certificate, ClientOptions, MultipartUpload, ObjectStore, ObjectStoreExt,
    PutMode, PutOptions, PutPayload, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AwsCredential, Checksum},
    client::{HttpConnector, ReqwestConnector},
    path::Path,
};
use tokio::task::JoinSet;

use super::{
    Error, Object, Removal, Stored, Surroundings,
    answers::{cause, classify, names_bucket},
    no_replacing::{Connector, Lock},
    removal::Remover,
};
use crate::api::S3Store;

/// Size of the parts of an upload: all of one size, since some storages insist on it. S3 wants 5 MiB or more.
const PART_BYTES: usize = 8 << 20;
/// How many parts an upload has at most; S3 takes no more.
const MAX_PARTS: u64 = 10_000;
/// How many parts are on their way at the same time while the next one is filled.
const IN_FLIGHT: usize = 2;
/// A request that failed is sent again so many times.
const RETRIES: usize = 4;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What the paths of the door's own objects contain, and no others: no word of a prefix begins with a dot.
const OWN_PATH: &str = "/.tenantry/";
/// The keys of the Secret.
const ACCESS_KEY_ID: &str = "accessKeyId";
const SECRET_ACCESS_KEY: &str = "secretAccessKey";
const AUTHORITY: &str = "ca.crt";

/// A bucket, or a part of one.
#[derive(Debug)]
pub(in crate::store) struct S3 {
    store: Arc<AmazonS3>,
    bucket: String,
    prefix: Path,
    remover: Remover,
}

impl S3 {
    pub(super) fn open(
        spec: &S3Store,
        lock_days: Option<i32>,
        credentials: Option<&Secret>,
        surroundings: &Surroundings<'_>,
    ) -> Result<Self, Error> {
        let read = |key| read(spec, credentials, key);
        let (id, secret) = (read(ACCESS_KEY_ID)?, read(SECRET_ACCESS_KEY)?);
        let region = spec.region.as_deref().unwrap_or("us-east-1");
        let lock = lock_days.map(|days| Lock {
            days,
            credential: AwsCredential { key_id: id.clone(), secret_key: secret.clone(), token: None },
            region: region.to_owned(),
            now: surroundings.now,
            except: OWN_PATH,
        });
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(200),
                max_backoff: Duration::from_secs(5),
                base: 2.0,
            },
            max_retries: RETRIES,
            retry_timeout: surroundings.patience,
        };
        let options = client_options(spec, credentials, surroundings.patience)?;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&spec.bucket)
            .with_region(region)
            .with_access_key_id(id)
            .with_secret_access_key(secret)
            .with_retry(retry)
            .with_client_options(options.clone());
        if let Some(endpoint) = &spec.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if lock.is_some() {
            // A bucket with Object Lock takes nothing without one.
            builder = builder.with_checksum_algorithm(Checksum::SHA256);
        }
        let http = ReqwestConnector::default().connect(&options).map_err(|error| {
            let (secret, cause) = (&spec.credentials_secret, cause(&error));
            // It is taken apart only now.
            match own_authority(credentials) {
                Some(_) => Error::CredentialsMissing(format!(
                    "{AUTHORITY} in the Secret {secret} is no certificate: {cause}"
                )),
                None => Error::Misconfigured(format!("the store cannot be used as it is: {cause}")),
            }
        })?;
        let unusable = |error| Error::Misconfigured(format!("the store cannot be used as it is: {error}"));
        let connector = Connector { lock: lock.map(Arc::new) };
        let store = builder.with_http_connector(connector).build().map_err(unusable)?;
        let (store, bucket) = (Arc::new(store), spec.bucket.clone());
        let remover = Remover { store: store.clone(), http, bucket: bucket.clone(), now: surroundings.now };
        let prefix = Path::from(spec.prefix.as_deref().unwrap_or_default());
        Ok(Self { store, bucket, prefix, remover })
    }

    pub(super) async fn size(&self, path: &str) -> Result<Option<u64>, Error> {
        size(&self.store, &self.path(path), &self.bucket).await
    }

    pub(super) fn upload(&self, path: &str) -> S3Upload {
        S3Upload {
            store: self.store.clone(),
            path: self.path(path),
            bucket: self.bucket.clone(),
            part: BytesMut::new(),
            begun: None,
            parts: 0,
            in_flight: JoinSet::new(),
            spare: Vec::new(),
            written: 0,
        }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Option<Object>, Error> {
        let found = match self.store.get(&self.path(path)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { source, .. }) if !names_bucket(&source) => return Ok(None),
            Err(error) => return Err(classify(&error, &self.bucket)),
        };
        let (size, bucket) = (found.meta.size, self.bucket.clone());
        let content = found.into_stream().map_err(move |error| classify(&error, &bucket)).boxed();
        Ok(Some(Object { size, content }))
    }

    /// The next words of all paths beneath one.
    pub(super) async fn names(&self, path: &str) -> Result<Vec<String>, Error> {
        let listed = self.store.list_with_delimiter(Some(&self.path(path))).await;
        let listed = listed.map_err(|error| classify(&error, &self.bucket))?;
        Ok(listed.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)).collect())
    }

    /// All objects beneath a path, without the path.
    pub(super) async fn contents(&self, path: &str) -> Result<Vec<(String, Stored)>, Error> {
        let root = self.path(path);
        let mut listed = self.store.list(Some(&root));
        let mut contents = Vec::new();
        while let Some(meta) = listed.try_next().await.map_err(|error| classify(&error, &self.bucket))? {
            let Some(rest) = meta.location.prefix_match(&root) else { continue };
            let name: Vec<_> = rest.map(|part| part.as_ref().to_owned()).collect();
            let modified = Timestamp::from_second(meta.last_modified.timestamp()).unwrap_or(Timestamp::MAX);
            contents.push((name.join("/"), Stored { size: meta.size, modified }));
        }
        Ok(contents)
    }

    pub(super) async fn remove(&self, path: &str) -> Result<Removal, Error> {
        self.remover.remove(&self.path(path)).await
    }

    fn path(&self, path: &str) -> Path {
        path.split('/').filter(|word| !word.is_empty()).fold(self.prefix.clone(), Path::join)
    }
}

fn read(spec: &S3Store, credentials: Option<&Secret>, key: &str) -> Result<String, Error> {
    let name = &spec.credentials_secret;
    let Some(secret) = credentials else {
        return Err(Error::CredentialsMissing(format!(
            "there is no Secret {name} in the door's namespace: make it with the keys {ACCESS_KEY_ID} and {SECRET_ACCESS_KEY}"
        )));
    };
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    let text = value.and_then(|value| std::str::from_utf8(&value.0).ok()).map(str::trim);
    match text.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())) {
        Some(text) => Ok(text.to_owned()),
        None => Err(Error::CredentialsMissing(format!("the Secret {name} has no usable key {key}: add it"))),
    }
}

fn own_authority(credentials: Option<&Secret>) -> Option<&ByteString> {
    credentials?.data.as_ref()?.get(AUTHORITY)
}

fn client_options(
    spec: &S3Store,
    credentials: Option<&Secret>,
    patience: Duration,
) -> Result<ClientOptions, Error> {
    let is_plain = spec.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    let own = own_authority(credentials);
    let mut options = ClientOptions::new()
        .with_allow_http(is_plain)
        .with_connect_timeout(CONNECT_TIMEOUT.min(patience))
        // A large download takes its time; only silence is a fault.
        .with_timeout_disabled()
        .with_read_timeout(patience)
        .with_pool_idle_timeout(Duration::from_secs(30))
        .with_no_system_certificates(is_plain || own.is_some());
    if let Some(bundle) = own {
        let authorities = Certificate::from_pem_bundle(&bundle.0).map_err(|error| {
            let name = &spec.credentials_secret;
            Error::CredentialsMissing(format!("{AUTHORITY} in the Secret {name} is no certificate: {error}"))
        })?;
        for authority in authorities {
            options = options.with_root_certificate(authority);
        }
    }
    Ok(options)
}

async fn size(store: &AmazonS3, path: &Path, bucket: &str) -> Result<Option<u64>, Error> {
    match store.head(path).await {
        Ok(meta) => Ok(Some(meta.size)),
        // A HEAD has no words to tell a missing bucket from a missing object; whatever comes next has.
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(classify(&error, bucket)),
    }
}

/// An object on its way into a bucket: by one request when it is small, in parts when it is not.
#[derive(Debug)]
pub(in crate::store) struct S3Upload {
    store: Arc<AmazonS3>,
    path: Path,
    bucket: String,
    /// What is being filled.
    part: BytesMut,
    begun: Option<Box<dyn MultipartUpload>>,
    parts: u64,
    /// Each ends with the memory of its part.
    in_flight: JoinSet<object_store::Result<Bytes>>,
    /// Memory of parts that have landed.
    spare: Vec<BytesMut>,
    written: u64,
}

impl S3Upload {
    pub(super) async fn write(&mut self, mut piece: Bytes) -> Result<(), Error> {
        while !piece.is_empty() {
            if self.part.capacity() == 0 {
                // Pieces are copied: kept as they came, small ones would each hold on to the buffer that they came in.
                self.part = self.spare.pop().unwrap_or_else(|| BytesMut::with_capacity(PART_BYTES));
            }
            let room = PART_BYTES - self.part.len();
            let taken = piece.split_to(room.min(piece.len()));
            self.part.extend_from_slice(&taken);
            if self.part.len() == PART_BYTES {
                self.send_part().await?;
            }
        }
        Ok(())
    }

    async fn send_part(&mut self) -> Result<(), Error> {
        if self.parts == MAX_PARTS {
            return Err(Error::TooLarge(MAX_PARTS * PART_BYTES as u64));
        }
        while IN_FLIGHT <= self.in_flight.len() {
            self.landed().await?;
        }
        let part = std::mem::take(&mut self.part).freeze();
        self.written += part.len() as u64;
        self.parts += 1;
        let upload = if let Some(upload) = &mut self.begun {
            upload
        } else {
            let begun = self.store.put_multipart(&self.path).await;
            self.begun.insert(begun.map_err(|error| classify(&error, &self.bucket))?)
        };
        let sent = upload.put_part(PutPayload::from_bytes(part.clone()));
        self.in_flight.spawn(async move { sent.await.map(|()| part) });
        Ok(())
    }

    /// Waits for one of the parts that are on their way.
    async fn landed(&mut self) -> Result<(), Error> {
        match self.in_flight.join_next().await {
            None => Ok(()),
            Some(Ok(Ok(part))) => {
                // Used again: taken and given back by the thousand, pieces of this size leave holes that nothing fits in.
                if let Ok(mut part) = part.try_into_mut() {
                    part.clear();
                    self.spare.push(part);
                }
                Ok(())
            }
            Some(Ok(Err(error))) => Err(classify(&error, &self.bucket)),
            Some(Err(error)) => Err(Error::Failing(error.to_string())),
        }
    }

    pub(super) async fn finish(mut self) -> Result<(), Error> {
        match self.complete().await {
            Ok(()) => Ok(()),
            Err(error) => {
                // When an answer is lost, the object may be there all the same: nobody else writes this path meanwhile.
                let is_there = match error {
                    Error::Unreachable(_) | Error::Failing(_) => {
                        matches!(size(&self.store, &self.path, &self.bucket).await, Ok(Some(size)) if size == self.written)
                    }
                    _ => false,
                };
                if is_there {
                    return Ok(());
                }
                self.abandon().await;
                Err(error)
            }
        }
    }

    async fn complete(&mut self) -> Result<(), Error> {
        if self.begun.is_none() {
            let all = std::mem::take(&mut self.part).freeze();
            self.written = all.len() as u64;
            let options =
                PutOptions { mode: PutMode::Create, attributes: Attributes::new(), ..PutOptions::default() };
            let put = self.store.put_opts(&self.path, PutPayload::from_bytes(all), options).await;
            return put.map(drop).map_err(|error| classify(&error, &self.bucket));
        }
        if !self.part.is_empty() {
            self.send_part().await?;
        }
        while !self.in_flight.is_empty() {
            self.landed().await?;
        }
        match &mut self.begun {
            Some(upload) => upload.complete().await.map(drop).map_err(|error| classify(&error, &self.bucket)),
            None => Ok(()),
        }
    }

    pub(super) async fn abandon(mut self) {
        // A part that lands after the end would stay for ever, so parts on their way are waited for, not dropped.
        while self.in_flight.join_next().await.is_some() {}
        if let Some(mut upload) = self.begun
            && let Err(error) = upload.abort().await
        {
            // Nobody sees what is left; the bucket's rule for unfinished uploads removes it.
            tracing::warn!(path = %self.path, error = cause(&error), "an unfinished upload stays in the bucket");
        }
    }
}
