//! An API server in memory: objects by path, server-side apply with its record of owned fields, uids and versions,
//! finalizers, preconditions; and failures on request.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{Method, Request, Response, Uri};
use kube::{Client, client::Body};
use serde_json::{Value, json};

use crate::{api::conditions::UP_TO_DATE, names};

/// When a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nothing has happened.
    Before,
    /// It was carried out, and only the answer is lost.
    After,
}

/// One request that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
}

impl Call {
    pub(crate) fn is_write(&self) -> bool {
        self.method != Method::GET
    }
}

/// The server; clones share their objects.
#[derive(Clone, Default)]
pub(crate) struct FakeApi {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    calls: Vec<Call>,
    fail: Option<(usize, Failure)>,
}

impl FakeApi {
    pub(crate) fn client(&self) -> Client {
        let this = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let this = this.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap_or_default();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let (status, answer) = this.lock().serve(&parts.method, &parts.uri, &body);
                let response =
                    Response::builder().status(status).body(Body::from(answer.to_string().into_bytes()));
                Ok::<_, Infallible>(response.unwrap())
            }
        });
        Client::new(service, "default")
    }

    /// The request of that number, counted from now, fails; the others do not.
    pub(crate) fn fail(&self, number: usize, failure: Failure) {
        let mut state = self.lock();
        state.calls.clear();
        state.fail = Some((number, failure));
    }

    /// All requests so far; the next call starts from here.
    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.lock().calls)
    }

    /// Puts an object in place as somebody else would.
    pub(crate) fn put(&self, path: &str, object: Value) {
        self.lock().store(path, object);
    }

    /// Takes an object away as its controller would.
    pub(crate) fn remove(&self, path: &str) {
        self.lock().objects.remove(path);
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.lock().objects.get(path).cloned()
    }

    /// Every object, by path.
    pub(crate) fn objects(&self) -> BTreeMap<String, Value> {
        self.lock().objects.clone()
    }

    /// Changes an object in place as a controller would.
    pub(crate) fn change(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.lock();
        let mut object = state.objects.get(path).cloned().unwrap_or_else(|| panic!("{path} is not there"));
        change(&mut object);
        state.store(path, object);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn serve(&mut self, method: &Method, uri: &Uri, body: &Value) -> (u16, Value) {
        let path = uri.path();
        let of_channel = uri.query().unwrap_or_default().contains(names::ROLLOUT_FIELD_MANAGER);
        let failure = self.fail.filter(|(number, _)| *number == self.calls.len()).map(|(_, failure)| failure);
        if failure.is_some() {
            self.fail = None;
        }
        self.calls.push(Call { method: method.clone(), path: path.to_owned() });
        if failure == Some(Failure::Before) {
            return refusal(500, "InternalError", "the request was lost");
        }
        let answer = match *method {
            Method::GET => self.objects.get(path).map_or_else(not_found, |object| (200, object.clone())),
            Method::POST => self.create(path, body),
            Method::PUT => self.replace(path, body),
            Method::PATCH => self.patch(path, body, of_channel),
            Method::DELETE => self.delete(path, body),
            _ => refusal(405, "MethodNotAllowed", "not here"),
        };
        if failure == Some(Failure::After) {
            refusal(500, "InternalError", "the answer was lost")
        } else {
            answer
        }
    }

    fn create(&mut self, collection: &str, body: &Value) -> (u16, Value) {
        let path = format!("{collection}/{}", body["metadata"]["name"].as_str().unwrap_or_default());
        if self.objects.contains_key(&path) {
            return refusal(409, "AlreadyExists", "it is there");
        }
        (201, self.store(&path, body.clone()))
    }

    fn replace(&mut self, path: &str, body: &Value) -> (u16, Value) {
        match self.objects.get(path) {
            None => not_found(),
            Some(present)
                if present["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] =>
            {
                refusal(409, "Conflict", "it has changed")
            }
            Some(_) => (200, self.store(path, body.clone())),
        }
    }

    fn patch(&mut self, path: &str, body: &Value, of_channel: bool) -> (u16, Value) {
        let of_status = path.strip_suffix("/status");
        let present = self.objects.get(of_status.unwrap_or(path)).cloned();
        let same = |field: &str| {
            let (wanted, has) =
                (&body["metadata"][field], present.as_ref().map(|object| &object["metadata"][field]));
            wanted.is_null() || has == Some(wanted)
        };
        if !same("uid") {
            return refusal(409, "Conflict", "Precondition failed: UID in precondition, UID in object meta");
        }
        if !same("resourceVersion") {
            return refusal(409, "Conflict", "the object has been modified");
        }
        if let Some(path) = of_status {
            let Some(mut object) = present else { return not_found() };
            object["status"] = if object["kind"] == "Tenant" {
                status_of_two(&object["status"], &body["status"], of_channel)
            } else {
                body["status"].clone()
            };
            return (200, self.store(path, object));
        }
        // Only changes of finalizers come without a kind.
        if body["kind"].is_null() {
            let Some(mut object) = present else { return not_found() };
            object["metadata"]["finalizers"] = body["metadata"]["finalizers"].clone();
            let last = object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty);
            if last && !object["metadata"]["deletionTimestamp"].is_null() {
                self.objects.remove(path);
                return (200, object);
            }
            return (200, self.store(path, object));
        }
        let mut object = present.unwrap_or_default();
        merge(&mut object, body);
        object["metadata"]["managedFields"] = json!([owned_fields(body)]);
        (200, self.store(path, object))
    }

    fn delete(&mut self, path: &str, body: &Value) -> (u16, Value) {
        let Some(object) = self.objects.get(path).cloned() else { return not_found() };
        if object["metadata"]["uid"] != body["preconditions"]["uid"] {
            return refusal(409, "Conflict", "the uid is another");
        }
        if object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty()) {
            let mut going = object;
            going["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:00:00Z");
            return (200, self.store(path, going));
        }
        self.objects.remove(path);
        let inside = format!("{}/", path.replacen("/api/v1/", "/", 1));
        self.objects.retain(|path, _| !path.contains(&inside));
        (200, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
    }

    /// Gives an object what the server gives it; the version moves only if something changed.
    fn store(&mut self, path: &str, mut object: Value) -> Value {
        if self.objects.get(path) == Some(&object) {
            return object;
        }
        self.version += 1;
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{}", self.version));
            object["metadata"]["creationTimestamp"] = json!("1970-01-01T00:00:00Z");
        }
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path.to_owned(), object.clone());
        object
    }
}

