//! What keeps the process alive and visible.

pub mod backoff;
pub mod controllers;
pub mod health;
pub mod lease;
pub mod metrics;
pub mod queue;
pub mod settle;
pub mod telemetry;

mod keeper;
mod vitals;
mod watches;
