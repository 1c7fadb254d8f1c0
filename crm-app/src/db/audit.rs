//! The audit log and its hash chain.
//!
//! `digest = SHA-256(salt, changes)` and `hash = SHA-256(previous hash, position, time, actor, action, object,
//! record, digest)`. The chain covers the digest, not the values: a person's values can be erased and the
//! chain still verifies, and without the salt nobody can guess erased values from the digest.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use super::{Instant, instant};
use crate::{domain::company::Changes, random};

/// What somebody did.
pub struct Entry<'a> {
    /// When.
    pub at: Timestamp,
    /// Who; nobody when one of the operator's Jobs did it.
    pub actor_id: Option<Uuid>,
    /// What: a verb.
    pub action: &'static str,
    /// To which kind of thing.
    pub object: &'static str,
    /// To which one.
    pub record_id: Uuid,
    /// Field by field.
    pub changes: &'a Changes,
}

impl<'a> Entry<'a> {
    /// Of something that concerns the workspace as a whole. There is one in a database, so it has no id.
    pub fn of_workspace(
        at: Timestamp,
        actor_id: Option<Uuid>,
        action: &'static str,
        changes: &'a Changes,
    ) -> Self {
        Self { at, actor_id, action, object: "workspace", record_id: Uuid::nil(), changes }
    }
}

/// The end of the chain so far.
pub struct Link {
    position: i64,
    hash: [u8; 32],
}

const BEGINNING: Link = Link { position: 0, hash: [0; 32] };

/// Values by field, as stored.
pub type StoredChanges = BTreeMap<String, (Option<String>, Option<String>)>;

/// Reads the end of the chain.
pub(super) async fn last(db: &mut PgConnection) -> Result<Link, sqlx::Error> {
    let row = sqlx::query!("select id, hash from crm.audit_log order by id desc limit 1")
        .fetch_optional(db)
        .await?;
    row.map_or(Ok(BEGINNING), |row| Ok(Link { position: row.id, hash: to_hash(&row.hash)? }))
}

/// Adds one entry behind `last`.
pub(super) async fn append(
    db: &mut PgConnection,
    last: &Link,
    entry: Entry<'_>,
) -> Result<Link, sqlx::Error> {
    let salt: [u8; 16] = random::bytes();
    let changes: StoredChanges =
        entry.changes.iter().map(|(field, values)| ((*field).to_owned(), values.clone())).collect();
    let digest = digest(&salt, &changes);
    let sealed = Covered {
        position: last.position + 1,
        at: entry.at,
        actor_id: entry.actor_id,
        action: entry.action,
        object: entry.object,
        record_id: entry.record_id,
        digest: &digest,
    };
    let next = Link { position: sealed.position, hash: sealed.hash_after(&last.hash) };
    sqlx::query!(
        "insert into crm.audit_log (id, at, actor_id, action, object, record_id, changes, salt, digest, hash)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        next.position,
        instant(entry.at),
        entry.actor_id,
        entry.action,
        entry.object,
        entry.record_id,
        Json(&changes) as _,
        &salt,
        &digest,
        &next.hash,
    )
    .execute(db)
    .await?;
    Ok(next)
}

/// An entry as people read it.
pub struct Shown {
    /// Position in the chain.
    pub id: i64,
    /// When.
    pub at: Instant,
    /// Who.
    pub actor_id: Option<Uuid>,
    /// Their name today.
    pub actor_name: Option<String>,
    /// What.
    pub action: String,
    /// Field by field.
    pub changes: Json<StoredChanges>,
}

/// A record's history, newest first, before `before`.
pub async fn of_record(
    db: &mut PgConnection,
    object: &str,
    record_id: Uuid,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Shown>, sqlx::Error> {
    sqlx::query_as!(
        Shown,
        r#"select a.id, a.at, a.actor_id, u.name as "actor_name?", a.action,
                  a.changes as "changes: Json<StoredChanges>"
           from crm.audit_log a left join crm.app_user u on u.id = a.actor_id
           where a.object = $1 and a.record_id = $2 and a.id < coalesce($3, 9223372036854775807)
           order by a.id desc limit $4"#,
        object,
        record_id,
        before,
        limit,
    )
    .fetch_all(db)
    .await
}

/// How a check of the chain ended.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Unbroken; so many entries.
    Whole(i64),
    /// The first entry that does not follow from the one before it, or whose values are not the digested ones.
    BrokenAt(i64),
}

