//! Writes: server-side apply on a difference, create-only, finalizers, status, deletes with preconditions.

use std::{future::Future, time::Instant};

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Namespace, Pod},
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta},
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    core::Status,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    api::{Channel, ChannelStatus, Tenant, TenantStatus},
    cluster::{
        Cluster, Error,
        cache::{Child, Key, Snapshot},
        facts::ChildKind,
        fingerprint,
        read::apply_params,
        uid::Uid,
    },
    malformed::Guarded,
    names,
    process::lease::Term,
    tenant::{requests::Request, status},
};

/// What its channel tells a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told<'a> {
    /// The release that it is to run.
    pub release: Option<&'a str>,
    /// The wave that it is in.
    pub wave: Option<&'a str>,
    /// The settings of its pods that it may take.
    pub pods: Option<&'a str>,
}

/// What an apply did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The object was as wanted; nothing was sent.
    Unchanged,
    /// It was sent.
    Sent,
    /// The object is on its way out; it is made again when it is gone.
    Terminating,
}

impl Cluster {
    /// Brings a child to what we want, if it is not so already.
    pub async fn apply<K>(&self, seen: &Snapshot, desired: &K) -> Result<Applied, Error>
    where
        K: ChildKind + Resource<Scope = NamespaceResourceScope>,
    {
        let api = Api::namespaced(self.client.clone(), &desired.namespace().unwrap_or_default());
        self.apply_to(&api, seen, desired).await
    }

    /// Brings a namespace to what we want, if it is not so already.
    pub async fn apply_namespace(&self, seen: &Snapshot, desired: &Namespace) -> Result<Applied, Error> {
        self.apply_to(&Api::all(self.client.clone()), seen, desired).await
    }

    /// Brings a child of a kind that is not watched to what we want; the caller has got the present one.
    pub async fn apply_unwatched<K>(&self, live: Option<&K>, desired: &K) -> Result<Applied, Error>
    where
        K: ChildKind + Resource<Scope = NamespaceResourceScope>,
    {
        let seen = Snapshot::new(live.map(|live| child(live)).transpose()?);
        self.apply(&seen, desired).await
    }

    async fn apply_to<K: ChildKind>(
        &self,
        api: &Api<K>,
        seen: &Snapshot,
        desired: &K,
    ) -> Result<Applied, Error> {
        let name = desired.name_any();
        let wanted = fingerprint::of_desired(desired).map_err(encode::<K>)?;
        match seen.get(K::KIND, &name) {
            Some(child) if child.deleting => return Ok(Applied::Terminating),
            Some(child) if child.fingerprint == wanted => return Ok(Applied::Unchanged),
            _ => (),
        }
        let key = Key::of(desired);
        if self.repairs.is_contested(&key, wanted, Instant::now()) {
            let (name, namespace) = (key.name.into(), key.namespace.into());
            return Err(Error::Contested { kind: K::kind(&()).into_owned(), name, namespace });
        }
        let (params, patch) = (apply_params(names::FIELD_MANAGER), Patch::Apply(desired));
        let live = self.write::<K, _>("apply", &key.name, api.patch(&key.name, &params, &patch)).await?;
        self.repairs.count(key, wanted, Instant::now());
        self.remember(&live)?;
        Ok(Applied::Sent)
    }

