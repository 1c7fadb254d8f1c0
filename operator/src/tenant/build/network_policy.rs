//! Deny both ways, then allow the few ways that are needed.
//!
//! Policies select by the pods' component, so a pod without one (a debug pod, a later drill) reaches nothing and nobody.

use ipnet::IpNet;
use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};

use super::common::{CRM_PORT, MANAGEMENT_PORT, POSTGRES_PORT, labels, meta, port, selector};
use crate::{
    api::Egress,
    args::RunArgs,
    names::{COMPONENT_LABEL, Component, child},
    tenant::validate::ValidTenant,
};

/// Port of the backup door's pods.
const STORE_PORT: i32 = 8080;
/// HTTPS, and the two ways of handing in mail with encryption.
const PUBLIC_PORTS: [i32; 3] = [443, 465, 587];
/// Where clusters with a DNS cache on each node serve it.
const NODE_LOCAL_DNS: &str = "169.254.20.10/32";
/// Never public: this host, private, shared, link-local, multicast and reserved ranges.
const NEVER_PUBLIC: [&str; 12] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "224.0.0.0/3",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
];

/// One of a tenant's policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Denies what no other allows.
    DefaultDeny,
    /// Names are resolved.
    Dns,
    /// The CRM is reached, and reaches the database.
    Crm,
    /// The database is reached.
    Database,
    /// Migrations.
    Migrate,
    /// Backups.
    Backup,
    /// Restores.
    Restore,
    /// Exit bundles.
    Export,
    /// Drills, which come nowhere near the database.
    Drill,
    /// The CRM reaches public addresses.
    Egress,
}

impl Policy {
    /// Those that a tenant has; as long as nothing is known of its plan, those that each has.
    pub fn all_of(tenant: Option<&ValidTenant>) -> Vec<Self> {
        let mut all = vec![Self::DefaultDeny, Self::Dns, Self::Crm, Self::Database, Self::Migrate];
        if tenant.is_some_and(|tenant| tenant.backup.is_some()) {
            all.extend([Self::Backup, Self::Restore, Self::Export, Self::Drill]);
        }
        if tenant.is_some_and(|tenant| tenant.egress == Egress::Public) {
            all.push(Self::Egress);
        }
        all
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::DefaultDeny => child::DEFAULT_DENY,
            Self::Dns => child::DNS,
            Self::Crm => child::CRM,
            Self::Database => child::DATABASE,
            Self::Migrate => child::MIGRATE,
            Self::Backup => child::BACKUP,
            Self::Restore => child::RESTORE,
            Self::Export => child::EXPORT,
            Self::Drill => child::DRILL,
            Self::Egress => child::EGRESS,
        }
    }

    /// Whose pods it is about; those of the tenant are all.
    fn component(self) -> Component {
        match self {
            Self::DefaultDeny | Self::Dns => Component::Tenant,
            Self::Crm | Self::Egress => Component::Crm,
            Self::Database => Component::Database,
            Self::Migrate => Component::Migrate,
            Self::Backup => Component::Backup,
            Self::Restore => Component::Restore,
            Self::Export => Component::Export,
            Self::Drill => Component::Drill,
        }
    }

    /// The ways in.
    fn ingress(self, settings: &RunArgs) -> Vec<NetworkPolicyIngressRule> {
        match self {
            Self::Crm => to_crm(settings),
            Self::Database => vec![from_clients()],
            Self::DefaultDeny
            | Self::Dns
            | Self::Migrate
            | Self::Backup
            | Self::Restore
            | Self::Export
            | Self::Drill
            | Self::Egress => vec![],
        }
    }

    /// The ways out.
    fn egress(self, settings: &RunArgs) -> Vec<NetworkPolicyEgressRule> {
        match self {
            Self::DefaultDeny | Self::Database => vec![],
            Self::Dns => vec![dns()],
            Self::Crm | Self::Migrate => vec![to_database()],
            Self::Backup | Self::Restore | Self::Export => vec![to_database(), to_store(settings)],
            Self::Drill => vec![to_store(settings)],
            Self::Egress => to_public(settings),
        }
    }
}

pub(super) fn policies(tenant: &ValidTenant, settings: &RunArgs) -> Vec<NetworkPolicy> {
    Policy::all_of(Some(tenant)).into_iter().map(|policy| object(tenant, policy, settings)).collect()
}

