//! What can still be told of a malformed Tenant: enough to keep its addresses, and never used to change anything of it.

use std::sync::Arc;

use kube::runtime::reflector::Store;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Malformed, Registry};
use crate::api::Tenant;

/// All tenants, those that are malformed as far as they can be read.
pub fn fleet(tenants: &Store<Tenant>, malformed: &Registry) -> Vec<Arc<Tenant>> {
    let salvaged = malformed.of_kind::<Tenant>();
    let salvaged = salvaged.iter().filter_map(|object| tenant(object)).map(Arc::new);
    tenants.state().into_iter().chain(salvaged).collect()
}

/// A Tenant with every field that can be read; the others are as if nobody had set them.
pub(super) fn tenant(object: &Malformed) -> Option<Tenant> {
    let nothing = json!({"displayName": "", "admin": {"name": "", "email": ""}, "plan": ""});
    let mut tenant = Tenant::new(object.name(), readable(nothing, &object.raw["spec"])?);
    tenant.status = readable(json!({}), &object.raw["status"]);
    tenant.metadata = object.metadata.clone();
    Some(tenant)
}

/// What is there already, and each field of `raw` with which the whole can still be read.
fn readable<T: DeserializeOwned>(mut whole: Value, raw: &Value) -> Option<T> {
    for (name, value) in raw.as_object().into_iter().flatten() {
        let mut with = whole.clone();
        with[name] = value.clone();
        if serde_json::from_value::<T>(with.clone()).is_ok() {
            whole = with;
        }
    }
    serde_json::from_value(whole).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{EffectiveState, State},
        malformed::Guarded,
        testing,
    };

    #[test]
    fn what_is_wrong_is_left_out_and_the_rest_is_there() {
        let mut raw = serde_json::to_value(testing::tenant()).unwrap();
        raw["spec"]["displayName"] = json!(5);
        raw["spec"]["state"] = json!("Suspended");
        raw["status"] = json!({
            "state": "ReadOnly", "schemaVersion": "one", "hosts": [{"name": "acme.crm.localhost"}],
        });
        let object = serde_json::from_value::<Guarded<Tenant>>(raw).unwrap().0.unwrap_err();
        let tenant = tenant(&object).unwrap();
        assert_eq!((tenant.spec.display_name.as_str(), tenant.spec.plan.as_str()), ("", "standard"));
        assert_eq!(tenant.spec.state, State::Suspended);
        let status = tenant.status.unwrap();
        assert_eq!((status.state, status.schema_version), (Some(EffectiveState::ReadOnly), None));
        assert_eq!(status.hosts[0].name, "acme.crm.localhost");
        assert_eq!(tenant.metadata.uid.as_deref(), Some("uid-acme"));
    }
}
