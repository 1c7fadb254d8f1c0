//! The floor for the time of a rollout: a bare loop that writes what the operator has written, of the same objects and in the same
//! order, with another image.
//!
//! It has the operator's account and as many requests under way, works on as many tenants at the same time, and decides
//! nothing: it knows from the start what it will write. Like the operator it waits for nodes, which the same stand-in plays: after a
//! Job until its pod has ended, after a Deployment until its new pod is ready. It begins with everybody at once and knows no
//! waves.

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::Request;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt as _};
use operator::{cluster::REQUESTS_AT_ONCE, names};
use serde_json::{Value, json};
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

use super::{
    LAST, Scale,
    script::{Script, Write},
};
use crate::bench::{
    operator::lab::{self, Lab},
    versions,
};

/// What nodes take for one thing at most, on a busy machine.
const NODES: Duration = Duration::from_mins(2);
/// How many objects are read at the same time before the loop begins.
const READS: usize = 8;
/// Fields of the metadata that the API server fills in.
const OF_THE_API_SERVER: [&str; 7] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "managedFields",
    "ownerReferences",
    "finalizers",
];

/// Writes it all; returns how long that took.
pub(super) async fn run(lab: &Lab, script: &Script, scale: Scale) -> Result<Duration> {
    let templates = stream::iter(&script.tenants)
        .map(|(_, writes)| templates(&lab.client, writes))
        .buffered(READS)
        .try_collect::<Vec<_>>()
        .await?;
    let (told, nodes) = watch::channel(HashMap::new());
    let bare = Bare {
        client: lab.operators_client().await?,
        places: Semaphore::new(REQUESTS_AT_ONCE),
        image: lab::release_named(LAST, '6')?.spec.image,
        nodes,
        count: AtomicUsize::new(0),
    };
    let begun = Instant::now();
    let all = stream::iter(script.tenants.values().zip(&templates))
        .map(|(writes, templates)| bare.upgrade(writes, templates))
        .buffer_unordered(scale.parallel)
        .try_for_each(async |()| Ok(()));
    tokio::select! {
        done = all => done?,
        ended = follow_nodes(&lab.client, &told) => ended?,
    }
    Ok(begun.elapsed())
}

/// Objects as they are before the loop, by path.
type Templates = BTreeMap<String, Value>;

/// All objects that will be written.
async fn templates(client: &Client, writes: &[Write]) -> Result<Templates> {
    let mut templates = Templates::new();
    for write in writes.iter().filter(|write| write.resource != "events") {
        let path = write.object();
        if !templates.contains_key(&path)
            && let Some(object) = read(client, &path).await?
        {
            templates.insert(path, object);
        }
    }
    Ok(templates)
}

async fn read(client: &Client, path: &str) -> Result<Option<Value>> {
    match client.request::<Value>(Request::get(path).body(Vec::new())?).await {
        Ok(object) => Ok(Some(object)),
        // Pods and Jobs that were written to have gone since.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {path}")),
    }
}

/// What nodes have done: the names of pods, by namespace and what they are of.
type Done = HashMap<(String, String), String>;

/// The operator's account, and as many requests at once as the operator makes.
struct Bare {
    client: Client,
    places: Semaphore,
    image: String,
    nodes: watch::Receiver<Done>,
    count: AtomicUsize,
}

impl Bare {
    /// One tenant, from its first write to its last.
    async fn upgrade(&self, writes: &[Write], templates: &Templates) -> Result<()> {
        for write in writes {
            let number = self.count.fetch_add(1, Ordering::Relaxed);
            let told = || format!("{} {}", write.verb, write.path);
            let done = self.write(write, templates, number).await.with_context(told)?;
            let awaited = match (write.verb.as_str(), write.resource.as_str()) {
                ("create", "jobs") => done["metadata"]["name"].as_str().unwrap_or_default(),
                ("patch", "deployments") => &self.image,
                _ => continue,
            };
            self.until(&write.namespace, awaited).await?;
        }
        Ok(())
    }

    async fn write(&self, write: &Write, templates: &Templates, number: usize) -> Result<Value> {
        let template = templates.get(&write.object());
        let (path, query) = (&write.path, &write.query);
        let uri = format!("{path}?{query}");
        let request = match (write.verb.as_str(), write.resource.as_str()) {
            ("create", "events") => post(&uri, &event(write, number)),
            ("create", _) => post(&uri, &another(template, templates, number)?),
            ("delete", _) => Request::delete(&uri).body(Vec::new()),
            ("patch", "pods") => {
                let pod = self.until(&write.namespace, &self.image).await?;
                let annotation = json!({names::ENTITLEMENT_ANNOTATION: format!("{{\"revision\":{number}}}")});
                let told = json!({
                    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod, "annotations": annotation},
                });
                apply(&uri.replace(&write.name, &pod), &told)
            }
            ("patch", _) if query.contains("force=true") => {
                apply(&uri, &changed(template, write, &self.image, number)?)
            }
            ("patch", _) => merge(&uri, number),
            (verb, resource) => bail!("the operator was not expected to {verb} {resource}"),
        };
        let _place = self.places.acquire().await?;
        match self.client.request::<Value>(request?).await {
            // What it would delete has been deleted.
            Err(kube::Error::Api(status)) if write.verb == "delete" && status.is_not_found() => {
                Ok(Value::Null)
            }
            answered => Ok(answered?),
        }
    }

    /// Waits until nodes have done their part, and returns the name of the pod.
    async fn until(&self, namespace: &str, what: &str) -> Result<String> {
        let key = (namespace.to_owned(), what.to_owned());
        let mut nodes = self.nodes.clone();
        let done = timeout(NODES, nodes.wait_for(|done| done.contains_key(&key))).await;
        let done = done.with_context(|| format!("nothing came of {what} in {namespace} in time"))??;
        Ok(done.get(&key).cloned().unwrap_or_default())
    }
}

