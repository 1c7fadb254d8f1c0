//! The bare control plane and its stand-in for nodes, as other tests rely on them.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use e2e::{
    cluster::{
        ControlPlane,
        control_plane::{Outcome, StandIn, Traffic, Workload},
    },
    host::{
        process,
        wait::{Look, Wait},
    },
};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    batch::v1::Job,
    core::v1::{ConfigMap, Namespace, PersistentVolumeClaim, Pod, ServiceAccount},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use operator::names;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

const NAMESPACE: &str = "default";

async fn create<K>(client: &Client, object: Value)
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let object: K = serde_json::from_value(object).unwrap();
    Api::<K>::namespaced(client.clone(), NAMESPACE).create(&PostParams::default(), &object).await.unwrap();
}

async fn until<K>(client: &Client, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), NAMESPACE);
    Wait::new(format!("{name}: {what}"), Duration::from_secs(10))
        .until(async || {
            let object = serde_json::to_value(api.get(name).await?)?;
            Ok(if holds(&object) { Look::Done(object) } else { Look::NotYet(object["status"].to_string()) })
        })
        .await
        .unwrap()
}

async fn pods_of(client: &Client, label: &str) -> Vec<Value> {
    let api: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let pods = api.list(&ListParams::default().labels(label)).await.unwrap();
    pods.into_iter().map(|pod| serde_json::to_value(pod).unwrap()).collect()
}

fn template(app: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "main", "image": "example/app:1"}]},
    })
}

fn workload(name: &str) -> Value {
    let selector = json!({"matchLabels": {"app": name}});
    json!({"metadata": {"name": name}, "spec": {"serviceName": name, "selector": selector, "template": template(name)}})
}

fn job(name: &str) -> Value {
    let mut template = template(name);
    template["spec"]["restartPolicy"] = json!("Never");
    json!({"metadata": {"name": name}, "spec": {"template": template}})
}

/// The account that pods run as is made by a controller, soon after the namespace.
async fn ready_for_pods(client: &Client) {
    until::<ServiceAccount>(client, "default", "there", |_| true).await;
}

#[tokio::test]
async fn workloads_work_unless_the_script_says_otherwise() {
    let control_plane = ControlPlane::start().await.unwrap();
    let client = control_plane.client().await.unwrap();
    ready_for_pods(&client).await;
    let stand_in = StandIn::start(control_plane.client().await.unwrap());
    stand_in.on(Workload::Job, NAMESPACE, "bad", Outcome::Exits { code: 1, message: "no luck".to_owned() });
    stand_in.on(Workload::Job, NAMESPACE, "good", Outcome::Works { message: "all done".to_owned() });

    create::<Deployment>(&client, workload("app")).await;
    create::<StatefulSet>(&client, workload("database")).await;
    create::<Job>(&client, job("good")).await;
    create::<Job>(&client, job("bad")).await;
    create::<PersistentVolumeClaim>(
        &client,
        json!({"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
        }}),
    )
    .await;

    until::<Deployment>(&client, "app", "available", |object| object["status"]["availableReplicas"] == 1)
        .await;
    until::<StatefulSet>(&client, "database", "ready", |object| object["status"]["readyReplicas"] == 1).await;
    until::<PersistentVolumeClaim>(&client, "data", "bound", |object| object["status"]["phase"] == "Bound")
        .await;
    until::<Job>(&client, "good", "complete", |object| object["status"]["succeeded"] == 1).await;
    until::<Job>(&client, "bad", "failed", |object| object["status"]["failed"] == 1).await;
    let message =
        |pods: &[Value]| pods[0]["status"]["containerStatuses"][0]["state"]["terminated"]["message"].clone();
    assert_eq!(message(&pods_of(&client, "app=good").await), "all done");
    assert_eq!(message(&pods_of(&client, "app=bad").await), "no luck");

    control_plane.stop().await.unwrap();
}

#[tokio::test]
async fn a_script_that_changes_changes_what_is_there() {
    let control_plane = ControlPlane::start().await.unwrap();
    let client = control_plane.client().await.unwrap();
    ready_for_pods(&client).await;
    let stand_in = StandIn::start(control_plane.client().await.unwrap());
    let cannot_pull =
        Outcome::Waits { reason: "ImagePullBackOff".to_owned(), message: "no such image".to_owned() };
    stand_in.on(Workload::Deployment, "", "app", cannot_pull);
    create::<Deployment>(&client, workload("app")).await;
    until::<Deployment>(&client, "app", "without ready pods", |object| {
        object["status"]["unavailableReplicas"] == 1 && object["status"]["observedGeneration"] == 1
    })
    .await;
    stand_in.reset();
    until::<Deployment>(&client, "app", "ready", |object| object["status"]["readyReplicas"] == 1).await;

    // A new template brings new pods; without replicas there are none.
    let before = pods_of(&client, "app=app").await;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}});
    deployments.patch("app", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    until::<Deployment>(&client, "app", "rolled out", |object| object["status"]["observedGeneration"] == 2)
        .await;
    let after = pods_of(&client, "app=app").await;
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_ne!(before[0]["metadata"]["uid"], after[0]["metadata"]["uid"]);
    let patch = json!({"spec": {"replicas": 0}});
    deployments.patch("app", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    until::<Deployment>(&client, "app", "scaled down", |object| {
        object["status"]["observedGeneration"] == 3 && object["status"]["replicas"].as_i64().unwrap_or(0) == 0
    })
    .await;
    assert!(pods_of(&client, "app=app").await.is_empty());
}

#[tokio::test]
async fn controllers_clear_up_and_the_audit_log_tells_who_did_what() {
    let control_plane = ControlPlane::start().await.unwrap();
    let client = control_plane.client().await.unwrap();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": "short-lived"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), "short-lived");
    let map = ConfigMap { data: Some(BTreeMap::new()), ..Default::default() };
    let map = ConfigMap { metadata: serde_json::from_value(json!({"name": "settings"})).unwrap(), ..map };
    config_maps.create(&PostParams::default(), &map).await.unwrap();

    let events = control_plane.audit_events().unwrap();
    let written = events.iter().filter(|event| event.user.username == "administrator" && event.is_mutation());
    let written: Vec<_> = written.filter(|event| event.is_about("configmaps")).collect();
    assert_eq!(written.len(), 1);
    assert_eq!(written[0].response_status.as_ref().unwrap().code, 201);

    namespaces.delete("short-lived", &DeleteParams::default()).await.unwrap();
    Wait::new("the end of the namespace", Duration::from_secs(20))
        .until(async || {
            Ok(match namespaces.get_opt("short-lived").await? {
                None => Look::Done(()),
                Some(_) => Look::NotYet("still there".to_owned()),
            })
        })
        .await
        .unwrap();

    // A service account has the rights that roles give it: none yet.
    let stranger = control_plane.client_as_service_account("default", "stranger").await.unwrap();
    let refused = Api::<Pod>::namespaced(stranger, "default").list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 403));
}

