//! The little that is kept of each child: enough to tell drift, readiness and what is wrong.

mod pod;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        batch::v1::{CronJob, Job, JobCondition},
        core::v1::{
            ConfigMap, LimitRange, Namespace, PersistentVolumeClaim, ResourceQuota, Secret, Service,
            ServiceAccount,
        },
        networking::v1::{Ingress, NetworkPolicy},
        policy::v1::PodDisruptionBudget,
        rbac::v1::RoleBinding,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Resource, ResourceExt};
use serde::{Serialize, de::DeserializeOwned};
use smol_str::SmolStr;

use crate::{
    cluster::http_route::HttpRoute,
    names,
    tenant::{databases::Recorded, newest::Newest},
};

pub use pod::{ContainerFacts, Ended, PodFacts};

/// The kinds of children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of Kubernetes")]
pub enum Kind {
    Namespace,
    RoleBinding,
    ServiceAccount,
    ResourceQuota,
    LimitRange,
    NetworkPolicy,
    ConfigMap,
    Secret,
    PersistentVolumeClaim,
    Service,
    PodDisruptionBudget,
    StatefulSet,
    Deployment,
    Job,
    CronJob,
    Pod,
    Ingress,
    HttpRoute,
}

impl Kind {
    /// ConfigMaps and Secrets are only got by name.
    pub fn is_watched(self) -> bool {
        !matches!(self, Self::ConfigMap | Self::Secret)
    }
}

/// A Kubernetes kind that can be a child of a tenant.
pub trait ChildKind:
    Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// Which kind it is.
    const KIND: Kind;
    /// What is kept of it besides its identity.
    fn facts(&self) -> Facts;
}

/// What is kept of a child besides its identity. Most children are plain, and every byte here is in all of them: what is large
/// stands elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub enum Facts {
    /// Identity and fingerprint say it all.
    Plain,
    /// Of a Namespace.
    Namespace(Box<NamespaceFacts>),
    /// Of a StatefulSet or Deployment.
    Workload(Box<WorkloadFacts>),
    /// Of a Pod.
    Pod(Box<PodFacts>),
    /// Of a Job.
    Job(Box<JobFacts>),
    /// Of a PersistentVolumeClaim.
    Claim(Box<ClaimFacts>),
    /// Of an HTTPRoute.
    Route(Box<RouteFacts>),
}

/// What is kept of a Namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamespaceFacts {
    /// Label: the tenant it belongs to.
    pub tenant: Option<String>,
    /// Label: the uid of the Tenant it belongs to.
    pub tenant_uid: Option<String>,
    /// Annotation: the uid of the Tenant that may take it over.
    pub adopt: Option<String>,
    /// Annotation: the Release that runs.
    pub release: Option<String>,
    /// Annotation: what the last migration reported.
    pub schema_version: Option<i64>,
    /// Annotation: the last migration Job that reported success.
    pub migrated: Option<String>,
    /// Annotation: the upgrade that is under way or failed.
    pub upgrade: Option<String>,
    /// Annotation: what is in its pods besides release and database.
    pub pod_settings: Option<String>,
    /// Annotation: the public key of the tenant's backups.
    pub backup_recipient: Option<String>,
    /// Annotation: the backups that the tenant's Jobs may read besides their own.
    pub restore_from: Option<String>,
    /// Annotation: the backup that the tenant began with.
    pub restored_from: Option<String>,
    /// Annotations: which of the tenant's databases serves.
    pub databases: Recorded,
    /// Annotation: since when the tenant is on its way to being stopped.
    pub closing_since: Option<Timestamp>,
    /// Annotation: the backup that was made after the CRM had stopped.
    pub final_backup: Option<String>,
    /// Annotations: the newest backup and drill.
    pub newest: Option<Box<Newest>>,
    /// Why a terminating namespace is still there.
    pub held_by: Option<String>,
}

/// What is kept of a StatefulSet or Deployment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkloadFacts {
    /// Replicas in the spec.
    pub wanted: i32,
    /// Pods of any revision.
    pub replicas: i32,
    /// Pods of the current revision.
    pub updated: i32,
    /// Pods that answer.
    pub ready: i32,
    /// The controller has seen the current spec.
    pub observed: bool,
    /// Why pods cannot be made, where the controller says so.
    pub refusal: Option<String>,
    /// Annotation: number of the database that it works on, if not the first.
    pub database_generation: Option<i64>,
    /// Annotation: name of the release that it runs.
    pub release: Option<SmolStr>,
}

/// What is kept of a Job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobFacts {
    /// How it ended, if it has.
    pub finished: Option<Finished>,
    /// Label: the sign-in Secret that it registers.
    pub sign_in: Option<String>,
    /// Label: the uid of the request that it carries out.
    pub request: Option<String>,
    /// Label: number of the database that it restores into.
    pub database_generation: Option<i64>,
}

/// How a Job ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finished {
    /// One of its pods ended well.
    pub succeeded: bool,
    /// Kubernetes' word for why.
    pub reason: String,
    /// When.
    pub at: Option<Timestamp>,
}

/// What is kept of a PersistentVolumeClaim.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClaimFacts {
    /// A volume is bound to it.
    pub bound: bool,
    /// Its storage class, also when it came from the cluster's default.
    pub class: Option<String>,
    /// The size in its spec.
    pub requested: Option<String>,
}