fn object(tenant: &ValidTenant, policy: Policy, settings: &RunArgs) -> NetworkPolicy {
    let component = policy.component();
    let pods = if component == Component::Tenant { LabelSelector::default() } else { selector(component) };
    let (ingress, egress) = (policy.ingress(settings), policy.egress(settings));
    NetworkPolicy {
        metadata: meta(tenant, component, policy.name()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pods),
            ingress: (!ingress.is_empty()).then_some(ingress),
            egress: (!egress.is_empty()).then_some(egress),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
        }),
    }
}

fn dns() -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        to: Some(vec![
            NetworkPolicyPeer {
                namespace_selector: Some(named_namespace("kube-system")),
                pod_selector: Some(LabelSelector {
                    match_labels: Some(labels([("k8s-app", "kube-dns")])),
                    ..LabelSelector::default()
                }),
                ip_block: None,
            },
            NetworkPolicyPeer {
                ip_block: Some(IPBlock { cidr: NODE_LOCAL_DNS.to_owned(), except: None }),
                ..NetworkPolicyPeer::default()
            },
        ]),
        ports: Some(vec![policy_port("UDP", 53), policy_port("TCP", 53)]),
    }
}

fn to_crm(settings: &RunArgs) -> Vec<NetworkPolicyIngressRule> {
    let mut watchers = vec![namespace_peer(&settings.namespace)];
    watchers.extend(settings.monitoring_namespace.as_deref().map(namespace_peer));
    vec![
        NetworkPolicyIngressRule {
            from: Some(vec![namespace_peer(settings.entrance_namespace())]),
            ports: Some(vec![policy_port("TCP", CRM_PORT)]),
        },
        NetworkPolicyIngressRule {
            from: Some(watchers),
            ports: Some(vec![policy_port("TCP", MANAGEMENT_PORT)]),
        },
    ]
}

fn from_clients() -> NetworkPolicyIngressRule {
    let clients = LabelSelectorRequirement {
        key: COMPONENT_LABEL.to_owned(),
        operator: "In".to_owned(),
        values: Some(
            [Component::Crm, Component::Migrate, Component::Backup, Component::Restore, Component::Export]
                .map(|c| c.as_str().to_owned())
                .into(),
        ),
    };
    NetworkPolicyIngressRule {
        from: Some(vec![NetworkPolicyPeer {
            pod_selector: Some(LabelSelector { match_expressions: Some(vec![clients]), match_labels: None }),
            ..NetworkPolicyPeer::default()
        }]),
        ports: Some(vec![policy_port("TCP", POSTGRES_PORT)]),
    }
}

fn to_database() -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        to: Some(vec![NetworkPolicyPeer {
            pod_selector: Some(selector(Component::Database)),
            ..NetworkPolicyPeer::default()
        }]),
        ports: Some(vec![policy_port("TCP", POSTGRES_PORT)]),
    }
}

fn to_store(settings: &RunArgs) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        to: Some(vec![NetworkPolicyPeer {
            pod_selector: Some(LabelSelector {
                match_labels: Some(labels([(COMPONENT_LABEL, "store")])),
                ..LabelSelector::default()
            }),
            ..namespace_peer(&settings.namespace)
        }]),
        ports: Some(vec![policy_port("TCP", STORE_PORT)]),
    }
}

fn to_public(settings: &RunArgs) -> Vec<NetworkPolicyEgressRule> {
    let private = settings.private_cidrs.iter().map(IpNet::to_string);
    let closed: Vec<String> = NEVER_PUBLIC.iter().map(|range| (*range).to_owned()).chain(private).collect();
    let except = |v6: bool| -> Vec<String> {
        let mut ranges: Vec<_> = closed.iter().filter(|range| range.contains(':') == v6).cloned().collect();
        ranges.dedup();
        ranges
    };
    let block = |cidr: &str, v6| NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: cidr.to_owned(), except: Some(except(v6)) }),
        ..NetworkPolicyPeer::default()
    };
    vec![NetworkPolicyEgressRule {
        to: Some(vec![block("0.0.0.0/0", false), block("::/0", true)]),
        ports: Some(PUBLIC_PORTS.map(|number| policy_port("TCP", number)).into()),
    }]
}

fn namespace_peer(name: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer { namespace_selector: Some(named_namespace(name)), ..NetworkPolicyPeer::default() }
}

fn named_namespace(name: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels([("kubernetes.io/metadata.name", name)])),
        ..LabelSelector::default()
    }
}

fn policy_port(protocol: &str, number: i32) -> NetworkPolicyPort {
    NetworkPolicyPort { protocol: Some(protocol.to_owned()), port: Some(port(number)), end_port: None }
}
