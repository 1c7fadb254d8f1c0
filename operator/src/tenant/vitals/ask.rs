//! Asks the pods of a CRM for their metrics.

use std::{future::Future, net::IpAddr, pin::Pin, time::Duration};

use futures::future::join_all;

use super::Vitals;
use crate::{cluster::cache::Snapshot, names::Component, tenant::build::common::MANAGEMENT_PORT};

/// A pod that serves answers within milliseconds; one that does not is asked again at the next look.
const PATIENCE: Duration = Duration::from_secs(2);
/// More than the metrics of a CRM ever take.
const LONGEST: usize = 1 << 20;

/// How a pod is asked for its metrics; `None` when it does not answer.
pub trait Ask: Send + Sync {
    /// The text of its metrics.
    fn metrics<'a>(&'a self, pod: IpAddr) -> Pin<Box<dyn Future<Output = Option<String>> + Send + 'a>>;
}

/// Over the network.
pub struct Http(reqwest::Client);

impl Http {
    /// Past no proxy: it is the address of a pod.
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).pool_max_idle_per_host(0);
        client.build().map(Self)
    }

    async fn get(&self, pod: IpAddr) -> Result<Option<String>, reqwest::Error> {
        let host = match pod {
            IpAddr::V4(pod) => pod.to_string(),
            IpAddr::V6(pod) => format!("[{pod}]"),
        };
        let url = format!("http://{host}:{MANAGEMENT_PORT}/metrics");
        let mut answer = self.0.get(url).send().await?.error_for_status()?;
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if LONGEST < text.len() + chunk.len() {
                return Ok(None);
            }
            text.extend_from_slice(&chunk);
        }
        Ok(String::from_utf8(text).ok())
    }
}

impl Ask for Http {
    fn metrics<'a>(&'a self, pod: IpAddr) -> Pin<Box<dyn Future<Output = Option<String>> + Send + 'a>> {
        Box::pin(async move {
            self.get(pod).await.unwrap_or_else(|error| {
                tracing::debug!(%pod, error = &error as &dyn std::error::Error, "a CRM's metrics cannot be read");
                None
            })
        })
    }
}

/// What all live pods of a CRM say; `None` if there is none, or if one of them does not say it.
pub async fn of_pods(seen: &Snapshot, ask: &dyn Ask) -> Option<Vitals> {
    let live = seen.all_pods(Component::Crm).filter(|(_, child, pod)| !child.deleting && !pod.ended);
    let addresses = live.map(|(_, _, pod)| pod.address).collect::<Option<Vec<_>>>()?;
    let texts = join_all(addresses.into_iter().map(|pod| ask.metrics(pod))).await;
    let texts = texts.into_iter().collect::<Option<Vec<_>>>()?;
    Vitals::read(texts.iter().map(String::as_str))
}
