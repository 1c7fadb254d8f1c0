//! [`ValidTenant`] and [`Course`] → the whole set of children. Pure: no client below this line.
//!
//! One file a child or family of children; all start from [`common::meta`].

pub mod common;

mod app;
mod backup;
mod database;
mod drill;
mod export;
mod http_route;
mod ingress;
mod migration_job;
mod namespace;
mod network_policy;
mod quota;
mod restore;
mod secrets;
mod service;

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    batch::v1::{CronJob, Job},
    core::v1::{
        ConfigMap, LimitRange, Namespace, PersistentVolumeClaim, ResourceQuota, Service, ServiceAccount,
    },
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
    rbac::v1::RoleBinding,
};

use crate::{
    args::{Routing, RunArgs},
    cluster::http_route::HttpRoute,
    names::Host,
    tenant::{
        attempt::{Attempt, Step},
        course::Course,
        entitlement::Entitlement,
        upgrade::decide::Work,
        validate::ValidTenant,
    },
};

pub use backup::{
    BackupReason, IDENTITY, IDENTITY_KEYS, RECIPIENT, backup_identity, of_request, one_off_backup,
};
pub use export::export;
pub use migration_job::DEADLINE_SECONDS as MIGRATION_DEADLINE_SECONDS;
pub use namespace::role_binding;
pub use network_policy::Policy;
pub use restore::{Restore, bootstrap, drop_database, restore, restore_identity};
pub use secrets::{CREDENTIAL_KEYS, Credentials, SIGN_IN_KEYS, SignIn, credentials, pull_secret, sign_in};

/// Everything that a tenant consists of, but for the Secrets, which are made once and then left alone, and for its
/// [`Routes`].
#[derive(Clone, Debug)]
pub struct Children {
    /// Where all others live; carries what runs in its annotations.
    pub namespace: Namespace,
    /// The operator's rights in it.
    pub role_binding: RoleBinding,
    /// What all pods together may use.
    pub quota: ResourceQuota,
    /// What a container gets that names no limits.
    pub limits: LimitRange,
    /// One for each kind of pod.
    pub service_accounts: Vec<ServiceAccount>,
    /// Deny everything, then allow the few ways that are needed.
    pub network_policies: Vec<NetworkPolicy>,
    /// Init script and access rules of the database.
    pub database_init: ConfigMap,
    /// State and limits for pods that are born.
    pub entitlement: ConfigMap,
    /// The database's volume.
    pub claim: PersistentVolumeClaim,
    /// Of database and CRM.
    pub services: Vec<Service>,
    /// Of database and CRM.
    pub budgets: Vec<PodDisruptionBudget>,
    /// PostgreSQL.
    pub database: StatefulSet,
    /// The migration, if one is to run now.
    pub migration: Option<Job>,
    /// The CRM; `None` when it must stay as it is.
    pub app: Option<Deployment>,
    /// Backups; `None` when there are none, when they must stay as they are, or while there is no key or no store.
    pub backup: Option<CronJob>,
    /// Drills; `None` when there are none, or when they must stay as they are.
    pub drill: Option<CronJob>,
    /// The restore of what the tenant begins with, if it is to run now.
    pub bootstrap: Option<Job>,
    /// The last backup before the tenant stops, or its trial, if one is to run now.
    pub closing: Option<Job>,
    /// The backup before an upgrade, or the trial of the new release on it, if one is to run now.
    pub upgrade: Option<Job>,
}

