//! How much of the gateway one client, one request and one tenant may take.

use std::time::Duration;

use jiff::SignedDuration;

/// Every bound that the gateway keeps. The defaults suit a CRM behind one or two replicas.
#[derive(clap::Args, Clone, Debug)]
pub struct Limits {
    /// Open client connections. More wait in the kernel's queue instead of taking memory.
    #[arg(long, env = "TENANTRY_MAX_CONNECTIONS", default_value_t = 4096)]
    pub max_connections: usize,
    /// Requests that one tenant may have open at once, so that one hanging tenant cannot take the gateway from the others.
    #[arg(long, env = "TENANTRY_MAX_REQUESTS_PER_TENANT", default_value_t = 512)]
    pub max_requests_per_tenant: usize,
    /// The largest request body. Bodies are streamed, never held.
    #[arg(long, env = "TENANTRY_MAX_BODY_BYTES", default_value_t = 100 << 20)]
    pub max_body_bytes: u64,
    /// The largest request or response head.
    #[arg(long, env = "TENANTRY_MAX_HEADER_BYTES", default_value_t = 64 << 10, value_parser = clap::value_parser!(u32).range(8192..))]
    pub max_header_bytes: u32,
    /// From a new connection to its first complete request head, TLS handshake included.
    #[arg(long, env = "TENANTRY_HEADER_TIMEOUT", default_value = "10s", value_parser = duration)]
    pub header_timeout: Duration,
    /// Longest silence of a client in the middle of a request body.
    #[arg(long, env = "TENANTRY_BODY_TIMEOUT", default_value = "30s", value_parser = duration)]
    pub body_timeout: Duration,
    /// How long connecting to a tenant is tried, again and again, before it counts as not reachable.
    #[arg(long, env = "TENANTRY_CONNECT_TIMEOUT", default_value = "5s", value_parser = duration)]
    pub connect_timeout: Duration,
    /// Longest silence of a tenant: before its answer and in the middle of it.
    #[arg(long, env = "TENANTRY_RESPONSE_TIMEOUT", default_value = "60s", value_parser = duration)]
    pub response_timeout: Duration,
    /// How long a client connection without a request is kept.
    #[arg(long, env = "TENANTRY_IDLE_TIMEOUT", default_value = "75s", value_parser = duration)]
    pub idle_timeout: Duration,
    /// How long a WebSocket may be silent in both directions.
    #[arg(long, env = "TENANTRY_TUNNEL_TIMEOUT", default_value = "10m", value_parser = duration)]
    pub tunnel_timeout: Duration,
    /// After SIGTERM, how long new connections are still taken: load balancers need a moment to hear of it.
    #[arg(long, env = "TENANTRY_SHUTDOWN_DELAY", default_value = "3s", value_parser = duration)]
    pub shutdown_delay: Duration,
    /// After that, how long open requests may take to finish.
    #[arg(long, env = "TENANTRY_DRAIN_TIMEOUT", default_value = "20s", value_parser = duration)]
    pub drain_timeout: Duration,
}

impl Limits {
    /// A connection with open requests on which nothing has moved for this long is held by a client that does not
    /// read. It must be longer than what a slow tenant is allowed, or the tenant's silence would be blamed on the client.
    pub(super) fn stall_timeout(&self) -> Duration {
        self.response_timeout + self.connect_timeout + self.body_timeout
    }
}

/// Parses `10s`, `1m30s` and the like.
pub(crate) fn duration(raw: &str) -> Result<Duration, String> {
    let signed: SignedDuration = raw.parse().map_err(|error: jiff::Error| error.to_string())?;
    Duration::try_from(signed).map_err(|_| "must not be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(duration("10").is_err());
        assert!(duration("-10s").is_err());
    }
}
