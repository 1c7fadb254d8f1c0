//! `Tenant`, `Plan` and `Release` → [`ValidTenant`], the builders' only input. Pure.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Toleration;
use kube::ResourceExt;

use crate::{
    api::{BackupStore, Egress, Locale, Plan, Release, Scheduling, State, Tenant},
    args::RunArgs,
    names::{self, Host, InvalidHost, InvalidName, TenantName},
    quantity::{InvalidQuantity, Quantity},
    schedule::{InvalidSchedule, Schedule},
    tenant::{
        bootstrap::ValidBootstrap,
        databases::Databases,
        is_confirmed, is_deleting,
        newest::Newest,
        pods::{PodSettings, Size, TEMPLATE_REVISION},
    },
};

/// A tenant whose every word has been checked: nothing below this needs to check again.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidTenant {
    /// Its name.
    pub name: TenantName,
    /// Uid of the Tenant object.
    pub uid: String,
    /// Where its children live.
    pub namespace: String,
    /// Name of the customer as people write it.
    pub display_name: String,
    /// Name of the first administrator.
    pub admin_name: String,
    /// E-mail address of the first administrator.
    pub admin_email: String,
    /// Language.
    pub locale: Locale,
    /// IANA time zone.
    pub time_zone: String,
    /// ISO 4217 currency.
    pub currency: String,
    /// What the people in charge want; a tenant that is to be removed is stopped first.
    pub state: State,
    /// Its removal was asked for and confirmed.
    pub leaving: bool,
    /// How long its backups are kept when it is gone.
    pub keep_for: SignedDuration,
    /// How many people may use the CRM.
    pub seats: i32,
    /// How many CRM pods serve.
    pub replicas: i32,
    /// What is in its pods; sizes and scheduling are those of it.
    pub pods: PodSettings,
    /// Size of a CRM pod.
    pub app: Compute,
    /// Size of the database pod.
    pub database: Compute,
    /// Which of its databases serves.
    pub databases: Databases,
    /// Its newest backup and drill.
    pub newest: Newest,
    /// What is still to be restored before its first start.
    pub bootstrap: Option<ValidBootstrap>,
    /// What its namespace records of the backup that it began with.
    pub restored_from: Option<String>,
    /// The CRM must not run, because a backup takes the place of its data.
    pub is_restoring: bool,
    /// The database must run although the tenant is suspended, because its data are handed out.
    pub is_exporting: bool,
    /// Size of the database's volume.
    pub storage: Quantity,
    /// Class of the database's volume, if not the default.
    pub storage_class: Option<String>,
    /// What the CRM may reach.
    pub egress: Egress,
    /// Where pods run.
    pub scheduling: ValidScheduling,
    /// Backups, if the plan has any.
    pub backup: Option<ValidBackup>,
    /// The release that the tenant is to run.
    pub release: ValidRelease,
    /// The hosts that it would like, its own first.
    pub hosts: Vec<Host>,
    /// The TLS Secrets of those hosts that name one.
    pub tls_secrets: BTreeMap<Host, String>,
    /// Web address of the CRM.
    pub url: String,
    /// Name of the Secret with the sign-in link.
    pub sign_in_secret: String,
}

/// Processor and memory of a pod.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compute {
    /// Requested processor time.
    pub cpu: Quantity,
    /// Requested memory, and its limit.
    pub memory: Quantity,
}

impl Compute {
    /// Reads a size; the fields say where it stands.
    fn of(size: &Size, [cpu, memory]: [&'static str; 2]) -> Result<Self, Invalid> {
        let read =
            |field, raw: &str| Quantity::parse(raw).map_err(|invalid| Invalid::Quantity(field, invalid));
        Ok(Self { cpu: read(cpu, &size.cpu)?, memory: read(memory, &size.memory)? })
    }
}

impl ValidTenant {
    /// The same with these settings of its pods.
    pub fn with_pods(self, pods: PodSettings) -> Result<Self, Invalid> {
        Ok(Self {
            app: Compute::of(&pods.app, ["the recorded app.cpu", "the recorded app.memory"])?,
            database: Compute::of(
                &pods.database,
                ["the recorded database.cpu", "the recorded database.memory"],
            )?,
            scheduling: scheduling(pods.scheduling.clone().unwrap_or_default()),
            pods,
            ..self
        })
    }
}

/// Where pods run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValidScheduling {
    /// Labels that a node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods accept.
    pub tolerations: Vec<Toleration>,
    /// Name of the pods' PriorityClass.
    pub priority_class_name: Option<String>,
}

