//! Tenants whose requests come through a controller that the cluster has already.
//!
//! No such controller runs here. What is shown: the API server accepts the Ingress and, by the official definition, the
//! HTTPRoute; they are repaired, kept and removed like every other child; and the chart's rights are enough and no more.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use e2e::{
    helm::{self, Pods},
    host::wait::{Look, Wait},
};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::ConfigMap,
        networking::v1::{Ingress, NetworkPolicy},
        rbac::v1::ClusterRole,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use operator::{api::Tenant, cluster::http_route::HttpRoute};
use serde_json::{Value, json};

use crate::lab::{DEADLINE, Lab, NAMESPACE, OPERATOR, condition, message, tenant, uid};

/// HTTPRoute as its authors publish it.
const DEFINITION: &str = include_str!("../gateway-api/httproutes.yaml");
const DEFINITION_NAME: &str = "httproutes.gateway.networking.k8s.io";

fn by_ingress() -> Value {
    json!({"routing": {
        "kind": "Ingress",
        "controllerNamespace": "ingress-nginx",
        "annotations": {
            "cert-manager.io/cluster-issuer": "letsencrypt",
            "example.com/odd": "$(POD_NAME) $$1, \"two: words\" = <&>",
        },
        "ingress": {"className": "nginx", "tlsSecret": "crm-tls"},
    }})
}

fn by_http_route() -> Value {
    json!({"routing": {
        "kind": "HTTPRoute",
        "controllerNamespace": "gateways",
        "httpRoute": {"parentRefs": [{"namespace": "infra", "name": "public", "sectionName": "https"}]},
    }})
}

/// The tenant `acme` with an address of its own.
async fn create_acme(lab: &Lab) -> Result<()> {
    let mut acme = tenant("acme");
    acme["spec"]["hosts"] = json!([{"name": "crm.acme.example", "tlsSecret": "acme-tls"}]);
    lab.create::<Tenant>(acme).await?;
    Ok(())
}

