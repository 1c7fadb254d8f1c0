//! The roles in the chart, read as an auditor would.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{objects, of_kind};

/// Whether a list of a rule has a word.
fn has(rule: &Value, list: &str, word: &str) -> bool {
    rule[list].as_array().is_some_and(|words| words.iter().any(|each| each == word))
}

/// Every rule of every role, with the role's name.
fn rules(objects: &[Value]) -> Result<Vec<(String, &Value)>> {
    let mut rules = Vec::new();
    for role in [of_kind(objects, "ClusterRole"), of_kind(objects, "Role")].concat() {
        let name = format!("{} {}/{}", role["kind"], role["metadata"]["namespace"], role["metadata"]["name"]);
        let list = role["rules"].as_array().with_context(|| format!("{name} has no rules"))?;
        rules.extend(list.iter().map(|rule| (name.clone(), rule)));
    }
    Ok(rules)
}

#[tokio::test]
async fn no_role_has_wildcards_or_verbs_that_lead_to_more_rights() -> Result<()> {
    let objects = objects(&json!({ "imagePullSecrets": ["registry"] })).await?;
    for (role, rule) in rules(&objects)? {
        for list in ["verbs", "resources", "apiGroups"] {
            assert!(!has(rule, list, "*"), "{role}: {rule}");
        }
        assert!(!has(rule, "verbs", "escalate") && !has(rule, "verbs", "impersonate"), "{role}: {rule}");
        if has(rule, "verbs", "bind") {
            assert_eq!(rule["resourceNames"], json!(["tenantry-tenant"]), "{role}: {rule}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn only_the_gateway_lists_secrets_and_only_in_its_namespace() -> Result<()> {
    let objects = objects(&json!({ "imagePullSecrets": ["registry"] })).await?;
    let mut listing = Vec::new();
    for (role, rule) in rules(&objects)? {
        let secret = has(rule, "resources", "secrets") || has(rule, "resources", "configmaps");
        if secret
            && (has(rule, "verbs", "list") || has(rule, "verbs", "watch"))
            && rule["resourceNames"].is_null()
        {
            listing.push(role);
        }
    }
    assert_eq!(listing, [r#""Role" "tenantry-gateway"/"gateway""#]);
    Ok(())
}

#[tokio::test]
async fn nothing_secret_can_be_read_by_a_cluster_wide_role() -> Result<()> {
    let objects = objects(&json!({})).await?;
    let bound: Vec<&Value> =
        of_kind(&objects, "ClusterRoleBinding").iter().map(|binding| &binding["roleRef"]["name"]).collect();
    assert_eq!(bound, ["tenantry-operator", "tenantry-store"]);
    let bound = [r#""ClusterRole" null/"tenantry-operator""#, r#""ClusterRole" null/"tenantry-store""#];
    for (role, rule) in rules(&objects)?.iter().filter(|(role, _)| bound.contains(&role.as_str())) {
        for resource in ["secrets", "configmaps", "pods/exec", "serviceaccounts/token", "nodes/proxy"] {
            assert!(!has(rule, "resources", resource), "{role}: {rule}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_door_gets_the_secrets_that_are_named_and_no_others() -> Result<()> {
    let of_the_door = async |names: &Value| -> Result<Vec<Value>> {
        let objects = objects(&json!({ "store": { "credentialsSecrets": names } })).await?;
        let rules = rules(&objects)?.into_iter().filter(|(role, _)| role.contains("tenantry-store"));
        let secret = rules.filter(|(_, rule)| has(rule, "resources", "secrets"));
        Ok(secret.map(|(role, rule)| json!([role, rule["resourceNames"], rule["verbs"]])).collect())
    };
    assert_eq!(of_the_door(&json!([])).await?, [Value::Null; 0]);
    let role = r#""Role" "tenantry-system"/"tenantry-store""#;
    assert_eq!(of_the_door(&json!(["a", "b"])).await?, [json!([role, ["a", "b"], ["get"]])]);
    Ok(())
}