/// The set of children. Whatever could be wrong with the tenant has been checked; only encoding could fail.
pub fn build(
    tenant: &ValidTenant,
    course: &Course,
    entitlement: &Entitlement,
    backup_recipient: Option<&str>,
    settings: &RunArgs,
) -> Result<Children, serde_json::Error> {
    let pull_secrets = &settings.image_pull_secrets;
    Ok(Children {
        namespace: namespace::namespace(tenant, course, backup_recipient)?,
        role_binding: role_binding(tenant.name.as_str(), &tenant.uid, settings),
        quota: quota::quota(tenant),
        limits: quota::limits(tenant),
        service_accounts: namespace::service_accounts(tenant),
        network_policies: network_policy::policies(tenant, settings),
        database_init: database::init(tenant),
        entitlement: app::entitlement(tenant, entitlement)?,
        claim: database::claim(tenant),
        services: service::services(tenant),
        budgets: service::budgets(tenant),
        database: database::stateful_set(tenant, course, &settings.postgres_image, pull_secrets),
        migration: course
            .migration
            .as_ref()
            .filter(|migration| migration.step == Step::Run)
            .map(|migration| migration_job::job(tenant, migration, pull_secrets)),
        app: course.app.as_ref().map(|release| app::deployment(tenant, release, pull_secrets)),
        backup: tenant
            .backup
            .as_ref()
            .zip(course.app.as_ref())
            .zip(backup_recipient)
            .and_then(|((backup, release), key)| backup::cron_job(tenant, backup, key, release, settings)),
        drill: tenant
            .backup
            .as_ref()
            .zip(course.app.as_ref())
            .filter(|_| backup_recipient.is_some())
            .map(|(backup, release)| drill::cron_job(tenant, backup, release, settings)),
        bootstrap: bootstrap(tenant, course, settings),
        closing: closing_job(tenant, course, backup_recipient, settings),
        upgrade: upgrade_job(tenant, course, backup_recipient, settings),
    })
}

/// The backup before an upgrade, or the trial of the new release on it.
fn upgrade_job(
    tenant: &ValidTenant,
    course: &Course,
    backup_recipient: Option<&str>,
    settings: &RunArgs,
) -> Option<Job> {
    let (backup, recipient) = (tenant.backup.as_ref()?, backup_recipient?);
    let upgrade = course.upgrade.as_ref()?;
    match upgrade.work.as_ref()? {
        Work::BackUp(Attempt { job, step: Step::Run, .. }) => {
            let release = course.app.as_ref()?;
            one_off_backup(tenant, backup, recipient, release, settings, job, BackupReason::BeforeUpgrade)
        }
        Work::Rehearse { backup: which, attempt: Attempt { job, step: Step::Run, .. } } => {
            Some(drill::one_off_drill(tenant, backup, upgrade.trial.as_ref()?, settings, job, which))
        }
        _ => None,
    }
}

/// The last backup of a tenant that is to stop, or its trial.
fn closing_job(
    tenant: &ValidTenant,
    course: &Course,
    backup_recipient: Option<&str>,
    settings: &RunArgs,
) -> Option<Job> {
    let (backup, recipient) = (tenant.backup.as_ref()?, backup_recipient?);
    let release = course.app.as_ref().unwrap_or(&tenant.release);
    match course.closing.as_ref()?.job()? {
        (job, None) => one_off_backup(tenant, backup, recipient, release, settings, job, BackupReason::Final),
        (job, Some(which)) => Some(drill::one_off_drill(tenant, backup, release, settings, job, which)),
    }
}

/// What leads requests to a tenant when it is not our gateway that does.
///
/// A suspended tenant keeps its routes: the controller then answers 503, "come back later", while the name in the DNS, the
/// certificate and the claim on the host stay. Without the route it would be 404, "there is nobody", and coming back would
/// have to wait for DNS and certificates.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// For ingress controllers.
    pub ingresses: Vec<Ingress>,
    /// For implementations of the Gateway API.
    pub http_routes: Vec<HttpRoute>,
}

/// The routes of a tenant: for the hosts that were granted to it, and for no others.
pub fn routes(tenant: &ValidTenant, granted: &[Host], settings: &RunArgs) -> Routes {
    match settings.routing.kind {
        Routing::Builtin => Routes::default(),
        Routing::Ingress => Routes {
            ingresses: ingress::ingress(tenant, granted, settings).into_iter().collect(),
            ..Routes::default()
        },
        Routing::HttpRoute => Routes {
            http_routes: http_route::http_routes(tenant, granted, &settings.routing),
            ..Routes::default()
        },
    }
}

#[cfg(test)]
mod tests;
