//! What the chart renders, with Helm itself.

mod alerts;
mod lifecycle;
mod rights;
mod routing;
mod schema;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use clap::Parser as _;
use e2e::{helm, toolchain};
use operator::args::Cli;
use serde_json::{Value, json};

/// Where the accepted renderings are.
fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chart"))
}

fn every_option() -> Result<Value> {
    Ok(serde_saphyr::from_str(&fs::read_to_string(folder().join("every-option.yaml"))?)?)
}

/// The objects that the chart makes of some values.
pub(crate) async fn objects(values: &Value) -> Result<Vec<Value>> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(&helm::template(values).await?)?;
    Ok(objects.into_iter().filter(|object| !object.is_null()).collect())
}

/// The objects of a kind.
pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

#[tokio::test]
async fn lint_finds_nothing() -> Result<()> {
    helm::lint(&json!({})).await?;
    helm::lint(&every_option()?).await?;
    Ok(())
}

#[tokio::test]
async fn the_renderings_are_the_accepted_ones() -> Result<()> {
    compare("default.yaml", &helm::template(&json!({})).await?)?;
    compare("every-option.yaml", &helm::template(&every_option()?).await?)
}

/// Compares a rendering, without the CRDs, which have their own test, with the accepted one. `UPDATE=1` accepts it.
#[expect(clippy::disallowed_methods, reason = "a test has no args.rs: this is where its environment is read")]
fn compare(name: &str, rendered: &str) -> Result<()> {
    let documents =
        rendered.split("---\n").filter(|text| !text.contains("\nkind: CustomResourceDefinition\n"));
    let rendered: String =
        documents.filter(|text| !text.trim().is_empty()).flat_map(|text| ["---\n", text]).collect();
    let path = folder().join("accepted").join(name);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(folder().join("accepted"))?;
        fs::write(&path, &rendered)?;
    }
    let accepted = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let first = accepted.lines().zip(rendered.lines()).position(|(accepted, rendered)| accepted != rendered);
    assert!(
        accepted == rendered,
        "the chart renders differently from {} (first in line {}); if that is meant, run UPDATE=1 cargo test -p e2e --features \
         control-plane --test chart and look at the diff",
        path.display(),
        first.map_or_else(|| accepted.lines().count().min(rendered.lines().count()), |line| line + 1),
    );
    Ok(())
}

#[tokio::test]
async fn the_crds_are_ours_and_stay_on_uninstall() -> Result<()> {
    let objects = objects(&json!({})).await?;
    let rendered = of_kind(&objects, "CustomResourceDefinition");
    let mut files = 0;
    for entry in fs::read_dir(toolchain::workspace().join("crds"))? {
        let ours: Value = serde_saphyr::from_str(&fs::read_to_string(entry?.path())?)?;
        let theirs = rendered.iter().find(|crd| crd["metadata"]["name"] == ours["metadata"]["name"]);
        let theirs = theirs.with_context(|| format!("{} is not rendered", ours["metadata"]["name"]))?;
        assert_eq!(theirs["spec"], ours["spec"]);
        assert_eq!(theirs["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
        files += 1;
    }
    assert_eq!(rendered.len(), files);
    Ok(())
}

#[tokio::test]
async fn the_programs_understand_their_arguments() -> Result<()> {
    for values in [json!({}), every_option()?] {
        let objects = objects(&values).await?;
        let deployments = of_kind(&objects, "Deployment");
        assert_eq!(deployments.len(), 3);
        for deployment in deployments {
            let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
            let arguments: Vec<String> = serde_json::from_value(arguments.clone())?;
            Cli::try_parse_from(std::iter::once("operator".to_owned()).chain(arguments))?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn pods_keep_to_the_restricted_standard() -> Result<()> {
    let objects = objects(&json!({})).await?;
    for deployment in of_kind(&objects, "Deployment") {
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        for container in pod["containers"].as_array().context("no containers")? {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false);
            assert_eq!(security["readOnlyRootFilesystem"], true);
            assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
            assert!(container["resources"]["limits"]["memory"].is_string());
            assert!(container["livenessProbe"].is_object() && container["readinessProbe"].is_object());
        }
    }
    Ok(())
}

#[tokio::test]
async fn values_that_cannot_work_are_refused_with_the_reason() -> Result<()> {
    let cases = [
        (
            json!({ "routing": { "kind": "Traefik" } }),
            "value must be one of 'Builtin', 'Ingress', 'HTTPRoute'",
        ),
        (
            json!({ "routing": { "kind": "Ingress" } }),
            "routing.kind Ingress needs routing.controllerNamespace",
        ),
        (
            json!({ "routing": { "kind": "HTTPRoute", "controllerNamespace": "edge" } }),
            "routing.kind HTTPRoute needs routing.httpRoute.parentRefs",
        ),
        (
            json!({ "routing": { "httpRoute": { "parentRefs": [{ "name": "public" }] } } }),
            "missing property 'namespace'",
        ),
        (json!({ "routing": { "former": ["Builtin"] } }), "value must be one of 'Ingress', 'HTTPRoute'"),
        (json!({ "gateway": { "replica": 2 } }), "additional properties 'replica' not allowed"),
        (json!({ "operator": { "replicas": 0 } }), "/operator/replicas"),
        (json!({ "publicScheme": "ftp" }), "value must be one of 'http', 'https'"),
        (json!({ "images": { "operator": "docker.io/tenantry/operator" } }), "/images/operator"),
        (
            json!({ "gateway": { "namespace": helm::NAMESPACE } }),
            "gateway.namespace must not be the release namespace",
        ),
        (json!({ "allowedImages": ["docker.io/tenantry/crm-app"] }), "no tenant could run its database"),
        (json!({ "allowedImages": ["docker.io/tenantry/post"] }), "no tenant could run its database"),
    ];
    for (values, reason) in cases {
        let error = helm::template(&values).await.expect_err(&format!("{values} was accepted")).to_string();
        assert!(error.contains(reason), "{values}: {error}");
    }
    helm::template(&json!({ "allowedImages": ["docker.io/tenantry/postgres"] })).await?;
    Ok(())
}
