//! `operator inventory`: what there is in the stores, tenant by tenant. In a cluster that is new, nothing else knows.
//!
//! Run in the door's pod, which has the stores' credentials and volumes.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use jiff::Timestamp;
use kube::{Api, Client, Config, ResourceExt, api::ListParams};

use super::{
    Error as Stopped,
    backend::{Backend, Error, Found, Surroundings},
    keeper, now,
    path::Prefix,
};
use crate::{api::BackupStore, cluster, gateway::limits::duration, malformed::Guarded};

/// What `operator inventory` is told.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The namespace of the door and of its Secrets.
    #[arg(long, env = "TENANTRY_NAMESPACE", default_value = "tenantry-system")]
    pub namespace: String,
    /// Where claims are mounted, each in a folder of its name.
    #[arg(long, env = "TENANTRY_CLAIMS", default_value = "/var/lib/tenantry/claims")]
    pub claims: PathBuf,
    /// Longest silence of a store.
    #[arg(long, env = "TENANTRY_STORE_TIMEOUT", default_value = "60s", value_parser = duration)]
    pub store_timeout: std::time::Duration,
}

/// One tenant's part of a store.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    store: String,
    prefix: Prefix,
    newest: String,
    created_at: Timestamp,
    backups: usize,
}

/// Why the stores could not be gone through.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The way to the Kubernetes API.
    #[error("there is no way to the Kubernetes API")]
    Cluster(#[from] Stopped),
    /// The Kubernetes API does not answer as it should.
    #[error("the Kubernetes API does not say which stores there are")]
    Kubernetes(#[from] kube::Error),
    /// Standard output is closed.
    #[error("the list cannot be written")]
    Write(#[from] io::Error),
    /// Of some stores, nothing is known.
    #[error("not every store could be read: {0}")]
    Incomplete(String),
}

/// Writes a line for each tenant of each store to standard output.
pub async fn list(args: Args) -> Result<(), Failed> {
    let client = cluster::client(Config::infer().await.map_err(Stopped::from)?).map_err(Stopped::from)?;
    let stores = Api::<Guarded<BackupStore>>::all(client.clone()).list(&ListParams::default()).await?;
    let (mut rows, mut unread) = (Vec::new(), Vec::new());
    for store in stores {
        let name = store.name_any();
        let read = match store.0 {
            Ok(store) => read(&args, &client, &store).await?.map_err(|error| error.to_string()),
            Err(malformed) => Err(malformed.cause.clone()),
        };
        match read {
            Ok(more) => rows.extend(more),
            Err(why) => unread.push(format!("{name}: {why}")),
        }
    }
    io::stdout().lock().write_all(table(&rows).as_bytes())?;
    if unread.is_empty() { Ok(()) } else { Err(Failed::Incomplete(unread.join("; "))) }
}

async fn read(args: &Args, client: &Client, store: &BackupStore) -> kube::Result<Result<Vec<Row>, Error>> {
    let credentials = match keeper::credentials(client, &args.namespace, &store.spec).await? {
        Ok(credentials) => credentials,
        Err(error) => return Ok(Err(error)),
    };
    let surroundings = Surroundings { claims: &args.claims, patience: args.store_timeout, now };
    let backend = match Backend::open(&store.spec, credentials.as_ref(), &surroundings) {
        Ok(backend) => backend,
        Err(error) => return Ok(Err(error)),
    };
    let all = backend.all().await;
    Ok(all.map(|all| {
        all.into_iter().filter_map(|(prefix, found)| row(&store.name_any(), prefix, &found)).collect()
    }))
}

/// Nothing of a tenant that has no backup: data without a manifest is none.
fn row(store: &str, prefix: Prefix, found: &[Found]) -> Option<Row> {
    let complete = || found.iter().filter(|found| found.has_manifest && found.data.is_some());
    let newest = complete().max_by_key(|found| &found.id)?;
    Some(Row {
        store: store.to_owned(),
        prefix,
        newest: newest.id.to_string(),
        created_at: newest.id.time(),
        backups: complete().count(),
    })
}

/// Columns for people; whoever reads them with a program finds one line a tenant, and no spaces in a word.
fn table(rows: &[Row]) -> String {
    let head = ["STORE", "TENANT", "UID", "NEWEST", "CREATED", "BACKUPS"].map(str::to_owned);
    let cells = rows.iter().map(|row| {
        let Row { store, prefix, newest, created_at, backups } = row;
        let (tenant, uid) = (prefix.tenant().to_owned(), prefix.uid().to_owned());
        [store.clone(), tenant, uid, newest.clone(), created_at.to_string(), backups.to_string()]
    });
    let lines: Vec<_> = std::iter::once(head).chain(cells).collect();
    let widths: [usize; 6] =
        std::array::from_fn(|at| lines.iter().map(|line| line[at].len()).max().unwrap_or_default());
    let mut text = String::new();
    for line in &lines {
        let padded = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{backend::Stored, path::BackupId};

    const UID: &str = "0b7f8f0e-5a1b-4c3d-9e8f-001122334455";

    fn found(id: &str, has_data: bool, has_manifest: bool) -> Found {
        let data = has_data.then_some(Stored { size: 1, modified: Timestamp::UNIX_EPOCH });
        Found { id: BackupId::parse(id).unwrap(), data, has_manifest }
    }

    #[test]
    fn only_what_could_be_restored_counts() {
        let prefix = || Prefix::parse("acme", UID).unwrap();
        let all = [
            found("20261120T120000Z-aaaaaa", true, true),
            found("20261121T120000Z-bbbbbb", true, true),
            found("20261122T120000Z-cccccc", true, false),
            found("20261123T120000Z-dddddd", false, true),
        ];
        let row = |found| row("main", prefix(), found);
        let text = table(&[row(&all).unwrap()]);
        let expected = format!(
            "STORE  TENANT  UID                                   NEWEST                   CREATED               BACKUPS\n\
             main   acme    {UID}  20261121T120000Z-bbbbbb  2026-11-21T12:00:00Z  2\n"
        );
        assert_eq!(text, expected);
        assert_eq!(row(&all[2..]), None);
    }

    #[tokio::test]
    async fn what_is_on_a_volume_is_found_and_what_is_not_ours_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str| {
            let file = folder.path().join("backups").join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "x").unwrap();
        };
        let id = "20261121T120000Z-bbbbbb";
        for path in ["data", "manifest.json"] {
            put(&format!("acme/{UID}/{id}/{path}"));
        }
        put(&format!("bluesky/{UID}/{id}/data"));
        for other in ["notes", "acme/notes", ".tenantry/probe-1", "acme/0b7f/20261121T120000Z-bbbbbb/data"] {
            put(other);
        }
        let spec = serde_json::from_value(serde_json::json!({
            "volume": {"claim": "backups"}, "recoveryRecipients": ["age1recovery"],
        }));
        let surroundings = Surroundings {
            claims: folder.path(),
            patience: std::time::Duration::from_secs(1),
            now: || Timestamp::UNIX_EPOCH,
        };
        let backend = Backend::open(&spec.unwrap(), None, &surroundings).unwrap();
        let all = backend.all().await.unwrap();
        let rows: Vec<_> =
            all.into_iter().filter_map(|(prefix, found)| row("main", prefix, &found)).collect();
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!((rows[0].prefix.to_string(), rows[0].backups), (format!("acme/{UID}"), 1));
    }
}
