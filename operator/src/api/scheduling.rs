//! Where a plan's pods run: Kubernetes' words, and its rules for them.
//!
//! Kubernetes checks them when a pod is made. By then a tenant fails, so the same is asked here, of the one who writes the plan.
#![expect(unreachable_pub, reason = "KubeSchema derives from hidden copies of the structs")]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::api::rules;

/// Where pods run.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Scheduling {
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    #[x_kube(validation = Rule::new("self.all(key, key.size() <= 317 && key.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && self[key].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$'))").message("scheduling.nodeSelector holds labels of nodes (kubectl get nodes --show-labels), such as pool: business"))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods accept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
    /// Name of the pods' PriorityClass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(rules::OBJECT_NAME).message("scheduling.priorityClassName is the name of a PriorityClass (kubectl get priorityclasses)"))]
    pub priority_class_name: Option<String>,
}

/// A taint that the pods accept.
/// See <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/>.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.key) || (has(self.operator) && self.operator == 'Exists')").message("a toleration without a key is of every taint: set operator: Exists, or write the taint's key"),
    validation = Rule::new("!(has(self.operator) && self.operator == 'Exists' && has(self.value))").message("a toleration with operator: Exists is of every value: leave value out, or set operator: Equal"),
    validation = Rule::new("!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')").message("tolerationSeconds is of effect NoExecute alone: set that effect, or leave tolerationSeconds out")
)]
pub struct Toleration {
    /// Key of the taint; none means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317))]
    #[x_kube(validation = Rule::new("self.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')").message("tolerations[].key is the key of a taint, such as pool or example.com/pool"))]
    pub key: Option<String>,
    /// Whether the value counts; `Equal` unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<TolerationOperator>,
    /// Value of the taint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$')").message("tolerations[].value is the value of a taint, such as business"))]
    pub value: Option<String>,
    /// What the taint does; none means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
    /// For how many seconds a pod stays that runs already; without it, for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("0 <= self").message("tolerationSeconds is 0 or more"))]
    pub toleration_seconds: Option<i64>,
}

/// Whether a toleration looks at the taint's value.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TolerationOperator {
    /// The taint has this value.
    Equal,
    /// The taint is there.
    Exists,
}

/// What a taint does to pods that do not accept it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaintEffect {
    /// They are not placed there.
    NoSchedule,
    /// They are placed there last.
    PreferNoSchedule,
    /// They are not placed there, and leave when they run there.
    NoExecute,
}

impl From<Toleration> for v1::Toleration {
    fn from(ours: Toleration) -> Self {
        let operator = ours.operator.map(|operator| match operator {
            TolerationOperator::Equal => "Equal",
            TolerationOperator::Exists => "Exists",
        });
        let effect = ours.effect.map(|effect| match effect {
            TaintEffect::NoSchedule => "NoSchedule",
            TaintEffect::PreferNoSchedule => "PreferNoSchedule",
            TaintEffect::NoExecute => "NoExecute",
        });
        Self {
            key: ours.key,
            operator: operator.map(str::to_owned),
            value: ours.value,
            effect: effect.map(str::to_owned),
            toleration_seconds: ours.toleration_seconds,
        }
    }
}

/// Labels, with the lengths that the API server needs to know what a rule may cost.
fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 63},
    })
}