    /// Makes a child if there is none of that name, and otherwise leaves it alone.
    pub async fn create<K>(&self, desired: &K) -> Result<(), Error>
    where
        K: ChildKind + Resource<Scope = NamespaceResourceScope>,
    {
        let api = Api::namespaced(self.client.clone(), &desired.namespace().unwrap_or_default());
        let params =
            PostParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let made = self.write::<K, _>("create", &desired.name_any(), api.create(&params, desired)).await;
        match made {
            Ok(live) => self.remember(&live),
            Err(error) if error.status().is_some_and(Status::is_already_exists) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes exactly that object; one that is gone, or another of the same name, is success.
    pub async fn delete<K>(&self, namespace: &str, name: &str, uid: &Uid) -> Result<(), Error>
    where
        K: ChildKind + Resource<Scope = NamespaceResourceScope>,
    {
        self.delete_from(&Api::<K>::namespaced(self.client.clone(), namespace), name, uid).await
    }

    /// Deletes exactly that namespace with everything in it.
    pub async fn delete_namespace(&self, name: &str, uid: &Uid) -> Result<(), Error> {
        self.delete_from(&Api::<Namespace>::all(self.client.clone()), name, uid).await
    }

    async fn delete_from<K: ChildKind>(&self, api: &Api<K>, name: &str, uid: &Uid) -> Result<(), Error> {
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(uid.to_string()), resource_version: None }),
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        #[cfg(feature = "mutants")]
        let params = crate::mutants::delete_params(params);
        match self.write::<K, _>("delete", name, api.delete(name, &params)).await {
            // What is only going from now on is known to go, also when no watch should tell: it is not deleted again.
            Ok(answer) => match answer.left().filter(|live| live.meta().deletion_timestamp.is_some()) {
                Some(live) => self.remember(&live),
                None => Ok(()),
            },
            Err(error) if error.is_conflict() || error.status().is_some_and(Status::is_not_found) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes the entitlement onto exactly that pod.
    pub async fn annotate_pod(
        &self,
        namespace: &str,
        name: &str,
        uid: &Uid,
        entitlement: &str,
    ) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let patch = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "uid": uid.to_string(), "annotations": {names::ENTITLEMENT_ANNOTATION: entitlement}},
        });
        let params = apply_params(names::FIELD_MANAGER);
        match self.write::<Pod, _>("apply", name, api.patch(name, &params, &Patch::Apply(&patch))).await {
            Ok(live) => self.remember(&live),
            // The pod went away; its successor is born with the file.
            Err(error) if error.status().is_some_and(is_another) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes the route table.
    pub async fn apply_routes(&self, namespace: &str, desired: &ConfigMap) -> Result<(), Error> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let params = apply_params(names::ROUTES_FIELD_MANAGER);
        let name = desired.name_any();
        self.write::<ConfigMap, _>("apply", &name, api.patch(&name, &params, &Patch::Apply(desired))).await?;
        Ok(())
    }

    /// Writes all that this controller owns of a tenant's status, if the Tenant is still the version that it was found for: a
    /// conflict means that it is not. So what was long on its way never takes the place of what was said since, whoever sent it.
    pub async fn apply_status(&self, tenant: &Tenant, status: &TenantStatus) -> Result<Tenant, Error> {
        let api: Api<Tenant> = Api::all(self.client.clone());
        let name = tenant.name_any();
        let patch = json!({
            "apiVersion": Tenant::api_version(&()), "kind": Tenant::kind(&()),
            "metadata": {"name": name, "uid": tenant.uid(), "resourceVersion": tenant.resource_version()},
            "status": status,
        });
        let params = apply_params(names::FIELD_MANAGER);
        let patch = Patch::Apply(&patch);
        let request = api.patch_status(&name, &params, &patch);
        let live = self.write::<Tenant, _>("apply", &name, request).await?;
        let present = live.status.clone().unwrap_or_default();
        if status::own(&present) == *status {
            return Ok(live);
        }
        // The API server forgets who owns which field of an object that its schema did not fit for a while. What we no
        // longer say is then kept as if somebody else said it, so it is taken away in so many words.
        let says = |status: &TenantStatus| serde_json::to_value(status).map_err(encode::<Tenant>);
        let patch = json!({
            "metadata": {"uid": live.uid(), "resourceVersion": live.resource_version()},
            "status": replacement(&says(&present)?, says(&status::joined(status, &present))?),
        });
        let params =
            PatchParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.write::<Tenant, _>("patch", &name, api.patch_status(&name, &params, &Patch::Merge(&patch))).await
    }

    /// Writes what a Tenant's channel says in its status: the release that it is to run, and how far it is.
    pub async fn apply_rollout(
        &self,
        tenant: &Tenant,
        told: &Told<'_>,
        condition: Option<&Condition>,
    ) -> Result<Tenant, Error> {
        let api: Api<Tenant> = Api::all(self.client.clone());
        let name = tenant.name_any();
        let mut status = json!({"conditions": condition.into_iter().collect::<Vec<_>>()});
        if let Some(release) = told.release {
            status["targetRelease"] = json!(release);
        }
        if let Some(wave) = told.wave {
            status["targetWave"] = json!(wave);
        }
        if let Some(pods) = told.pods {
            status["targetPodSettings"] = json!(pods);
        }
        // With the uid, it never lands on a re-made object of the same name.
        let patch = json!({
            "apiVersion": Tenant::api_version(&()), "kind": Tenant::kind(&()),
            "metadata": {"name": name, "uid": tenant.uid()}, "status": status,
        });
        let params = apply_params(names::ROLLOUT_FIELD_MANAGER);
        self.write::<Tenant, _>("apply", &name, api.patch_status(&name, &params, &Patch::Apply(&patch))).await
    }

    /// Makes a request if there is none of that name.
    pub async fn create_request<K: Request + Serialize>(&self, request: &K) -> Result<(), Error> {
        let params =
            PostParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let api: Api<K> = Api::all(self.client.clone());
        match self.write::<K, _>("create", &request.name_any(), api.create(&params, request)).await {
            Ok(_) => Ok(()),
            Err(error) if error.status().is_some_and(Status::is_already_exists) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes the status of a Channel, if the Channel is still the version that we saw.
    pub async fn apply_channel_status(&self, seen: &Channel, status: &ChannelStatus) -> Result<(), Error> {
        let api: Api<Channel> = Api::all(self.client.clone());
        let name = seen.name_any();
        let patch = json!({
            "apiVersion": Channel::api_version(&()), "kind": Channel::kind(&()),
            "metadata": {"name": name, "uid": seen.uid(), "resourceVersion": seen.resource_version()},
            "status": status,
        });
        let params = apply_params(names::ROLLOUT_FIELD_MANAGER);
        self.write::<Channel, _>("apply", &name, api.patch_status(&name, &params, &Patch::Apply(&patch)))
            .await?;
        Ok(())
    }

    /// Writes the status of a request, if the request is still the version that we saw: a conflict means that it is not.
    pub async fn apply_request_status<K: Request>(&self, seen: &K, status: &K::Status) -> Result<(), Error> {
        let api: Api<K> = Api::all(self.client.clone());
        let name = seen.name_any();
        let patch = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()),
            "metadata": {"name": name, "uid": seen.uid(), "resourceVersion": seen.resource_version()},
            "status": status,
        });
        let params = apply_params(names::FIELD_MANAGER);
        self.write::<K, _>("apply", &name, api.patch_status(&name, &params, &Patch::Apply(&patch))).await?;
        Ok(())
    }

    /// Writes the conditions of a Tenant that cannot be read otherwise, if it is still the version that we saw.
    ///
    /// Not by server-side apply: that would have to understand the whole object.
    pub async fn patch_conditions(&self, seen: &ObjectMeta, conditions: &[Condition]) -> Result<(), Error> {
        let api: Api<Guarded<Tenant>> = Api::all(self.client.clone());
        let name = seen.name.clone().unwrap_or_default();
        let patch = json!({
            "metadata": {"uid": seen.uid, "resourceVersion": seen.resource_version},
            "status": {"conditions": conditions},
        });
        let params =
            PatchParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.write::<Tenant, _>("patch", &name, api.patch_status(&name, &params, &Patch::Merge(&patch)))
            .await?;
        Ok(())
    }

    pub(super) async fn write<K, T>(
        &self,
        verb: &'static str,
        name: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error>
    where
        K: Resource<DynamicType = ()>,
    {
        let kind = K::kind(&()).into_owned();
        // Before the look at the term, which may run out while others have their turn.
        let _place = self.place().await;
        if self.term.as_ref().is_some_and(Term::is_over) {
            return Err(Error::TermOver { verb, kind, name: name.to_owned() });
        }
        let result = request.await;
        self.metrics.api_write(verb, &kind, result.is_ok());
        result.map_err(|source| Error::Write { verb, kind, name: name.to_owned(), source: Box::new(source) })
    }

    fn remember<K: ChildKind>(&self, live: &K) -> Result<(), Error> {
        // Without a watch nobody would notice that it is gone.
        if !K::KIND.is_watched() {
            return Ok(());
        }
        let (key, child) = child(live)?;
        self.cache.put(key, child);
        Ok(())
    }
}