#[tokio::test]
async fn dropping_a_control_plane_ends_its_processes() {
    let control_plane = ControlPlane::start().await.unwrap();
    let folder = control_plane.kubeconfig().parent().unwrap().to_path_buf();
    let name = folder.to_str().unwrap().to_owned();
    let of_this =
        || process::all().into_iter().filter(|process| process.arguments.concat().contains(&name)).count();
    // The last of them is not waited for by `start`, and has no arguments before its program is loaded.
    Wait::new("three processes", Duration::from_secs(10))
        .until(async || Ok(if of_this() == 3 { Look::Done(()) } else { Look::NotYet(of_this().to_string()) }))
        .await
        .unwrap();
    drop(control_plane);
    assert_eq!(of_this(), 0);
    assert!(!folder.exists());
}

/// The metrics of the only pod with that label; nothing if nobody listens.
async fn scraped(client: &Client, label: &str) -> Option<String> {
    let pods = pods_of(client, label).await;
    assert_eq!(pods.len(), 1, "{pods:?}");
    let address = pods[0]["status"]["podIP"].as_str().unwrap_or_default();
    assert!(address.starts_with("127."), "{address:?}");
    reqwest::get(format!("http://{address}:9090/metrics")).await.ok()?.text().await.ok()
}

#[tokio::test]
async fn pods_of_the_crm_can_be_scraped() {
    let control_plane = ControlPlane::start().await.unwrap();
    let client = control_plane.client().await.unwrap();
    ready_for_pods(&client).await;
    let stand_in = StandIn::start(control_plane.client().await.unwrap());
    let slow = Traffic { requests: 40, per_second: 0, errors_per_mille: 250, ..Traffic::default() };
    stand_in.on_visitors("app:2", slow);
    for (name, image) in [("first", "example/app:1"), ("second", "example/app:2")] {
        let mut deployment = workload(name);
        deployment["spec"]["template"]["metadata"]["labels"][names::COMPONENT_LABEL] = json!("crm");
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        create::<Deployment>(&client, deployment).await;
        until::<Deployment>(&client, name, "ready", |object| object["status"]["readyReplicas"] == 1).await;
    }
    let has = |page: &str, line: &str| page.lines().any(|found| found == line);
    let first = scraped(&client, "app=first").await.unwrap();
    assert!(first.contains(r#"status="500"} 0"#), "{first}");
    let second = scraped(&client, "app=second").await.unwrap();
    assert!(second.contains(r#"status="200"} 30"#) && second.contains(r#"status="500"} 10"#), "{second}");

    // Nobody has told it what it is entitled to; then somebody does, and it follows.
    assert!(has(&first, "crm_read_only 1"), "{first}");
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let name = pods_of(&client, "app=first").await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let profile = json!({"displayName": "A", "locale": "en", "timeZone": "UTC", "currency": "EUR"});
    let told = json!({"revision": 1, "state": "Active", "seats": 1, "profile": profile}).to_string();
    let told = json!({"metadata": {"annotations": {names::ENTITLEMENT_ANNOTATION: told}}});
    pods.patch(&name, &PatchParams::default(), &Patch::Merge(told)).await.unwrap();
    Wait::new("a pod that can be changed", Duration::from_secs(10))
        .until(async || {
            let page = scraped(&client, "app=first").await.unwrap_or_default();
            Ok(if has(&page, "crm_read_only 0") { Look::Done(()) } else { Look::NotYet(page) })
        })
        .await
        .unwrap();

    // Nobody answers in a pod that crashes.
    stand_in.on_image(Workload::Deployment, "app:1", Outcome::Exits { code: 1, message: String::new() });
    Wait::new("a pod that does not answer", Duration::from_secs(10))
        .until(async || {
            let page = scraped(&client, "app=first").await;
            Ok(page.map_or(Look::Done(()), |_| Look::NotYet("it answers".to_owned())))
        })
        .await
        .unwrap();
    control_plane.stop().await.unwrap();
}
