//! Brings one workload, its pods and their status to what the script says.

use std::{collections::BTreeMap, fmt::Debug, net::Ipv4Addr, sync::Arc};

use anyhow::{Context, Result};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        batch::v1::Job,
        core::v1::{ConfigMap, PersistentVolumeClaim, Pod, PodTemplateSpec},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use operator::{
    names::{self, Component, child},
    tenant::entitlement::{self, Access, Entitlement},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    Outcome, Script, Workload,
    agenda::Item,
    management::{Owner, Ports, Told},
    status::{self, Lifetime},
};
use crate::toolchain::cache::content_hash;

pub(super) struct Settle {
    pub(super) client: Client,
    pub(super) script: Arc<Script>,
    pub(super) ports: Ports,
}

impl Settle {
    async fn deployment(&self, object: &Deployment) -> Result<()> {
        let Some(spec) = &object.spec else { return Ok(()) };
        let Some(outcome) = self.outcome(Workload::Deployment, object, Some(&spec.template)) else {
            return Ok(());
        };
        // A new template means new pods; the old ones stay until the new ones are ready.
        let kept = if status::works(&outcome) { 0 } else { spec.replicas.unwrap_or(1) };
        let replicas = replicas(spec.replicas, &outcome);
        let revision = revision(&spec.template)?;
        let names = (0..replicas).map(|index| format!("{}-{revision}-{index}", object.name_any()));
        let names = names.collect();
        let old = self.pods(object, &spec.template, names, Lifetime::ForEver, &outcome, kept).await?;
        self.status(object, status::deployment(object.metadata.generation, replicas, old, &outcome)).await
    }

    async fn stateful_set(&self, object: &StatefulSet) -> Result<()> {
        let Some(spec) = &object.spec else { return Ok(()) };
        let Some(outcome) = self.outcome(Workload::StatefulSet, object, Some(&spec.template)) else {
            return Ok(());
        };
        let replicas = replicas(spec.replicas, &outcome);
        let names = (0..replicas).map(|index| format!("{}-{index}", object.name_any()));
        self.pods(object, &spec.template, names.collect(), Lifetime::ForEver, &outcome, 0).await?;
        let revision = format!("{}-{}", object.name_any(), revision(&spec.template)?);
        let status = status::stateful_set(object.metadata.generation, replicas, &revision, &outcome);
        self.status(object, status).await
    }

    async fn job(&self, object: &Job) -> Result<()> {
        let Some(spec) = &object.spec else { return Ok(()) };
        let Some(outcome) = self.outcome(Workload::Job, object, Some(&spec.template)) else { return Ok(()) };
        let conditions = object.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
        let over = conditions.filter(|condition| condition.status == "True").count() > 0;
        // The end of a Job is final, and a suspended one has not begun.
        if over || spec.suspend == Some(true) {
            return Ok(());
        }
        let replicas = replicas(Some(1), &outcome);
        let names = (0..replicas).map(|index| format!("{}-{index}", object.name_any()));
        self.pods(object, &spec.template, names.collect(), Lifetime::ToItsEnd, &outcome, 0).await?;
        self.status(object, status::job(&json!(object.metadata.creation_timestamp), &outcome)).await
    }

    async fn claim(&self, object: &PersistentVolumeClaim) -> Result<()> {
        let Some(outcome) = self.outcome(Workload::PersistentVolumeClaim, object, None) else {
            return Ok(());
        };
        let bound = object.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
        // A bound claim stays bound; what may still change is its size.
        if !status::works(&outcome) && !bound {
            return Ok(());
        }
        let spec = json!(object.spec);
        let capacity = spec["resources"]["requests"].clone();
        let status = json!({"phase": "Bound", "accessModes": spec["accessModes"], "capacity": capacity});
        self.status(object, status).await
    }

    /// Brings a workload, as it is now, to what the script says.
    pub(super) async fn look_at(&self, item: &Item) -> Result<()> {
        let Item { workload, namespace, name } = item;
        match workload {
            Workload::Deployment => {
                if let Some(object) = self.get(namespace, name).await? {
                    return self.deployment(&object).await;
                }
                let owner = Owner { namespace: namespace.clone(), name: name.clone() };
                self.ports.retain(&owner, |_| false);
                Ok(())
            }
            Workload::StatefulSet => match self.get(namespace, name).await? {
                Some(object) => self.stateful_set(&object).await,
                None => Ok(()),
            },
            Workload::Job => match self.get(namespace, name).await? {
                Some(object) => self.job(&object).await,
                None => Ok(()),
            },
            Workload::PersistentVolumeClaim => match self.get(namespace, name).await? {
                Some(object) => self.claim(&object).await,
                None => Ok(()),
            },
        }
    }

    /// What the script says of an object; nothing when the object is on its way out.
    fn outcome(
        &self,
        workload: Workload,
        object: &impl Resource,
        template: Option<&PodTemplateSpec>,
    ) -> Option<Outcome> {
        let ObjectMeta { deletion_timestamp, namespace, name, .. } = object.meta();
        if deletion_timestamp.is_some() {
            return None;
        }
        let container = template.and_then(|template| template.spec.as_ref()?.containers.first());
        let image = container.and_then(|container| container.image.as_deref()).unwrap_or_default();
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        Some(self.script.outcome(workload, &text(namespace), &text(name), image))
    }