/// The merge patch that makes `wanted` of `present`: what is wanted, and null for every other field.
fn replacement(present: &Value, mut wanted: Value) -> Value {
    for name in present.as_object().into_iter().flat_map(|fields| fields.keys()) {
        if wanted.get(name).is_none() {
            wanted[name] = Value::Null;
        }
    }
    wanted
}

fn child<K: ChildKind>(live: &K) -> Result<(Key, Child), Error> {
    Child::of(live).map_err(encode::<K>)
}

fn encode<K: Resource<DynamicType = ()> + Serialize>(source: serde_json::Error) -> Error {
    Error::Encode { kind: K::kind(&()).into_owned(), source }
}

/// Whether an apply that names a uid was refused because there is no such object any more. The API server has one code for
/// this and for every other conflict, so only the message tells; what it does not tell is tried again.
fn is_another(status: &Status) -> bool {
    status.is_not_found() || (status.code == 409 && status.message.to_lowercase().contains("uid"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::PersistentVolumeClaim;

    use super::*;
    use crate::{cluster::facts::Kind, process::metrics::Metrics, testing::fake_api::FakeApi};

    #[test]
    fn only_a_conflict_about_the_uid_means_that_an_object_is_gone() {
        let conflict = |message: &str| Status { code: 409, message: message.into(), ..Status::default() };
        // As the API server writes it, when another object is there and when none is.
        assert!(is_another(&conflict("Precondition failed: UID in precondition: a, UID in object meta: b")));
        assert!(is_another(&conflict(
            "Operation cannot be fulfilled on pods \"crm-0\": uid mismatch: the provided object specified uid a, and no existing object was found"
        )));
        assert!(!is_another(&conflict(
            "Operation cannot be fulfilled on pods \"crm-0\": the object has been modified; please apply your changes to the latest version and try again"
        )));
    }

    #[tokio::test]
    async fn a_pod_that_was_replaced_needs_not_be_told() {
        let api = FakeApi::default();
        let path = "/api/v1/namespaces/tenant-acme/pods/crm-0";
        api.put(
            path,
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "crm-0", "uid": "another"}}),
        );
        let cluster = Cluster::new(api.client(), Arc::new(Metrics::new().unwrap()));
        cluster.annotate_pod("tenant-acme", "crm-0", &"first".into(), "{}").await.unwrap();
        assert!(api.get(path).unwrap()["metadata"]["annotations"].is_null());
    }

    #[tokio::test]
    async fn what_goes_slowly_is_known_to_go_before_a_watch_tells() {
        let api = FakeApi::default();
        let path = "/api/v1/namespaces/tenant-acme/persistentvolumeclaims/database";
        let metadata = json!({
            "name": "database", "namespace": "tenant-acme", "uid": "u", "finalizers": ["kubernetes.io/pvc-protection"],
        });
        api.put(path, json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata}));
        let cluster = Cluster::new(api.client(), Arc::new(Metrics::new().unwrap()));
        cluster.delete::<PersistentVolumeClaim>("tenant-acme", "database", &"u".into()).await.unwrap();
        let seen = cluster.cache().snapshot("tenant-acme");
        assert!(seen.get(Kind::PersistentVolumeClaim, "database").is_some_and(|claim| claim.deleting));
    }

    #[test]
    fn what_is_not_wanted_is_taken_away_in_so_many_words() {
        let present = json!({"url": "a", "hosts": [{"name": "a"}, {"name": "b"}], "state": "Active"});
        let wanted = json!({"hosts": [{"name": "a"}], "state": "Active", "release": "r1"});
        let patch = json!({"url": null, "hosts": [{"name": "a"}], "state": "Active", "release": "r1"});
        assert_eq!(replacement(&present, wanted), patch);
        assert_eq!(replacement(&Value::Null, json!({"url": "a"})), json!({"url": "a"}));
    }
}