/// What is kept of an HTTPRoute.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteFacts {
    /// Why a Gateway does not serve it, where its implementation says so.
    pub refusal: Option<String>,
}

macro_rules! plain {
    ($($kind:ident),+ $(,)?) => {$(
        impl ChildKind for $kind {
            const KIND: Kind = Kind::$kind;
            fn facts(&self) -> Facts {
                Facts::Plain
            }
        }
    )+};
}
plain!(
    RoleBinding,
    ServiceAccount,
    ResourceQuota,
    LimitRange,
    NetworkPolicy,
    ConfigMap,
    Secret,
    Service,
    PodDisruptionBudget,
    CronJob,
    Ingress,
);

impl ChildKind for Namespace {
    const KIND: Kind = Kind::Namespace;

    fn facts(&self) -> Facts {
        let annotation = |name: &str| self.annotations().get(name).cloned();
        let label = |name: &str| self.labels().get(name).cloned();
        let conditions =
            self.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        // Kubernetes reports what holds a terminating namespace in conditions whose names begin like this.
        let held =
            |type_: &str| type_.starts_with("NamespaceContent") || type_.starts_with("NamespaceFinalizers");
        let held_by = conditions
            .iter()
            .find(|condition| condition.status == "True" && held(&condition.type_))
            .and_then(|condition| condition.message.clone());
        let facts = NamespaceFacts {
            tenant: label(names::TENANT_LABEL),
            tenant_uid: label(names::TENANT_UID_LABEL),
            adopt: annotation(names::ADOPT),
            release: annotation(names::RELEASE),
            schema_version: annotation(names::SCHEMA_VERSION).and_then(|version| version.parse().ok()),
            migrated: annotation(names::MIGRATED),
            upgrade: annotation(names::UPGRADE),
            pod_settings: annotation(names::POD_SETTINGS),
            backup_recipient: annotation(names::BACKUP_RECIPIENT),
            restore_from: annotation(names::RESTORE_FROM),
            restored_from: annotation(names::RESTORED_FROM),
            databases: Recorded::read(annotation),
            closing_since: annotation(names::CLOSING_SINCE).and_then(|since| since.parse().ok()),
            final_backup: annotation(names::FINAL_BACKUP),
            newest: Newest::read(annotation),
            held_by,
        };
        Facts::Namespace(facts.into())
    }
}

impl ChildKind for StatefulSet {
    const KIND: Kind = Kind::StatefulSet;

    fn facts(&self) -> Facts {
        let status = self.status.clone().unwrap_or_default();
        Facts::Workload(Box::new(WorkloadFacts {
            wanted: self.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
            replicas: status.replicas,
            updated: status.updated_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            observed: is_observed(&self.metadata, status.observed_generation),
            ..WorkloadFacts::default()
        }))
    }
}

impl ChildKind for Deployment {
    const KIND: Kind = Kind::Deployment;

    fn facts(&self) -> Facts {
        let status = self.status.clone().unwrap_or_default();
        let conditions = status.conditions.as_deref().unwrap_or_default();
        let refusal = conditions
            .iter()
            .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")
            .and_then(|condition| condition.message.clone());
        let generation = self.annotations().get(names::DATABASE_GENERATION);
        Facts::Workload(Box::new(WorkloadFacts {
            wanted: self.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
            replicas: status.replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            observed: is_observed(&self.metadata, status.observed_generation),
            refusal,
            database_generation: generation.and_then(|text| text.parse().ok()),
            release: self.annotations().get(names::RELEASE).map(SmolStr::from),
        }))
    }
}

impl ChildKind for Job {
    const KIND: Kind = Kind::Job;

    fn facts(&self) -> Facts {
        let conditions =
            self.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let ended =
            |c: &&JobCondition| c.status == "True" && matches!(c.type_.as_str(), "Complete" | "Failed");
        let finished = conditions.iter().find(ended).map(|condition| Finished {
            succeeded: condition.type_ == "Complete",
            reason: condition.reason.clone().unwrap_or_default(),
            at: condition.last_transition_time.as_ref().map(|time| time.0),
        });
        let label = |name: &str| self.labels().get(name).cloned();
        let (sign_in, request) = (label(names::SIGN_IN_LABEL), label(names::REQUEST_LABEL));
        let database_generation = label(names::DATABASE_GENERATION).and_then(|text| text.parse().ok());
        Facts::Job(JobFacts { finished, sign_in, request, database_generation }.into())
    }
}

impl ChildKind for PersistentVolumeClaim {
    const KIND: Kind = Kind::PersistentVolumeClaim;

    fn facts(&self) -> Facts {
        let spec = self.spec.as_ref();
        let requests = spec.and_then(|spec| spec.resources.as_ref()).and_then(|r| r.requests.as_ref());
        Facts::Claim(Box::new(ClaimFacts {
            bound: self.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound"),
            class: spec.and_then(|spec| spec.storage_class_name.clone()),
            requested: requests.and_then(|requests| requests.get("storage")).map(|size| size.0.clone()),
        }))
    }
}

impl ChildKind for HttpRoute {
    const KIND: Kind = Kind::HttpRoute;

    fn facts(&self) -> Facts {
        Facts::Route(Box::new(RouteFacts { refusal: self.refusal() }))
    }
}

fn is_observed(meta: &ObjectMeta, observed_generation: Option<i64>) -> bool {
    meta.generation.is_some() && meta.generation <= observed_generation
}
