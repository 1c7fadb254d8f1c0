//! What a request is about, from its path. Everything is checked against a narrow alphabet before anything is done with it,
//! and nothing is decoded: what cannot be written plainly cannot be asked for.

use std::{fmt, str::FromStr};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use crate::names::TenantName;

/// The largest name that Kubernetes gives an object.
const MAX_NAME: usize = 253;
/// The last word of a manifest's path.
pub(super) const MANIFEST: &str = "manifest.json";
/// The folder of a tenant's exit bundles. No backup has such a name.
pub(super) const EXPORTS: &str = "exports";
/// The end of an exit bundle's name.
const BUNDLE: &str = ".zip.age";

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// All backups of a tenant.
    Catalogue(StoreName, Prefix),
    /// One object of a backup, or an exit bundle.
    Object(StoreName, Key),
}

/// Name of a BackupStore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoreName(String);

/// Where a tenant's backups are: its name, and the uid of its object, so that another tenant of the same name finds nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Prefix {
    tenant: TenantName,
    uid: String,
}

/// Name of a backup or an exit bundle: the time of its snapshot, and six characters of chance. Names sort by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BackupId {
    text: String,
    time: Timestamp,
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The dump, encrypted.
    Data,
    /// What it is. A backup exists when its manifest does.
    Manifest,
    /// Not of a backup: an exit bundle, encrypted, which stands alone. It has a name of the same form.
    Bundle,
}

/// Which object of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) prefix: Prefix,
    pub(super) backup: BackupId,
    pub(super) part: Part,
}

/// A path that leads nowhere.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write /v1/STORE/TENANT/UID for the list, or /v1/STORE/TENANT/UID/BACKUP/data or manifest.json, or /v1/STORE/TENANT/UID/exports/EXPORT.zip.age: {0}"
)]
pub(super) struct InvalidPath(&'static str);

impl Target {
    pub(super) fn store(&self) -> &StoreName {
        match self {
            Self::Catalogue(store, _) | Self::Object(store, _) => store,
        }
    }

    /// Whose backups it is about.
    pub(super) fn prefix(&self) -> &Prefix {
        match self {
            Self::Catalogue(_, prefix) => prefix,
            Self::Object(_, key) => &key.prefix,
        }
    }
}

impl FromStr for Target {
    type Err = InvalidPath;

    fn from_str(path: &str) -> Result<Self, InvalidPath> {
        let mut words = path.split('/');
        if (words.next(), words.next()) != (Some(""), Some("v1")) {
            return Err(InvalidPath("it begins with /v1/"));
        }
        let words: Vec<&str> = words.collect();
        match words[..] {
            [store, tenant, uid] => {
                Ok(Self::Catalogue(StoreName::parse(store)?, Prefix::parse(tenant, uid)?))
            }
            [store, tenant, uid, EXPORTS, name] => {
                let prefix = Prefix::parse(tenant, uid)?;
                Ok(Self::Object(StoreName::parse(store)?, Key::bundle(prefix, export(name)?)))
            }
            [store, tenant, uid, backup, part] => {
                let prefix = Prefix::parse(tenant, uid)?;
                let key = Key { prefix, backup: BackupId::parse(backup)?, part: Part::parse(part)? };
                Ok(Self::Object(StoreName::parse(store)?, key))
            }
            _ => Err(InvalidPath("it has three or five words after /v1/")),
        }
    }
}

impl StoreName {
    pub(super) fn parse(raw: &str) -> Result<Self, InvalidPath> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let ok = raw.len() <= MAX_NAME
            && raw.bytes().all(|byte| inner(byte) || matches!(byte, b'-' | b'.'))
            && raw.bytes().next().is_some_and(inner)
            && raw.bytes().last().is_some_and(inner);
        if ok { Ok(Self(raw.to_owned())) } else { Err(InvalidPath("STORE is the name of a BackupStore")) }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Prefix {
    /// Accepts the name of a tenant and the uid of an object as the API server makes them.
    pub(super) fn parse(tenant: &str, uid: &str) -> Result<Self, InvalidPath> {
        let tenant = TenantName::parse(tenant).map_err(|_| InvalidPath("TENANT is the name of a Tenant"))?;
        let is_uid = uid.len() == 36
            && uid.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            });
        if !is_uid {
            return Err(InvalidPath("UID is the uid of the Tenant object"));
        }
        Ok(Self { tenant, uid: uid.to_owned() })
    }

    pub(super) fn tenant(&self) -> &str {
        self.tenant.as_str()
    }

    pub(super) fn uid(&self) -> &str {
        &self.uid
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.uid)
    }
}

