//! What is kept of a Pod and its containers.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};
use kube::ResourceExt;

use super::{ChildKind, Facts, Kind};
use crate::names::{self, Component};

/// What is kept of a Pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodFacts {
    /// Which part of the CRM it is.
    pub component: String,
    /// Where it is reached; kept of pods of the CRM.
    pub address: Option<IpAddr>,
    /// Whether it answers.
    pub ready: bool,
    /// It has ended, well or not.
    pub ended: bool,
    /// Why no node takes it.
    pub unschedulable: Option<String>,
    /// Its containers, init containers first.
    pub containers: Vec<ContainerFacts>,
    /// Annotation: state and limits as the app reads them.
    pub entitlement: Option<String>,
    /// Label: the Job it belongs to.
    pub job: Option<String>,
}

/// What is kept of a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerFacts {
    /// Its name.
    pub name: String,
    /// Its image, while the container waits or after it has failed: a message may have to name it.
    pub image: Option<String>,
    /// Why it does not run yet: reason and message of the kubelet.
    pub waiting: Option<(String, String)>,
    /// It runs.
    pub running: bool,
    /// How it ended, now or the last time.
    pub ended: Option<Ended>,
    /// How often it was started again.
    pub restarts: i32,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ended {
    /// Exit code.
    pub exit_code: i32,
    /// For example `OOMKilled`.
    pub reason: String,
    /// What it wrote to its termination log.
    pub message: String,
}

impl ChildKind for Pod {
    const KIND: Kind = Kind::Pod;

    fn facts(&self) -> Facts {
        let status = self.status.clone().unwrap_or_default();
        let conditions = status.conditions.as_deref().unwrap_or_default();
        let unschedulable = conditions
            .iter()
            .find(|c| c.type_ == "PodScheduled" && c.status == "False")
            .and_then(|c| c.message.clone());
        let statuses =
            status.init_container_statuses.iter().chain(status.container_statuses.iter()).flatten();
        let component = self.labels().get(names::COMPONENT_LABEL).cloned().unwrap_or_default();
        let is_asked = component == Component::Crm.as_str();
        let facts = PodFacts {
            component,
            address: status.pod_ip.as_deref().filter(|_| is_asked).and_then(|text| text.parse().ok()),
            ready: conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True"),
            ended: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            unschedulable,
            containers: statuses.map(container_facts).collect(),
            entitlement: self.annotations().get(names::ENTITLEMENT_ANNOTATION).cloned(),
            job: self.labels().get("job-name").cloned(),
        };
        Facts::Pod(facts.into())
    }
}

fn container_facts(status: &ContainerStatus) -> ContainerFacts {
    let state = status.state.clone().unwrap_or_default();
    let last = status.last_state.clone().unwrap_or_default();
    let ended = ended(&state).or_else(|| ended(&last));
    let is_in_trouble = state.waiting.is_some() || ended.as_ref().is_some_and(|ended| ended.exit_code != 0);
    ContainerFacts {
        name: status.name.clone(),
        image: is_in_trouble.then(|| status.image.clone()),
        waiting: state
            .waiting
            .as_ref()
            .map(|w| (w.reason.clone().unwrap_or_default(), w.message.clone().unwrap_or_default())),
        running: state.running.is_some(),
        ended,
        restarts: status.restart_count,
    }
}

fn ended(state: &ContainerState) -> Option<Ended> {
    let terminated = state.terminated.as_ref()?;
    Some(Ended {
        exit_code: terminated.exit_code,
        reason: terminated.reason.clone().unwrap_or_default(),
        message: terminated.message.clone().unwrap_or_default(),
    })
}
