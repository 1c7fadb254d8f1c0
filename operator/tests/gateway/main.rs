//! The way in, from outside: real sockets on the loopback interface, tenants that are listeners of the test.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod abuse;
mod access_log;
mod kubernetes;
mod routing;
mod shutdown;
mod streaming;
mod support;
mod tenants;
mod tls;
mod web_socket;
