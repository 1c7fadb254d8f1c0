//! The schema's rules, evaluated as the API server does, and the freshness of the committed files.

use std::{fs, path::PathBuf};

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn tenant(name: &str, change: Value) -> Tenant {
    let mut object = json!({
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": name},
        "spec": {
            "displayName": "杭州艾克米贸易有限公司",
            "admin": {"name": "王芳", "email": "fang@acme.example"},
            "plan": "standard",
            "release": "r1",
        },
    });
    merge(&mut object["spec"], change);
    serde_json::from_value(object).unwrap()
}

fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                if value.is_null() {
                    into.remove(&key);
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (into, change) => *into = change,
    }
}

fn refusal(result: Result<(), impl std::fmt::Display>) -> String {
    result.err().map(|error| error.to_string()).unwrap_or_default()
}

#[rstest]
#[case::plain(json!({}), "")]
#[case::all(json!({"hosts": [{"name": "客户.example", "tlsSecret": "acme-tls"}], "locale": "en", "timeZone": "America/Argentina/Buenos_Aires", "currency": "EUR", "database": {"storage": "5Gi"}}), "")]
#[case::no_release(json!({"release": null}), "set either spec.channel")]
#[case::channel(json!({"release": null, "channel": "stable"}), "")]
#[case::channel_and_release(json!({"channel": "stable"}), "set either spec.channel")]
#[case::channel_name(json!({"release": null, "channel": "Stable"}), "kubectl get channels")]
#[case::two_lines(json!({"displayName": "a\nb"}), "one line of text")]
#[case::ends_in_space(json!({"displayName": "Acme "}), "one line of text")]
#[case::one_letter(json!({"displayName": "A"}), "")]
#[case::spaces_inside(json!({"displayName": "Acme Trading Ltd"}), "")]
#[case::email(json!({"admin": {"email": "fang"}}), "fang@acme.example")]
#[case::zone(json!({"timeZone": "shanghai"}), "Asia/Shanghai")]
#[case::currency(json!({"currency": "Yen"}), "ISO 4217")]
#[case::host_with_scheme(json!({"hosts": [{"name": "https://a.example"}]}), "no scheme")]
#[case::host_with_port(json!({"hosts": [{"name": "a.example:80"}]}), "no scheme")]
#[case::host_wildcard(json!({"hosts": [{"name": "*.a.example"}]}), "no scheme")]
#[case::host_short(json!({"hosts": [{"name": "crm"}]}), "full host name")]
#[case::storage(json!({"database": {"storage": "big"}}), "a size such as 5Gi")]
#[case::plan(json!({"plan": "Standard plan"}), "kubectl get plans")]
#[case::release(json!({"release": "r1 "}), "kubectl get releases")]
#[case::storage_class(json!({"database": {"storageClass": "../fast"}}), "kubectl get storageclasses")]
#[case::keep(json!({"backup": {"keep": {"daily": 30}}}), "")]
#[case::bootstrap(json!({"bootstrap": {"restore": {"tenantUID": "7a0c0000-0000-4000-8000-000000000000"}}}), "")]
#[case::bootstrap_uid(json!({"bootstrap": {"restore": {"tenantUID": "acme"}}}), "kubectl get tenanttombstones")]
#[case::bootstrap_of_two(json!({"bootstrap": {"restore": {"tenantUID": "7a0c0000-0000-4000-8000-000000000000", "backup": "20261122T132501Z-ab12cd", "time": "2026-11-22T13:25:01Z"}}}), "or neither for the newest")]
#[case::keep_nothing(json!({"backup": {"keep": {"daily": 0, "weekly": 0, "monthly": 0}}}), "keep at least one")]
fn a_tenant_is_refused_with_what_to_write(#[case] change: Value, #[case] message: &str) {
    let refused = refusal(tenant("acme", change).validate_cel());
    assert!(refused.contains(message), "{refused}");
    assert_eq!(refused.is_empty(), message.is_empty(), "{refused}");
}

#[rstest]
#[case("acme", "")]
#[case("7days", "")]
#[case(&"a".repeat(40), "")]
#[case(&"a".repeat(41), "at most 40 characters")]
#[case("acme.eu", "without dots")]
#[case("www", "reserved")]
#[case("xn--acme", "reserved")]
fn a_name_is_refused_with_what_to_write(#[case] name: &str, #[case] message: &str) {
    let refused = refusal(tenant(name, json!({})).validate_cel());
    assert!(refused.contains(message), "{refused}");
    assert_eq!(refused.is_empty(), message.is_empty(), "{refused}");
}

fn bootstrap(tenant: &str) -> Value {
    json!({"bootstrap": {"restore": {"tenant": tenant, "tenantUID": "7a0c0000-0000-4000-8000-000000000000"}}})
}

