//! One-time links. Only hashes of tokens come in here.

use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::instant;

/// A link that can still be spent, with the person whom it lets in.
pub struct Open {
    /// Whom.
    pub user_id: Uuid,
    /// Their name.
    pub name: String,
    /// Their address.
    pub email: String,
}

/// Adds a link, and says whether it was new. One that is already known stays as it is, spent or not: that is
/// why links are never deleted, or the next migration would bring a spent first link back to life.
pub async fn insert(
    db: &mut PgConnection,
    token_hash: &[u8; 32],
    user_id: Uuid,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query!(
        "insert into crm.one_time_link (token_hash, user_id, created_at, expires_at) values ($1, $2, $3, $4)
         on conflict (token_hash) do nothing",
        token_hash,
        user_id,
        instant(now),
        instant(expires_at),
    )
    .execute(db)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Looks at a link without spending it.
pub async fn find_open(
    db: &mut PgConnection,
    token_hash: &[u8; 32],
    now: Timestamp,
) -> Result<Option<Open>, sqlx::Error> {
    sqlx::query_as!(
        Open,
        "select l.user_id, u.name, u.email
         from crm.one_time_link l join crm.app_user u on u.id = l.user_id
         where l.token_hash = $1 and l.spent_at is null and l.expires_at > $2 and u.status <> 'deactivated'",
        token_hash,
        instant(now),
    )
    .fetch_optional(db)
    .await
}

/// Spends a link: of any number at the same time, one is told `true`.
pub async fn spend(
    db: &mut PgConnection,
    token_hash: &[u8; 32],
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let spent = sqlx::query!(
        "update crm.one_time_link set spent_at = $2 where token_hash = $1 and spent_at is null and expires_at > $2",
        token_hash,
        instant(now),
    )
    .execute(db)
    .await?;
    Ok(spent.rows_affected() == 1)
}

/// Takes back a person's links that nobody has used.
pub async fn revoke_open_of_user(
    db: &mut PgConnection,
    user_id: Uuid,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update crm.one_time_link set spent_at = $2 where user_id = $1 and spent_at is null",
        user_id,
        instant(now)
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Takes back everybody's links that nobody has used.
pub async fn revoke_open(db: &mut PgConnection, now: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query!("update crm.one_time_link set spent_at = $1 where spent_at is null", instant(now))
        .execute(db)
        .await?;
    Ok(())
}
