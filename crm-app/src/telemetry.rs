//! Logs: one JSON object per line on standard output. Never secrets, addresses of people or values of records.

use tracing_subscriber::EnvFilter;

/// Installs the log format.
pub fn init(directives: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(directives)?;
    let subscriber =
        tracing_subscriber::fmt().json().flatten_event(true).with_current_span(true).with_span_list(false);
    subscriber.with_env_filter(filter).try_init().map_err(|error| anyhow::anyhow!(error))
}
