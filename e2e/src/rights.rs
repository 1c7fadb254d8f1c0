//! What was asked of the API server, and what it refused, out of the audit log: the measure of what roles should grant.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::cluster::control_plane::AuditEvent;

/// The operator, as the audit log calls it.
pub const OPERATOR: &str = "system:serviceaccount:tenantry-system:tenantry-operator";
/// The gateway, as the audit log calls it.
pub const GATEWAY: &str = "system:serviceaccount:tenantry-gateway:gateway";

/// What the rules of a role grant: `verb resource[/subresource]`.
pub fn granted(rules: Option<Vec<PolicyRule>>) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for rule in rules.unwrap_or_default() {
        for resource in rule.resources.unwrap_or_default() {
            rights.extend(rule.verbs.iter().map(|verb| format!("{verb} {resource}")));
        }
    }
    rights
}

/// What a request needed: `verb resource[/subresource]`, with `create` besides `patch` where a patch made the object.
pub fn uses(event: &AuditEvent) -> Vec<String> {
    let Some(object) = &event.object_ref else { return Vec::new() };
    let slash = if object.subresource.is_empty() { "" } else { "/" };
    let resource = format!("{}{slash}{}", object.resource, object.subresource);
    let created = event.verb == "patch" && code(event) == 201;
    let verbs = std::iter::once(event.verb.as_str()).chain(created.then_some("create"));
    verbs.map(|verb| format!("{verb} {resource}")).collect()
}

/// Requests that were forbidden and of which none of the same user, kind and place was let through later: right after a
/// role is bound, the API server may not know it yet.
pub fn refused_for_good(events: &[AuditEvent]) -> BTreeSet<String> {
    let mut refused = BTreeSet::new();
    for event in events {
        let namespace = event.object_ref.as_ref().map(|object| object.namespace.as_str()).unwrap_or_default();
        let key = |right: String| format!("{}: {right} {namespace}", event.user.username);
        let keys: BTreeSet<String> = uses(event).into_iter().map(key).collect();
        match code(event) {
            403 => refused.extend(keys),
            200..300 => refused.retain(|known| !keys.contains(known)),
            _ => {}
        }
    }
    refused
}

fn code(event: &AuditEvent) -> u16 {
    event.response_status.as_ref().map_or(0, |status| status.code)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(user: &str, verb: &str, namespace: &str, code: u16) -> AuditEvent {
        let object = json!({ "resource": "pods", "subresource": "status", "namespace": namespace });
        serde_json::from_value(json!({
            "verb": verb, "requestURI": "/", "user": { "username": user }, "objectRef": object,
            "responseStatus": { "code": code }, "stage": "ResponseComplete",
        }))
        .unwrap()
    }

    #[test]
    fn a_patch_that_makes_an_object_needs_both_rights() {
        assert_eq!(uses(&event("a", "patch", "n", 201)), ["patch pods/status", "create pods/status"]);
        assert_eq!(uses(&event("a", "patch", "n", 200)), ["patch pods/status"]);
    }

    #[test]
    fn only_what_was_never_let_through_later_is_refused_for_good() {
        let lag = [event("a", "get", "n", 403), event("a", "get", "n", 200)];
        assert_eq!(refused_for_good(&lag), BTreeSet::new());
        let taken_away = [event("a", "get", "n", 200), event("a", "get", "n", 403)];
        assert_eq!(refused_for_good(&taken_away), BTreeSet::from(["a: get pods/status n".to_owned()]));
        let elsewhere =
            [event("a", "get", "n", 403), event("a", "get", "m", 200), event("b", "get", "n", 200)];
        assert_eq!(refused_for_good(&elsewhere).len(), 1);
        assert_eq!(refused_for_good(&[event("a", "get", "n", 404)]), BTreeSet::new());
    }
}
