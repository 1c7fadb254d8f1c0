//! The mark that a restore leaves on its database: the comment on the database itself.
//!
//! It goes where the database goes, can be read from every other database of the server (so also when this one cannot be
//! entered) and by every role, is written by one statement, and is in no backup: what is restored from a backup of a restored
//! database has a mark of its own.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Outcome,
    manifest::{BackupId, Tenant},
};
use crate::{args::Which, random};

/// How far a restore has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "restore")]
pub enum Mark {
    /// What is in the database may be half of something.
    Begun(Run),
    /// It is whole.
    Finished(Restored),
}

/// One run of a restore, as no other is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    run: String,
}

/// What was restored. Backup and time together are told apart from every other restore's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// Whose data it was.
    pub tenant: Tenant,
    /// Of the backup.
    pub backup: BackupId,
    /// The snapshot's time.
    pub created_at: Timestamp,
    /// Rows of all tables, as in the backup.
    pub rows: u64,
    /// The newest migration in the database now.
    pub schema_version: i64,
    /// From the first byte to the last check, in seconds, rounded up.
    pub restored_in: u64,
    /// When it was finished.
    pub restored_at: Timestamp,
}

impl Run {
    /// A new one.
    pub fn begin() -> Self {
        Self { run: hex::encode(random::bytes::<8>()) }
    }
}

impl Mark {
    /// From the comment on a database; other people's comments are no mark.
    pub fn read(comment: &str) -> Option<Self> {
        serde_json::from_str(comment).ok()
    }

    /// As the comment on a database.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

impl Restored {
    /// Whether this is what somebody asks for. A newer backup may have come since `newest` was restored; it was the newest then.
    pub fn is_of(&self, tenant: &Tenant, which: &Which) -> bool {
        let is_asked_for = match which {
            Which::Newest => true,
            Which::Before(limit) => self.created_at <= *limit,
            Which::Id(id) => self.backup == *id,
        };
        self.tenant == *tenant && is_asked_for
    }
}

impl From<Restored> for Outcome {
    fn from(restored: Restored) -> Self {
        let Restored { tenant: _, backup, created_at, rows, schema_version, restored_in, restored_at: _ } =
            restored;
        Self::Restored { backup, created_at, restored_in, rows, schema_version }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const ID: &str = "20261122T010000Z-k3v9x2";

    fn restored() -> Restored {
        Restored {
            tenant: Tenant { name: "acme".to_owned(), uid: "5f0c".to_owned() },
            backup: ID.parse().unwrap(),
            created_at: "2026-11-22T01:00:00.25Z".parse().unwrap(),
            rows: 42,
            schema_version: 3,
            restored_in: 2,
            restored_at: "2026-11-22T02:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for mark in [Mark::Begun(Run::begin()), Mark::Finished(restored())] {
            assert_eq!(Mark::read(&mark.text().unwrap()), Some(mark));
        }
        assert_ne!(Run::begin(), Run::begin());
        for other in ["", "customers of 2019", "{}", r#"{"restore":"Paused"}"#] {
            assert_eq!(Mark::read(other), None);
        }
    }

    #[rstest]
    #[case("newest", true)]
    #[case(ID, true)]
    #[case("20261122T010000Z-k3v9x3", false)]
    #[case("before:2026-11-22T01:00:00.25Z", true)]
    #[case("before:2026-11-22T01:00:00.24Z", false)]
    fn a_restore_is_found_again_by_what_was_asked_for(#[case] which: &str, #[case] is_it: bool) {
        let restored = restored();
        assert_eq!(restored.is_of(&restored.tenant, &which.parse().unwrap()), is_it);
        let other = Tenant { name: "acme".to_owned(), uid: "0000".to_owned() };
        assert!(!restored.is_of(&other, &which.parse().unwrap()));
    }
}
