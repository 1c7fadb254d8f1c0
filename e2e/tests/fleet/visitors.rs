//! Customers who go on working while something is done to the fleet: they notice every request that fails.

use std::{fmt, time::Duration};

use anyhow::{Context as _, Result, ensure};
use e2e::fleet::Crm;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

/// Between two requests of one customer, unless somebody says otherwise.
const PAUSE: Duration = Duration::from_millis(100);
/// Between the first requests of two customers: people do not all press a key in the same moment.
const APART: Duration = Duration::from_millis(53);
/// Every so many requests one writes.
const WRITES: u32 = 4;
/// After being told to stop they still write so often: what was done last must be noticed, too.
const LAST_WRITES: u32 = 3;

/// Customers at work.
pub(crate) struct Visitors {
    stop: watch::Sender<bool>,
    tasks: JoinSet<Served>,
}

/// What came of their requests.
#[derive(Debug, Default)]
pub(crate) struct Served {
    reads: u32,
    writes: u32,
    slowest: Duration,
    failures: Vec<String>,
}

impl Visitors {
    /// Sends them to work.
    pub(crate) fn start(customers: Vec<Crm>) -> Self {
        Self::start_every(PAUSE, customers)
    }

    /// The same with another pause between two requests of one customer.
    pub(crate) fn start_every(pause: Duration, customers: Vec<Crm>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut begins = Instant::now();
        for crm in customers {
            tasks.spawn(visit(crm, interval_at(begins, pause), stopped.clone()));
            begins += APART;
        }
        Self { stop, tasks }
    }

    /// Sends them home.
    ///
    /// # Errors
    /// When a request failed.
    pub(crate) async fn end(self) -> Result<Served> {
        let all = self.go_home().await?;
        ensure!(all.failures.is_empty(), "customers noticed: {:#?}", all.failures);
        Ok(all)
    }

    /// Sends them home, whatever they have seen.
    pub(crate) async fn go_home(mut self) -> Result<Served> {
        self.stop.send_replace(true);
        let mut all = Served::default();
        while let Some(served) = self.tasks.join_next().await {
            let served = served.context("a customer gave up")?;
            all.add(served);
        }
        Ok(all)
    }
}

/// Reads and now and then writes, until told to stop.
async fn visit(crm: Crm, mut ticks: Interval, mut stop: watch::Receiver<bool>) -> Served {
    let mut served = Served::default();
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let begun = Instant::now();
    let mut last = u32::MAX;
    for number in 1.. {
        tokio::select! {
            _ = ticks.tick() => {}
            Ok(()) = stop.changed() => last = number + LAST_WRITES * WRITES,
        }
        if last <= number {
            break;
        }
        let sent = Instant::now();
        let writes = number % WRITES == 0;
        let (answer, wanted) = if writes {
            served.writes += 1;
            let company = json!({ "name": format!("Visit {number}") });
            (crm.send(Method::POST, "/companies", Some(company)).await, StatusCode::CREATED)
        } else {
            served.reads += 1;
            (crm.send(Method::GET, "/companies?limit=5", None).await, StatusCode::OK)
        };
        served.slowest = served.slowest.max(sent.elapsed());
        let problem = match answer {
            Ok(reply) if reply.status == wanted => continue,
            Ok(reply) => format!("{} {}", reply.status, reply.body),
            Err(error) => format!("{error:#}"),
        };
        let what = if writes { "write" } else { "read" };
        served.failures.push(format!("{what} after {:.1} s: {problem}", begun.elapsed().as_secs_f64()));
    }
    served
}

impl Served {
    fn add(&mut self, other: Self) {
        self.reads += other.reads;
        self.writes += other.writes;
        self.slowest = self.slowest.max(other.slowest);
        self.failures.extend(other.failures);
    }
}

impl fmt::Display for Served {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slowest = self.slowest.as_millis();
        let (reads, writes, failed) = (self.reads, self.writes, self.failures.len());
        write!(formatter, "{reads} reads and {writes} writes, {failed} failed, the slowest took {slowest} ms")
    }
}
