//! Tests that start and break whole clusters.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod existing;
mod machine;
mod native;
