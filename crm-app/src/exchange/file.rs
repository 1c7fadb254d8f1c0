//! An exit bundle as a file, which has its name only when it is whole.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use hyper::body::Bytes;
use tokio::{
    fs::{File, OpenOptions},
    io::AsyncWriteExt as _,
};

use super::{
    archive::Output,
    bundle::{self, Plan},
};
use crate::backup::{self, Deadline, Outcome, Problem, Step};

/// Writes the bundle; what was there before is replaced when the new one is whole. What fails leaves no file.
pub async fn export(plan: &Plan, path: &Path, deadline: Deadline) -> Result<Outcome, Problem> {
    let snapshot = deadline.hold(Step::Snapshot, backup::snapshot(&plan.database, deadline)).await?;
    let mut name = OsString::from(path);
    name.push(".partial");
    let partial = Partial(name.into());
    let writing = async {
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(true).write(true).mode(0o600);
        let file = options.open(&partial.0).await.map_err(|error| unwritable(&error))?;
        let (contents, mut file) = bundle::write(plan, snapshot, file).await?;
        file.flush().await.map_err(|error| unwritable(&error))?;
        file.sync_all().await.map_err(|error| unwritable(&error))?;
        tokio::fs::rename(&partial.0, path).await.map_err(|error| unwritable(&error))?;
        Ok(contents)
    };
    let contents = deadline.hold(Step::Export, writing).await?;
    Ok(Outcome::Exported {
        created_at: contents.created_at,
        rows: contents.rows,
        schema_version: contents.schema_version,
        sha256: contents.sha256,
        size: contents.size,
    })
}

/// A file that goes away with this value, unless it has another name by then.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.0);
    }
}

impl Output for File {
    async fn take(&mut self, portion: Bytes) -> Result<(), Problem> {
        self.write_all(&portion).await.map_err(|error| unwritable(&error))
    }
}

fn unwritable(error: &io::Error) -> Problem {
    tracing::error!(%error, "output.unwritable");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Problem::OutputFull
        }
        _ => Problem::OutputUnwritable,
    }
}
