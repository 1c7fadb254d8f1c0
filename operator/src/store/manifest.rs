//! What a manifest must be to be taken.

use jiff::Timestamp;
use serde::Deserialize;

use super::path::{Key, StoreName};

/// The largest manifest.
pub(super) const MAX_BYTES: usize = 256 << 10;
/// The version that is understood.
const VERSION: u32 = 1;

/// What the door reads of a manifest. It keeps the text as it came.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    version: u32,
    id: String,
    store: String,
    tenant: Owner,
    reason: Reason,
    created_at: String,
    #[serde(rename = "app")]
    _app: App,
    #[serde(rename = "schemaVersion")]
    _schema_version: i64,
    #[serde(rename = "postgresVersion")]
    _postgres_version: String,
    #[serde(rename = "lsn")]
    _lsn: String,
    data: Content,
    dump: Content,
    #[serde(rename = "tables")]
    _tables: Vec<Table>,
    recipients: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Owner {
    name: String,
    uid: String,
}

/// Why a backup was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Reason {
    Scheduled,
    OnDemand,
    Final,
    Safety,
    BeforeUpgrade,
}

#[derive(Debug, Deserialize)]
struct App {
    #[serde(rename = "version")]
    _version: String,
}

#[derive(Debug, Deserialize)]
struct Content {
    size: u64,
    sha256: String,
}

#[derive(Debug, Deserialize)]
struct Table {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "rows")]
    _rows: u64,
}

/// Why a text is not the manifest of a backup.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Invalid {
    #[error("it is no manifest: {0}")]
    Form(String),
    #[error("version {0} is not known here, only {VERSION}")]
    Version(u32),
    #[error("{0} is not that of the path")]
    Elsewhere(&'static str),
    #[error("{0}.sha256 is 64 hexadecimal digits in lower case")]
    Hash(&'static str),
    #[error("createdAt is the time in the id, in the form of RFC 3339")]
    Time,
    #[error("recipients is empty, so nobody could read the backup")]
    NoRecipients,
    #[error("there is no data: put it first")]
    NoData,
    #[error("data.size is {said}, but {stored} bytes are stored")]
    Size { said: u64, stored: u64 },
}

/// What the door goes by afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) created_at: Timestamp,
    pub(super) reason: Reason,
    /// How many bytes the data has.
    pub(super) size: u64,
}

/// Checks a manifest against the path that it is for.
pub(super) fn check(text: &[u8], store: &StoreName, key: &Key) -> Result<Facts, Invalid> {
    let manifest: Manifest =
        serde_json::from_slice(text).map_err(|error| Invalid::Form(error.to_string()))?;
    let Manifest { version, id, store: named, tenant, reason, created_at, data, dump, recipients, .. } =
        manifest;
    if version != VERSION {
        return Err(Invalid::Version(version));
    }
    let elsewhere = [
        ("id", id == key.backup.as_str()),
        ("store", named == store.as_str()),
        ("tenant.name", tenant.name == key.prefix.tenant()),
        ("tenant.uid", tenant.uid == key.prefix.uid()),
    ];
    if let Some((field, _)) = elsewhere.into_iter().find(|(_, same)| !same) {
        return Err(Invalid::Elsewhere(field));
    }
    let created_at: Timestamp = created_at.parse().map_err(|_| Invalid::Time)?;
    if created_at.as_second() != key.backup.time().as_second() {
        return Err(Invalid::Time);
    }
    for (name, content) in [("data", &data), ("dump", &dump)] {
        if content.sha256.len() != 64
            || !content.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Err(Invalid::Hash(name));
        }
    }
    if recipients.is_empty() {
        return Err(Invalid::NoRecipients);
    }
    Ok(Facts { created_at, reason, size: data.size })
}

