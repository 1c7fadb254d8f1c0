//! What the operator wrote during a rollout, as the audit log has it: for each tenant which kinds of writes in which order.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::{
    bench::operator::lab::is_of_operator,
    cluster::control_plane::{AuditEvent, AuditTail},
};

/// What is to be written by a bare loop.
#[derive(Debug)]
pub(super) struct Script {
    /// By tenant.
    pub(super) tenants: BTreeMap<String, Vec<Write>>,
    /// How much the operator asked for in all, reads included.
    pub(super) requests: usize,
}

/// A write, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    /// `create`, `patch` or `delete`.
    pub(super) verb: String,
    /// Path of the object, or of the collection when it is new, with its subresource.
    pub(super) path: String,
    /// Everything after the path.
    pub(super) query: String,
    /// Plural name.
    pub(super) resource: String,
    /// Name of the object.
    pub(super) name: String,
    /// Its namespace, if it has any.
    pub(super) namespace: String,
}

impl Script {
    /// What the operator has done since the log was last read.
    pub(super) fn read(log: &mut AuditTail) -> Result<Self> {
        let mut events = Vec::new();
        log.read(|event| {
            if is_of_operator(&event) {
                events.push(event);
            }
        })?;
        Self::of(events)
    }

    /// What is about no tenant, such as the status of the channel, is shared out among all.
    fn of(events: Vec<AuditEvent>) -> Result<Self> {
        let requests = events.len();
        let (mut tenants, mut others) = (BTreeMap::<String, Vec<Write>>::new(), Vec::new());
        for write in events.into_iter().filter_map(Write::of) {
            match write.tenant() {
                Some(tenant) => tenants.entry(tenant.to_owned()).or_default().push(write),
                None => others.push(write),
            }
        }
        ensure!(!tenants.is_empty(), "the operator wrote nothing about tenants");
        let shares = tenants.len();
        for (index, writes) in tenants.values_mut().enumerate() {
            writes.extend(others.iter().skip(index).step_by(shares).cloned());
        }
        Ok(Self { tenants, requests })
    }

    /// How many writes there are.
    pub(super) fn writes(&self) -> usize {
        self.tenants.values().map(Vec::len).sum()
    }
}

impl Write {
    /// The write of an event that changed something; a write that was refused is none.
    fn of(event: AuditEvent) -> Option<Self> {
        let is_done = event.response_status.as_ref().is_some_and(|answer| answer.code < 300);
        if !event.is_mutation() || !is_done {
            return None;
        }
        let (path, query) = event.uri.split_once('?').unwrap_or((&event.uri, ""));
        let (path, query) = (path.to_owned(), query.to_owned());
        let object = event.object_ref?;
        Some(Self {
            verb: event.verb,
            path,
            query,
            resource: object.resource,
            name: object.name,
            namespace: object.namespace,
        })
    }

    /// The tenant that it is about.
    fn tenant(&self) -> Option<&str> {
        match self.resource.as_str() {
            "tenants" => Some(&self.name),
            "namespaces" => self.name.strip_prefix("tenant-"),
            _ => self.namespace.strip_prefix("tenant-"),
        }
    }

    /// Path of the object itself.
    pub(super) fn object(&self) -> String {
        match self.verb.as_str() {
            "create" => format!("{}/{}", self.path, self.name),
            _ => self.path.trim_end_matches("/status").to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(verb: &str, uri: &str, object: &Value, code: u16) -> AuditEvent {
        serde_json::from_value(json!({
            "verb": verb, "requestURI": uri, "user": {"username": "operator"}, "objectRef": object,
            "responseStatus": {"code": code}, "stage": "ResponseComplete",
        }))
        .unwrap()
    }

    #[test]
    fn writes_are_told_by_tenant_and_the_others_are_shared_out() {
        let status = |name: &str| {
            let uri = format!("/apis/tenantry.dev/v1alpha1/tenants/{name}/status?fieldManager=a");
            event("patch", &uri, &json!({"resource": "tenants", "subresource": "status", "name": name}), 200)
        };
        let job = json!({"resource": "jobs", "namespace": "tenant-a", "name": "migrate-1"});
        let jobs = "/apis/batch/v1/namespaces/tenant-a/jobs";
        let channel = json!({"resource": "channels", "name": "stable"});
        let channel = || event("patch", "/apis/tenantry.dev/v1alpha1/channels/stable/status", &channel, 200);
        let script = Script::of(vec![
            status("a"),
            event("create", jobs, &job, 201),
            event("create", jobs, &job, 409),
            status("b"),
            channel(),
            channel(),
            event("list", "/apis/tenantry.dev/v1alpha1/tenants", &json!({"resource": "tenants"}), 200),
        ])
        .unwrap();
        let paths = |tenant: &str| script.tenants[tenant].iter().map(Write::object).collect::<Vec<_>>();
        let channel = "/apis/tenantry.dev/v1alpha1/channels/stable";
        assert_eq!(
            paths("a"),
            [
                "/apis/tenantry.dev/v1alpha1/tenants/a",
                "/apis/batch/v1/namespaces/tenant-a/jobs/migrate-1",
                channel
            ]
        );
        assert_eq!(paths("b"), ["/apis/tenantry.dev/v1alpha1/tenants/b", channel]);
        assert_eq!((script.writes(), script.requests), (5, 7));
    }
}
