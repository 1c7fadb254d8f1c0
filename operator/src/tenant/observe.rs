//! What the decision needs, as far as it is watched: children from the cache, the Plan and the Release. The rest is read by name
//! when it is needed (`unwatched.rs`).

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Resource, ResourceExt,
    runtime::reflector::{ObjectRef, Store},
};

use crate::{
    api::{BackupStore, Channel, Plan, Release, Tenant},
    cluster::{
        cache::Snapshot,
        facts::{ChildKind, Facts, Kind, NamespaceFacts},
    },
    malformed::Registry,
    names::{self, child},
    tenant::{
        Context, Error, build,
        databases::Databases,
        upgrade,
        validate::ValidRelease,
        vitals::{self, Vitals},
    },
};

/// What there is.
#[derive(Debug)]
pub struct Observed {
    /// The watched children.
    pub seen: Snapshot,
    /// Whose the namespace is.
    pub namespace: NamespaceState,
    /// What the namespace says, also when no watch has told of it yet.
    pub recorded: NamespaceFacts,
    /// The plan, if there is one that can be read.
    pub plan: Result<Arc<Plan>, Missing>,
    /// The channel, if the tenant has one.
    pub channel: Option<Result<Arc<Channel>, Missing>>,
    /// Name of the release that is wanted, as far as anybody has said.
    pub wanted: Option<String>,
    /// The release, if there is one that can be read.
    pub release: Result<Arc<Release>, Missing>,
    /// The store of the plan's backups, if there is one that can be read.
    pub store: Option<Arc<BackupStore>>,
    /// The release that runs, if its object still exists.
    pub running_release: Option<ValidRelease>,
    /// The volume waits for a class that does not exist.
    pub storage_class_missing: bool,
    /// How the CRM does, if an upgrade is under way and its pods can tell.
    pub vitals: Option<Vitals>,
}

/// Why a Plan or Release cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// There is none of that name; those that there are, in words.
    Unknown(String),
    /// It cannot be read; what is wrong with it.
    Malformed(String),
}

/// Whose the namespace is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceState {
    /// There is none.
    Absent,
    /// It is this tenant's.
    Ours,
    /// It is somebody else's; in words.
    Foreign(String),
    /// It is this tenant's and being deleted; what holds it.
    Terminating(Option<String>),
}

impl NamespaceState {
    /// Whose a namespace with these labels is.
    pub fn of(tenant: &Tenant, deleting: bool, facts: &NamespaceFacts) -> Self {
        let uid = tenant.uid();
        if facts.tenant != tenant.metadata.name {
            return Self::Foreign("does not belong to a tenant".to_owned());
        }
        if facts.tenant_uid != uid && facts.adopt != uid {
            return Self::Foreign("belongs to an earlier Tenant of this name".to_owned());
        }
        if deleting { Self::Terminating(facts.held_by.clone()) } else { Self::Ours }
    }

    /// Whether children may be made in it.
    pub fn check(&self, tenant: &Tenant) -> Result<(), Error> {
        let namespace = names::namespace_of(&tenant.name_any());
        match self {
            Self::Absent | Self::Ours => Ok(()),
            Self::Foreign(owner) => Err(Error::ForeignNamespace {
                namespace,
                owner: owner.clone(),
                uid: tenant.uid().unwrap_or_default(),
            }),
            Self::Terminating(held_by) => {
                let held_by = held_by.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
                Err(Error::NamespaceTerminating { namespace, held_by })
            }
        }
    }
}

impl Observed {
    /// The public key of the tenant's backups, as it was written down when it was made.
    pub fn recorded_recipient(&self) -> Option<&str> {
        self.seen.namespace().and_then(|(_, facts)| facts.backup_recipient.as_deref())
    }

    /// The databases. In a namespace that is not there yet, nothing was ever restored.
    pub fn databases(&self, tenant: &Tenant) -> Result<Databases, Error> {
        if self.namespace == NamespaceState::Absent {
            return Ok(Databases::default());
        }
        let told = tenant.status.as_ref().and_then(|status| status.database_generation);
        let crm = self.seen.workload(Kind::Deployment, child::CRM);
        let used = crm.and_then(|crm| crm.database_generation);
        Databases::of(&self.recorded.databases, told, used, &names::namespace_of(&tenant.name_any()))
    }

    /// The plan and the release, or the reason for leaving everything as it is.
    pub fn references(&self, tenant: &Tenant) -> Result<(&Plan, &Release), Error> {
        let plan = self.plan.as_deref().map_err(|missing| {
            let name = tenant.spec.plan.clone();
            match missing.clone() {
                Missing::Unknown(known) => Error::PlanNotFound { name, known },
                Missing::Malformed(cause) => Error::PlanMalformed { name, cause },
            }
        })?;
        let channel = tenant.spec.channel.clone().unwrap_or_default();
        if let Some(Err(missing)) = &self.channel {
            return Err(match missing.clone() {
                Missing::Unknown(known) => Error::ChannelNotFound { name: channel, known },
                Missing::Malformed(cause) => Error::ChannelMalformed { name: channel, cause },
            });
        }
        let name = self.wanted.clone().ok_or(Error::NotToldYet { channel })?;
        let release = self.release.as_deref().map_err(|missing| upgrade::unusable(&name, missing.clone()))?;
        Ok((plan, release))
    }
}

