//! Leaky buckets in a table, because all replicas must count together.

use jiff::{SignedDuration, Timestamp};
use sqlx::PgConnection;

use super::instant;

/// How much a bucket holds and how fast it drains.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Attempts at once.
    pub holds: i32,
    /// One attempt leaks out in this time.
    pub drains_one_in: SignedDuration,
}

/// Adds one attempt. When the bucket is full: how long until there is room.
pub async fn fill(
    db: &mut PgConnection,
    key: &[u8; 32],
    bucket: Bucket,
    now: Timestamp,
) -> Result<Result<(), SignedDuration>, sqlx::Error> {
    let one = bucket.drains_one_in;
    let full = now + one * bucket.holds;
    let added = sqlx::query!(
        "insert into crm.rate_limit as r (key, drained_at) values ($1, $3)
         on conflict (key) do update set drained_at = greatest(r.drained_at, $2) + ($3 - $2)
         where greatest(r.drained_at, $2) + ($3 - $2) <= $4",
        key,
        instant(now),
        instant(now + one),
        instant(full),
    )
    .execute(&mut *db)
    .await?;
    if added.rows_affected() == 1 {
        return Ok(Ok(()));
    }
    let drained_at = sqlx::query_scalar!("select drained_at from crm.rate_limit where key = $1", key)
        .fetch_optional(db)
        .await?;
    let wait = drained_at.map_or(one, |at| at.to_jiff().duration_since(full) + one);
    Ok(Err(wait.max(SignedDuration::from_secs(1))))
}

/// Empties a bucket.
pub async fn forget(db: &mut PgConnection, key: &[u8; 32]) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from crm.rate_limit where key = $1", key).execute(db).await?;
    Ok(())
}

/// Forgets buckets that have drained.
pub async fn delete_drained(db: &mut PgConnection, now: Timestamp) -> Result<u64, sqlx::Error> {
    let deleted =
        sqlx::query!("delete from crm.rate_limit where drained_at <= $1", instant(now)).execute(db).await?;
    Ok(deleted.rows_affected())
}
