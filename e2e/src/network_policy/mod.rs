//! The enforcement of NetworkPolicies on the native cluster: an agent that turns them into one nftables table.
//!
//! The native cluster's pods hang on the node by point-to-point links (CNI plugin `ptp`), which enforces nothing. Each
//! packet of a pod passes the node, after kube-proxy has put the address of a pod in the place of a Service's; there the
//! table decides. The way from objects to packets is a row of pure steps with the agent around them:
//!
//! | step | file |
//! |---|---|
//! | which pod has which address | [`mod@endpoints`], with what CNI recorded (`attachments`) |
//! | what each pod may receive and send | [`mod@rules`] → [`ruleset`] |
//! | the same in nftables' words | [`nft`] |
//! | connections that may no longer be open | `flows` |
//!
//! An address of the pod network that belongs to no known pod can neither send nor receive: a new pod has no moment of
//! freedom before its rules are in force. When the agent stops, its table stays.

mod agent;
mod attachments;
pub mod endpoints;
mod flows;
pub mod nft;
pub mod rules;
pub mod ruleset;
#[cfg(test)]
mod tests;

pub use agent::{AgentArgs, run};

/// The table that holds all rules of the agent. It exists as soon as the agent has taken over.
pub const TABLE: &str = "tenantry-network-policy";
