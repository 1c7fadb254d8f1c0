//! A database of a wanted size: the CRM's schema, and rows of its audit log.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::{host::command, images::TestPostgres};

/// Its name on the server.
pub(super) const NAME: &str = "crm";
const MIGRATE: Duration = Duration::from_mins(2);
/// Rows of about a kilobyte: an e-mail's worth of text, of which each word has been seen before, and hashes, which nothing
/// compresses.
const ROWS_PER_MEGABYTE: u32 = 1000;
/// In one statement: psql is given a minute for each call.
const ROWS_AT_ONCE: u32 = 50_000;

/// Makes it; says how large its tables are, in bytes.
pub(super) async fn fill(postgres: &TestPostgres, program: &Path, megabytes: u32) -> Result<u64> {
    let roles = "create role crm_owner login createdb; create role crm_app login;
                 create role crm_backup login password 'bench'; create database crm owner crm_owner;";
    for statement in roles.split_inclusive(';') {
        postgres.sql("postgres", statement).await?;
    }
    migrate(postgres, program).await?;
    let rows = megabytes * ROWS_PER_MEGABYTE;
    for begin in (0..rows).step_by(ROWS_AT_ONCE as usize) {
        let end = rows.min(begin + ROWS_AT_ONCE);
        postgres.sql(NAME, &insert(begin + 1, end)).await?;
    }
    postgres.sql(NAME, "vacuum analyze crm.audit_log").await?;
    let size = postgres.query(NAME, "select pg_table_size('crm.audit_log')").await?;
    size.trim().parse().with_context(|| format!("not a size: {size}"))
}

fn insert(first: u32, last: u32) -> String {
    format!(
        "insert into crm.audit_log (id, at, actor_id, action, object, record_id, changes, salt, digest, hash)
         select n, timestamptz '2026-01-01 00:00Z' + n * interval '1 second', null, 'update', 'company', gen_random_uuid(),
             jsonb_build_object('note', jsonb_build_array(null, (
                 select string_agg(word, ' ') from (
                     select (array['客户','下周','报价','合同','付款','拜访','电话','样品','quotation','delivery','invoice','follow-up'])
                                [1 + floor(random() * 12)::int] || floor(random() * 1000)::int as word
                     from generate_series(1, 60 + n % 20)) words))),
             decode(md5(random()::text), 'hex'), decode(md5(random()::text) || md5(random()::text), 'hex'),
             decode(md5(random()::text) || md5(random()::text), 'hex')
         from generate_series({first}, {last}) n;"
    )
}

async fn migrate(postgres: &TestPostgres, program: &Path) -> Result<()> {
    let password = tempfile::NamedTempFile::new()?;
    let mut migrate = Command::new(program);
    migrate.args(["migrate", "--database-host=127.0.0.1", "--database-port", &postgres.port().to_string()]);
    migrate.arg("--database-password-file").arg(password.path());
    command::run(&mut migrate, MIGRATE).await.context("cannot migrate the database").map(drop)
}