/// Where backups go, and when they are made.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidBackup {
    /// Name of the BackupStore.
    pub store: String,
    /// When.
    pub schedule: Schedule,
    /// When they are tried.
    pub drill: Schedule,
    /// The public keys that can read every backup in the store; `None` when there is no such store.
    pub recovery: Option<Vec<String>>,
}

/// What the operator needs of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidRelease {
    /// Name of the Release object.
    pub name: String,
    /// Image, by digest.
    pub image: String,
    /// Schema version to which it migrates.
    pub schema_version: i64,
    /// The oldest schema version whose app works on that schema.
    pub min_app_schema: i64,
    /// Semantic version.
    pub version: String,
    /// The versions that can be upgraded to it, if not all.
    pub upgrades_from: Option<String>,
}

impl ValidRelease {
    /// Takes from a Release what the operator needs.
    pub fn of(release: &Release) -> Self {
        Self {
            name: release.name_any(),
            image: release.spec.image.clone(),
            schema_version: release.spec.schema.version,
            min_app_schema: release.spec.schema.min_app_schema.unwrap_or(release.spec.schema.version),
            version: release.spec.version.clone(),
            upgrades_from: release.spec.upgrades_from.clone(),
        }
    }
}

/// A spec that nobody can carry out.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// The name.
    #[error(transparent)]
    Name(InvalidName),
    /// A host.
    #[error(transparent)]
    Host(InvalidHost),
    /// An amount; the first field says where.
    #[error("{0}: {1}")]
    Quantity(&'static str, InvalidQuantity),
    /// The schedule of backups; the first field says where.
    #[error("{0}: {1}")]
    Schedule(&'static str, InvalidSchedule),
    /// How long backups are kept after the deletion.
    #[error("spec.deletion.keepFor: {0:?} is no time such as 720h, or is longer than a hundred years")]
    KeepFor(String),
    /// The object has no uid, so it does not come from an API server.
    #[error("the Tenant has no uid")]
    NoUid,
}

/// Checks everything that the schema could not, and brings everything into its one form.
///
/// `present_storage` is the size of the volume that exists already: volumes only grow, also when the plan's size shrinks.
pub fn validate(
    tenant: &Tenant,
    plan: &Plan,
    release: &Release,
    store: Option<&BackupStore>,
    present_storage: Option<&str>,
    settings: &RunArgs,
) -> Result<ValidTenant, Invalid> {
    let pods = PodSettings::wanted(&tenant.spec.plan, plan, TEMPLATE_REVISION);
    let name = TenantName::parse(&tenant.name_any()).map_err(Invalid::Name)?;
    let spec = &tenant.spec;
    let own = spec.database.clone().unwrap_or_default();
    let quantity = |field: &'static str, raw: &str| {
        Quantity::parse(raw).map_err(|invalid| Invalid::Quantity(field, invalid))
    };
    let wanted = match &own.storage {
        Some(storage) => quantity("spec.database.storage", storage)?,
        None => quantity("the plan's database.storage", &plan.spec.database.storage)?,
    };
    let storage = match present_storage {
        Some(present) => wanted.at_least(quantity("the volume's size", present)?),
        None => wanted,
    };
    let (hosts, tls_secrets) = wanted_hosts(tenant, &name, settings)?;
    let leaving = is_deleting(tenant) && is_confirmed(tenant);
    Ok(ValidTenant {
        uid: tenant.uid().ok_or(Invalid::NoUid)?,
        namespace: name.namespace(),
        display_name: spec.display_name.clone(),
        admin_name: spec.admin.name.clone(),
        admin_email: spec.admin.email.clone(),
        locale: spec.locale,
        time_zone: spec.time_zone.clone(),
        currency: spec.currency.clone(),
        state: if leaving { State::Suspended } else { spec.state },
        leaving,
        keep_for: keep_for(tenant)?,
        seats: plan.spec.seats,
        replicas: plan.spec.replicas,
        app: Compute::of(&pods.app, ["the plan's app.cpu", "the plan's app.memory"])?,
        database: Compute::of(&pods.database, ["the plan's database.cpu", "the plan's database.memory"])?,
        databases: Databases::default(),
        newest: Newest::default(),
        bootstrap: None,
        restored_from: None,
        is_restoring: false,
        is_exporting: false,
        storage,
        storage_class: own.storage_class,
        egress: plan.spec.egress,
        scheduling: scheduling(pods.scheduling.clone().unwrap_or_default()),
        pods,
        backup: backup(tenant, plan, store, &name)?,
        release: ValidRelease::of(release),
        url: settings.url(&name.base_host(&settings.base_domain)),
        hosts,
        tls_secrets,
        sign_in_secret: names::sign_in_secret(
            tenant.annotations().get(names::REISSUE_SIGN_IN).map(String::as_str),
        ),
        name,
    })
}

