//! The process around the pure steps: watches, renders, applies.

use std::{fmt::Debug, hash::Hash, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use ipnet::Ipv4Net;
use k8s_openapi::api::{
    core::v1::{Namespace, Pod},
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, Client, Config, Resource,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{WatchStreamExt, reflector, reflector::Store, watcher},
};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::{attachments, endpoints::endpoints, flows, nft, rules::rules, ruleset::Ruleset};

/// Changes within this time are put into force together.
const GATHER: Duration = Duration::from_millis(10);
/// When the table could not be replaced.
const RETRY: Duration = Duration::from_secs(1);

/// Enforce NetworkPolicies on this node, in the network namespace in which this runs.
#[derive(clap::Args, Debug)]
pub struct AgentArgs {
    /// Kubeconfig of a user who may list and watch Pods, Namespaces and NetworkPolicies.
    #[arg(long)]
    kubeconfig: PathBuf,
    /// The addresses from which pods get theirs.
    #[arg(long)]
    pod_cidr: Ipv4Net,
    /// Where libcni records the addresses that it gave out.
    #[arg(long, default_value = "/var/lib/cni/results")]
    attachments: PathBuf,
}

/// Enforces until the process is stopped; the rules outlive it.
pub async fn run(args: AgentArgs) -> Result<()> {
    // Without a table everything would be allowed. With one, of an earlier run, its rules hold until there are better ones.
    if !nft::is_applied().await {
        nft::apply(&nft::render(&Ruleset::closed(args.pod_cidr))).await?;
    }
    let client = client(&args.kubeconfig).await?;
    let changed = Arc::new(Notify::new());
    let (pods, pod_events) = follow::<Pod>(&client);
    let (namespaces, namespace_events) = follow::<Namespace>(&client);
    let (policies, policy_events) = follow::<NetworkPolicy>(&client);
    let records = attachments::watch(&args.attachments)?.boxed();
    let view = View { args, pods, namespaces, policies };
    tokio::select! {
        end = notify_of(pod_events, &changed) => end,
        end = notify_of(namespace_events, &changed) => end,
        end = notify_of(policy_events, &changed) => end,
        end = notify_of(records, &changed) => end,
        end = enforce(&view, &changed) => end,
    }
}

async fn client(kubeconfig: &std::path::Path) -> Result<Client> {
    let read =
        Kubeconfig::read_from(kubeconfig).with_context(|| format!("cannot read {}", kubeconfig.display()))?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// A copy of all objects of a kind, and the stream that keeps it fresh as long as it is polled.
fn follow<K>(client: &Client) -> (Store<K>, BoxStream<'static, Result<()>>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Hash + Eq,
{
    let (store, writer) = reflector::store();
    let events = watcher(Api::<K>::all(client.clone()), watcher::Config::default())
        .modify(|object| object.meta_mut().managed_fields = None)
        .default_backoff()
        .reflect(writer)
        .inspect_err(|error| warn!(kind = %K::kind(&()), %error, "the watch was interrupted"))
        // An interrupted watch is taken up again; what is known meanwhile stays.
        .filter_map(async |event| event.ok().map(|_| Ok(())))
        .boxed();
    (store, events)
}

async fn notify_of(mut events: BoxStream<'_, Result<()>>, changed: &Notify) -> Result<()> {
    while let Some(event) = events.next().await {
        event?;
        changed.notify_one();
    }
    bail!("a watch ended")
}

/// All that the agent knows.
struct View {
    args: AgentArgs,
    pods: Store<Pod>,
    namespaces: Store<Namespace>,
    policies: Store<NetworkPolicy>,
}

impl View {
    fn ruleset(&self) -> Result<Ruleset> {
        let attached = attachments::read(&self.args.attachments)?;
        let endpoints = endpoints(&self.pods.state(), &attached);
        let on_the_network = endpoints.into_iter().filter(|pod| self.args.pod_cidr.contains(&pod.address));
        let endpoints: Vec<_> = on_the_network.collect();
        rules(self.args.pod_cidr, &self.policies.state(), &endpoints, &self.namespaces.state())
    }
}

/// Replaces the table whenever what is known makes another one.
async fn enforce(view: &View, changed: &Notify) -> Result<()> {
    // Before all kinds are known, rules would be too strict for some pods and too loose for others.
    view.pods.wait_until_ready().await?;
    view.namespaces.wait_until_ready().await?;
    view.policies.wait_until_ready().await?;
    let mut applied = String::new();
    loop {
        match update(view, &mut applied).await {
            Ok(()) => changed.notified().await,
            Err(error) => {
                warn!(error = format!("{error:#}"), "cannot put the rules into force");
                // Whichever comes first: a change may be what heals it.
                let _ = tokio::time::timeout(RETRY, changed.notified()).await;
            }
        }
        tokio::time::sleep(GATHER).await;
    }
}

async fn update(view: &View, applied: &mut String) -> Result<()> {
    let ruleset = view.ruleset()?;
    let script = nft::render(&ruleset);
    if script == *applied {
        return Ok(());
    }
    nft::apply(&script).await?;
    *applied = script;
    info!(pods = ruleset.pods.len(), "new rules are in force");
    flows::end_forbidden(&ruleset).await.context("cannot end forbidden connections")
}
