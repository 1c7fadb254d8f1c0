//! Tenants whose requests come through a controller that is not ours.

use serde_json::json;

use super::{ready, settled};
use crate::{
    args::RunArgs,
    cluster::facts::Kind,
    testing::{
        fake_api::Call,
        settings_with,
        world::{DEPLOYMENT, TENANT, World},
    },
};

const INGRESS: &str = "/apis/networking.k8s.io/v1/namespaces/tenant-acme/ingresses/crm";
const HTTP_ROUTE: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/tenant-acme/httproutes/crm";
const POLICY: &str = "/apis/networking.k8s.io/v1/namespaces/tenant-acme/networkpolicies/crm";

fn ingress(more: &[&str]) -> RunArgs {
    settings_with(&[&["--routing=Ingress", "--controller-namespace=ingress"][..], more].concat())
}

fn http_route(more: &[&str]) -> RunArgs {
    let words = ["--routing=HTTPRoute", "--controller-namespace=gateways", "--route-parent=infra/public"];
    settings_with(&[&words[..], more].concat())
}

async fn settled_with(settings: RunArgs) -> World {
    let mut world = World::with(settings);
    world.settle().await;
    world
}

async fn writes_of_a_reconcile(world: &mut World) -> Vec<String> {
    world.api.take_calls();
    world.reconcile().await.unwrap();
    world.api.take_calls().into_iter().filter(Call::is_write).map(|call| call.path).collect()
}

#[tokio::test]
async fn without_being_asked_nobody_makes_routes() {
    let world = settled().await;
    assert!(
        world.api.objects().keys().all(|path| !path.contains("ingresses") && !path.contains("httproutes"))
    );
}

#[tokio::test]
async fn a_route_comes_last_is_repaired_and_then_left_alone() {
    for (settings, path) in [(ingress(&[]), INGRESS), (http_route(&[]), HTTP_ROUTE)] {
        let mut world = World::with(settings);
        world.reconcile().await.unwrap();
        let calls = world.api.take_calls();
        let written: Vec<_> =
            calls.iter().filter(|call| call.is_write()).map(|call| call.path.as_str()).collect();
        assert_eq!(written.iter().rev().find(|written| written.contains("tenant-acme")), Some(&path));

        world.settle().await;
        assert_eq!(ready(&world), ("True".into(), "AsExpected".into()));
        assert_eq!(writes_of_a_reconcile(&mut world).await, [""; 0]);

        let wanted = world.api.get(path).unwrap()["spec"].clone();
        world.api.change(path, |route| route["spec"] = json!({}));
        assert_eq!(writes_of_a_reconcile(&mut world).await, [path]);
        assert_eq!(world.api.get(path).unwrap()["spec"], wanted);
    }
}

#[tokio::test]
async fn a_suspended_tenant_keeps_its_route() {
    let mut world = settled_with(ingress(&[])).await;
    let route = world.api.get(INGRESS);
    assert!(route.is_some());
    world.change_tenant(|tenant| tenant["spec"]["state"] = json!("Suspended"));
    world.settle().await;
    assert_eq!(ready(&world), ("True".into(), "Suspended".into()));
    assert_eq!(world.api.get(INGRESS), route);
}

#[tokio::test]
async fn another_kind_of_routing_takes_the_place_of_the_former() {
    let admitted = |world: &World| {
        world.api.get(POLICY).unwrap()["spec"]["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"]
            ["kubernetes.io/metadata.name"]
            .clone()
    };
    let mut world = settled().await;
    assert_eq!(admitted(&world), "tenantry-gateway");

    world = world.restarted_with(ingress(&[]));
    world.settle().await;
    assert!(world.api.get(INGRESS).is_some());
    assert_eq!(admitted(&world), "ingress");

    world = world.restarted_with(http_route(&["--former-routing=Ingress"]));
    world.settle().await;
    assert!(world.api.get(HTTP_ROUTE).is_some() && world.api.get(INGRESS).is_none());
    assert_eq!(admitted(&world), "gateways");

    world = world.restarted_with(settings_with(&["--former-routing=HTTPRoute"]));
    world.settle().await;
    assert!(world.api.get(HTTP_ROUTE).is_none());
    assert_eq!(admitted(&world), "tenantry-gateway");
}

#[tokio::test]
async fn what_somebody_else_leads_to_the_tenant_stays() {
    let theirs = "/apis/networking.k8s.io/v1/namespaces/tenant-acme/ingresses/theirs";
    let mut world = settled_with(ingress(&[])).await;
    world.api.put(
        theirs,
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": "theirs", "namespace": "tenant-acme", "labels": {"tenantry.dev/tenant": "acme"}},
        }),
    );
    world = world.restarted_with(settings_with(&["--former-routing=Ingress"]));
    world.settle().await;
    assert!(world.api.get(theirs).is_some() && world.api.get(INGRESS).is_none());
}

#[tokio::test]
async fn a_cluster_without_http_routes_is_told_so_and_all_else_goes_on() {
    let mut world = World::with(http_route(&[]));
    world.ctx.cluster.cache().set_served(Kind::HttpRoute, false);
    world.settle().await;
    assert_eq!(ready(&world), ("False".into(), "RoutesNotSupported".into()));
    assert!(world.api.get(HTTP_ROUTE).is_none());
    let conditions = world.tenant().status.unwrap().conditions;
    for type_ in ["DatabaseReady", "AppReady", "Isolated"] {
        assert_eq!(super::conditions::find(&conditions, type_).unwrap().status, "True", "{type_}");
    }
    world.change_tenant(|tenant| tenant["spec"]["state"] = json!("Suspended"));
    world.settle().await;
    assert_eq!(world.api.get(DEPLOYMENT).unwrap()["spec"]["replicas"], 0);
    assert_eq!(world.api.get(TENANT).unwrap()["status"]["state"], "Suspended");

    world.change_tenant(|tenant| tenant["spec"]["state"] = json!("Active"));
    world.ctx.cluster.cache().set_served(Kind::HttpRoute, true);
    world.settle().await;
    assert_eq!(ready(&world), ("True".into(), "AsExpected".into()));
    assert!(world.api.get(HTTP_ROUTE).is_some());
}

#[tokio::test]
async fn a_route_that_no_gateway_serves_is_told() {
    let mut world = settled_with(http_route(&[])).await;
    world.api.change(HTTP_ROUTE, |route| {
        route["status"] = json!({"parents": [{
            "controllerName": "example.com/gateway",
            "parentRef": {"name": "public", "namespace": "infra"},
            "conditions": [{
                "type": "Accepted", "status": "False", "reason": "NotAllowedByListeners",
                "message": "namespace tenant-acme is not allowed", "lastTransitionTime": "1970-01-01T00:00:00Z",
            }],
        }]});
    });
    world.settle().await;
    assert_eq!(ready(&world), ("False".into(), "RouteNotAccepted".into()));
    let conditions = world.tenant().status.unwrap().conditions;
    let message = &super::conditions::find(&conditions, "Ready").unwrap().message;
    for words in ["HTTPRoute crm", "Gateway infra/public", "NotAllowedByListeners", "is not allowed"] {
        assert!(message.contains(words), "{message}");
    }
}
