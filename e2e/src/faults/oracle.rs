//! What is in the cluster at the end of a course, in a form in which two runs can be compared.
//!
//! Hidden is what must differ between runs: uids, versions, times, addresses that the API server gives, hashes over such
//! values, the tenant's name, and what is random in Secrets. Of a Secret its type and its keys stay in sight, and whether
//! each value is still the one that it was before the course. Of a claim everything stays in sight.

use std::collections::BTreeMap;

use anyhow::Result;
use http::Request;
use kube::Client;
use operator::names;
use serde_json::{Map, Value, json};

use super::trace::{KEYS, TENANT};
use crate::toolchain::cache::content_hash;

/// Where the kinds are that the operator has any rights on, in the tenant's namespace.
const IN_THE_NAMESPACE: [(&str, &str); 16] = [
    ("api/v1", "configmaps"),
    ("api/v1", "secrets"),
    ("api/v1", "services"),
    ("api/v1", "serviceaccounts"),
    ("api/v1", "persistentvolumeclaims"),
    ("api/v1", "resourcequotas"),
    ("api/v1", "limitranges"),
    ("api/v1", "pods"),
    ("apis/apps/v1", "deployments"),
    ("apis/apps/v1", "statefulsets"),
    ("apis/batch/v1", "jobs"),
    ("apis/batch/v1", "cronjobs"),
    ("apis/networking.k8s.io/v1", "networkpolicies"),
    ("apis/policy/v1", "poddisruptionbudgets"),
    ("apis/rbac.authorization.k8s.io/v1", "roles"),
    ("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
];
/// What else it writes.
const OUTSIDE: [(&str, &str); 11] = [
    ("apis/tenantry.dev/v1alpha1", "tenants"),
    ("apis/tenantry.dev/v1alpha1", "plans"),
    ("apis/tenantry.dev/v1alpha1", "releases"),
    ("apis/tenantry.dev/v1alpha1", "backupstores"),
    ("apis/tenantry.dev/v1alpha1", "channels"),
    ("apis/tenantry.dev/v1alpha1", "tenantbackups"),
    ("apis/tenantry.dev/v1alpha1", "tenantrestores"),
    ("apis/tenantry.dev/v1alpha1", "tenanttombstones"),
    ("api/v1/namespaces/tenantry-keys", "secrets"),
    ("api/v1", "namespaces"),
    ("api/v1/namespaces/tenantry-gateway", "configmaps"),
];
/// Fields of the metadata that say nothing about what the operator wants.
const OF_THE_API_SERVER: [&str; 7] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "managedFields",
];
/// Annotation of the stand-in for nodes; its value is a hash over the tenant's uid, among others.
const POD_REVISION: &str = "stand-in/revision";

/// What is there, by resource, namespace and name.
pub(super) type Picture = BTreeMap<String, Value>;

/// Hashes of the values of a tenant's Secrets, to see whether they stay.
pub(super) type Fingerprints = BTreeMap<String, String>;

