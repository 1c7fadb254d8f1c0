//! The chart for clusters that have an ingress controller or an implementation of the Gateway API.

use anyhow::{Context as _, Result};
use clap::Parser as _;
use operator::args::{Cli, Command, ParentGateway, Routing, RunArgs};
use serde_json::{Value, json};

use crate::{objects, of_kind};

fn ingress() -> Value {
    json!({ "routing": {
        "kind": "Ingress", "controllerNamespace": "ingress-nginx", "annotations": { "example.com/odd": "a=$(B), \"c\": <d>" },
        "ingress": { "className": "nginx", "tlsSecret": "crm-tls" },
    } })
}

fn http_route() -> Value {
    let parents = json!([{ "namespace": "infra", "name": "public", "sectionName": "https" }, { "namespace": "infra", "name": "inner" }]);
    json!({ "routing": {
        "kind": "HTTPRoute", "controllerNamespace": "gateways", "httpRoute": { "parentRefs": parents }, "former": ["Ingress"],
    } })
}

/// The arguments of the operator, as the program understands them.
fn arguments(objects: &[Value]) -> Result<RunArgs> {
    let deployments = of_kind(objects, "Deployment");
    let names: Vec<_> = deployments.iter().map(|deployment| &deployment["metadata"]["name"]).collect();
    assert_eq!(names, ["tenantry-operator", "tenantry-store"], "the gateway is not installed");
    let written = &deployments[0]["spec"]["template"]["spec"]["containers"][0]["args"];
    let written: Vec<String> = serde_json::from_value(written.clone())?;
    assert!(!written.iter().any(|argument| argument.contains("gateway-namespace")), "{written:?}");
    // As the kubelet does.
    let written = written.iter().map(|argument| argument.replace("$$", "$"));
    match Cli::try_parse_from(std::iter::once("operator".to_owned()).chain(written))?.command {
        Command::Run(arguments) => Ok(arguments),
        other => anyhow::bail!("the chart does not start `operator run` but {other:?}"),
    }
}

/// The verbs of a ClusterRole on a resource.
fn verbs(objects: &[Value], of: &str, resource: &str) -> Result<Value> {
    let all = of_kind(objects, "ClusterRole");
    let found = all.iter().find(|role| role["metadata"]["name"] == of).context("there is no such role")?;
    let rules = found["rules"].as_array().context("a role without rules")?;
    let about = rules.iter().find(|rule| rule["resources"] == json!([resource]));
    Ok(about.map(|rule| rule["verbs"].clone()).unwrap_or_default())
}

#[tokio::test]
async fn with_another_controller_nothing_of_the_gateway_is_installed() -> Result<()> {
    let builtin = objects(&json!({})).await?;
    assert!(builtin.iter().any(|object| object.to_string().contains("tenantry-gateway")));
    for values in [ingress(), http_route()] {
        for object in objects(&values).await? {
            assert!(!object.to_string().contains("tenantry-gateway"), "{object}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_operator_is_told_what_it_needs() -> Result<()> {
    let by_ingress = arguments(&objects(&ingress()).await?)?;
    assert_eq!(by_ingress.entrance_namespace(), "ingress-nginx");
    let routing = by_ingress.routing;
    assert_eq!((routing.kind, routing.former), (Routing::Ingress, vec![]));
    assert_eq!(routing.ingress_class.as_deref(), Some("nginx"));
    assert_eq!(routing.ingress_tls_secret.as_deref(), Some("crm-tls"));
    assert_eq!(routing.annotations, [("example.com/odd".to_owned(), "a=$(B), \"c\": <d>".to_owned())]);

    let by_route = arguments(&objects(&http_route()).await?)?;
    assert_eq!(by_route.entrance_namespace(), "gateways");
    let routing = by_route.routing;
    assert_eq!((routing.kind, routing.former), (Routing::HttpRoute, vec![Routing::Ingress]));
    let parent = |name: &str, listener: Option<&str>| ParentGateway {
        namespace: "infra".to_owned(),
        name: name.to_owned(),
        listener: listener.map(str::to_owned),
    };
    assert_eq!(routing.parents, [parent("public", Some("https")), parent("inner", None)]);
    Ok(())
}

#[tokio::test]
async fn rights_to_routes_are_granted_only_when_asked_for() -> Result<()> {
    let (everywhere, in_tenants) = ("tenantry-operator", "tenantry-tenant");
    let watch = json!(["list", "watch"]);
    let write = json!(["create", "patch", "delete"]);
    let cases = [
        (json!({}), "ingresses", Value::Null, Value::Null),
        (json!({}), "httproutes", Value::Null, Value::Null),
        (ingress(), "ingresses", watch.clone(), write.clone()),
        (ingress(), "httproutes", Value::Null, Value::Null),
        (http_route(), "httproutes", watch.clone(), write),
        (http_route(), "ingresses", watch, json!(["delete"])),
    ];
    for (values, resource, reads, writes) in cases {
        let objects = objects(&values).await?;
        assert_eq!(verbs(&objects, everywhere, resource)?, reads, "{values}: {resource}");
        assert_eq!(verbs(&objects, in_tenants, resource)?, writes, "{values}: {resource}");
    }
    Ok(())
}