/// The record of an apply: every field below `metadata`, `spec` and the like as a whole.
fn owned_fields(applied: &Value) -> Value {
    let mut fields = serde_json::Map::new();
    for (name, value) in applied.as_object().into_iter().flatten() {
        let below: serde_json::Map<_, _> = match (name.as_str(), value.as_object()) {
            ("apiVersion" | "kind", _) => continue,
            ("metadata", Some(metadata)) => {
                let ours =
                    metadata.keys().filter(|key| !["name", "namespace", "uid"].contains(&key.as_str()));
                ours.map(|key| (format!("f:{key}"), json!({}))).collect()
            }
            _ => serde_json::Map::new(),
        };
        fields.insert(format!("f:{name}"), Value::Object(below));
    }
    json!({"manager": "tenantry-tenant", "operation": "Apply", "fieldsV1": fields})
}

/// Applied values replace present ones; what the server and other controllers wrote beside them stays.
fn merge(into: &mut Value, applied: &Value) {
    for (name, value) in applied.as_object().into_iter().flatten() {
        match name.as_str() {
            "metadata" => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    into["metadata"][name] = value.clone();
                }
            }
            _ => into[name] = value.clone(),
        }
    }
}

/// A Tenant's status when one of its two writers has said its part of it anew; the other's part stays.
fn status_of_two(present: &Value, applied: &Value, of_channel: bool) -> Value {
    let is_channels = |condition: &&Value| condition["type"] == UP_TO_DATE;
    let conditions = |status: &Value| status["conditions"].as_array().cloned().unwrap_or_default();
    let (tenants, channels) = if of_channel { (present, applied) } else { (applied, present) };
    let mut all: Vec<Value> = conditions(tenants).into_iter().filter(|c| !is_channels(&c)).collect();
    all.extend(conditions(channels).into_iter().filter(|c| is_channels(&c)));
    let mut status = tenants.clone();
    if !all.is_empty() {
        status["conditions"] = all.into();
    }
    for told in ["targetRelease", "targetWave", "targetPodSettings"] {
        if !channels[told].is_null() {
            status[told] = channels[told].clone();
        } else if let Some(fields) = status.as_object_mut() {
            fields.remove(told);
        }
    }
    status
}

fn not_found() -> (u16, Value) {
    refusal(404, "NotFound", "there is none")
}

fn refusal(code: u16, reason: &str, message: &str) -> (u16, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message,
    });
    (code, status)
}