/// All that there is of a tenant, and what is there for all tenants, as the API server has it.
async fn objects(client: &Client, tenant: &str) -> Result<Vec<(String, Value)>> {
    let namespace = names::namespace_of(tenant);
    let inside = IN_THE_NAMESPACE
        .map(|(group, resource)| (format!("/{group}/namespaces/{namespace}/{resource}"), resource));
    let outside = OUTSIDE.map(|(group, resource)| (format!("/{group}/{resource}"), resource));
    let mut objects = Vec::new();
    for (path, resource) in inside.into_iter().chain(outside) {
        let list: Value = client.request(Request::get(path).body(Vec::new())?).await?;
        let items = list["items"].as_array().cloned().unwrap_or_default().into_iter();
        objects.extend(items.filter(|object| is_of(tenant, resource, object)).map(|object| {
            let metadata = &object["metadata"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (format!("{resource} {}/{}", text(&metadata["namespace"]), text(&metadata["name"])), object)
        }));
    }
    Ok(objects)
}

/// Namespaces and tenants of earlier runs, and other namespaces, are left out.
fn is_of(tenant: &str, resource: &str, object: &Value) -> bool {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    match resource {
        "tenants" | "channels" => name == tenant,
        // What is left of tenants of earlier runs stays for a month.
        "tenanttombstones" | "tenantbackups" | "tenantrestores" => object["spec"]["tenant"] == tenant,
        "secrets" if object["metadata"]["namespace"] == KEYS => {
            object["metadata"]["labels"][names::TENANT_LABEL] == tenant
        }
        "namespaces" => name == names::namespace_of(tenant),
        _ => true,
    }
}

/// The values of the tenant's Secrets before a course.
pub(super) async fn fingerprints(client: &Client, tenant: &str) -> Result<Fingerprints> {
    let path = format!("/api/v1/namespaces/{}/secrets", names::namespace_of(tenant));
    let list: Value = client.request(Request::get(path).body(Vec::new())?).await?;
    let mut fingerprints = Fingerprints::new();
    for secret in list["items"].as_array().into_iter().flatten() {
        for (key, value) in secret["data"].as_object().into_iter().flatten() {
            let name = secret["metadata"]["name"].as_str().unwrap_or_default();
            fingerprints.insert(format!("{name} {key}"), content_hash([value.to_string().as_bytes()]));
        }
    }
    Ok(fingerprints)
}

/// What is there now.
pub(super) async fn picture(client: &Client, tenant: &str, before: &Fingerprints) -> Result<Picture> {
    Ok(compose(objects(client, tenant).await?, tenant, before))
}

/// Hides what must differ. Pure.
fn compose(objects: Vec<(String, Value)>, tenant: &str, before: &Fingerprints) -> Picture {
    let mut words = vec![(tenant.to_owned(), TENANT.to_owned())];
    for (key, object) in &objects {
        let metadata = &object["metadata"];
        if let Some(uid) = metadata["uid"].as_str() {
            words.push((uid.to_owned(), format!("<uid of {key}>").replace(tenant, TENANT)));
        }
        if let Some(revision) = metadata["annotations"][POD_REVISION].as_str() {
            words.push((revision.to_owned(), "<revision>".to_owned()));
        }
        if let Some(key) = metadata["annotations"][names::BACKUP_RECIPIENT].as_str() {
            words.push((key.to_owned(), "<public key>".to_owned()));
        }
        let since = metadata["annotations"][names::CLOSING_SINCE].as_str();
        if let Some(since) = since.and_then(|since| since.parse().ok()) {
            words.push((names::final_backup_job(since), names::child::FINAL_BACKUP.to_owned()));
        }
        words.splice(0..0, words_of_tombstone(object));
    }
    let replaced = |text: &str| words.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    let masked = objects.into_iter().map(|(key, object)| {
        let object = mask(object, before);
        (replaced(&key), replace_texts(object, &replaced))
    });
    masked.collect()
}

/// Of a tenant that is gone, only its tombstone knows the uid.
fn words_of_tombstone(object: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let spec = &object["spec"];
    let (Some(tenant), Some(uid)) = (text(&spec["tenant"]), text(&spec["uid"])) else { return Vec::new() };
    let key = text(&spec["recipient"]).map(|key| (key, "<public key>".to_owned()));
    let name = (names::tombstone(&tenant, &uid), "<tombstone>".to_owned());
    [name, (uid, "<uid of the tenant>".to_owned())].into_iter().chain(key).collect()
}

fn mask(mut object: Value, before: &Fingerprints) -> Value {
    let generation = object["metadata"]["generation"].clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|key, _| !OF_THE_API_SERVER.contains(&key.as_str()));
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if object["type"].is_string() && object["data"].is_object() {
        mask_secret(&name, &mut object, before);
    }
    // What is used up is counted by a controller in its own time.
    if object["spec"]["hard"].is_object()
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("status");
    }
    mask_fields(&mut object, &generation);
    object
}

fn mask_secret(name: &str, secret: &mut Value, before: &Fingerprints) {
    let Some(data) = secret["data"].as_object_mut() else { return };
    for (key, value) in data {
        let now = content_hash([value.to_string().as_bytes()]);
        *value = match before.get(&format!("{name} {key}")) {
            None => json!("<new>"),
            Some(before) if *before == now => json!("<as before>"),
            Some(_) => json!("<not as before>"),
        };
    }
}

