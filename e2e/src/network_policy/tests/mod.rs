//! Policies against an independent reading of their specification, and the table against the kernel.

mod generate;
mod kernel;
mod oracle;
mod semantics;
mod text;

use std::{net::Ipv4Addr, sync::Arc};

use ipnet::Ipv4Net;
use k8s_openapi::api::{
    core::v1::{Namespace, Pod},
    networking::v1::NetworkPolicy,
};
use serde_json::{Value, json};

use super::{
    attachments::Attachments,
    endpoints::endpoints,
    rules::rules,
    ruleset::{Opening, Protocol, Ruleset},
};

/// A small cluster's objects.
#[derive(Clone, Debug, Default)]
struct World {
    pods: Vec<Arc<Pod>>,
    namespaces: Vec<Arc<Namespace>>,
    policies: Vec<Arc<NetworkPolicy>>,
}

impl World {
    fn ruleset(&self) -> Ruleset {
        let endpoints = endpoints(&self.pods, &Attachments::new());
        rules(pod_network(), &self.policies, &endpoints, &self.namespaces).unwrap()
    }
}

fn pod_network() -> Ipv4Net {
    "198.18.64.0/24".parse().unwrap()
}

/// The address of a pod by its number.
fn address(number: u8) -> Ipv4Addr {
    [198, 18, 64, number].into()
}

/// An object from its JSON.
fn object<T: serde::de::DeserializeOwned>(value: Value) -> Arc<T> {
    Arc::new(serde_json::from_value(value).unwrap())
}

/// A pod that listens on 80 as `http` (or on another port by that name) and on 53 by UDP as `dns`.
fn pod(namespace: &str, name: &str, number: u8, labels: &Value, http: u16) -> Arc<Pod> {
    object(json!({
        "metadata": {"namespace": namespace, "name": name, "uid": format!("uid-{number}"), "labels": labels},
        "spec": {"containers": [{"name": "main", "ports": [
            {"name": "http", "containerPort": http},
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
        ]}]},
        "status": {"phase": "Running", "podIP": address(number).to_string()},
    }))
}

fn namespace(name: &str, labels: &Value) -> Arc<Namespace> {
    object(json!({"metadata": {"name": name, "labels": labels}}))
}

fn policy(namespace: &str, spec: &Value) -> Arc<NetworkPolicy> {
    object(json!({"metadata": {"namespace": namespace, "name": "policy"}, "spec": spec}))
}

fn tcp(source: Ipv4Addr, destination: Ipv4Addr, port: u16) -> Opening {
    Opening { source, destination, protocol: Protocol::Tcp, port }
}
