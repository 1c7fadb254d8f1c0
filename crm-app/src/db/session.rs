//! Sessions. Only hashes of tokens come in here.

use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Instant, instant};
use crate::domain::user::Role;

/// A session that holds, with the person it belongs to.
pub struct Live {
    /// Who.
    pub user_id: Uuid,
    /// Their name.
    pub name: String,
    /// Their address.
    pub email: String,
    /// What they may do.
    pub role: Role,
    /// When the session was last used, give or take.
    pub last_seen_at: Instant,
}

/// Opens a session.
pub async fn insert(
    db: &mut PgConnection,
    token_hash: &[u8; 32],
    user_id: Uuid,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into crm.session (token_hash, user_id, created_at, last_seen_at, expires_at) values ($1, $2, $3, $3, $4)",
        token_hash,
        user_id,
        instant(now),
        instant(expires_at),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Finds a session that has not expired, was used since `idle_since`, and whose person is active.
pub async fn find(
    db: &mut PgConnection,
    token_hash: &[u8; 32],
    now: Timestamp,
    idle_since: Timestamp,
) -> Result<Option<Live>, sqlx::Error> {
    sqlx::query_as!(
        Live,
        r#"select s.user_id, u.name, u.email, u.role as "role: Role", s.last_seen_at
           from crm.session s join crm.app_user u on u.id = s.user_id
           where s.token_hash = $1 and s.expires_at > $2 and s.last_seen_at > $3 and u.status = 'active'"#,
        token_hash,
        instant(now),
        instant(idle_since),
    )
    .fetch_optional(db)
    .await
}

/// Notes that a session is in use.
pub async fn touch(db: &mut PgConnection, token_hash: &[u8; 32], now: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query!("update crm.session set last_seen_at = $2 where token_hash = $1", token_hash, instant(now))
        .execute(db)
        .await?;
    Ok(())
}

/// Ends one session.
pub async fn delete(db: &mut PgConnection, token_hash: &[u8; 32]) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from crm.session where token_hash = $1", token_hash).execute(db).await?;
    Ok(())
}

/// Ends all sessions of a person.
pub async fn delete_of_user(db: &mut PgConnection, user_id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from crm.session where user_id = $1", user_id).execute(db).await?;
    Ok(())
}

/// Ends everybody's sessions.
pub async fn delete_all(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from crm.session").execute(db).await?;
    Ok(())
}

/// Forgets sessions that no longer hold.
pub async fn delete_expired(
    db: &mut PgConnection,
    now: Timestamp,
    idle_since: Timestamp,
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        "delete from crm.session where expires_at <= $1 or last_seen_at <= $2",
        instant(now),
        instant(idle_since),
    )
    .execute(db)
    .await?;
    Ok(deleted.rows_affected())
}