#[rstest]
#[case::grows(json!({"database": {"storage": "5Gi"}}), json!({"database": {"storage": "6Gi"}}), "")]
#[case::same_amount(json!({"database": {"storage": "1Gi"}}), json!({"database": {"storage": "1024Mi"}}), "")]
#[case::appears(json!({}), json!({"database": {"storage": "6Gi"}}), "")]
#[case::shrinks(json!({"database": {"storage": "5Gi"}}), json!({"database": {"storage": "4Gi"}}), "only grows")]
#[case::goes(json!({"database": {"storage": "5Gi"}}), json!({"database": {}}), "only grows")]
#[case::all_goes(json!({"database": {"storage": "5Gi"}}), json!({}), "only grows")]
#[case::class_changes(json!({"database": {"storageClass": "a"}}), json!({"database": {"storageClass": "b"}}), "cannot be changed")]
#[case::class_goes(json!({"database": {"storageClass": "a"}}), json!({}), "cannot be changed")]
#[case::class_comes(json!({}), json!({"database": {"storageClass": "a"}}), "cannot be changed")]
#[case::bootstrap_stays(bootstrap("a"), bootstrap("a"), "")]
#[case::bootstrap_changes(bootstrap("a"), bootstrap("b"), "cannot be added, changed or removed later")]
#[case::bootstrap_comes(json!({}), bootstrap("a"), "make a TenantRestore")]
#[case::bootstrap_goes(bootstrap("a"), json!({}), "make a TenantRestore")]
fn a_change_is_refused_with_what_to_write(#[case] old: Value, #[case] new: Value, #[case] message: &str) {
    let refused = refusal(tenant("acme", new).validate_cel_update(&tenant("acme", old)));
    assert!(refused.contains(message), "{refused}");
    assert_eq!(refused.is_empty(), message.is_empty(), "{refused}");
}

#[test]
fn a_release_names_a_digest_and_never_changes() {
    let release = |image: &str| {
        Release::new(
            "r1",
            ReleaseSpec {
                version: "1.0.0".into(),
                image: image.into(),
                schema: ReleaseSchema { version: 2, min_app_schema: Some(1) },
                upgrades_from: Some(">=0.9.0, <2".into()),
                notes: None,
            },
        )
    };
    let digest = format!("docker.io/tenantry/crm-app@sha256:{}", "a".repeat(64));
    let good = release(&digest);
    assert_eq!(refusal(good.validate_cel()), "");
    let mut odd = release(&digest);
    odd.spec.schema.min_app_schema = Some(3);
    odd.spec.upgrades_from = Some("all before".into());
    let refused = refusal(odd.validate_cel());
    assert!(refused.contains("not above schema.version") && refused.contains("comparisons"), "{refused}");
    assert!(refusal(release("docker.io/tenantry/crm-app:1.0").validate_cel()).contains("by digest"));
    let other = release(&digest.replace("aaaa", "bbbb"));
    assert!(refusal(other.validate_cel_update(&good)).contains("make a new Release"));
}

#[rstest]
#[case(json!({"seats": 0}), "seats is 1 or more")]
#[case(json!({"replicas": 6}), "from 1 to 5")]
#[case(json!({"app": {"memory": "1Mi"}}), "32Mi or more")]
#[case(json!({"database": {"memory": "64Mi"}}), "96Mi or more")]
#[case(json!({"app": {"cpu": "fast"}}), "100m")]
#[case(json!({"scheduling": {"priorityClassName": "High"}}), "kubectl get priorityclasses")]
#[case(json!({"scheduling": {"nodeSelector": {"a pool": "business"}}}), "labels of nodes")]
#[case(json!({"scheduling": {"nodeSelector": {"pool": " business"}}}), "labels of nodes")]
#[case(json!({"scheduling": {"tolerations": [{}]}}), "set operator: Exists")]
#[case(json!({"scheduling": {"tolerations": [{"operator": "Equal", "value": "a"}]}}), "set operator: Exists")]
#[case(json!({"scheduling": {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}}), "leave value out")]
#[case(json!({"scheduling": {"tolerations": [{"key": "a b"}]}}), "the key of a taint")]
#[case(json!({"scheduling": {"tolerations": [{"key": "a", "value": "b c"}]}}), "the value of a taint")]
#[case(json!({"scheduling": {"tolerations": [{"key": "a", "tolerationSeconds": 5}]}}), "effect NoExecute alone")]
#[case(json!({"scheduling": {"tolerations": [{"key": "a", "effect": "NoExecute", "tolerationSeconds": -5}]}}), "0 or more")]
#[case(json!({"backup": {"store": "main", "keep": {"daily": 0, "weekly": 0, "monthly": 0}}}), "keep at least one")]
#[case(json!({"backup": {"store": "main", "keep": {"daily": -1}}}), "from 0 to 366")]
#[case(json!({"backup": {"store": "main", "keep": {"weekly": 261}}}), "from 0 to 260")]
#[case(json!({"backup": {"store": "main", "keep": {"monthly": 121}}}), "from 0 to 120")]
fn a_plan_is_refused_with_what_to_write(#[case] change: Value, #[case] message: &str) {
    let mut spec = json!({
        "seats": 10,
        "app": {"cpu": "50m", "memory": "64Mi"},
        "database": {"storage": "1Gi", "cpu": "100m", "memory": "256Mi"},
    });
    merge(&mut spec, change);
    let plan = Plan::new("standard", serde_json::from_value(spec).unwrap());
    let refused = refusal(plan.validate_cel());
    assert!(refused.contains(message), "{refused}");
}

