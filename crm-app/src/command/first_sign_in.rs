//! The first administrator and the link by which they come in, from mounted files.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::Problem;
use crate::{
    clock::Clock,
    db::{
        self,
        audit::Entry,
        user::UserRow,
        write::{Sealed, Tx},
    },
    domain::{
        company::Changes,
        email::Email,
        user::{PersonName, Role, Status},
    },
};

/// What the operator prepared.
#[derive(Debug, PartialEq, Eq)]
pub struct FirstSignIn {
    token_hash: [u8; 32],
    name: PersonName,
    email: Email,
    expires_in: SignedDuration,
}

/// Reads the four files.
pub fn read(folder: &Path) -> Result<FirstSignIn, Problem> {
    fn parsed<T>(folder: &Path, file: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Problem> {
        let text = std::fs::read_to_string(folder.join(file)).ok();
        text.as_deref().map(str::trim).and_then(parse).ok_or(Problem::FirstSignInInvalid { file })
    }
    Ok(FirstSignIn {
        token_hash: parsed(folder, "token-sha256", |text| hex::decode(text).ok()?.try_into().ok())?,
        name: parsed(folder, "admin-name", |text| PersonName::parse(text).ok())?,
        email: parsed(folder, "admin-email", |text| Email::parse(text).ok())?,
        expires_in: parsed(folder, "expires-in", |text| text.parse().ok().map(SignedDuration::from_secs))?,
    })
}

/// Adds the person unless the address is known, and the link unless its hash is known.
pub(super) async fn apply(
    pool: &sqlx::PgPool,
    clock: &Clock,
    first: &FirstSignIn,
) -> Result<(), sqlx::Error> {
    let now = clock.now();
    let mut tx = Tx::begin(pool).await?.seal().await?;
    let user_id = if let Some(id) = db::user::id_of(tx.db(), &first.email).await? {
        id
    } else {
        add(&mut tx, first, clock).await?
    };
    let is_new = db::link::insert(tx.db(), &first.token_hash, user_id, now, now + first.expires_in).await?;
    if is_new {
        audit(&mut tx, now, "new-link", user_id, &Changes::new()).await?;
    }
    tx.commit().await
}

async fn add(tx: &mut Sealed, first: &FirstSignIn, clock: &Clock) -> Result<Uuid, sqlx::Error> {
    let now = clock.now();
    let user = UserRow {
        id: clock.new_id(),
        name: first.name.clone(),
        email: first.email.clone(),
        role: Role::Admin,
        status: Status::Invited,
        created_at: db::instant(now),
    };
    db::user::insert(tx, &user).await?;
    audit(tx, now, "create", user.id, &user.changes_since(None)).await?;
    Ok(user.id)
}

async fn audit(
    tx: &mut Sealed,
    at: Timestamp,
    action: &'static str,
    record_id: Uuid,
    changes: &Changes,
) -> Result<(), sqlx::Error> {
    tx.audit(Entry { at, actor_id: None, action, object: "user", record_id, changes }).await
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_missing_or_malformed_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
        write("token-sha256", &"ab".repeat(32));
        write("admin-name", "王芳\n");
        write("admin-email", "Fang@acme.example");
        assert_eq!(read(folder.path()), Err(Problem::FirstSignInInvalid { file: "expires-in" }));
        write("expires-in", "604800\n");
        assert_eq!(read(folder.path()).unwrap().expires_in, SignedDuration::from_hours(7 * 24));
        write("token-sha256", "ab");
        assert_eq!(read(folder.path()), Err(Problem::FirstSignInInvalid { file: "token-sha256" }));
    }
}
