//! Ingresses and HTTPRoutes, as they are sent.

use rstest::rstest;
use serde_json::{Value, json};

use super::super::*;
use crate::{
    args::Scheme,
    testing::{settings, settings_with, valid_tenant},
};

fn hosts(names: &[&str]) -> Vec<Host> {
    names.iter().map(|name| Host::parse(name).unwrap()).collect()
}

fn own() -> Vec<Host> {
    hosts(&["acme.crm.localhost", "crm.acme.example"])
}

fn ingress(more: &[&str]) -> RunArgs {
    let words = ["--routing=Ingress", "--controller-namespace=ingress"];
    RunArgs { public_scheme: Scheme::Https, ..settings_with(&[&words[..], more].concat()) }
}

fn http_route(more: &[&str]) -> RunArgs {
    let words =
        ["--routing=HTTPRoute", "--controller-namespace=gateways", "--route-parent=infra/public/https"];
    settings_with(&[&words[..], more].concat())
}

fn values<K: serde::Serialize>(objects: &[K]) -> Vec<Value> {
    objects.iter().map(|object| serde_json::to_value(object).unwrap()).collect()
}

#[test]
fn an_ingress_is_as_reviewed() {
    let more = [
        "--ingress-class=nginx",
        "--route-annotation=cert-manager.io/cluster-issuer=letsencrypt",
        "--ingress-tls-secret=crm-tls",
    ];
    let Routes { ingresses, http_routes } = routes(&valid_tenant(), &own(), &ingress(&more));
    insta::assert_yaml_snapshot!(values(&ingresses));
    assert_eq!(http_routes.len(), 0);
}

#[test]
fn an_http_route_is_as_reviewed() {
    let more = ["--route-parent=infra/inner", "--route-annotation=example.com/team=crm"];
    let Routes { ingresses, http_routes } = routes(&valid_tenant(), &own(), &http_route(&more));
    insta::assert_yaml_snapshot!(values(&http_routes));
    assert_eq!(ingresses.len(), 0);
}

#[rstest]
#[case::everything_by_the_controllers_own_certificate(
    &[], None, json!([{"hosts": ["acme.crm.localhost", "crm.acme.example"]}]))]
#[case::everything_by_one_secret(
    &[], Some("crm-tls"), json!([{"hosts": ["acme.crm.localhost", "crm.acme.example"], "secretName": "crm-tls"}]))]
#[case::one_host_by_its_own(
    &[("crm.acme.example", "acme-tls")], None,
    json!([{"hosts": ["acme.crm.localhost"]}, {"hosts": ["crm.acme.example"], "secretName": "acme-tls"}]))]
#[case::each_by_a_secret(
    &[("crm.acme.example", "acme-tls")], Some("crm-tls"),
    json!([
        {"hosts": ["acme.crm.localhost"], "secretName": "crm-tls"},
        {"hosts": ["crm.acme.example"], "secretName": "acme-tls"},
    ]))]
#[case::a_secret_of_a_host_that_was_not_granted_is_not_named(
    &[("taken.example", "acme-tls")], None, json!([{"hosts": ["acme.crm.localhost", "crm.acme.example"]}]))]
fn each_host_has_its_certificate(
    #[case] named: &[(&str, &str)],
    #[case] otherwise: Option<&str>,
    #[case] tls: Value,
) {
    let mut tenant = valid_tenant();
    tenant.tls_secrets =
        named.iter().map(|(host, secret)| (Host::parse(host).unwrap(), (*secret).to_owned())).collect();
    let more: Vec<String> = otherwise.iter().map(|secret| format!("--ingress-tls-secret={secret}")).collect();
    let settings = ingress(&more.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(values(&routes(&tenant, &own(), &settings).ingresses)[0]["spec"]["tls"], tls);
}

#[test]
fn over_plain_http_there_is_no_tls() {
    let settings = RunArgs { public_scheme: Scheme::Http, ..ingress(&["--ingress-tls-secret=crm-tls"]) };
    assert_eq!(values(&routes(&valid_tenant(), &own(), &settings).ingresses)[0]["spec"]["tls"], Value::Null);
}

#[test]
fn only_granted_hosts_have_routes() {
    let mut tenant = valid_tenant();
    tenant.hosts = own();
    let granted = &own()[..1];
    let ingress = values(&routes(&tenant, granted, &ingress(&[])).ingresses);
    assert!(ingress[0].to_string().contains("acme.crm.localhost"));
    assert!(!ingress[0].to_string().contains("crm.acme.example"));
    let route = values(&routes(&tenant, granted, &http_route(&[])).http_routes);
    assert_eq!(route[0]["spec"]["hostnames"], json!(["acme.crm.localhost"]));
}

#[test]
fn without_hosts_or_without_being_asked_there_is_no_route() {
    for (granted, settings) in [(vec![], ingress(&[])), (vec![], http_route(&[])), (own(), settings())] {
        let Routes { ingresses, http_routes } = routes(&valid_tenant(), &granted, &settings);
        assert_eq!((ingresses.len(), http_routes.len()), (0, 0), "{:?}", settings.routing.kind);
    }
}

#[test]
fn more_hosts_than_one_http_route_takes_get_another() {
    let names: Vec<String> = (0..17).map(|number| format!("crm-{number}.acme.example")).collect();
    let granted = hosts(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let both = values(&routes(&valid_tenant(), &granted, &http_route(&[])).http_routes);
    let called: Vec<_> = both.iter().map(|route| &route["metadata"]["name"]).collect();
    assert_eq!(called, ["crm", "crm-2"]);
    let served: Vec<_> =
        both.iter().flat_map(|route| route["spec"]["hostnames"].as_array().unwrap()).collect();
    assert_eq!(served, names.iter().collect::<Vec<_>>());
    assert_eq!(both[0]["spec"]["rules"], both[1]["spec"]["rules"]);
}
