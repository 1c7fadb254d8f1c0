//! `HTTPRoute` of the Gateway API: the part of it that we write, and the part of its status that we read.
//!
//! What the definition fills in by itself is spelled out by the builder, because lists are applied whole.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

/// Which Gateways lead which hosts where.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "HTTPRoute",
    root = "HttpRoute",
    plural = "httproutes",
    namespaced,
    schema = "disabled",
    status = "HttpRouteStatus",
    derive = "PartialEq",
    doc = "A route of the Gateway API for HTTP."
)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteSpec {
    /// The Gateways.
    pub parent_refs: Vec<ParentRef>,
    /// The hosts.
    pub hostnames: Vec<String>,
    /// Where to.
    pub rules: Vec<Rule>,
}

/// A Gateway, or one listener of it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ParentRef {
    /// API group of the parent.
    pub group: String,
    /// Kind of the parent.
    pub kind: String,
    /// Namespace of the parent; the route's own if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the parent.
    pub name: String,
    /// Name of the listener, if one is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

/// Where some requests go.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// Which requests.
    pub matches: Vec<Match>,
    /// Where to.
    pub backend_refs: Vec<BackendRef>,
}

/// Requests that are meant.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct Match {
    /// By their path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
}

/// Paths that are meant.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct PathMatch {
    /// How they are compared.
    #[serde(rename = "type")]
    pub type_: String,
    /// With what.
    pub value: String,
}

/// A Service.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct BackendRef {
    /// API group of the backend; empty for a Service.
    pub group: String,
    /// Kind of the backend.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// Its share of the requests.
    pub weight: i32,
}

/// What the Gateways' implementations say.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct HttpRouteStatus {
    /// One entry for each Gateway that looked at the route.
    pub parents: Vec<ParentStatus>,
}

/// What the implementation of one Gateway says.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ParentStatus {
    /// Which Gateway.
    pub parent_ref: ParentRef,
    /// What of it.
    pub conditions: Vec<Condition>,
}

impl HttpRoute {
    /// Why a Gateway does not serve the route as it is now, if one says so.
    pub fn refusal(&self) -> Option<String> {
        let parents = self.status.iter().flat_map(|status| &status.parents);
        parents
            .flat_map(|parent| parent.conditions.iter().map(move |condition| (parent, condition)))
            .find_map(|(parent, condition)| {
                let asked = matches!(condition.type_.as_str(), "Accepted" | "ResolvedRefs");
                let current = condition.observed_generation.is_none()
                    || self.metadata.generation <= condition.observed_generation;
                (asked && current && condition.status == "False").then(|| {
                    let ParentRef { namespace, name, .. } = &parent.parent_ref;
                    let namespace = namespace.as_deref().unwrap_or_default();
                    format!("Gateway {namespace}/{name}: {}: {}", condition.reason, condition.message)
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn route(conditions: &Value) -> HttpRoute {
        serde_json::from_value(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "crm", "generation": 2},
            "spec": {},
            "status": {"parents": [{
                "controllerName": "example.com/gateway",
                "parentRef": {"name": "public", "namespace": "infra"},
                "conditions": conditions,
            }]},
        }))
        .unwrap()
    }

    fn condition(type_: &str, status: &str, generation: i64) -> Value {
        json!({
            "type": type_, "status": status, "reason": "NotAllowedByListeners", "message": "no listener takes it",
            "observedGeneration": generation, "lastTransitionTime": "1970-01-01T00:00:00Z",
        })
    }

    #[rstest]
    #[case::taken(json!([condition("Accepted", "True", 2), condition("ResolvedRefs", "True", 2)]), false)]
    #[case::refused(json!([condition("Accepted", "False", 2)]), true)]
    #[case::no_backend(json!([condition("Accepted", "True", 2), condition("ResolvedRefs", "False", 2)]), true)]
    #[case::of_an_earlier_version(json!([condition("Accepted", "False", 1)]), false)]
    #[case::not_decided(json!([condition("Accepted", "Unknown", 2)]), false)]
    #[case::of_no_interest(json!([condition("PartiallyInvalid", "False", 2)]), false)]
    #[case::silent(json!([]), false)]
    fn only_a_refusal_of_the_present_version_counts(#[case] conditions: Value, #[case] refused: bool) {
        let said = route(&conditions).refusal();
        let words = "Gateway infra/public: NotAllowedByListeners: no listener takes it";
        assert_eq!(said.as_deref(), refused.then_some(words));
    }
}
