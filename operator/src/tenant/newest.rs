//! The newest backup and the newest drill of a tenant. Pure.
//!
//! The catalogue of all backups is the manifests in the store, and the operator has no key to it: it knows what Jobs report. Their
//! pods go after a while, and a status can be emptied, so both stand on the Namespace as well.
//!
//! A Tenant that was made anew and took over a namespace has another uid, and in the store the backups of its predecessor lie where
//! restores of this one do not look. So they are not its backups, and nothing is said of them.

use jiff::Timestamp;
use kube::ResourceExt as _;
use serde::de::DeserializeOwned;

use crate::{
    api::{LastBackup, LastDrill, Tenant},
    cluster::cache::Snapshot,
    names,
    tenant::status,
};

/// The newest backup and the newest drill, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Newest {
    /// The newest backup.
    pub backup: Option<LastBackup>,
    /// The newest drill.
    pub drill: Option<LastDrill>,
}

impl Newest {
    /// From what the status says, what the Namespace says, and what pods report.
    pub fn of(tenant: &Tenant, seen: &Snapshot, now: Timestamp) -> Self {
        let told = tenant.status.clone().unwrap_or_default();
        let recorded = seen
            .namespace()
            .filter(|(_, facts)| facts.tenant_uid == tenant.uid())
            .and_then(|(_, facts)| facts.newest.as_deref().cloned())
            .unwrap_or_default();
        let born = tenant.creation_timestamp().map(|at| at.0);
        Self {
            backup: status::newest_backup([told.last_backup, recorded.backup], seen, born, now),
            drill: status::newest_drill([told.last_drill, recorded.drill], seen, born),
        }
    }

    /// What is to be written on the Namespace.
    pub fn annotations(&self) -> Result<Vec<(&'static str, String)>, serde_json::Error> {
        let backup = self.backup.as_ref().map(serde_json::to_string).transpose()?;
        let drill = self.drill.as_ref().map(serde_json::to_string).transpose()?;
        let all = [(names::LAST_BACKUP, backup), (names::LAST_DRILL, drill)];
        Ok(all.into_iter().filter_map(|(name, text)| Some((name, text?))).collect())
    }

    /// Reads what was written; `annotation` gives the value of one. What cannot be read is as good as not there: Jobs report anew.
    pub fn read(annotation: impl Fn(&str) -> Option<String>) -> Option<Box<Self>> {
        fn parsed<T: DeserializeOwned>(text: Option<String>) -> Option<T> {
            serde_json::from_str(&text?).ok()
        }
        let newest = Self {
            backup: parsed(annotation(names::LAST_BACKUP)),
            drill: parsed(annotation(names::LAST_DRILL)),
        };
        (newest != Self::default()).then(|| newest.into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::{
        cluster::facts::{Facts, Kind, NamespaceFacts},
        testing,
    };

    const NOON: &str = "2026-11-22T12:00:00Z";

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn newest(at: &str) -> Newest {
        let backup = LastBackup {
            backup: "20261122T020000Z-ab12cd".into(),
            created_at: Time(time(at)),
            size: 4096,
            schema_version: 3,
        };
        let drill = LastDrill {
            at: Time(time(at)),
            result: "Verified".into(),
            backup: Some(backup.backup.clone()),
            rpo: Some("3h0m0s".into()),
            rto: Some("4s".into()),
            rows: Some(42),
        };
        Newest { backup: Some(backup), drill: Some(drill) }
    }

    /// A tenant without a status, whose namespace carries this and the uid of a Tenant.
    fn read_back(recorded: &Newest, uid: &str) -> Newest {
        let written: BTreeMap<_, _> = recorded.annotations().unwrap().into_iter().collect();
        let facts = NamespaceFacts {
            tenant_uid: Some(uid.to_owned()),
            newest: Newest::read(|name| written.get(name).cloned()),
            ..NamespaceFacts::default()
        };
        let namespace = testing::child(Kind::Namespace, "tenant-acme", Facts::Namespace(facts.into()));
        Newest::of(&testing::tenant(), &Snapshot::new([namespace]), time(NOON))
    }

    #[test]
    fn what_is_written_is_read_back() {
        let only_a_backup = Newest { drill: None, ..newest("2026-11-22T02:00:00Z") };
        for recorded in [newest("2026-11-22T02:00:00Z"), only_a_backup, Newest::default()] {
            assert_eq!(read_back(&recorded, "uid-acme"), recorded);
        }
    }

    #[test]
    fn what_is_not_this_tenants_or_cannot_be_read_is_not_believed() {
        assert_eq!(read_back(&newest("2026-11-22T02:00:00Z"), "uid-of-an-earlier-acme"), Newest::default());
        assert_eq!(Newest::read(|_| Some("yesterday".to_owned())), None);
    }
}
