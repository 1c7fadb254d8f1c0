//! Which tenants there are, and what is kept of their backups.
//!
//! They are read when a decision rests on them, not followed by a watch: what a broken watch still knows may be hours old, and
//! what is removed by it does not come back.

use std::collections::BTreeMap;

use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, ObjectList},
};
use serde::de::DeserializeOwned;

use super::path::Prefix;
use crate::{
    api::{Plan, Retention, Tenant},
    malformed::Guarded,
};

/// How many objects one answer has.
const PAGE: u32 = 500;

/// A tenant, as far as it concerns its backups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) prefix: Prefix,
    pub(super) keep: Retention,
    /// Where its days begin and end.
    pub(super) zone: String,
}

impl Subject {
    /// None of a tenant whose backups are to be left as they are.
    fn new(tenant: &Tenant, plan: Option<&Plan>) -> Option<Self> {
        // What is being deleted has a tombstone to come.
        if tenant.metadata.deletion_timestamp.is_some() || tenant.spec.paused {
            return None;
        }
        let of_plan = plan?.spec.backup.as_ref().map(|backup| backup.keep);
        let own = tenant.spec.backup.as_ref().and_then(|backup| backup.keep);
        let prefix = Prefix::parse(&tenant.name_any(), tenant.metadata.uid.as_deref()?).ok()?;
        Some(Self { prefix, keep: own.or(of_plan)?, zone: tenant.spec.time_zone.clone() })
    }
}

/// All tenants whose backups may be thinned out.
pub(super) async fn all(client: &Client) -> kube::Result<Vec<Subject>> {
    let mut plans = BTreeMap::new();
    each(client, |plan: Plan| {
        plans.insert(plan.name_any(), plan);
    })
    .await?;
    let mut subjects = Vec::new();
    each(client, |tenant: Tenant| {
        subjects.extend(Subject::new(&tenant, plans.get(&tenant.spec.plan)));
    })
    .await?;
    Ok(subjects)
}

/// The tenant that a prefix belongs to, as it is now; none when its backups are to be left as they are.
pub(super) async fn of(client: &Client, prefix: &Prefix) -> kube::Result<Option<Subject>> {
    let Some(tenant) = get::<Tenant>(client, prefix.tenant()).await? else { return Ok(None) };
    let plan = get::<Plan>(client, &tenant.spec.plan).await?;
    // Another tenant may have that name now.
    Ok(Subject::new(&tenant, plan.as_ref()).filter(|subject| subject.prefix == *prefix))
}

/// Whether the tenant that a prefix belongs to is there, in whatever state.
pub(super) async fn is_there(client: &Client, prefix: &Prefix) -> kube::Result<bool> {
    let found = Api::<Guarded<Tenant>>::all(client.clone()).get_opt(prefix.tenant()).await?;
    Ok(found.is_some_and(|tenant| tenant.meta().uid.as_deref() == Some(prefix.uid())))
}

/// Calls with every object of a kind that can be read, page by page.
async fn each<K>(client: &Client, mut call: impl FnMut(K)) -> kube::Result<()>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug,
{
    let api: Api<Guarded<K>> = Api::all(client.clone());
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let ObjectList { metadata, items, .. } = api.list(&params).await?;
        items.into_iter().filter_map(|object| object.0.ok()).for_each(&mut call);
        match metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(()),
        }
    }
}

async fn get<K>(client: &Client, name: &str) -> kube::Result<Option<K>>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug,
{
    let found = Api::<Guarded<K>>::all(client.clone()).get_opt(name).await?;
    Ok(found.and_then(|object| object.0.ok()))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::*;
    use crate::api::TenantBackups;

    const UID: &str = "0b7f8f0e-5a1b-4c3d-9e8f-001122334455";

    fn tenant() -> Tenant {
        let mut tenant = crate::testing::tenant();
        tenant.metadata.uid = Some(UID.to_owned());
        tenant
    }

    fn plan(backup: Option<serde_json::Value>) -> Plan {
        let mut spec = json!({
            "seats": 10, "app": {"cpu": "50m", "memory": "64Mi"},
            "database": {"storage": "1Gi", "cpu": "100m", "memory": "256Mi"},
        });
        if let Some(backup) = backup {
            spec["backup"] = backup;
        }
        Plan::new("standard", serde_json::from_value(spec).unwrap())
    }

    fn keep(tenant: &Tenant, plan: Option<&Plan>) -> Option<(i32, i32, i32)> {
        Subject::new(tenant, plan)
            .map(|subject| (subject.keep.daily, subject.keep.weekly, subject.keep.monthly))
    }

    #[test]
    fn the_plan_says_what_is_kept_unless_the_tenant_does() {
        let plan = plan(Some(json!({"store": "main", "keep": {"daily": 3, "weekly": 2, "monthly": 1}})));
        let mut tenant = tenant();
        let subject = Subject::new(&tenant, Some(&plan)).unwrap();
        assert_eq!(subject.prefix.to_string(), format!("acme/{UID}"));
        assert_eq!(keep(&tenant, Some(&plan)), Some((3, 2, 1)));
        let own = serde_json::from_value(json!({"daily": 30})).unwrap();
        tenant.spec.backup = Some(TenantBackups { keep: Some(own), ..TenantBackups::default() });
        assert_eq!(keep(&tenant, Some(&plan)), Some((30, 4, 12)), "as a whole");
    }

    #[test]
    fn nothing_is_known_of_a_tenant_whose_backups_stay_as_they_are() {
        let with = plan(Some(json!({"store": "main"})));
        assert_eq!(keep(&tenant(), Some(&with)), Some((7, 4, 12)));
        assert_eq!(keep(&tenant(), None), None, "its plan is missing");
        assert_eq!(keep(&tenant(), Some(&plan(None))), None, "its plan has no backups");
        let mut paused = tenant();
        paused.spec.paused = true;
        assert_eq!(keep(&paused, Some(&with)), None);
        let mut going = tenant();
        going.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(keep(&going, Some(&with)), None);
    }
}
