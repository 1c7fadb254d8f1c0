//! Writes of cluster-scoped objects of ours: made once, told of in conditions, let go.

use k8s_openapi::{ClusterResourceScope, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::Status,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::cluster::{Cluster, Error, read::apply_params};

impl Cluster {
    /// Makes an object of ours, if there is none of that name.
    pub async fn create_global<K>(&self, manager: &str, wanted: &K) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope>
            + Clone
            + std::fmt::Debug
            + Serialize
            + DeserializeOwned,
    {
        let api: Api<K> = Api::all(self.client.clone());
        let params = PostParams { field_manager: Some(manager.to_owned()), ..PostParams::default() };
        match self.write::<K, _>("create", &wanted.name_any(), api.create(&params, wanted)).await {
            Ok(_) => Ok(()),
            Err(error) if error.status().is_some_and(Status::is_already_exists) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Says one condition of exactly that object; those of others stay.
    pub async fn apply_condition<K>(
        &self,
        manager: &str,
        about: &K,
        condition: &Condition,
    ) -> Result<K, Error>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::all(self.client.clone());
        let name = about.name_any();
        let patch = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()),
            "metadata": {"name": name, "uid": about.uid()},
            "status": {"conditions": [condition]},
        });
        let request = Patch::Apply(&patch);
        self.write::<K, _>("apply", &name, api.patch_status(&name, &apply_params(manager), &request)).await
    }

    /// Asks for the deletion of exactly that object, and returns what is there until its finalizers are gone; one that is gone,
    /// or another of the same name, is success.
    pub async fn delete_global<K>(&self, about: &K) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::all(self.client.clone());
        let name = about.name_any();
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: about.uid(), resource_version: None }),
            ..DeleteParams::default()
        };
        match self.write::<K, _>("delete", &name, api.delete(&name, &params)).await {
            Ok(answer) => Ok(answer.left()),
            Err(error) if error.is_conflict() || error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the finalizers of the version that we saw; a conflict means that it has changed since.
    pub async fn set_finalizers<K>(&self, seen: &K, finalizers: &[String]) -> Result<K, Error>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::all(self.client.clone());
        let name = seen.name_any();
        let patch = json!({
            "metadata": {"resourceVersion": seen.resource_version(), "finalizers": finalizers},
        });
        let params = PatchParams {
            field_manager: Some(crate::names::FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        self.write::<K, _>("patch", &name, api.patch(&name, &params, &Patch::Merge(&patch))).await
    }
}
