//! A fingerprint of what we own of an object, to tell drift without keeping objects in memory.
//!
//! The API server records in `managedFields` which fields an applier set. Taking exactly these fields out of the live
//! object gives back what was applied, as it is now: if somebody changes a value, takes a field over or removes it, the
//! projection differs from what we want. So `of_live(object) == of_desired(object)` means that an apply would change
//! nothing, and none is sent.
//!
//! For this the builders write quantities in their stored form ([`crate::quantity`]) and spell out the defaults inside of
//! lists that are applied whole.

use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde::Serialize;
use serde_json::{Map, Value};

/// Fingerprint of an object of which we own nothing.
pub const NONE: u64 = 0;

/// Fingerprint of an object that we want.
pub fn of_desired<K: Serialize>(desired: &K) -> Result<u64, serde_json::Error> {
    let mut value = serde_json::to_value(desired)?;
    if let Some(fields) = value.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("name");
            metadata.remove("namespace");
        }
    }
    Ok(hash_of(&value))
}

/// Fingerprint of those fields of a live object that `manager` applied.
pub fn of_live<K: Serialize>(
    live: &K,
    managed_fields: Option<&[ManagedFieldsEntry]>,
    manager: &str,
) -> Result<u64, serde_json::Error> {
    let applied = |entry: &&ManagedFieldsEntry| {
        entry.manager.as_deref() == Some(manager)
            && entry.operation.as_deref() == Some("Apply")
            && entry.subresource.as_deref().unwrap_or_default().is_empty()
    };
    let fields =
        managed_fields.unwrap_or_default().iter().find(applied).and_then(|entry| entry.fields_v1.as_ref());
    let live = serde_json::to_value(live)?;
    let projection = fields.and_then(|fields| project(&live, &fields.0));
    Ok(projection.map_or(NONE, |projection| hash_of(&projection)))
}

/// The part of `live` that a set in the format `FieldsV1` names; `None` when nothing of it is there.
fn project(live: &Value, fields: &Value) -> Option<Value> {
    let set = fields.as_object()?;
    if set.keys().all(|key| key == ".") {
        return Some(live.clone());
    }
    match live {
        Value::Object(object) => {
            let owned = set.iter().filter_map(|(key, below)| {
                let name = key.strip_prefix("f:")?;
                Some((name.to_owned(), project(object.get(name)?, below)?))
            });
            Some(Value::Object(owned.collect()))
        }
        Value::Array(items) => {
            Some(Value::Array(items.iter().filter_map(|item| project_item(item, set)).collect()))
        }
        _ => Some(live.clone()),
    }
}

/// An item of a list, if the set names it by its keys or by its value.
fn project_item(item: &Value, set: &Map<String, Value>) -> Option<Value> {
    set.iter().find_map(|(key, below)| {
        if let Some(keys) = key.strip_prefix("k:") {
            let keys: Map<String, Value> = serde_json::from_str(keys).ok()?;
            let matches = keys.iter().all(|(name, value)| item.get(name) == Some(value));
            return if matches { project(item, below) } else { None };
        }
        let value: Value = serde_json::from_str(key.strip_prefix("v:")?).ok()?;
        (value == *item).then(|| item.clone())
    })
}

/// Does not depend on the order of fields.
fn hash_of(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    feed(value, &mut hasher);
    hasher.finish()
}

fn feed(value: &Value, hasher: &mut DefaultHasher) {
    match value {
        Value::Null => 0_u8.hash(hasher),
        Value::Bool(value) => (1_u8, value).hash(hasher),
        Value::Number(value) => (2_u8, value.to_string()).hash(hasher),
        Value::String(value) => (3_u8, value).hash(hasher),
        Value::Array(items) => {
            (4_u8, items.len()).hash(hasher);
            for item in items {
                feed(item, hasher);
            }
        }
        Value::Object(fields) => {
            let mut present: Vec<_> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
            present.sort_by_key(|(name, _)| *name);
            (5_u8, present.len()).hash(hasher);
            for (name, value) in present {
                name.hash(hasher);
                feed(value, hasher);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{api::core::v1::Service, apimachinery::pkg::apis::meta::v1::FieldsV1};
    use serde_json::json;

    use super::*;

    fn fields() -> Value {
        json!({
            "f:metadata": {"f:labels": {"f:app": {}}},
            "f:spec": {
                "f:clusterIP": {},
                "f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {}}},
                "f:selector": {}
            }
        })
    }

    fn live(change: impl FnOnce(&mut Value)) -> u64 {
        let mut object = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "crm", "namespace": "tenant-acme", "uid": "u", "labels": {"app": "crm", "theirs": "x"}},
            "spec": {
                "clusterIP": "None", "type": "ClusterIP", "sessionAffinity": "None",
                "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}, {"port": 81, "protocol": "TCP", "targetPort": 1}],
                "selector": {"app": "crm"},
            }
        });
        change(&mut object);
        let service: Service = serde_json::from_value(object).unwrap();
        let entry = ManagedFieldsEntry {
            manager: Some("us".into()),
            operation: Some("Apply".into()),
            fields_v1: Some(FieldsV1(fields())),
            ..ManagedFieldsEntry::default()
        };
        of_live(&service, Some(&[entry]), "us").unwrap()
    }

    fn desired() -> u64 {
        let object = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "crm", "namespace": "tenant-acme", "labels": {"app": "crm"}},
            "spec": {
                "clusterIP": "None",
                "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}],
                "selector": {"app": "crm"},
            }
        });
        of_desired(&serde_json::from_value::<Service>(object).unwrap()).unwrap()
    }

    #[test]
    fn defaults_and_the_fields_of_others_are_no_drift() {
        assert_eq!(live(|_| ()), desired());
        assert_eq!(live(|object| object["metadata"]["labels"]["theirs"] = json!("y")), desired());
    }

    #[test]
    fn a_changed_value_is_drift() {
        assert_ne!(live(|object| object["spec"]["ports"][0]["targetPort"] = json!(1)), desired());
        assert_ne!(live(|object| object["spec"]["selector"] = json!({"app": "other"})), desired());
        assert_ne!(live(|object| object["spec"]["selector"] = json!({"app": "crm", "more": "x"})), desired());
        assert_ne!(live(|object| object["metadata"]["labels"] = json!({})), desired());
    }

    #[test]
    fn what_another_manager_owns_does_not_count() {
        let service = Service::default();
        let of_nobody = of_live(&service, None, "us").unwrap();
        assert_eq!(of_nobody, NONE);
    }
}