/// Checks what the manifest says of the data's size against what is stored.
pub(super) fn check_size(said: u64, stored: Option<u64>) -> Result<(), Invalid> {
    match stored {
        None => Err(Invalid::NoData),
        Some(stored) if stored != said => Err(Invalid::Size { said, stored }),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::store::path::Target;

    const PATH: &str =
        "/v1/offsite/acme/0b7f8f0e-5a1b-4c3d-9e8f-001122334455/20261122T140000Z-ab12cd/manifest.json";

    fn manifest() -> Value {
        json!({
            "version": 1, "id": "20261122T140000Z-ab12cd", "store": "offsite",
            "tenant": {"name": "acme", "uid": "0b7f8f0e-5a1b-4c3d-9e8f-001122334455"},
            "reason": "Scheduled", "createdAt": "2026-11-22T14:00:00.25Z", "app": {"version": "0.1.0"},
            "schemaVersion": 3, "postgresVersion": "17.6", "lsn": "0/16B3748",
            "data": {"size": 7, "sha256": "a".repeat(64)}, "dump": {"size": 5, "sha256": "b".repeat(64)},
            "tables": [{"name": "company", "rows": 2}], "recipients": ["age1x"],
        })
    }

    fn checked(manifest: &Value) -> Result<Facts, Invalid> {
        let Ok(Target::Object(store, key)) = PATH.parse() else { panic!("{PATH}") };
        check(manifest.to_string().as_bytes(), &store, &key)
    }

    #[test]
    fn the_manifest_of_the_contract_is_taken_also_with_more_in_it() {
        let created_at = "2026-11-22T14:00:00.25Z".parse().unwrap();
        let facts = Facts { created_at, reason: Reason::Scheduled, size: 7 };
        assert_eq!(checked(&manifest()), Ok(facts));
        let mut more = manifest();
        more["later"] = json!(true);
        assert_eq!(checked(&more), Ok(facts));
    }

    #[rstest]
    #[case("Scheduled", Some(Reason::Scheduled))]
    #[case("OnDemand", Some(Reason::OnDemand))]
    #[case("Final", Some(Reason::Final))]
    #[case("Safety", Some(Reason::Safety))]
    #[case("BeforeUpgrade", Some(Reason::BeforeUpgrade))]
    #[case("Whim", None)]
    fn reasons_are_those_that_the_crm_knows(#[case] word: &str, #[case] reason: Option<Reason>) {
        let mut manifest = manifest();
        manifest["reason"] = json!(word);
        assert_eq!(checked(&manifest).ok().map(|facts| facts.reason), reason);
    }

    #[rstest]
    #[case("/version", json!(2), "version 2")]
    #[case("/id", json!("20261122T140000Z-zzzzzz"), "id is not that of the path")]
    #[case("/store", json!("other"), "store is not")]
    #[case("/tenant/name", json!("bluesky"), "tenant.name is not")]
    #[case("/tenant/uid", json!("x"), "tenant.uid is not")]
    #[case("/reason", json!("Whim"), "unknown variant")]
    #[case("/createdAt", json!("yesterday"), "RFC 3339")]
    #[case("/createdAt", json!("2026-11-22T14:00:01Z"), "the time in the id")]
    #[case("/data/sha256", json!("A"), "data.sha256")]
    #[case("/dump/sha256", json!("zz"), "dump.sha256")]
    #[case("/data/size", json!(-1), "no manifest")]
    #[case("/recipients", json!([]), "nobody could read")]
    #[case("/tables", json!([{"name": "company"}]), "missing field `rows`")]
    fn another_is_refused(#[case] pointer: &str, #[case] value: Value, #[case] message: &str) {
        let mut wrong = manifest();
        *wrong.pointer_mut(pointer).unwrap() = value;
        let refused = checked(&wrong).unwrap_err().to_string();
        assert!(refused.contains(message), "{refused}");
    }

    #[test]
    fn the_size_is_that_of_the_data() {
        assert_eq!(check_size(7, Some(7)), Ok(()));
        assert_eq!(check_size(7, Some(8)), Err(Invalid::Size { said: 7, stored: 8 }));
        assert_eq!(check_size(7, None), Err(Invalid::NoData));
    }
}
