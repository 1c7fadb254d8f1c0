//! HTTP tests against a real PostgreSQL; the files mirror the addresses.
//!
//! `DATABASE_URL` must name a superuser on a PostgreSQL 17 server; each test makes its own database there:
//! `cargo e2e postgres -- cargo test -p crm-app`.

mod fresh;
