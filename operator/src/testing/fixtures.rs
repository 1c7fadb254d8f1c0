//! A tenant and what belongs to it.

use clap::Parser;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use crate::{
    api::{BackupStore, Channel, Plan, Release, Tenant, UpgradeStatus, UpgradeStep},
    args::{Cli, Command, RunArgs},
    malformed::{Guarded, Malformed},
    tenant::validate::{ValidTenant, validate},
};

/// A Tenant as the API server would show it before the operator has seen it.
pub(crate) fn tenant() -> Tenant {
    serde_json::from_value(json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": "acme", "uid": "uid-acme", "generation": 1, "resourceVersion": "1"},
        "spec": {
            "displayName": "杭州艾克米贸易有限公司",
            "admin": {"name": "王芳", "email": "fang@acme.example"},
            "plan": "standard",
            "release": "r1",
        },
    }))
    .unwrap()
}

/// [`tenant`] as another schema would have it.
pub(crate) fn malformed_tenant() -> Malformed {
    let mut raw = serde_json::to_value(tenant()).unwrap();
    raw["spec"]["displayName"] = json!(5);
    *serde_json::from_value::<Guarded<Tenant>>(raw).unwrap().0.unwrap_err()
}

/// The plan of [`tenant`].
pub(crate) fn plan() -> Plan {
    serde_json::from_value(json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "Plan",
        "metadata": {"name": "standard", "uid": "uid-standard", "resourceVersion": "1"},
        "spec": {
            "seats": 10,
            "replicas": 2,
            "app": {"cpu": "50m", "memory": "96Mi"},
            "database": {"storage": "1Gi", "cpu": "100m", "memory": "256Mi"},
            "backup": {"store": "main"},
        },
    }))
    .unwrap()
}

/// The store of [`plan`].
pub(crate) fn store() -> BackupStore {
    serde_json::from_value(json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "BackupStore",
        "metadata": {"name": "main", "uid": "uid-main", "resourceVersion": "1"},
        "spec": {"volume": {"claim": "backups"}, "recoveryRecipients": ["age1recovery"]},
    }))
    .unwrap()
}

/// A release with an image of its own.
pub(crate) fn release(name: &str, schema_version: i64) -> Release {
    let digest = format!("{:0>64}", hex::encode(name));
    serde_json::from_value(json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "Release",
        "metadata": {"name": name, "uid": format!("uid-{name}"), "resourceVersion": "1"},
        "spec": {
            "version": "1.0.0",
            "image": format!("docker.io/tenantry/crm-app@sha256:{digest}"),
            "schema": {"version": schema_version, "minAppSchema": 1},
        },
    }))
    .unwrap()
}

/// The channel `stable`, which wants that release, and whose new tenants begin with the other one.
pub(crate) fn channel(release: &str, settled: Option<&str>) -> Channel {
    serde_json::from_value(json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "Channel",
        "metadata": {"name": "stable", "uid": "uid-stable", "generation": 1, "resourceVersion": "1"},
        "spec": {"release": release},
        "status": {"settledRelease": settled},
    }))
    .unwrap()
}

/// An upgrade that began long ago.
pub(crate) fn upgrade(from: &str, to: &str, step: UpgradeStep) -> UpgradeStatus {
    UpgradeStatus {
        from: from.to_owned(),
        to: to.to_owned(),
        step,
        started_at: Time(jiff::Timestamp::UNIX_EPOCH),
        attempts: 1,
        checks: Vec::new(),
        message: None,
        backup: None,
        lost: None,
        last_failure: None,
    }
}

/// How the operator of the demo runs.
pub(crate) fn settings() -> RunArgs {
    settings_with(&[])
}

/// Like [`settings`], with more arguments.
pub(crate) fn settings_with(more: &[&str]) -> RunArgs {
    let digest = "9".repeat(64);
    let postgres = format!("docker.io/tenantry/postgres@sha256:{digest}");
    let words = [
        "operator",
        "run",
        "--postgres-image",
        &postgres,
        "--public-scheme",
        "http",
        "--public-port",
        "8080",
        "--monitoring-namespace",
        "monitoring",
        "--private-cidr",
        "198.18.0.0/15",
    ];
    match Cli::try_parse_from(words.iter().chain(more)).unwrap().command {
        Command::Run(args) => args,
        other => panic!("{other:?}"),
    }
}

/// [`tenant`], checked.
pub(crate) fn valid_tenant() -> ValidTenant {
    validate(&tenant(), &plan(), &release("r1", 1), Some(&store()), None, &settings()).unwrap()
}
