//! The way in, from outside: real sockets on the loopback interface, tenants that are listeners of the test.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod access_log;
mod broken_answers;
mod certificates;
mod http_2;
mod kubernetes;
mod process;
mod removal;
mod routing;
mod shutdown;
mod slow_clients;
mod smuggling;
mod streaming;
mod support;
mod tenants;
mod tls;
mod web_socket;
