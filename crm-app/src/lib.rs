//! The CRM that every tenant runs: one binary with the built front end inside.
//!
//! The rooms, in reading order:
//! - [`args`]: every flag and environment variable; [`command`]: `serve`, `migrate`, `doctor`, `backup`, `drill`, `restore`,
//!   `drop-database`, `export`;
//! - [`app`]: the state and the router; [`http`]: what every request passes through; [`error`]: how it fails;
//! - [`domain`]: rules without input or output; [`db`]: the only room with SQL;
//! - [`auth`]: who is asking; [`api`]: JSON under `/api/v1`; [`assets`]: the front end;
//! - [`backup`]: backups, taken and restored; [`exchange`]: data on their way out;
//! - [`entitlement`]: what the tenant may do; [`leaving`]: how the process ends; [`health`], [`metrics`], [`telemetry`]: how it is watched;
//! - [`clock`], [`random`]: time and chance;
//! - `test_release`: not in products, but in releases that only tests run.

pub mod api;
pub mod app;
pub mod args;
pub mod assets;
pub mod auth;
pub mod backup;
pub mod clock;
pub mod command;
pub mod db;
pub mod domain;
pub mod entitlement;
pub mod error;
pub mod exchange;
pub mod health;
pub mod http;
pub mod leaving;
pub mod metrics;
pub mod random;
pub mod telemetry;
#[cfg(feature = "test-releases")]
pub mod test_release;
