//! Tests of the whole application against a real PostgreSQL.
//!
//! `DATABASE_URL` must name a superuser of a PostgreSQL 17 server; each test makes a database of its own there,
//! migrates it as `crm_owner` and serves it as `crm_app`. Those of backups need the server's socket (`SCRATCH_SOCKET`), its
//! programs and `age` as well: `cargo e2e postgres -- cargo test -p crm-app` has all of it.
#![allow(unreachable_pub, reason = "nothing here is reachable from elsewhere")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should say so"
)]

mod app;
mod bundle;
mod catalogue;
mod client;
mod database;
mod delivery;
mod door;
mod killing;
mod pod;
mod vault;

mod assets;
mod audit;
mod backup;
mod backup_faults;
mod backup_killed;
mod commands;
mod companies;
mod doctor;
mod drill;
mod drill_killed;
mod drop_killed;
mod exit_bundle;
mod exit_bundle_faults;
mod export;
mod export_faults;
mod export_killed;
mod export_start;
mod fresh;
mod health;
mod in_flight;
mod matrix;
mod migrate;
mod paging;
#[cfg(feature = "test-releases")]
mod releases;
mod restore;
mod restore_faults;
mod restore_killed;
mod search;
mod sequence;
mod session;
mod users;
mod welcome;
