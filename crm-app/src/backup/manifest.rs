//! What is written down about a backup beside its data, version 1. A backup exists when its manifest does.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Problem, tally::Sum};
use crate::{db::snapshot::TableRows, random};

/// The version that this release writes and reads.
pub(super) const VERSION: u32 = 1;
/// No manifest is larger; the door refuses more.
pub(super) const LARGEST: usize = 256 * 1024;

const SUFFIX_LENGTH: usize = 6;
const SUFFIX_LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// `20261122T010000Z-k3v9x2`: the second of the snapshot, in UTC, and six letters, so that ids sort by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupId(String);

impl BackupId {
    /// A new one for a snapshot.
    pub fn new(taken_at: Timestamp) -> Self {
        let suffix: String = random::bytes::<SUFFIX_LENGTH>()
            .iter()
            .map(|byte| char::from(SUFFIX_LETTERS[usize::from(*byte) % SUFFIX_LETTERS.len()]))
            .collect();
        Self(format!("{}-{suffix}", taken_at.strftime("%Y%m%dT%H%M%SZ")))
    }
}

impl FromStr for BackupId {
    type Err = &'static str;

    /// Only what [`BackupId::new`] can make: ids become parts of addresses.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_id = text.len() == 23
            && text.bytes().enumerate().all(|(at, byte)| match at {
                8 => byte == b'T',
                15 => byte == b'Z',
                16 => byte == b'-',
                0..=14 => byte.is_ascii_digit(),
                _ => SUFFIX_LETTERS.contains(&byte),
            });
        is_id.then(|| Self(text.to_owned())).ok_or("not an id of a backup, as 20261122T010000Z-k3v9x2 is one")
    }
}

impl TryFrom<String> for BackupId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<BackupId> for String {
    fn from(id: BackupId) -> Self {
        id.0
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a backup was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Reason {
    /// Its time had come.
    Scheduled,
    /// Somebody asked for it.
    OnDemand,
    /// The tenant is about to be deleted or suspended.
    Final,
    /// Something risky comes next.
    Safety,
    /// A release with another schema comes next.
    BeforeUpgrade,
}

/// The manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`VERSION`].
    pub version: u32,
    /// Of this backup.
    pub id: BackupId,
    /// Name of the `BackupStore` that keeps it.
    pub store: String,
    /// Whose data it is.
    pub tenant: Tenant,
    /// Why it was taken.
    pub reason: Reason,
    /// When the snapshot was taken, by the database's clock: everything that was committed before is in it.
    pub created_at: Timestamp,
    /// What took it.
    pub app: App,
    /// The newest migration in it.
    pub schema_version: i64,
    /// Of the server.
    pub postgres_version: String,
    /// Where the server's log stood.
    pub lsn: String,
    /// What the database took on its server, in bytes: what a restore needs room for. Not all manifests say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_size: Option<u64>,
    /// The object as it is stored, encrypted.
    pub data: Sum,
    /// What is inside: the output of `pg_dump -Fc`.
    pub dump: Sum,
    /// Rows of each table of the schema `crm`, counted in the same snapshot.
    pub tables: Vec<TableRows>,
    /// Who can decrypt it.
    pub recipients: Vec<String>,
}

/// A tenant as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Name of the Tenant.
    pub name: String,
    /// Its uid: a new Tenant of an old name has other backups.
    pub uid: String,
}

/// The program that took a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// Its version.
    pub version: String,
}