/// Walks the whole chain.
pub async fn verify(db: &mut PgConnection) -> Result<Verdict, sqlx::Error> {
    let mut entries = sqlx::query!(
        r#"select id, at, actor_id, action, object, record_id, changes as "changes: Json<StoredChanges>", salt, digest, hash
           from crm.audit_log order by id"#
    )
    .fetch(db);
    let mut last = BEGINNING;
    while let Some(row) = entries.try_next().await? {
        let covered = Covered {
            position: row.id,
            at: row.at.to_jiff(),
            actor_id: row.actor_id,
            action: &row.action,
            object: &row.object,
            record_id: row.record_id,
            digest: &row.digest,
        };
        let follows = row.id == last.position + 1 && covered.hash_after(&last.hash).as_slice() == row.hash;
        if !follows || digest(&row.salt, &row.changes).as_slice() != row.digest {
            return Ok(Verdict::BrokenAt(row.id));
        }
        last = Link { position: row.id, hash: to_hash(&row.hash)? };
    }
    Ok(Verdict::Whole(last.position))
}

/// The hash of the newest entry, which stands for all of the chain.
pub async fn last_hash(db: &mut PgConnection) -> Result<[u8; 32], sqlx::Error> {
    last(db).await.map(|last| last.hash)
}

/// What an entry's hash covers.
struct Covered<'a> {
    position: i64,
    at: Timestamp,
    actor_id: Option<Uuid>,
    action: &'a str,
    object: &'a str,
    record_id: Uuid,
    digest: &'a [u8],
}

impl Covered<'_> {
    fn hash_after(&self, previous: &[u8; 32]) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(previous);
        hasher.update(self.position.to_be_bytes());
        hasher.update(self.at.as_microsecond().to_be_bytes());
        hasher.update(self.actor_id.unwrap_or_default().as_bytes());
        update_with_text(&mut hasher, Some(self.action));
        update_with_text(&mut hasher, Some(self.object));
        hasher.update(self.record_id.as_bytes());
        hasher.update(self.digest);
        hasher.finalize().into()
    }
}

/// Independent of how JSON is spelled: PostgreSQL stores it in its own order.
fn digest(salt: &[u8], changes: &StoredChanges) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(salt);
    for (field, (old, new)) in changes {
        update_with_text(&mut hasher, Some(field));
        update_with_text(&mut hasher, old.as_deref());
        update_with_text(&mut hasher, new.as_deref());
    }
    hasher.finalize().into()
}

/// With its length, so that no two sequences of texts are the same bytes.
fn update_with_text(hasher: &mut Sha256, text: Option<&str>) {
    match text {
        None => hasher.update(u64::MAX.to_be_bytes()),
        Some(text) => {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        }
    }
}

fn to_hash(bytes: &[u8]) -> Result<[u8; 32], sqlx::Error> {
    bytes.try_into().map_err(|_| sqlx::Error::Decode("a hash of the audit chain has not 32 bytes".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(field: &str, old: Option<&str>, new: Option<&str>) -> StoredChanges {
        StoredChanges::from([(field.to_owned(), (old.map(str::to_owned), new.map(str::to_owned)))])
    }

    #[test]
    fn a_digest_tells_apart_what_could_be_run_together() {
        let salt = [7; 16];
        let all = [
            changes("a", Some("b"), None),
            changes("a", None, Some("b")),
            changes("ab", None, None),
            changes("a", Some(""), Some("b")),
        ];
        for (at, one) in all.iter().enumerate() {
            assert_eq!(digest(&salt, one), digest(&salt, one));
            assert_ne!(digest(&salt, one), digest(&[8; 16], one));
            for other in &all[at + 1..] {
                assert_ne!(digest(&salt, one), digest(&salt, other));
            }
        }
    }
}
