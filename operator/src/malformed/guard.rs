//! Reads an object, or says why it cannot be read. Lists and watches of [`Guarded`] objects never fail as a whole.

use std::borrow::Cow;

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Resource;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};
use serde_json::Value;

/// An object of a kind of ours, or what there is instead.
///
/// Unlike [`kube::core::DeserializeGuard`] it names the field that is wrong, and keeps what could still be read.
#[derive(Clone, Debug)]
pub struct Guarded<K>(pub Result<K, Box<Malformed>>);

/// An object that does not have the form of its kind.
#[derive(Clone, Debug)]
pub struct Malformed {
    /// What events about it refer to.
    pub reference: ObjectReference,
    /// Its metadata; the API server vouches for their form.
    pub metadata: ObjectMeta,
    /// Which field is wrong, and how.
    pub cause: String,
    /// All of it but the record of who owns which field.
    pub raw: Value,
}

impl Malformed {
    /// Its kind.
    pub fn kind(&self) -> &str {
        self.reference.kind.as_deref().unwrap_or_default()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }
}

impl<'de, K> Deserialize<'de> for Guarded<K>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut raw = Value::deserialize(deserializer)?;
        let cause = match serde_path_to_error::deserialize::<_, K>(&raw) {
            Ok(object) => return Ok(Self(Ok(object))),
            Err(error) => error.to_string(),
        };
        if let Some(metadata) = raw.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        let metadata = ObjectMeta::deserialize(&raw["metadata"]).map_err(D::Error::custom)?;
        let reference = ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(K::kind(&()).into_owned()),
            name: metadata.name.clone(),
            uid: metadata.uid.clone(),
            ..ObjectReference::default()
        };
        Ok(Self(Err(Box::new(Malformed { reference, metadata, cause, raw }))))
    }
}

impl<K: Resource<DynamicType = ()>> Resource for Guarded<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(malformed) => &malformed.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(malformed) => &mut malformed.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::{ResourceExt, core::ObjectList};
    use serde_json::json;

    use super::*;
    use crate::{api::Tenant, testing};

    #[test]
    fn one_bad_object_leaves_the_others_of_a_list_readable() {
        let good = serde_json::to_value(testing::tenant()).unwrap();
        let mut bad = good.clone();
        bad["metadata"]["name"] = json!("bluesky");
        bad["metadata"]["managedFields"] = json!([{"manager": "kubectl"}]);
        bad["spec"]["state"] = json!("Frozen");
        let list = json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantList", "metadata": {}, "items": [bad, good],
        });
        let list: ObjectList<Guarded<Tenant>> = serde_json::from_value(list).unwrap();
        let names: Vec<_> = list.items.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, ["bluesky", "acme"]);
        let malformed = list.items[0].0.as_ref().unwrap_err();
        assert!(malformed.cause.starts_with("spec.state: unknown variant `Frozen`"), "{}", malformed.cause);
        assert_eq!(malformed.raw["metadata"]["managedFields"], Value::Null);
        assert_eq!((malformed.kind(), malformed.name()), ("Tenant", "bluesky"));
        assert_eq!(list.items[1].0.as_ref().unwrap(), &testing::tenant());
    }

    #[test]
    fn what_is_no_object_at_all_is_an_error() {
        assert!(serde_json::from_value::<Guarded<Tenant>>(json!({"metadata": 5})).is_err());
    }
}