    async fn get<K>(&self, namespace: &str, name: &str) -> Result<Option<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        Ok(Api::<K>::namespaced(self.client.clone(), namespace).get_opt(name).await?)
    }

    /// Makes exactly these pods of a workload, with the status that the outcome gives them. Of those of another template that
    /// are ready, so many at most are kept; returns how many there are.
    async fn pods<K>(
        &self,
        owner: &K,
        template: &PodTemplateSpec,
        names: Vec<String>,
        lifetime: Lifetime,
        outcome: &Outcome,
        kept: i32,
    ) -> Result<i32>
    where
        K: Resource<DynamicType = ()>,
    {
        let namespace = owner.meta().namespace.clone().context("workloads have a namespace")?;
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let mut present = BTreeMap::new();
        for pod in api.list(&ListParams::default()).await? {
            if pod
                .owner_references()
                .iter()
                .any(|reference| Some(&reference.uid) == owner.meta().uid.as_ref())
            {
                present.insert(pod.name_any(), pod);
            }
        }
        let revision = revision(template)?;
        let (mut left, mut old) = (Vec::new(), 0);
        for (name, pod) in &present {
            let outdated = pod.annotations().get(REVISION) != Some(&revision);
            if pod.metadata.deletion_timestamp.is_some() || (names.contains(name) && !outdated) {
                continue;
            }
            if outdated && old < kept && status::is_ready(pod) {
                old += 1;
                left.extend(pod.uid());
            } else {
                api.delete(name, &DeleteParams::default()).await?;
            }
        }
        for name in names {
            let pod = match present.remove(&name) {
                // Its deletion is an event, and then it is made again.
                Some(pod) if pod.annotations().get(REVISION) != Some(&revision) => continue,
                Some(pod) => pod,
                None => {
                    api.create(&PostParams::default(), &new_pod(&name, owner, template, &revision)).await?
                }
            };
            if pod.metadata.deletion_timestamp.is_none() {
                let address = self.address(owner, &pod, outcome).await?;
                let status = status::pod(&pod, lifetime, outcome, address);
                self.status(&pod, status).await?;
                left.extend(pod.uid());
            }
        }
        self.ports.retain(&owner_of(owner), |pod| left.iter().any(|uid| uid == pod));
        Ok(old)
    }

    /// The address of a pod. At that of a pod of the CRM that works, it can be scraped.
    async fn address<K>(&self, owner: &K, pod: &Pod, outcome: &Outcome) -> Result<Ipv4Addr>
    where
        K: Resource<DynamicType = ()>,
    {
        if pod.labels().get(names::COMPONENT_LABEL).is_none_or(|part| part != Component::Crm.as_str()) {
            return Ok(status::NOBODYS_ADDRESS);
        }
        let uid = pod.uid().context("pods have a uid")?;
        if !status::works(outcome) {
            return Ok(self.ports.close(&owner_of(owner), &uid));
        }
        let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
        let image = container.and_then(|container| container.image.as_deref()).unwrap_or_default();
        let told = Told { traffic: self.script.traffic(image), read_only: self.is_read_only(pod).await? };
        self.ports.open(&owner_of(owner), &uid, told)
    }

    /// What a pod of the CRM makes of its annotation, and before it has one, of the file that it was born with.
    async fn is_read_only(&self, pod: &Pod) -> Result<bool> {
        let mut told = pod.annotations().get(names::ENTITLEMENT_ANNOTATION).cloned();
        if told.is_none() {
            let namespace = pod.namespace().unwrap_or_default();
            let file = self.get::<ConfigMap>(&namespace, child::ENTITLEMENT).await?;
            told = file.and_then(|file| file.data?.remove(entitlement::FILE));
        }
        let told = told.as_deref().and_then(Entitlement::parse);
        Ok(told.is_none_or(|told| told.content.state == Access::ReadOnly))
    }

    /// Writes the status of an object, unless it says so already.
    async fn status<K>(&self, object: &K, wanted: Value) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        let namespace = object.namespace().context("workloads have a namespace")?;
        if status::says(&serde_json::to_value(object)?["status"], &wanted) {
            return Ok(());
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        let patch = Patch::Merge(json!({"status": wanted}));
        api.patch_status(&object.name_any(), &PatchParams::default(), &patch).await?;
        Ok(())
    }
}

fn owner_of<K: Resource<DynamicType = ()>>(owner: &K) -> Owner {
    let ObjectMeta { namespace, name, .. } = owner.meta().clone();
    Owner { namespace: namespace.unwrap_or_default(), name: name.unwrap_or_default() }
}

/// Annotation on our pods that stands for the template they were made from.
const REVISION: &str = "stand-in/revision";

fn new_pod<K: Resource<DynamicType = ()>>(
    name: &str,
    owner: &K,
    template: &PodTemplateSpec,
    revision: &str,
) -> Pod {
    let mut metadata = template.metadata.clone().unwrap_or_default();
    metadata.annotations.get_or_insert_default().insert(REVISION.to_owned(), revision.to_owned());
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: owner.meta().namespace.clone(),
        owner_references: owner.controller_owner_ref(&()).map(|reference| vec![reference]),
        ..metadata
    };
    Pod { metadata, spec: template.spec.clone(), status: None }
}

fn revision(template: &PodTemplateSpec) -> Result<String> {
    Ok(content_hash([serde_json::to_vec(template)?.as_slice()]).chars().take(8).collect())
}

fn replicas(wanted: Option<i32>, outcome: &Outcome) -> i32 {
    if *outcome == Outcome::Nothing { 0 } else { wanted.unwrap_or(1) }
}
