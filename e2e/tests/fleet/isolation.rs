//! What a tenant's pod can reach, by real connections from inside its network namespace.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    fleet::Installed,
    host::{
        process::{self, Process},
        wait::{Look, Wait},
    },
    probe::{PodNetwork, Reach},
};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::{Api, Client, ResourceExt as _, api::ListParams};

use rustix::process::Signal;

use crate::{
    alone,
    internet::{self, Internet},
};

/// Long enough for a connection on one machine; what is dropped takes this long to be noticed.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A tenant whose plan allows no egress, and one whose plan does.
const A: &str = "bluesky";
const B: &str = "acme";

/// Addresses of a tenant's parts.
struct Parts {
    database_pod: SocketAddr,
    database_service: SocketAddr,
    crm_pod: SocketAddr,
    crm_metrics: SocketAddr,
    crm_service: SocketAddr,
}

async fn parts(client: &Client, tenant: &str) -> Result<Parts> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &format!("tenant-{tenant}"));
    let services: Api<Service> = Api::namespaced(client.clone(), &format!("tenant-{tenant}"));
    let pod = async |component: &str| -> Result<String> {
        let selector = ListParams::default().labels(&format!("app.kubernetes.io/component={component}"));
        let pod = pods.list(&selector).await?.items.into_iter().next();
        pod.and_then(|pod| pod.status?.pod_ip)
            .with_context(|| format!("no {component} pod of {tenant} has an address"))
    };
    let service = async |name: &str| -> Result<String> {
        services.get(name).await?.spec.and_then(|spec| spec.cluster_ip).context("a Service has no address")
    };
    let (database, crm) = (pod("database").await?, pod("crm").await?);
    Ok(Parts {
        database_pod: format!("{database}:5432").parse()?,
        database_service: format!("{}:5432", service("database").await?).parse()?,
        crm_pod: format!("{crm}:8080").parse()?,
        crm_metrics: format!("{crm}:9090").parse()?,
        crm_service: format!("{}:80", service("crm").await?).parse()?,
    })
}

/// Every address that a CRM pod of another tenant than `other` must not reach.
async fn forbidden(client: &Client, other: &Parts) -> Result<BTreeMap<&'static str, SocketAddr>> {
    let node = Api::<Node>::all(client.clone()).list(&ListParams::default()).await?.items.into_iter().next();
    let addresses = node.and_then(|node| node.status?.addresses).context("the node has no addresses")?;
    let node = &addresses
        .iter()
        .find(|address| address.type_ == "InternalIP")
        .context("the node has no address")?
        .address;
    let kubernetes: Api<Service> = Api::namespaced(client.clone(), "default");
    let kubernetes = kubernetes
        .get("kubernetes")
        .await?
        .spec
        .and_then(|spec| spec.cluster_ip)
        .context("no API Service")?;
    Ok(BTreeMap::from([
        ("B's database by pod address", other.database_pod),
        ("B's database by Service", other.database_service),
        ("B's app by pod address", other.crm_pod),
        ("B's app by Service", other.crm_service),
        ("B's metrics", other.crm_metrics),
        ("the API server by Service", format!("{kubernetes}:443").parse()?),
        ("the API server by node address", format!("{node}:6443").parse()?),
        ("the kubelet", format!("{node}:10250").parse()?),
        ("a private address", "10.11.12.13:443".parse()?),
        ("a link-local address", "169.254.169.254:80".parse()?),
    ]))
}

/// The network of a tenant's CRM pod.
async fn crm_network(client: &Client, tenant: &str) -> Result<PodNetwork> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &format!("tenant-{tenant}"));
    let list = pods.list(&ListParams::default().labels("app.kubernetes.io/component=crm")).await?;
    let pod = list.items.first().with_context(|| format!("{tenant} has no CRM pod"))?;
    PodNetwork::of_pod(&pod.uid().context("a pod without uid")?)
}

/// Tries everything once and fails on the first connection that is not as the policies say.
async fn check(fleet: &Installed) -> Result<()> {
    let client = fleet.client().await?;
    let (own, other) = (parts(&client, A).await?, parts(&client, B).await?);
    let (a, b) = (crm_network(&client, A).await?, crm_network(&client, B).await?);
    for to in [own.database_pod, own.database_service] {
        ensure!(
            a.connect(to, TIMEOUT).await? == Reach::Connected,
            "A's app cannot reach A's database at {to}"
        );
    }
    // Most of these are silence, which takes its time to be heard; side by side it is heard once.
    let attempts = forbidden(&client, &other).await?.into_iter().map(|(what, to)| {
        let a = &a;
        async move { anyhow::Ok((what, to, a.connect(to, TIMEOUT).await?)) }
    });
    for (what, to, reach) in try_join_all(attempts).await? {
        println!("  A -> {what} ({to}): {reach:?}");
        ensure!(reach != Reach::Connected, "A's app reached {what} at {to}");
    }
    let [https, other_port] = internet::PORTS.map(|port| SocketAddr::from((internet::ADDRESS, port)));
    ensure!(
        a.connect(https, TIMEOUT).await? != Reach::Connected,
        "A's plan allows no egress, but {https} was reached"
    );
    ensure!(
        b.connect(https, TIMEOUT).await? == Reach::Connected,
        "B's plan allows egress, but not to {https}"
    );
    ensure!(
        b.connect(other_port, TIMEOUT).await? != Reach::Connected,
        "B reached {other_port}, which no plan allows"
    );
    Ok(())
}

/// The NetworkPolicy agent of the cluster: found by what it is and by the network namespace that it is in.
fn agent(cluster: &str) -> Option<Process> {
    let network = process::inode(Path::new(&format!("/run/netns/tenantry-{cluster}")))?;
    let is_agent = |one: &Process| one.network == network && one.subcommand() == Some("network-policy-agent");
    process::all().into_iter().find(is_agent)
}

#[tokio::test]
async fn a_tenant_reaches_its_own_database_and_nothing_else() -> Result<()> {
    let (fleet, _turn) = alone().await?;
    let _internet = Internet::beside(&fleet.cluster).await?;
    check(&fleet).await.context("as installed")?;

    let before = agent(&fleet.cluster).context("the NetworkPolicy agent does not run")?;
    process::signal(&before, Signal::KILL)?;
    check(&fleet).await.context("right after the NetworkPolicy agent was killed")?;
    let restarted = Wait::new("the NetworkPolicy agent to be restarted", Duration::from_secs(30));
    restarted
        .until(async || {
            Ok(match agent(&fleet.cluster) {
                Some(now) if now.pid != before.pid => Look::Done(()),
                now => Look::NotYet(format!("{now:?}")),
            })
        })
        .await?;
    check(&fleet).await.context("after the NetworkPolicy agent was restarted")
}
