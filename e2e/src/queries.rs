//! `cargo e2e queries`: the metadata of the CRM's SQL (`crm-app/.sqlx`), written anew after a change.
//!
//! The macros of sqlx refuse a query without metadata, so the CRM's own tests, which prove the files fresh, cannot write
//! them: they would not compile.

use std::{fs, path::Path, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use crate::{images, toolchain::workspace};

const DATABASE: &str = "queries";
/// What sqlx makes before the first migration; queries of the CRM read it.
const MIGRATION_TABLE: &str = "create schema crm; create table crm.schema_migration (
    version bigint primary key, description text not null, installed_on timestamptz not null default now(),
    success boolean not null, checksum bytea not null, execution_time bigint not null);";

/// Compiles the CRM against a database with its migrations, and keeps what the macros wrote down.
///
/// # Errors
/// When a migration or a query is wrong; the files then stay as they were.
pub async fn write() -> Result<()> {
    let package = workspace().join("crm-app");
    let postgres = images::test_postgres().await?;
    postgres.sql("postgres", &format!("create database {DATABASE}")).await?;
    postgres.sql(DATABASE, MIGRATION_TABLE).await?;
    for migration in files(&package.join("migrations"))? {
        let statements = fs::read_to_string(package.join("migrations").join(&migration))?;
        let applied = postgres.sql(DATABASE, &statements).await;
        applied.with_context(|| format!("migration {migration} cannot be applied"))?;
    }
    let written = tempfile::tempdir()?;
    compile(&package, &postgres.url_of(DATABASE), written.path()).await?;
    let committed = package.join(".sqlx");
    for name in files(&committed)? {
        fs::remove_file(committed.join(name))?;
    }
    let names = files(written.path())?;
    for name in &names {
        fs::copy(written.path().join(name), committed.join(name))?;
    }
    println!("crm-app/.sqlx describes {} queries", names.len());
    Ok(())
}

async fn compile(package: &Path, database: &str, written: &Path) -> Result<()> {
    // An unknown --cfg makes cargo compile again, without a trace in the builds that others use.
    let nonce = format!("sqlx_metadata=\"{}\"", written.display());
    let mut cargo = Command::new("cargo");
    cargo.args(["rustc", "--locked", "--quiet", "--package", "crm-app", "--lib", "--profile", "check", "--"]);
    cargo.args(["--cfg", &nonce, "--allow", "unexpected_cfgs"]).current_dir(package);
    cargo.env("CRM_APP_SCHEMA_URL", database).env("SQLX_OFFLINE", "false").env("SQLX_OFFLINE_DIR", written);
    let status = cargo.stdin(Stdio::null()).kill_on_drop(true).status().await?;
    ensure!(status.success(), "the CRM does not compile against its own schema; see above");
    Ok(())
}

/// The names of a folder's files, sorted.
fn files(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
