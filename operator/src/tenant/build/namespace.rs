//! The namespace, the operator's rights in it, and the pods' accounts.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::{Namespace, ServiceAccount},
        rbac::v1::{RoleBinding, RoleRef, Subject},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::common::{child_labels, labels, meta};
use crate::{
    args::RunArgs,
    names::{self, Component, child},
    tenant::{closing::Stage, course::Course, validate::ValidTenant},
};

pub(super) fn namespace(
    tenant: &ValidTenant,
    course: &Course,
    backup_recipient: Option<&str>,
) -> Result<Namespace, serde_json::Error> {
    let mut all = child_labels(tenant.name.as_str(), &tenant.uid, Component::Tenant);
    all.extend(labels([
        ("pod-security.kubernetes.io/enforce", "restricted"),
        ("pod-security.kubernetes.io/audit", "restricted"),
        ("pod-security.kubernetes.io/warn", "restricted"),
    ]));
    let mut annotations = BTreeMap::from([
        (names::RELEASE.to_owned(), course.running.clone()),
        (names::POD_SETTINGS.to_owned(), tenant.pods.written()?),
    ]);
    let recorded = tenant.databases.annotations().into_iter().chain(tenant.newest.annotations()?);
    annotations.extend(recorded.map(|(name, value)| (name.to_owned(), value)));
    if let Some(version) = course.schema_version {
        annotations.insert(names::SCHEMA_VERSION.to_owned(), version.to_string());
    }
    if let Some(job) = &course.migrated {
        annotations.insert(names::MIGRATED.to_owned(), job.clone());
    }
    match &course.bootstrap {
        Some(bootstrap) => match bootstrap.record() {
            None => annotations.insert(names::RESTORE_FROM.to_owned(), bootstrap.source.to_string()),
            Some(record) => annotations.insert(names::RESTORED_FROM.to_owned(), record),
        },
        None => tenant
            .restored_from
            .clone()
            .and_then(|record| annotations.insert(names::RESTORED_FROM.to_owned(), record)),
    };
    if let Some(closing) = course.closing.as_ref().filter(|closing| closing.stage != Stage::Unneeded) {
        annotations.insert(names::CLOSING_SINCE.to_owned(), closing.since.to_string());
        if let Some(backup) = closing.backup() {
            annotations.insert(names::FINAL_BACKUP.to_owned(), backup.to_owned());
        }
    }
    if let Some(record) = course.upgrade.as_ref().and_then(|upgrade| upgrade.record.as_ref()) {
        annotations.insert(names::UPGRADE.to_owned(), serde_json::to_string(record)?);
    }
    if let Some(recipient) = backup_recipient {
        annotations.insert(names::BACKUP_RECIPIENT.to_owned(), recipient.to_owned());
    }
    Ok(Namespace {
        metadata: ObjectMeta {
            name: Some(tenant.namespace.clone()),
            labels: Some(all),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    })
}

/// The operator's rights in the namespace of the tenant of that name and uid.
pub fn role_binding(tenant: &str, uid: &str, settings: &RunArgs) -> RoleBinding {
    RoleBinding {
        metadata: ObjectMeta {
            name: Some(names::OPERATOR.to_owned()),
            namespace: Some(names::namespace_of(tenant)),
            labels: Some(child_labels(tenant, uid, Component::Tenant)),
            ..ObjectMeta::default()
        },
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "ClusterRole".to_owned(),
            name: names::TENANT_ROLE.to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: names::OPERATOR.to_owned(),
            namespace: Some(settings.namespace.clone()),
            ..Subject::default()
        }]),
    }
}

pub(super) fn service_accounts(tenant: &ValidTenant) -> Vec<ServiceAccount> {
    let store = tenant.backup.as_ref().map(|_| (Component::Backup, child::STORE));
    [
        (Component::Crm, child::CRM),
        (Component::Database, child::DATABASE),
        (Component::Migrate, child::MIGRATE),
    ]
    .into_iter()
    .chain(store)
    .map(|(component, name)| ServiceAccount {
        metadata: meta(tenant, component, name),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    })
    .collect()
}