impl BackupId {
    /// Accepts `YYYYMMDDTHHMMSSZ-xxxxxx` when that is a time.
    pub(super) fn parse(raw: &str) -> Result<Self, InvalidPath> {
        let chance = raw.get(17..).unwrap_or_default();
        let ok = raw.is_ascii()
            && raw.len() == 23
            && raw.as_bytes()[16] == b'-'
            && chance.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        match time(raw) {
            Some(time) if ok => Ok(Self { text: raw.to_owned(), time }),
            _ => Err(InvalidPath("BACKUP is a time and six characters: 20261122T140000Z-ab12cd")),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// The time in it, to the second.
    pub(super) fn time(&self) -> Timestamp {
        self.time
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The time at the beginning of a backup's name.
fn time(raw: &str) -> Option<Timestamp> {
    let is_plain = |(at, byte): (usize, u8)| if at == 8 { byte == b'T' } else { byte.is_ascii_digit() };
    if !raw.get(..15)?.bytes().enumerate().all(is_plain) {
        return None;
    }
    let time = DateTime::strptime("%Y%m%dT%H%M%SZ", raw.get(..16)?).ok()?;
    TimeZone::UTC.to_timestamp(time).ok()
}

/// The name of an exit bundle, from that of its object.
pub(super) fn export(raw: &str) -> Result<BackupId, InvalidPath> {
    let id = raw.strip_suffix(BUNDLE).ok_or(InvalidPath("an exit bundle ends in .zip.age"))?;
    BackupId::parse(id)
}

impl Key {
    /// An exit bundle.
    pub(super) fn bundle(prefix: Prefix, export: BackupId) -> Self {
        Self { prefix, backup: export, part: Part::Bundle }
    }
}

impl Part {
    /// Of a backup.
    pub(super) fn parse(raw: &str) -> Result<Self, InvalidPath> {
        match raw {
            "data" => Ok(Self::Data),
            MANIFEST => Ok(Self::Manifest),
            _ => Err(InvalidPath("a backup has data and manifest.json")),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prefix, backup, part } = self;
        match part {
            Part::Data => write!(f, "{prefix}/{backup}/data"),
            Part::Manifest => write!(f, "{prefix}/{backup}/{MANIFEST}"),
            Part::Bundle => write!(f, "{prefix}/{EXPORTS}/{backup}{BUNDLE}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const UID: &str = "0b7f8f0e-5a1b-4c3d-9e8f-001122334455";
    const ID: &str = "20261122T140000Z-ab12cd";

    #[test]
    fn a_path_and_its_object_are_the_same() {
        let path = format!("acme/{UID}/{ID}/manifest.json");
        let Ok(Target::Object(store, key)) = format!("/v1/offsite.eu/{path}").parse() else {
            panic!("{path}")
        };
        assert_eq!((store.as_str(), key.to_string()), ("offsite.eu", path));
        assert!(matches!(format!("/v1/s/acme/{UID}").parse(), Ok(Target::Catalogue(..))));
    }

    #[test]
    fn an_exit_bundle_has_a_place_of_its_own() {
        let path = format!("acme/{UID}/exports/{ID}.zip.age");
        let Ok(Target::Object(store, key)) = format!("/v1/main/{path}").parse() else { panic!("{path}") };
        assert_eq!((store.as_str(), key.part, key.to_string()), ("main", Part::Bundle, path));
    }

    #[rstest]
    #[case("/v1/s/acme/UID/exports/ID.zip.age", true)]
    #[case("/v1/s/acme/UID/exports/ID.zip", false)]
    #[case("/v1/s/acme/UID/exports/ID", false)]
    #[case("/v1/s/acme/UID/exports/.zip.age", false)]
    #[case("/v1/s/acme/UID/exports/..", false)]
    #[case("/v1/s/acme/UID/exports/data", false)]
    #[case("/v1/s/acme/UID/exports", false)]
    #[case("/v1/s/acme/UID/exports/ID/data", false)]
    #[case("/v1/s/acme/UID/ID/ID.zip.age", false)]
    #[case("/v1/s/acme/UID/ID/data", true)]
    #[case("/v1/s/acme/UID/ID/data/", false)]
    #[case("/v1/s/acme/UID/ID/", false)]
    #[case("/v1/s/acme/UID/ID", false)]
    #[case("/v1/s/acme/UID/", false)]
    #[case("/v1/s/acme", false)]
    #[case("/v2/s/acme/UID", false)]
    #[case("v1/s/acme/UID", false)]
    #[case("//v1/s/acme/UID", false)]
    #[case("/v1//acme/UID", false)]
    #[case("/v1/../acme/UID", false)]
    #[case("/v1/s./acme/UID", false)]
    #[case("/v1/s/./UID", false)]
    #[case("/v1/s/../UID", false)]
    #[case("/v1/s/acme%2f..%2fother/UID", false)]
    #[case("/v1/s/acme\\other/UID", false)]
    #[case("/v1/s/ACME/UID", false)]
    #[case("/v1/s/acme/..", false)]
    #[case("/v1/s/acme/UID/../data", false)]
    #[case("/v1/s/acme/UID/../../other/UID/ID/data", false)]
    #[case("/v1/s/acme/UID/ID/manifest.json#1", false)]
    #[case("/v1/s/acme/UID/ID/manifest.json%00", false)]
    #[case("/v1/s/acme/UID/ID/..", false)]
    #[case("/v1/s/acme/UID/.tenantry/data", false)]
    #[case("/v1/s/acme/0B7F8F0E-5A1B-4C3D-9E8F-001122334455", false)]
    #[case("/v1/s/acme/UID/20261322T140000Z-ab12cd/data", false)]
    #[case("/v1/s/acme/UID/20261122T140000Z-AB12CD/data", false)]
    #[case("/v1/s/acme/UID/20261122T140000Z-ab12c/data", false)]
    #[case("/v1/s/acme/UID/20261122T140000Zéab12c/data", false)]
    #[case("/v1/s/acme/UID/+0261122T140000Z-ab12cd/data", false)]
    fn tricks_lead_nowhere(#[case] path: &str, #[case] ok: bool) {
        let path = path.replace("UID", UID).replace("ID", ID);
        assert_eq!(path.parse::<Target>().is_ok(), ok, "{path}");
    }
}
