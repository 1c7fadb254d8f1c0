//! Tests of the whole application against a real PostgreSQL.
//!
//! `DATABASE_URL` must name a superuser of a PostgreSQL 17 server; each test makes a database of its own there,
//! migrates it as `crm_owner` and serves it as `crm_app`: `cargo e2e postgres -- cargo test -p crm-app`.
#![allow(unreachable_pub, reason = "nothing here is reachable from elsewhere")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should say so"
)]

mod app;
mod client;
mod database;

mod assets;
mod audit;
mod companies;
mod doctor;
mod fresh;
mod health;
mod matrix;
mod migrate;
mod paging;
mod search;
mod session;
mod users;
mod welcome;
