//! Objects of each kind which together have every field set: a new field that is missing here fails the tests.

use serde_json::{Value, json};

pub(crate) fn all() -> Vec<Value> {
    vec![
        tenant(),
        copy_of_a_tenant(),
        plan(),
        release(),
        channel(),
        channel_by_percent(),
        bucket(),
        volume(),
        tenant_backup(),
        tenant_export(),
        tombstone(),
    ]
    .into_iter()
    .chain(tenant_restores())
    .collect()
}

fn tenant() -> Value {
    json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": { "name": "acme" },
        "spec": {
            "displayName": "杭州艾克米贸易有限公司",
            "admin": { "name": "王芳", "email": "fang@acme.example" },
            "plan": "standard",
            "release": "r1",
            "hosts": [{ "name": "crm.acme.example", "tlsSecret": "acme-tls" }],
            "locale": "en",
            "timeZone": "Europe/Berlin",
            "currency": "EUR",
            "state": "ReadOnly",
            "paused": true,
            "database": { "storage": "5Gi", "storageClass": "fast" },
            "backup": {
                "schedule": "H(0-29) */6 * * *", "drill": "H H * * 6", "keep": { "daily": 14, "weekly": 0, "monthly": 24 },
            },
            "maintenanceWindow": { "days": ["Monday", "Thursday"], "start": "22:30", "duration": "4h30m" },
            "deletion": { "finalBackup": false, "keepFor": "2160h" },
            "bootstrap": {
                "restore": { "tenantUID": "7a0c0000-0000-4000-8000-000000000000", "backup": "20261122T132501Z-ab12cd" },
            },
        },
    })
}

fn copy_of_a_tenant() -> Value {
    let source = json!({
        "tenant": "acme", "tenantUID": "7a0c0000-0000-4000-8000-000000000000", "time": "2026-11-22T13:25:01Z",
    });
    json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": { "name": "acme-staging" },
        "spec": {
            "displayName": "杭州艾克米贸易有限公司",
            "admin": { "name": "王芳", "email": "fang@acme.example" },
            "plan": "standard",
            "channel": "stable",
            "bootstrap": { "restore": source },
        },
    })
}

fn tenant_backup() -> Value {
    json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "TenantBackup",
        "metadata": { "name": "acme-before-import" },
        "spec": { "tenant": "acme", "reason": "before the import of 2026" },
    })
}

fn tenant_export() -> Value {
    json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "TenantExport",
        "metadata": { "name": "acme-leaves" },
        "spec": {
            "tenant": "acme",
            "recipients": ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"],
            "reason": "the contract ends",
        },
    })
}

fn tenant_restores() -> Vec<Value> {
    let sources = [
        ("named", json!({ "backup": "20261122T132501Z-ab12cd" })),
        ("latest", json!({ "latest": {} })),
        ("earlier", json!({ "time": "2026-11-22T13:25:01Z" })),
    ];
    let restore = |(name, from): (&str, Value)| {
        json!({
            "apiVersion": "tenantry.dev/v1alpha1",
            "kind": "TenantRestore",
            "metadata": { "name": name },
            "spec": { "tenant": "acme", "from": from, "confirm": "acme" },
        })
    };
    sources.map(restore).into()
}

fn plan() -> Value {
    json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "Plan",
        "metadata": { "name": "standard" },
        "spec": {
            "seats": 10,
            "replicas": 2,
            "app": { "cpu": "50m", "memory": "96Mi" },
            "database": { "storage": "1Gi", "cpu": "100m", "memory": "256Mi" },
            "egress": "Public",
            "backup": {
                "store": "main", "schedule": "H 2 * * *", "drill": "H 5 * * 0", "keep": { "daily": 7, "weekly": 4, "monthly": 12 },
            },
            "scheduling": {
                "nodeSelector": { "pool": "business" },
                "priorityClassName": "business",
                "tolerations": [{
                    "key": "pool", "operator": "Equal", "value": "business", "effect": "NoExecute", "tolerationSeconds": 60,
                }],
            },
        },
    })
}

fn channel() -> Value {
    json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "Channel",
        "metadata": { "name": "stable" },
        "spec": {
            "release": "r2",
            "rollout": {
                "waves": [
                    { "name": "own", "approval": "NotNeeded", "tenants": {
                        "matchLabels": { "tier": "own" },
                        "matchExpressions": [{ "key": "region", "operator": "In", "values": ["east"] }],
                    } },
                    { "name": "canary", "percent": 5 },
                    { "name": "everyone", "approval": "Required" },
                ],
                "maxParallel": 10,
                "bake": "1h30m",
                "maxFailures": 2,
                "rehearse": "FirstWave",
                "rollback": "Manual",
                "window": { "days": ["Saturday", "Sunday"], "start": "01:30", "duration": "5h" },
                "approvals": [{ "release": "r2", "wave": "everyone" }],
            },
            "paused": true,
        },
    })
}

fn channel_by_percent() -> Value {
    json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "Channel",
        "metadata": { "name": "beta" },
        "spec": {
            "release": "r2",
            "rollout": { "waves": [{ "name": "canary", "percent": 5, "approval": "Required" }] },
        },
    })
}

fn release() -> Value {
    json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "Release",
        "metadata": { "name": "r1" },
        "spec": {
            "version": "1.0.0",
            "image": format!("docker.io/tenantry/crm-app@sha256:{}", "a".repeat(64)),
            "schema": { "version": 3, "minAppSchema": 2 },
            "upgradesFrom": ">=0.9.0, <1.0.0",
            "notes": "The first one.",
        },
    })
}

fn bucket() -> Value {
    json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "BackupStore",
        "metadata": { "name": "offsite" },
        "spec": {
            "s3": {
                "bucket": "backups", "prefix": "clusters/east", "endpoint": "https://s3.example.com:9000", "region": "eu-central-1",
                "credentialsSecret": "s3",
            },
            "recoveryRecipients": ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"],
            "lock": { "days": 30 },
        },
    })
}

fn tombstone() -> Value {
    json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "TenantTombstone",
        "metadata": { "name": "acme-1a2b3c4d" },
        "spec": {
            "tenant": "acme",
            "uid": "7a0c0000-0000-4000-8000-000000000000",
            "deletedAt": "2026-11-22T16:00:00Z",
            "expiresAt": "2026-12-22T16:00:00Z",
            "store": "main",
            "finalBackup": "Verified",
            "backup": {
                "backup": "20261122T160001Z-ab12cd", "createdAt": "2026-11-22T16:00:01Z", "size": 4096, "schemaVersion": 3,
            },
            "release": "r1",
            "schemaVersion": 3,
            "keySecret": "acme-1a2b3c4d",
            "recipient": "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
            "tenantSpec": { "plan": "standard" },
        },
    })
}

fn volume() -> Value {
    json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "BackupStore",
        "metadata": { "name": "volume" },
        "spec": {
            "volume": { "claim": "backups" },
            "recoveryRecipients": ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"],
        },
    })
}