#[rstest]
#[case(json!({"nodeSelector": {"pool": "business", "topology.kubernetes.io/zone": "z1", "empty": ""}}))]
#[case(json!({"tolerations": [{"operator": "Exists"}, {"key": "example.com/pool"}, {"key": "a", "operator": "Exists"}]}))]
#[case(json!({"tolerations": [{"key": "a", "value": "", "effect": "NoExecute", "tolerationSeconds": 0}]}))]
fn what_kubernetes_takes_is_taken(#[case] scheduling: Value) {
    let spec = json!({
        "seats": 10,
        "app": {"cpu": "50m", "memory": "64Mi"},
        "database": {"storage": "1Gi", "cpu": "100m", "memory": "256Mi"},
        "scheduling": scheduling,
    });
    let plan = Plan::new("standard", serde_json::from_value(spec).unwrap());
    assert_eq!(refusal(plan.validate_cel()), "");
}

#[rstest]
#[case(json!({}), "")]
#[case(json!({"s3": null, "volume": {"claim": "backups"}}), "")]
#[case(json!({"s3": {"prefix": "clusters/east", "region": "eu-central-1", "endpoint": "http://minio.minio.svc:9000"}, "lock": {"days": 30}}), "")]
#[case(json!({"s3": null}), "exactly one of")]
#[case(json!({"volume": {"claim": "backups"}}), "exactly one of")]
#[case(json!({"s3": null, "volume": {"claim": "backups"}, "lock": {"days": 30}}), "with spec.volume leave it out")]
#[case(json!({"lock": {"days": 0}}), "from 1 to 3650")]
#[case(json!({"s3": {"bucket": "Backups"}}), "name of a bucket")]
#[case(json!({"s3": {"prefix": "/east"}}), "no slash at its ends")]
#[case(json!({"s3": {"prefix": "../east"}}), "no slash at its ends")]
#[case(json!({"s3": {"prefix": "a/.tenantry"}}), "begins with a dot")]
#[case(json!({"s3": {"endpoint": "https://s3.example.com/backups"}}), "no bucket, no path")]
#[case(json!({"s3": {"endpoint": "s3.example.com"}}), "a scheme")]
#[case(json!({"s3": {"credentialsSecret": "a/b"}}), "name of a Secret")]
#[case(json!({"s3": null, "volume": {"claim": "../backups"}}), "PersistentVolumeClaim")]
#[case(json!({"recoveryRecipients": ["AGE-SECRET-KEY-1ABC"]}), "never write the private key")]
#[case(json!({"recoveryRecipients": ["age1REPLACE"]}), "as age-keygen prints them")]
fn a_store_is_refused_with_what_to_write(#[case] change: Value, #[case] message: &str) {
    let mut spec = json!({
        "s3": {"bucket": "backups", "credentialsSecret": "s3"},
        "recoveryRecipients": ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"],
    });
    merge(&mut spec, change);
    let store = BackupStore::new("offsite", serde_json::from_value(spec).unwrap());
    let refused = refusal(store.validate_cel());
    assert!(refused.contains(message), "{refused}");
    assert_eq!(refused.is_empty(), message.is_empty(), "{refused}");
}

/// `UPDATE=1 cargo test -p operator` rewrites the files.
#[test]
#[expect(clippy::disallowed_methods, reason = "a switch for developers, not part of the product")]
fn the_committed_definitions_are_fresh() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../crds");
    let update = std::env::var_os("UPDATE").is_some();
    for (file, definition) in definitions().unwrap() {
        let wanted = crate::definition_yaml(&definition).unwrap();
        let path = directory.join(file);
        if update {
            fs::write(&path, &wanted).unwrap();
        }
        assert!(!wanted.contains("nullable"), "{file}: null must mean absent");
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(committed, wanted, "{file} is stale: run UPDATE=1 cargo test -p operator");
    }
}

#[rstest]
#[case::plain(json!([]), "")]
#[case::all(json!([
    {"name": "own", "tenants": {"matchLabels": {"tier": "own"}}}, {"name": "canary", "percent": 5}, {"name": "all"},
]), "")]
#[case::none_left(json!([{"name": "half", "percent": 50}]), "")]
#[case::both(json!([{"name": "a", "percent": 5, "tenants": {}}]), "not both")]
#[case::too_many(json!([{"name": "a", "percent": 101}]), "from 1 to 100")]
#[case::everybody_first(json!([{"name": "all"}, {"name": "canary", "percent": 5}]), "comes last")]
#[case::everybody_twice(json!([{"name": "all"}, {"name": "rest"}]), "only one wave")]
#[case::name(json!([{"name": "The First"}]), "lower-case letters")]
fn a_channel_is_refused_with_what_to_write(#[case] waves: Value, #[case] message: &str) {
    let spec: ChannelSpec =
        serde_json::from_value(json!({"release": "r2", "rollout": {"waves": waves}})).unwrap();
    let refused = refusal(Channel::new("stable", spec).validate_cel());
    assert!(refused.contains(message), "{refused}");
    assert_eq!(refused.is_empty(), message.is_empty(), "{refused}");
}