/// The tenant's own host, then those of its spec; and the TLS Secrets that the spec names.
fn wanted_hosts(
    tenant: &Tenant,
    name: &TenantName,
    settings: &RunArgs,
) -> Result<(Vec<Host>, BTreeMap<Host, String>), Invalid> {
    let own = Host::parse(&name.base_host(&settings.base_domain)).map_err(Invalid::Host)?;
    let (mut hosts, mut tls_secrets) = (vec![own], BTreeMap::new());
    for claim in &tenant.spec.hosts {
        let host = Host::parse(&claim.name).map_err(Invalid::Host)?;
        if let Some(secret) = &claim.tls_secret {
            // Of two spellings of one host, the first that names a Secret counts.
            tls_secrets.entry(host.clone()).or_insert_with(|| secret.clone());
        }
        hosts.push(host);
    }
    Ok((hosts, tls_secrets))
}

fn backup(
    tenant: &Tenant,
    plan: &Plan,
    store: Option<&BackupStore>,
    name: &TenantName,
) -> Result<Option<ValidBackup>, Invalid> {
    let Some(policy) = &plan.spec.backup else { return Ok(None) };
    let own = tenant.spec.backup.clone().unwrap_or_default();
    let parse = |own: Option<&str>, own_field, plans: &str, plans_field| {
        let (field, text) = own.map_or((plans_field, plans), |own| (own_field, own));
        Schedule::parse(text, name.as_str()).map_err(|invalid| Invalid::Schedule(field, invalid))
    };
    let (plans, plans_field) = (&policy.schedule, "the plan's backup.schedule");
    let schedule = parse(own.schedule.as_deref(), "spec.backup.schedule", plans, plans_field)?;
    let (plans, plans_field) = (&policy.drill, "the plan's backup.drill");
    let drill = parse(own.drill.as_deref(), "spec.backup.drill", plans, plans_field)?;
    let recovery = store.map(|store| store.spec.recovery_recipients.clone());
    Ok(Some(ValidBackup { store: policy.store.clone(), schedule, drill, recovery }))
}

/// How long a tenant's backups are kept when it is gone.
pub fn keep_for(tenant: &Tenant) -> Result<SignedDuration, Invalid> {
    const LONGEST: SignedDuration = SignedDuration::from_hours(100 * 366 * 24);
    let text = tenant.spec.deletion.clone().unwrap_or_default().keep_for;
    let parsed = text.parse().ok().filter(|time: &SignedDuration| !time.is_negative() && *time <= LONGEST);
    parsed.ok_or(Invalid::KeepFor(text))
}

fn scheduling(spec: Scheduling) -> ValidScheduling {
    let Scheduling { node_selector, tolerations, priority_class_name } = spec;
    let tolerations = tolerations.into_iter().map(Into::into).collect();
    ValidScheduling { node_selector, tolerations, priority_class_name }
}

#[cfg(test)]
mod tests;
