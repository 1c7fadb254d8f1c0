//! What the gateway costs: requests through it beside requests straight to the same backend, in turns, in one run.
//!
//! Client, backend and gateway share the machine's cores, so on a saturated machine the gateway works at the expense of the
//! other two. A proxy does what a server does and what a client does; if those two do nothing else, no proxy can leave
//! more than about half of the throughput. That figure ("nothing but HTTP") is printed without a limit, because it shows
//! best when the gateway itself gets slower. The limits are for clients and backends that do something: compute for as
//! long as [`WORK`] before they answer, which is the least that a request to a CRM costs, and hash what they receive.
//!
//! This is a crate of its own, with few dependencies, because clients and backend must be compiled for release: slow ones
//! would leave the gateway too little to do. `cargo e2e bench gateway` builds and runs it.
//!
//! In reading order: `load` (the clients), `pattern` (what they send), `backend`, `edge` and `api` (the gateway and what
//! it learns its routes from), `report`.

mod api;
mod backend;
mod edge;
mod load;
mod pattern;
mod report;

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::Result;

use self::{
    backend::{Backend, Work},
    edge::Edge,
    pattern::Summary,
    report::{Latency, Memory},
};
pub use report::Report;

/// What one request costs the machine at least that reads one row of PostgreSQL: 17,800 of them a second saturate two
/// such cores, with axum, SQLx and nothing else.
const WORK: Duration = Duration::from_micros(110);

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How often everything is measured, each time with and without the gateway.
    pub rounds: usize,
    /// How long each measurement with many requests takes.
    pub time: Duration,
    /// Connections of the clients.
    pub connections: usize,
    /// Requests per second when latency is measured: far from what the machine could do.
    pub per_second: u32,
    /// Size of the bodies whose speed is measured, in bytes.
    pub large: u64,
    /// Size of the bodies during which the gateway's memory is measured, in bytes.
    pub huge: u64,
}

impl Plan {
    /// What the limits are for.
    pub fn full(rounds: usize) -> Self {
        Self {
            rounds,
            time: Duration::from_secs(3),
            connections: 32,
            per_second: 500,
            large: 512_000_000,
            huge: 1 << 30,
        }
    }

    /// A few seconds, to see that everything works.
    pub fn small() -> Self {
        Self {
            rounds: 1,
            time: Duration::from_millis(500),
            connections: 8,
            per_second: 200,
            large: 10_000_000,
            huge: 50_000_000,
        }
    }
}

/// What is measured in each round.
#[derive(Clone, Copy, Debug)]
enum Subject {
    Bare,
    Working,
    Download,
    Upload,
}

impl Subject {
    const ALL: [Self; 4] = [Self::Bare, Self::Working, Self::Download, Self::Upload];

    fn name(self) -> &'static str {
        match self {
            Self::Bare => "requests/s, nothing but HTTP",
            Self::Working => "requests/s, one row's work",
            Self::Download => "MB/s down, hashed on arrival",
            Self::Upload => "MB/s up, hashed on arrival",
        }
    }

    /// Whether the limit on the ratio is for this one.
    fn is_limited(self) -> bool {
        match self {
            Self::Bare => false,
            Self::Working | Self::Download | Self::Upload => true,
        }
    }

    async fn measure(self, address: SocketAddr, plan: &Plan, large: &Summary) -> Result<f64> {
        match self {
            Self::Bare => load::saturate(address, "/", plan.connections, plan.time).await,
            Self::Working => load::saturate(address, "/work", plan.connections, plan.time).await,
            Self::Download => load::download(address, plan.large, large).await,
            Self::Upload => load::upload(address, plan.large, large).await,
        }
    }
}

/// Measures `executable gateway`.
///
/// # Errors
/// When a request fails, or a body does not arrive as it was sent.
pub async fn run(executable: &Path, plan: &Plan) -> Result<Report> {
    let backend = Backend::start(Work::lasting(WORK)).await?;
    let edge = Edge::start(executable, backend.address).await?;
    let addresses = [backend.address, edge.address];
    let large = Summary::of_pattern(plan.large).await?;
    let mut throughput = Vec::new();
    for subject in Subject::ALL {
        let mut speeds = [Vec::new(), Vec::new()];
        for round in 0..plan.rounds {
            for side in in_turns(round) {
                speeds[side].push(subject.measure(addresses[side], plan, &large).await?);
            }
        }
        eprintln!("measured {}", subject.name());
        throughput.push((subject, speeds));
    }
    let mut latency = [Vec::new(), Vec::new()];
    for round in 0..plan.rounds {
        for side in in_turns(round) {
            let all = load::at_rate(addresses[side], plan.per_second, plan.connections, plan.time).await?;
            latency[side].push(Latency::of(all));
        }
    }
    eprintln!("measured latency");
    let before = edge.cpu_seconds()?;
    let per_second = load::saturate(edge.address, "/", plan.connections, plan.time).await?;
    let cpu_per_request = (edge.cpu_seconds()? - before) / (per_second * plan.time.as_secs_f64());
    let memory = memory(&edge, plan).await?;
    edge.stop().await?;
    Ok(Report { plan: plan.clone(), throughput, latency, cpu_per_request, memory })
}

/// The order of direct (0) and through the gateway (1): whoever comes second may find a warmer machine.
fn in_turns(round: usize) -> [usize; 2] {
    if round.is_multiple_of(2) { [0, 1] } else { [1, 0] }
}

/// The gateway's memory while huge bodies pass.
async fn memory(edge: &Edge, plan: &Plan) -> Result<Memory> {
    let huge = Summary::of_pattern(plan.huge).await?;
    let before = edge.begin_peak()?;
    load::upload(edge.address, plan.huge, &huge).await?;
    load::download(edge.address, plan.huge, &huge).await?;
    eprintln!("measured memory");
    Ok(Memory { before, peak: edge.peak()? })
}
