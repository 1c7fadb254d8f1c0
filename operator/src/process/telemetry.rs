//! One JSON line per outcome on standard error; the level comes from the flags or `RUST_LOG`.

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Starts logging. `filter` is in the form of `RUST_LOG`; what cannot be read falls back to `info`.
pub fn start(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(std::io::stderr);
    // A second start (several components in one test process) keeps the first.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
}
