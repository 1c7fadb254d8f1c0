//! Exit bundles that people fetch: their links, and whose turn it is. Only hashes of tokens come in here.

use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::instant;

/// Whoever reads the database for a bundle holds this for as long; any number, as long as nothing else uses it as an advisory
/// lock. It ends with its connection, whatever becomes of the process.
const TURN_LOCK: i64 = 0x0043_524d_4558_4954;

/// Makes this the one link that holds.
pub async fn replace_link(
    db: &mut PgConnection,
    token_hash: &[u8; 32],
    user_id: Uuid,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), sqlx::Error> {
    revoke_links(db).await?;
    sqlx::query!(
        "insert into crm.exit_link (token_hash, user_id, created_at, expires_at) values ($1, $2, $3, $4)",
        token_hash,
        user_id,
        instant(now),
        instant(expires_at),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Spends a person's link: of any number at the same time, one is told `true`.
pub async fn spend_link(
    db: &mut PgConnection,
    token_hash: &[u8; 32],
    user_id: Uuid,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let spent = sqlx::query!(
        "delete from crm.exit_link where token_hash = $1 and user_id = $2 and expires_at > $3",
        token_hash,
        user_id,
        instant(now),
    )
    .execute(db)
    .await?;
    Ok(spent.rows_affected() == 1)
}

/// Takes back all links.
pub async fn revoke_links(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from crm.exit_link").execute(db).await?;
    Ok(())
}

/// Takes the turn until the end of the transaction, unless somebody has it.
pub async fn take_turn(db: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock($1) as "taken!""#, TURN_LOCK).fetch_one(db).await
}

/// Whether somebody has the turn. Only looks: who takes it meanwhile is not in anybody's way.
pub async fn is_taken(db: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (
               select from pg_locks
               where locktype = 'advisory' and granted and objsubid = 1
                 and database = (select oid from pg_database where datname = current_database())
                 and classid = ($1::bigint >> 32)::oid and objid = ($1::bigint & 4294967295)::oid
           ) as "taken!""#,
        TURN_LOCK,
    )
    .fetch_one(db)
    .await
}
