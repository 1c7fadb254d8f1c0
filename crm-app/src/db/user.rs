//! People.

use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Instant, instant, write::Sealed};
use crate::domain::{
    company::Changes,
    email::Email,
    user::{PersonName, Role, Status},
};

/// A person, without the secret parts.
#[derive(Clone, Debug)]
pub struct UserRow {
    /// Who.
    pub id: Uuid,
    /// Their name.
    pub name: PersonName,
    /// Their address.
    pub email: Email,
    /// What they may do.
    pub role: Role,
    /// Where they stand.
    pub status: Status,
    /// Since when they are known.
    pub created_at: Instant,
}

impl UserRow {
    /// What changed from `before`, or everything when there was nothing before.
    pub fn changes_since(&self, before: Option<&Self>) -> Changes {
        let old = before.map(Self::as_text);
        let pairs = self.as_text().into_iter().enumerate().map(|(at, (field, new))| {
            let old = old.as_ref().map(|fields| fields[at].1.clone());
            (field, (old, Some(new)))
        });
        pairs.filter(|(_, (old, new))| old != new).collect()
    }

    fn as_text(&self) -> [(&'static str, String); 4] {
        // No `..`: a new field that the audit log would not see does not compile.
        let Self { id: _, name, email, role, status, created_at: _ } = self;
        [
            ("name", name.as_str().to_owned()),
            ("email", email.as_str().to_owned()),
            ("role", role.as_str().to_owned()),
            ("status", status.as_str().to_owned()),
        ]
    }
}

/// What signing in needs to know.
pub struct Credentials {
    /// Who.
    pub id: Uuid,
    /// Their password's hash.
    pub password_hash: Option<String>,
}

/// Everybody, in the order of their coming.
pub async fn list(db: &mut PgConnection) -> Result<Vec<UserRow>, sqlx::Error> {
    sqlx::query_as!(
        UserRow,
        r#"select id, name as "name: PersonName", email as "email: Email", role as "role: Role",
                  status as "status: Status", created_at
           from crm.app_user order by created_at, id"#
    )
    .fetch_all(db)
    .await
}

/// Whether there is anybody.
pub async fn exists(db: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"select exists(select from crm.app_user) as "exists!""#).fetch_one(db).await
}

/// One person, locked until the end of the transaction. (`no key`: rows that refer to people may be written
/// meanwhile, by a transaction whose turn it is already.)
pub async fn lock(db: &mut PgConnection, id: Uuid) -> Result<Option<UserRow>, sqlx::Error> {
    sqlx::query_as!(
        UserRow,
        r#"select id, name as "name: PersonName", email as "email: Email", role as "role: Role",
                  status as "status: Status", created_at
           from crm.app_user where id = $1 for no key update"#,
        id
    )
    .fetch_optional(db)
    .await
}

/// The person with this address, if they can sign in.
pub async fn credentials(db: &mut PgConnection, email: &Email) -> Result<Option<Credentials>, sqlx::Error> {
    sqlx::query_as!(
        Credentials,
        "select id, password_hash from crm.app_user where email = $1 and status = 'active'",
        email.as_str()
    )
    .fetch_optional(db)
    .await
}

/// The person with this address, whatever their state.
pub async fn id_of(db: &mut PgConnection, email: &Email) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar!("select id from crm.app_user where email = $1", email.as_str())
        .fetch_optional(db)
        .await
}

/// Adds a person. The seats were counted in the same turn.
pub async fn insert(tx: &mut Sealed, user: &UserRow) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into crm.app_user (id, name, email, role, status, created_at, updated_at) values ($1, $2, $3, $4, $5, $6, $6)",
        user.id,
        user.name.as_str(),
        user.email.as_str(),
        user.role.as_str(),
        user.status.as_str(),
        user.created_at,
    )
    .execute(tx.db())
    .await?;
    Ok(())
}

/// Changes what administrators may change.
pub async fn update(tx: &mut Sealed, user: &UserRow, now: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update crm.app_user set name = $2, role = $3, status = $4, updated_at = $5 where id = $1",
        user.id,
        user.name.as_str(),
        user.role.as_str(),
        user.status.as_str(),
        instant(now),
    )
    .execute(tx.db())
    .await?;
    Ok(())
}

/// Sets a password, which makes an invited person active.
pub async fn set_password(
    db: &mut PgConnection,
    id: Uuid,
    password_hash: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update crm.app_user set password_hash = $2, status = 'active', updated_at = $3 where id = $1",
        id,
        password_hash,
        instant(now),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Whether a person has ever set a password.
pub async fn has_password(db: &mut PgConnection, id: Uuid) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"select password_hash is not null as "has!" from crm.app_user where id = $1"#, id)
        .fetch_one(db)
        .await
}

/// How many people take a seat.
pub async fn seats_taken(tx: &mut Sealed) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"select count(*) as "count!" from crm.app_user where status <> 'deactivated'"#)
        .fetch_one(tx.db())
        .await
}

/// How many administrators can sign in.
pub async fn active_admins(tx: &mut Sealed) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from crm.app_user where status = 'active' and role = 'admin'"#
    )
    .fetch_one(tx.db())
    .await
}
