//! Gets by name that keep "not there" apart from "could not be read".

use k8s_openapi::{NamespaceResourceScope, api::storage::v1::StorageClass};
use kube::{Api, Resource, api::PatchParams};
use serde::de::DeserializeOwned;

use crate::cluster::{Cluster, Error};

impl Cluster {
    /// An object in a namespace; `None` when the API server says that there is none.
    pub async fn get<K>(&self, namespace: &str, name: &str) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let _place = self.place().await;
        get(&Api::namespaced(self.client.clone(), namespace), name).await
    }

    /// A cluster-scoped object; `None` when the API server says that there is none.
    pub async fn get_global<K>(&self, name: &str) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let _place = self.place().await;
        get(&Api::all(self.client.clone()), name).await
    }

    /// Whether that very object is there: this name and this uid. The API server is asked, not what the watches told.
    pub async fn is_there<K>(&self, name: &str, uid: &str) -> Result<bool, Error>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let _place = self.place().await;
        let found = Api::<K>::all(self.client.clone()).get_metadata_opt(name).await;
        let found = found.map_err(|source| unreadable::<K>(name, source))?;
        Ok(found.is_some_and(|found| found.metadata.uid.as_deref() == Some(uid)))
    }

    /// Whether the cluster has that storage class.
    pub async fn has_storage_class(&self, name: &str) -> Result<bool, Error> {
        Ok(self.get_global::<StorageClass>(name).await?.is_some())
    }
}

async fn get<K>(api: &Api<K>, name: &str) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    api.get_opt(name).await.map_err(|source| unreadable::<K>(name, source))
}

fn unreadable<K: Resource<DynamicType = ()>>(name: &str, source: kube::Error) -> Error {
    Error::Read { kind: K::kind(&()).into_owned(), name: name.to_owned(), source: Box::new(source) }
}

/// Parameters of every server-side apply: all fields we send are ours.
pub(super) fn apply_params(manager: &str) -> PatchParams {
    PatchParams::apply(manager).force()
}