fn ingress_rule(host: &str) -> Value {
    let backend = json!({"service": {"name": "crm", "port": {"number": 80}}});
    json!({"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}})
}

/// The namespace whose pods may talk to the CRM.
async fn admitted(lab: &Lab) -> Result<Value> {
    let policy = serde_json::to_value(lab.child::<NetworkPolicy>("crm").await?)?;
    Ok(policy["spec"]["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"]
        ["kubernetes.io/metadata.name"]
        .clone())
}

/// A reconcile of a tenant that is as it should be writes nothing.
async fn assert_quiet(lab: &Lab) -> Result<()> {
    lab.operator.until_settled(0.0).await?;
    let before = lab.writes()?.len();
    let seen = lab.operator.metric("tenantry_reconcile_duration_seconds_count").await?;
    lab.patch_tenant(json!({"metadata": {"annotations": {"example.com/note": seen.to_string()}}})).await?;
    lab.operator.until_settled(seen).await?;
    let after = lab.writes()?;
    assert_eq!(after.len(), before, "{:#?}", &after[before..]);
    Ok(())
}

/// What the operator was let do with a resource so far.
fn done_with(lab: &Lab, resource: &str) -> Result<BTreeSet<String>> {
    let mut done = BTreeSet::new();
    for event in lab.control_plane.audit_events()?.into_iter().filter(|event| event.is_about(resource)) {
        let code = event.response_status.as_ref().map_or(0, |status| status.code);
        if event.user.username == OPERATOR && (200..300).contains(&code) {
            if event.verb == "patch" && code == 201 {
                done.insert("create".to_owned());
            }
            done.insert(event.verb);
        }
    }
    Ok(done)
}

/// The verbs of the operator's roles on a resource, everywhere and in tenants' namespaces.
async fn granted_on(lab: &Lab, resource: &str) -> Result<BTreeSet<String>> {
    let roles: Api<ClusterRole> = Api::all(lab.client.clone());
    let mut granted = BTreeSet::new();
    for name in ["tenantry-operator", "tenantry-tenant"] {
        for rule in roles.get(name).await?.rules.unwrap_or_default() {
            if rule.resources.unwrap_or_default().iter().any(|each| each == resource) {
                granted.extend(rule.verbs);
            }
        }
    }
    Ok(granted)
}

#[tokio::test]
async fn an_ingress_is_made_repaired_kept_and_removed() -> Result<()> {
    let lab = Lab::installed_with(&by_ingress()).await?;
    create_acme(&lab).await?;
    lab.until_ready("acme").await?;
    let ingress = serde_json::to_value(lab.child::<Ingress>("crm").await?)?;
    assert_eq!(
        ingress["spec"],
        json!({
            "ingressClassName": "nginx",
            "rules": [ingress_rule("acme.crm.localhost"), ingress_rule("crm.acme.example")],
            "tls": [
                {"hosts": ["acme.crm.localhost"], "secretName": "crm-tls"},
                {"hosts": ["crm.acme.example"], "secretName": "acme-tls"},
            ],
        })
    );
    assert_eq!(ingress["metadata"]["annotations"], by_ingress()["routing"]["annotations"]);
    assert_eq!(admitted(&lab).await?, "ingress-nginx");
    assert!(config_map(&lab, "tenantry-gateway", "routes").await?.is_none(), "the gateway is not installed");
    assert_quiet(&lab).await?;

    lab.patch_child::<Ingress>("crm", json!({"spec": {"rules": [ingress_rule("evil.example")]}})).await?;
    lab.until_child::<Ingress>("crm", "has its hosts again", |ingress| {
        ingress.is_some_and(|ingress| ingress["spec"]["rules"][0]["host"] == "acme.crm.localhost")
    })
    .await?;
    let before = uid(lab.child::<Ingress>("crm").await?);
    let ingresses: Api<Ingress> = Api::namespaced(lab.client.clone(), NAMESPACE);
    ingresses.delete("crm", &DeleteParams::default()).await?;
    lab.until_child::<Ingress>("crm", "there again", |ingress| {
        ingress.is_some_and(|ingress| ingress["metadata"]["uid"].as_str() != before.as_deref())
    })
    .await?;
    lab.patch_tenant(json!({"spec": {"hosts": []}})).await?;
    lab.until_child::<Ingress>("crm", "without the host that was dropped", |ingress| {
        ingress.is_some_and(|ingress| {
            ingress["spec"]["rules"] == json!([ingress_rule("acme.crm.localhost")])
                && ingress["spec"]["tls"]
                    == json!([{"hosts": ["acme.crm.localhost"], "secretName": "crm-tls"}])
        })
    })
    .await?;

    let before = uid(lab.child::<Ingress>("crm").await?);
    lab.patch_tenant(json!({"spec": {"state": "Suspended"}})).await?;
    lab.until_reason("acme", "True", "Suspended").await?;
    assert_eq!(uid(lab.child::<Ingress>("crm").await?), before, "certificate and DNS wait for the tenant");
    lab.patch_tenant(json!({"spec": {"state": "Active"}})).await?;
    lab.until_ready("acme").await?;

    // Back to the gateway of the chart, in so many words: without any values Helm would keep the former ones. It finds what
    // is left, and the operator removes it.
    let builtin = json!({"routing": {"kind": "Builtin"}});
    let lab = lab.upgraded_with(&builtin).await?;
    let to_remove = ["delete", "list", "watch"].map(str::to_owned);
    assert_eq!(granted_on(&lab, "ingresses").await?, BTreeSet::from(to_remove));
    lab.until_child::<Ingress>("crm", "gone", |ingress| ingress.is_none()).await?;
    lab.until_ready("acme").await?;
    assert_eq!(admitted(&lab).await?, "tenantry-gateway");
    let routes = config_map(&lab, "tenantry-gateway", "routes").await?.context("there is no route table")?;
    assert!(routes.data.unwrap_or_default()["routes.json"].contains("acme.crm.localhost"));
    let all = ["create", "delete", "list", "patch", "watch"].map(str::to_owned);
    assert_eq!(done_with(&lab, "ingresses")?, BTreeSet::from(all), "every right was used");
    helm::install(lab.control_plane.kubeconfig(), &builtin, Pods::Leave).await?;
    assert_eq!(granted_on(&lab, "ingresses").await?, BTreeSet::new(), "nothing is left to be removed");
    Ok(())
}

async fn config_map(lab: &Lab, namespace: &str, name: &str) -> Result<Option<ConfigMap>> {
    Ok(Api::namespaced(lab.client.clone(), namespace).get_opt(name).await?)
}

/// Installs the definition as `kubectl apply --server-side` does.
async fn install_definition(lab: &Lab) -> Result<()> {
    let definition: Value = serde_saphyr::from_str(DEFINITION)?;
    let definitions: Api<CustomResourceDefinition> = Api::all(lab.client.clone());
    definitions.patch(DEFINITION_NAME, &PatchParams::apply("tests"), &Patch::Apply(definition)).await?;
    Ok(())
}

async fn remove_definition(lab: &Lab) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(lab.client.clone());
    definitions.delete(DEFINITION_NAME, &DeleteParams::default()).await?;
    Wait::new("the end of the definition", DEADLINE)
        .until(async || {
            Ok(match definitions.get_opt(DEFINITION_NAME).await? {
                None => Look::Done(()),
                Some(left) => Look::NotYet(format!("{:?}", left.status)),
            })
        })
        .await
}

#[tokio::test]
async fn http_routes_are_made_when_the_cluster_knows_them_and_missed_when_not() -> Result<()> {
    let lab = Lab::installed_with(&by_http_route()).await?;
    create_acme(&lab).await?;
    let acme = lab.until_reason("acme", "False", "RoutesNotSupported").await?;
    assert!(message(&acme).contains("Install the CRDs of the Gateway API"), "{}", message(&acme));
    for type_ in ["DatabaseReady", "AppReady", "Isolated"] {
        assert_eq!(condition(&acme, type_)["status"], "True", "{type_}");
    }
    lab.patch_tenant(json!({"spec": {"state": "Suspended"}})).await?;
    lab.until_reason("acme", "True", "Suspended").await?;
    lab.patch_tenant(json!({"spec": {"state": "Active"}})).await?;
    lab.until_reason("acme", "False", "RoutesNotSupported").await?;

    install_definition(&lab).await?;
    lab.until_ready("acme").await?;
    let route = serde_json::to_value(lab.child::<HttpRoute>("crm").await?)?;
    assert_eq!(route["spec"]["hostnames"], json!(["acme.crm.localhost", "crm.acme.example"]));
    assert_eq!(
        route["spec"]["parentRefs"],
        json!([{
            "group": "gateway.networking.k8s.io", "kind": "Gateway",
            "namespace": "infra", "name": "public", "sectionName": "https",
        }])
    );
    assert_eq!(route["spec"]["rules"][0]["backendRefs"][0]["port"], 80);
    assert_eq!(admitted(&lab).await?, "gateways");
    assert_quiet(&lab).await?;

    lab.patch_child::<HttpRoute>("crm", json!({"spec": {"rules": [{"backendRefs": []}]}})).await?;
    lab.until_child::<HttpRoute>("crm", "leads to the CRM again", |route| {
        route.is_some_and(|route| route["spec"]["rules"][0]["backendRefs"][0]["name"] == "crm")
    })
    .await?;
    let hosts: Vec<_> = (0..16).map(|number| json!({"name": format!("crm-{number}.acme.example")})).collect();
    lab.patch_tenant(json!({"spec": {"hosts": hosts}})).await?;
    lab.until_child::<HttpRoute>("crm-2", "there for the 17th host", |route| {
        route.is_some_and(|route| route["spec"]["hostnames"] == json!(["crm-15.acme.example"]))
    })
    .await?;
    lab.patch_tenant(json!({"spec": {"hosts": []}})).await?;
    lab.until_child::<HttpRoute>("crm-2", "gone", |route| route.is_none()).await?;
    lab.until_ready("acme").await?;

    a_refusal_is_told(&lab).await?;

    remove_definition(&lab).await?;
    lab.until_reason("acme", "False", "RoutesNotSupported").await?;
    install_definition(&lab).await?;
    lab.until_ready("acme").await?;
    assert!(lab.child::<HttpRoute>("crm").await?.is_some());
    let all = ["create", "delete", "list", "patch", "watch"].map(str::to_owned);
    assert_eq!(done_with(&lab, "httproutes")?, BTreeSet::from(all), "every right was used");

    // To an ingress controller: the new way comes, the old one goes.
    let lab = lab.upgraded_with(&by_ingress()).await?;
    lab.until_child::<Ingress>("crm", "there", |ingress| ingress.is_some()).await?;
    lab.until_child::<HttpRoute>("crm", "gone", |route| route.is_none()).await?;
    let deployments: Api<Deployment> = Api::all(lab.client.clone());
    let names: Vec<_> =
        deployments.list(&ListParams::default()).await?.into_iter().map(|d| d.metadata.name).collect();
    assert!(!names.contains(&Some("gateway".to_owned())), "{names:?}");
    Ok(())
}

/// What a Gateway says of the route reaches the Tenant, until the Gateway says otherwise.
async fn a_refusal_is_told(lab: &Lab) -> Result<()> {
    let says = |status: &str, reason: &str| {
        json!({"status": {"parents": [{
            "controllerName": "example.com/gateway",
            "parentRef": {"namespace": "infra", "name": "public", "sectionName": "https"},
            "conditions": [{
                "type": "Accepted", "status": status, "reason": reason, "message": "so it is",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }],
        }]}})
    };
    let routes: Api<HttpRoute> = Api::namespaced(lab.client.clone(), NAMESPACE);
    let say = async |status: &str, reason: &str| {
        routes.patch_status("crm", &PatchParams::default(), &Patch::Merge(says(status, reason))).await
    };
    say("False", "NotAllowedByListeners").await?;
    let refused = lab.until_reason("acme", "False", "RouteNotAccepted").await?;
    assert!(
        message(&refused).contains("Gateway infra/public: NotAllowedByListeners"),
        "{}",
        message(&refused)
    );
    say("True", "Accepted").await?;
    lab.until_ready("acme").await?;
    Ok(())
}
