//! Fixtures that read as sentences, and an API server in memory. Only in tests.

pub(crate) mod children;
pub(crate) mod fake_api;
pub(crate) mod fixtures;
pub(crate) mod nodes;
pub(crate) mod world;

pub(crate) use children::*;
pub(crate) use fixtures::*;