/// Hides fields by their names, wherever they are.
fn mask_fields(value: &mut Value, generation: &Value) {
    match value {
        Value::Object(fields) => mask_object(fields, generation),
        Value::Array(items) => items.iter_mut().for_each(|item| mask_fields(item, generation)),
        Value::String(text) if text.parse::<jiff::Timestamp>().is_ok() => *value = json!("<time>"),
        _ => (),
    }
}

fn mask_object(fields: &mut Map<String, Value>, generation: &Value) {
    for (key, value) in fields {
        match key.as_str() {
            "observedGeneration" if value == generation => *value = json!("<current>"),
            "podIP" | "ip" | "clusterIP" if *value != "None" => *value = json!("<address>"),
            "clusterIPs" if *value != json!(["None"]) => *value = json!("<addresses>"),
            "currentRevision" | "updateRevision" => *value = json!("<revision>"),
            _ => mask_fields(value, generation),
        }
    }
}

fn replace_texts(value: Value, replaced: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(replaced(&text)),
        Value::Array(items) => items.into_iter().map(|item| replace_texts(item, replaced)).collect(),
        Value::Object(fields) => Value::Object(
            fields.into_iter().map(|(key, value)| (replaced(&key), replace_texts(value, replaced))).collect(),
        ),
        other => other,
    }
}

/// The same picture with the revisions of entitlements replaced by their ranks: whether file and pods agree stays in sight.
pub(super) fn rank_revisions(picture: &Picture) -> Picture {
    const MARK: &str = "\"revision\":";
    let numbers = |text: &str| -> Vec<u64> {
        let after = text.split(MARK).skip(1);
        after.filter_map(|rest| rest.split([',', '}']).next()?.parse().ok()).collect()
    };
    let mut texts = Vec::new();
    for object in picture.values() {
        collect_texts(object, &mut texts);
    }
    let mut revisions: Vec<u64> = texts.into_iter().flat_map(numbers).collect();
    revisions.sort_unstable();
    revisions.dedup();
    let ranked = |text: &str| {
        revisions.iter().enumerate().fold(text.to_owned(), |text, (rank, revision)| {
            text.replace(&format!("{MARK}{revision},"), &format!("{MARK}<rank {rank}>,"))
        })
    };
    picture.iter().map(|(key, object)| (key.clone(), replace_texts(object.clone(), &ranked))).collect()
}

/// The same picture without Jobs that have succeeded, and without their pods.
pub(super) fn without_finished_migrations(mut picture: Picture) -> Picture {
    picture.retain(|key, object| {
        let succeeded = key.starts_with("jobs ") && object["status"]["succeeded"] == 1;
        let ended = key.starts_with("pods ") && object["status"]["phase"] == "Succeeded";
        !succeeded && !ended
    });
    picture
}

fn collect_texts<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(items) => {
            for item in items {
                collect_texts(item, texts);
            }
        }
        Value::Object(fields) => {
            for value in fields.values() {
                collect_texts(value, texts);
            }
        }
        _ => (),
    }
}

/// The first thing in which two pictures differ, in words.
pub(super) fn difference(expected: &Picture, found: &Picture) -> Option<String> {
    for key in expected.keys().chain(found.keys()) {
        match (expected.get(key), found.get(key)) {
            (Some(expected), Some(found)) => {
                if let Some(difference) = first_difference(expected, found, "") {
                    return Some(format!("{key}{difference}"));
                }
            }
            (Some(_), None) => return Some(format!("{key} is missing")),
            (None, _) => return Some(format!("{key} is there, and should not be")),
        }
    }
    None
}