/// Finds out what there is. A read that fails is an error, never taken for "not there".
pub async fn observe(tenant: &Tenant, ctx: &Context) -> Result<Observed, Error> {
    let namespace = names::namespace_of(&tenant.name_any());
    let seen = ctx.cluster.cache().snapshot(&namespace);
    let (state, recorded) = namespace_state(tenant, ctx, &seen, &namespace).await?;
    let running = seen.namespace().and_then(|(_, facts)| facts.release.clone());
    let plan = find(&ctx.plans, &ctx.malformed, &tenant.spec.plan);
    let backup = plan.as_ref().ok().and_then(|plan| plan.spec.backup.as_ref());
    let store = backup.and_then(|backup| ctx.stores.get(&ObjectRef::new(&backup.store)));
    let channel = tenant.spec.channel.as_deref().map(|name| find(&ctx.channels, &ctx.malformed, name));
    let wanted = upgrade::wanted(tenant, &recorded);
    let record = recorded.upgrade.as_deref().and_then(upgrade::Record::read);
    let vitals = match record {
        Some(record) if record.failure.is_none() => vitals::of_pods(&seen, &*ctx.ask).await,
        _ => None,
    };
    Ok(Observed {
        namespace: state,
        recorded,
        channel,
        plan,
        store,
        release: find(&ctx.releases, &ctx.malformed, wanted.as_deref().unwrap_or_default()),
        wanted,
        running_release: running
            .and_then(|name| find(&ctx.releases, &ctx.malformed, &name).ok())
            .map(|release| ValidRelease::of(&release)),
        storage_class_missing: storage_class_missing(ctx, &seen).await?,
        vitals,
        seen,
    })
}

/// The watch shows only labelled namespaces, so one that it does not show may still exist.
async fn namespace_state(
    tenant: &Tenant,
    ctx: &Context,
    seen: &Snapshot,
    name: &str,
) -> Result<(NamespaceState, NamespaceFacts), Error> {
    if let Some((child, facts)) = seen.namespace() {
        return Ok((NamespaceState::of(tenant, child.deleting, facts), facts.clone()));
    }
    match ctx.cluster.get_global::<Namespace>(name).await.map_err(Error::Cluster)? {
        None => Ok((NamespaceState::Absent, NamespaceFacts::default())),
        Some(live) => match live.facts() {
            Facts::Namespace(facts) => {
                let state = NamespaceState::of(tenant, live.meta().deletion_timestamp.is_some(), &facts);
                Ok((state, *facts))
            }
            _ => Ok((NamespaceState::Absent, NamespaceFacts::default())),
        },
    }
}

/// Asked only while the volume waits.
async fn storage_class_missing(ctx: &Context, seen: &Snapshot) -> Result<bool, Error> {
    match seen.claim(child::DATABASE) {
        Some(claim) if !claim.bound => match &claim.class {
            Some(class) => Ok(!ctx.cluster.has_storage_class(class).await.map_err(Error::Cluster)?),
            None => Ok(false),
        },
        _ => Ok(false),
    }
}

/// The object of that name, or why it cannot be used.
pub(super) fn find<K>(store: &Store<K>, malformed: &Registry, name: &str) -> Result<Arc<K>, Missing>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    const SHOWN: usize = 8;
    store.get(&ObjectRef::new(name)).ok_or_else(|| {
        if let Some(object) = malformed.get::<K>(name) {
            return Missing::Malformed(object.cause.clone());
        }
        let mut known: Vec<String> = store.state().iter().map(|object| object.name_any()).collect();
        known.sort();
        Missing::Unknown(match known.len() {
            0 => "one that exists (there is none yet)".to_owned(),
            1..=SHOWN => format!("one of: {}", known.join(", ")),
            more => format!("one of {more}, such as {}", known[..SHOWN].join(", ")),
        })
    })
}

/// The public key in the Secret with the key pair of backups.
pub fn recipient_in(identity: &Secret) -> Option<String> {
    let bytes = identity.data.as_ref()?.get(build::RECIPIENT)?;
    String::from_utf8(bytes.0.clone()).ok()
}

/// What a Secret lacks of the keys that it must have.
pub fn missing_keys(secret: &Secret, keys: &[&str]) -> Vec<String> {
    let has = |key: &str| {
        secret.data.as_ref().is_some_and(|data| data.get(key).is_some_and(|value| !value.0.is_empty()))
    };
    keys.iter().filter(|key| !has(key)).map(|key| (*key).to_owned()).collect()
}
