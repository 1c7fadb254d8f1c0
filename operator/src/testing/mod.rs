//! Fixtures that read as sentences, and a mock API server. Only in tests.

pub mod fixtures;

pub use fixtures::*;