fn first_difference(expected: &Value, found: &Value, path: &str) -> Option<String> {
    match (expected, found) {
        (Value::Object(left), Value::Object(right)) => left.keys().chain(right.keys()).find_map(|key| {
            let (left, right) =
                (left.get(key).unwrap_or(&Value::Null), right.get(key).unwrap_or(&Value::Null));
            first_difference(left, right, &format!("{path}.{key}"))
        }),
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            let mut pairs = left.iter().zip(right).enumerate();
            pairs
                .find_map(|(index, (left, right))| first_difference(left, right, &format!("{path}[{index}]")))
        }
        (left, right) => (left != right).then(|| format!("{path} is {right}, and should be {left}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(tenant: &str, uid: &str, password: &str) -> Vec<(String, Value)> {
        let secret = json!({
            "metadata": {"name": "database-credentials", "uid": format!("{uid}-s"), "labels": {"tenant-uid": uid}},
            "type": "Opaque", "data": {"owner-password": password},
        });
        let service = json!({
            "metadata": {"name": "crm", "uid": format!("{uid}-x"), "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"clusterIP": format!("198.19.0.{}", uid.len()), "clusterIPs": ["198.19.0.1"], "type": "ClusterIP"},
            "status": {"observedGeneration": 3, "at": "2026-01-01T00:00:00Z", "note": format!("of tenant-{tenant}")},
        });
        let tenant_object = json!({"metadata": {"name": tenant, "uid": uid}});
        vec![
            (format!("secrets tenant-{tenant}/database-credentials"), secret),
            (format!("services tenant-{tenant}/crm"), service),
            (format!("tenants /{tenant}"), tenant_object),
        ]
    }

    #[test]
    fn runs_that_differ_only_in_what_must_differ_are_equal() {
        let none = Fingerprints::new();
        let first = compose(run("acme-0001", "11111111-1", "c2Vj"), "acme-0001", &none);
        let second = compose(run("acme-0002", "22222222-22", "cmV0"), "acme-0002", &none);
        assert_eq!(difference(&first, &second), None);
        assert!(first.contains_key("services tenant-acme/crm"), "{first:?}");
    }

    type Change = fn(&mut Vec<(String, Value)>);

    #[test]
    fn what_matters_is_seen() {
        let none = Fingerprints::new();
        let compose = |objects| super::compose(objects, "acme-0001", &none);
        let expected = compose(run("acme-0001", "11111111-1", "c2Vj"));
        let table: [(Change, &str); 5] = [
            (|objects| drop(objects.remove(1)), "services tenant-acme/crm is missing"),
            (|objects| objects[0].1["type"] = json!("other"), r#".type is "other", and should be "Opaque""#),
            (|objects| objects[0].1["data"]["more"] = json!(""), ".data.more is"),
            (
                |objects| objects[1].1["status"]["observedGeneration"] = json!(2),
                ".status.observedGeneration is 2",
            ),
            (|objects| objects[1].1["spec"]["type"] = json!("NodePort"), ".spec.type is"),
        ];
        for (change, words) in table {
            let mut objects = run("acme-0001", "11111111-1", "c2Vj");
            change(&mut objects);
            let difference = difference(&expected, &compose(objects)).unwrap();
            assert!(difference.contains(words), "{difference}");
        }
    }

    #[test]
    fn revisions_may_be_higher_but_must_agree() {
        let told = |file: u64, pod: u64| {
            let text = |revision| json!(format!(r#"{{"revision":{revision},"state":"Active"}}"#));
            Picture::from([("configmaps".to_owned(), text(file)), ("pods".to_owned(), text(pod))])
        };
        let ranked = |file, pod| rank_revisions(&told(file, pod));
        assert_eq!(difference(&ranked(2, 2), &ranked(4, 4)), None);
        assert!(difference(&ranked(2, 2), &ranked(4, 3)).is_some());
    }

    #[test]
    fn only_migrations_that_are_over_may_be_missing() {
        let job = |status: Value| {
            Picture::from([("jobs tenant-acme/migrate-1".to_owned(), json!({"status": status}))])
        };
        let pod = |phase| {
            Picture::from([("pods tenant-acme/migrate-1-0".to_owned(), json!({"status": {"phase": phase}}))])
        };
        for over in [job(json!({"succeeded": 1})), pod("Succeeded")] {
            assert!(without_finished_migrations(over).is_empty());
        }
        for going_on in [job(json!({"active": 1})), job(json!({"failed": 1})), pod("Running")] {
            assert_eq!(without_finished_migrations(going_on.clone()), going_on);
        }
    }

    #[test]
    fn a_password_that_changes_under_the_database_is_seen() {
        let before = Fingerprints::from([(
            "database-credentials owner-password".to_owned(),
            content_hash([json!("c2Vj").to_string().as_bytes()]),
        )]);
        let kept = compose(run("acme-0001", "11111111-1", "c2Vj"), "acme-0001", &before);
        let made_again = compose(run("acme-0001", "11111111-1", "bmV3"), "acme-0001", &before);
        let difference = difference(&kept, &made_again).unwrap();
        assert!(difference.contains("<not as before>"), "{difference}");
    }
}
