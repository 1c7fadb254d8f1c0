//! A real object storage: versitygw on a directory.

use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result};
use e2e::{
    host::{
        command,
        wait::{Look, Wait},
    },
    toolchain::{self, Tool},
};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use crate::lab::{DEADLINE, free_address};

const ADMIN: Duration = Duration::from_secs(20);

/// Where the storage keeps the lock of an object.
const RETENTION: &str = "user.object-retention";

/// A running storage with the bucket `backups`.
pub(crate) struct Storage {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    /// Where buckets are directories.
    pub(crate) root: PathBuf,
    versions: PathBuf,
    scheme: &'static str,
    pub(crate) address: String,
    _child: Child,
}

impl Storage {
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        Self::start_with(folder, None).await
    }

    /// With TLS, if there is a pair of files with a certificate and its key.
    pub(crate) async fn start_with(folder: &Path, pair: Option<[&Path; 2]>) -> Result<Self> {
        let (root, versions) = (folder.join("buckets"), folder.join("versions"));
        std::fs::create_dir_all(&root)?;
        std::fs::create_dir_all(&versions)?;
        let address = free_address()?;
        let log = folder.join("storage.log");
        let out = OpenOptions::new().create(true).append(true).open(&log)?;
        let (access_key, secret_key) = ("tenantry".to_owned(), "not-for-tenants".to_owned());
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(toolchain::binary(Tool::Versitygw).await?).args([
            "--access",
            &access_key,
            "--secret",
            &secret_key,
            "--port",
            &address,
            "--quiet",
        ]);
        if let Some([certificate, key]) = pair {
            command.arg("--cert").arg(certificate).arg("--key").arg(key);
        }
        let child = command
            .arg("posix")
            .arg("--versioning-dir")
            .arg(&versions)
            .arg(&root)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start versitygw")?;
        Wait::new("the storage to listen", DEADLINE)
            .explained_by(&log)
            .until(async || Ok(TcpStream::connect(&address).await.map(Look::Done)?))
            .await?;
        let scheme = if pair.is_some() { "https" } else { "http" };
        let storage = Self { access_key, secret_key, root, versions, scheme, address, _child: child };
        storage.make_bucket("backups", &[]).await?;
        Ok(storage)
    }

    pub(crate) async fn make_bucket(&self, name: &str, options: &[&str]) -> Result<()> {
        let mut admin = Command::new(toolchain::binary(Tool::Versitygw).await?);
        admin
            .args(["admin", "--access", &self.access_key, "--secret", &self.secret_key])
            .args(["--endpoint-url", &self.endpoint(), "--allow-insecure"])
            .args(["create-bucket", "--owner", &self.access_key, "--bucket", name])
            .args(options);
        command::run(&mut admin, ADMIN).await?;
        Ok(())
    }

    /// What the storage keeps about the lock of an object: empty where there is none.
    pub(crate) fn retention(&self, bucket: &str, object: &str) -> Result<String> {
        let mut value = vec![0; 4096];
        let path = self.root.join(bucket).join(object);
        match rustix::fs::getxattr(&path, RETENTION, &mut value) {
            Ok(length) => Ok(String::from_utf8_lossy(&value[..length]).into_owned()),
            Err(rustix::io::Errno::NODATA) => Ok(String::new()),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Changes it, as nobody could who is not the storage.
    pub(crate) fn set_retention(&self, bucket: &str, object: &str, value: &str) -> Result<()> {
        let path = self.root.join(bucket).join(object);
        let flags = rustix::fs::XattrFlags::REPLACE;
        rustix::fs::setxattr(&path, RETENTION, value.as_bytes(), flags)
            .with_context(|| path.display().to_string())
    }

    /// How many objects of a bucket there are that no list shows any more.
    pub(crate) fn versions(&self, bucket: &str) -> usize {
        let entries = walkdir::WalkDir::new(self.versions.join(bucket)).into_iter().filter_map(Result::ok);
        entries.filter(|entry| entry.file_type().is_file()).count()
    }

    /// A bucket as a BackupStore names it.
    pub(crate) fn s3(&self, bucket: &str) -> Value {
        json!({"bucket": bucket, "endpoint": self.endpoint(), "credentialsSecret": "s3"})
    }

    fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }
}