impl Manifest {
    /// Reads a manifest that was asked for by its id; what it says about itself must be that.
    pub fn read(text: &[u8], id: &BackupId, store: &str, tenant: &Tenant) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_slice(text).map_err(|_| Problem::ManifestInvalid)?;
        if version != VERSION {
            return Err(Problem::ManifestTooNew { version, known: VERSION });
        }
        let manifest: Self = serde_json::from_slice(text).map_err(|_| Problem::ManifestInvalid)?;
        if (&manifest.id, manifest.store.as_str(), &manifest.tenant) != (id, store, tenant) {
            return Err(Problem::ManifestForeign);
        }
        Ok(manifest)
    }

    /// All rows together.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    pub(in crate::backup) fn manifest() -> Value {
        json!({
            "version": 1, "id": "20261122T010000Z-k3v9x2", "store": "main",
            "tenant": {"name": "acme", "uid": "5f0c6a2e-2f5e-4a53-8f0b-1f6d3c1f2a77"},
            "reason": "OnDemand", "createdAt": "2026-11-22T01:00:00.25Z", "app": {"version": "0.1.0"},
            "schemaVersion": 3, "postgresVersion": "17.6", "lsn": "0/16B3748", "databaseSize": 8_000_000,
            "data": {"size": 3, "sha256": "ab"}, "dump": {"size": 2, "sha256": "cd"},
            "tables": [{"name": "app_user", "rows": 2}, {"name": "company", "rows": 40}],
            "recipients": ["age1example"],
        })
    }

    fn read(manifest: &Value) -> Result<Manifest, Problem> {
        let tenant =
            Tenant { name: "acme".to_owned(), uid: "5f0c6a2e-2f5e-4a53-8f0b-1f6d3c1f2a77".to_owned() };
        let id = "20261122T010000Z-k3v9x2".parse().unwrap();
        Manifest::read(manifest.to_string().as_bytes(), &id, "main", &tenant)
    }

    #[test]
    fn what_is_written_is_what_the_format_says() {
        let read = read(&manifest()).unwrap();
        assert_eq!(read.rows(), 42);
        assert_eq!(serde_json::to_value(&read).unwrap(), manifest());
        let mut without = manifest();
        without.as_object_mut().unwrap().remove("databaseSize");
        assert_eq!(self::read(&without).unwrap().database_size, None);
    }

    #[rstest]
    #[case("id", json!("20261122T010000Z-k3v9x3"))]
    #[case("store", json!("other"))]
    #[case("tenant", json!({"name": "blue", "uid": "5f0c6a2e-2f5e-4a53-8f0b-1f6d3c1f2a77"}))]
    #[case("tenant", json!({"name": "acme", "uid": "00000000-2f5e-4a53-8f0b-1f6d3c1f2a77"}))]
    fn somebody_elses_is_refused(#[case] field: &str, #[case] value: Value) {
        let mut foreign = manifest();
        foreign[field] = value;
        assert_eq!(read(&foreign), Err(Problem::ManifestForeign));
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        let mut newer = manifest();
        newer["version"] = json!(2);
        newer["tables"] = json!("elsewhere");
        assert_eq!(read(&newer), Err(Problem::ManifestTooNew { version: 2, known: 1 }));
        let mut wrong = manifest();
        wrong["id"] = json!("../../blue");
        assert_eq!(read(&wrong), Err(Problem::ManifestInvalid));
        assert_eq!(read(&json!([])), Err(Problem::ManifestInvalid));
    }

    #[test]
    fn ids_sort_by_time_and_differ() {
        let at = |text: &str| BackupId::new(text.parse().unwrap());
        let first = at("2026-11-22T01:00:00.9+08:00");
        assert!(first.to_string().starts_with("20261121T170000Z-"));
        assert_eq!(first.to_string().parse(), Ok(first.clone()));
        assert!(first < at("2026-11-22T01:00:01+08:00"));
        assert_ne!(first, at("2026-11-22T01:00:00.9+08:00"));
    }

    #[rstest]
    #[case("")]
    #[case("20261122T010000Z-K3V9X2")]
    #[case("20261122T010000Z-k3v9x22")]
    #[case("20261122-010000Z-k3v9x2")]
    #[case("20261122T010000Z-k3/9x2")]
    fn other_ids_are_refused(#[case] text: &str) {
        assert!(text.parse::<BackupId>().is_err());
    }
}
