//! What the chart renders, by the schemas of both ends of the range of supported Kubernetes versions: the oldest, whose types
//! the code is compiled with, and the newest, whose API server the tests run.

use std::{io::Write as _, time::Duration};

use anyhow::{Context as _, Result, bail};
use e2e::{
    cluster::ControlPlane,
    helm::{self, Pods},
    host::command,
    toolchain::{self, Tool},
};
use k8s_openapi::{
    api::{
        admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
        apps::v1::Deployment,
        core::v1::{ConfigMap, Namespace, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::process::Command;

/// Renderings that together have every object and every field of the chart.
fn renderings() -> Result<[Value; 3]> {
    let with_routes = json!({
        "routing": {
            "kind": "HTTPRoute",
            "controllerNamespace": "gateways",
            "httpRoute": {"parentRefs": [{"namespace": "infra", "name": "public"}]},
        },
    });
    Ok([json!({}), crate::every_option()?, with_routes])
}

/// The paths of an object that its type does not have, or has in another form.
fn unknown(object: &Value) -> Result<Vec<String>> {
    fn through<K: Serialize + DeserializeOwned>(object: &Value) -> Result<Value> {
        Ok(serde_json::to_value(serde_json::from_value::<K>(object.clone())?)?)
    }
    let kind = object["kind"].as_str().context("an object without a kind")?;
    let kept = match (object["apiVersion"].as_str().unwrap_or_default(), kind) {
        ("v1", "ConfigMap") => through::<ConfigMap>(object),
        ("v1", "Namespace") => through::<Namespace>(object),
        ("v1", "Service") => through::<Service>(object),
        ("v1", "ServiceAccount") => through::<ServiceAccount>(object),
        ("apps/v1", "Deployment") => through::<Deployment>(object),
        ("networking.k8s.io/v1", "NetworkPolicy") => through::<NetworkPolicy>(object),
        ("policy/v1", "PodDisruptionBudget") => through::<PodDisruptionBudget>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => through::<ClusterRole>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => through::<ClusterRoleBinding>(object),
        ("rbac.authorization.k8s.io/v1", "Role") => through::<Role>(object),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => through::<RoleBinding>(object),
        ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy") => {
            through::<ValidatingAdmissionPolicy>(object)
        }
        ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding") => {
            through::<ValidatingAdmissionPolicyBinding>(object)
        }
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition") => {
            through::<CustomResourceDefinition>(object)
        }
        (version, kind) => bail!("{version} {kind} is new in the chart: add its type here"),
    };
    let kept = kept.with_context(|| format!("{kind} {}", object["metadata"]["name"]))?;
    let mut lost = Vec::new();
    compare(&mut lost, String::new(), object, &kept);
    Ok(lost)
}

fn compare(lost: &mut Vec<String>, path: String, rendered: &Value, kept: &Value) {
    match (rendered, kept) {
        (Value::Object(rendered), Value::Object(kept)) => {
            for (key, value) in rendered {
                // An empty list or map, and null, say the same as nothing.
                let is_nothing = matches!(value, Value::Null)
                    || value.as_array().is_some_and(Vec::is_empty)
                    || value.as_object().is_some_and(serde_json::Map::is_empty);
                match kept.get(key) {
                    Some(kept) => compare(lost, format!("{path}.{key}"), value, kept),
                    None if is_nothing => {}
                    None => lost.push(format!("{path}.{key}")),
                }
            }
        }
        (Value::Array(rendered), Value::Array(kept)) if rendered.len() == kept.len() => {
            for (index, (rendered, kept)) in rendered.iter().zip(kept).enumerate() {
                compare(lost, format!("{path}[{index}]"), rendered, kept);
            }
        }
        (rendered, kept) if rendered == kept => {}
        // The types write numbers of the schema (limits of a CRD) as floating point.
        (Value::Number(rendered), Value::Number(kept)) if rendered.as_f64() == kept.as_f64() => {}
        _ => lost.push(path),
    }
}

#[tokio::test]
async fn the_oldest_kubernetes_knows_every_field() -> Result<()> {
    let chart = std::fs::read_to_string(helm::chart().join("Chart.yaml"))?;
    let types = include_str!("../../Cargo.toml");
    assert!(chart.contains("kubeVersion: \">=1.33.0-0\"") && types.contains("features = [\"v1_33\"]"));
    for values in renderings()? {
        for object in crate::objects(&values).await? {
            let unknown = unknown(&object)?;
            assert!(unknown.is_empty(), "{} {}: {unknown:?}", object["kind"], object["metadata"]["name"]);
        }
    }
    Ok(())
}

#[test]
fn a_field_that_does_not_exist_would_be_found() -> Result<()> {
    let wrong = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "gateway", "lables": {"a": "b"}},
        "spec": {"ports": [{"port": 80, "targetport": "http"}], "selector": {}},
    });
    assert_eq!(unknown(&wrong)?, [".metadata.lables", ".spec.ports[0].targetport"]);
    Ok(())
}

#[tokio::test]
async fn the_newest_kubernetes_knows_every_field() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    for values in renderings()? {
        // The namespaces must be there, or nothing in them could be tried.
        helm::install(control_plane.kubeconfig(), &values, Pods::Leave).await?;
        let mut file = NamedTempFile::with_suffix(".yaml")?;
        file.write_all(helm::template(&values).await?.as_bytes())?;
        let mut kubectl = Command::new(toolchain::binary(Tool::Kubectl).await?);
        kubectl.env("KUBECONFIG", control_plane.kubeconfig()).args([
            "apply",
            "--server-side",
            "--force-conflicts",
            "--dry-run=server",
            "--validate=strict",
            "--filename",
        ]);
        command::run(kubectl.arg(file.path()), Duration::from_mins(1)).await?;
    }
    Ok(())
}