/// Tells of pods that have ended, by their Job, and of pods of the CRM that are ready, by their image. Ends only by failing.
async fn follow_nodes(client: &Client, told: &watch::Sender<Done>) -> Result<()> {
    let mut pods = versions::of(Api::<Pod>::all(client.clone()));
    while let Some(pod) = pods.next().await {
        if let Some(done) = what_is_done(&pod) {
            let key = (pod.namespace().unwrap_or_default(), done);
            told.send_modify(|all| drop(all.insert(key, pod.name_any())));
        }
    }
    bail!("the watch of pods ended")
}

fn what_is_done(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true))?;
    if owner.kind == "Job" {
        return (status.phase.as_deref() == Some("Succeeded")).then(|| owner.name.clone());
    }
    let is_ready = |kind: &str, status: &str| kind == "Ready" && status == "True";
    let mut conditions = status.conditions.iter().flatten();
    let ready = conditions.any(|condition| is_ready(&condition.type_, &condition.status));
    pod.spec.as_ref()?.containers.first()?.image.clone().filter(|_| ready)
}

fn post(uri: &str, object: &Value) -> http::Result<Request<Vec<u8>>> {
    Request::post(uri).header("content-type", "application/json").body(object.to_string().into_bytes())
}

fn apply(uri: &str, object: &Value) -> http::Result<Request<Vec<u8>>> {
    let request = Request::patch(uri).header("content-type", "application/apply-patch+yaml");
    request.body(object.to_string().into_bytes())
}

fn merge(uri: &str, number: usize) -> http::Result<Request<Vec<u8>>> {
    let patch = json!({"metadata": {"annotations": {"floor": number.to_string()}}});
    let request = Request::patch(uri).header("content-type", "application/merge-patch+json");
    request.body(patch.to_string().into_bytes())
}

fn event(write: &Write, number: usize) -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"name": format!("floor.{number}"), "namespace": write.namespace},
        "type": "Normal", "reason": "Migrating", "action": "Reconcile",
        "note": "the schema is being migrated for release r3; the old release serves meanwhile",
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": names::OPERATOR, "reportingInstance": names::OPERATOR,
        "regarding": {"apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "name": "floor"},
    })
}

/// A Job like the one that the operator made, or, if that is gone, like another one of the tenant.
fn another(template: Option<&Value>, templates: &Templates, number: usize) -> Result<Value> {
    let any = || templates.iter().find(|(path, _)| path.contains("/jobs/")).map(|(_, job)| job);
    let mut job = template.or_else(any).context("no Job of the operator is left")?.clone();
    let name = job["metadata"]["name"].as_str().unwrap_or_default();
    let name = format!("{}-{number}", name.rsplit_once('-').map_or(name, |(kind, _hash)| kind));
    strip(&mut job);
    job["metadata"]["name"] = json!(name);
    if let Some(spec) = job["spec"].as_object_mut() {
        spec.remove("selector");
    }
    for labels in ["/metadata/labels", "/spec/template/metadata/labels"] {
        if let Some(labels) = job.pointer_mut(labels).and_then(Value::as_object_mut) {
            labels.retain(|name, _| !name.contains("controller-uid") && !name.contains("job-name"));
        }
    }
    Ok(job)
}

/// The same object with another image, another message in a condition, or another annotation.
fn changed(template: Option<&Value>, write: &Write, image: &str, number: usize) -> Result<Value> {
    let mut object = template.context("the object is gone")?.clone();
    if write.path.ends_with("/status") {
        let is_rollout = write.query.contains(names::ROLLOUT_FIELD_MANAGER);
        return Ok(of_status(object, is_rollout && write.resource == "tenants", number));
    }
    strip(&mut object);
    if write.resource == "deployments" {
        let old = object.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str);
        let old = old.context("a Deployment has an image")?;
        return Ok(serde_json::from_str(&object.to_string().replace(old, image))?);
    }
    if write.resource == "namespaces"
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("spec");
        object["metadata"]["annotations"][names::UPGRADE] = json!(format!("{{\"floor\":{number}}}"));
        return Ok(object);
    }
    object["metadata"]["annotations"]["floor"] = json!(number.to_string());
    Ok(object)
}

/// What one of those says who write a status.
fn of_status(mut object: Value, only_of_channel: bool, number: usize) -> Value {
    let mut status = object["status"].take();
    if only_of_channel {
        let said = status["conditions"].as_array().into_iter().flatten();
        let said: Vec<_> = said.filter(|condition| condition["type"] == "UpToDate").cloned().collect();
        status = json!({"conditions": said, "targetRelease": status["targetRelease"]});
    }
    status["conditions"][0]["message"] = json!(format!("written for the {number}. time"));
    json!({
        "apiVersion": object["apiVersion"], "kind": object["kind"],
        "metadata": {"name": object["metadata"]["name"]}, "status": status,
    })
}

fn strip(object: &mut Value) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|name, _| !OF_THE_API_SERVER.contains(&name.as_str()));
    }
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
}
