//! The audit log as tests read it.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// A request as the API server recorded it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// Path and query.
    #[serde(rename = "requestURI")]
    pub uri: String,
    /// Who asked.
    pub user: User,
    /// The program that asked, as it called itself.
    #[serde(default)]
    pub user_agent: String,
    /// What it was about; absent for paths that are no objects.
    pub object_ref: Option<ObjectRef>,
    /// What was answered.
    pub response_status: Option<ResponseStatus>,
    /// `ResponseStarted` for a watch that goes on, else `ResponseComplete`.
    pub stage: String,
}

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct User {
    /// Name of the user.
    pub username: String,
}

/// What a request was about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectRef {
    /// Plural name, for example `configmaps`.
    pub resource: String,
    /// For example `status`.
    pub subresource: String,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// Empty when the request is about many, or when the server chose the name.
    pub name: String,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ResponseStatus {
    /// HTTP status code.
    pub code: u16,
}

impl AuditEvent {
    /// Whether the request asks to change something, be it granted or not.
    pub fn is_mutation(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    /// Whether it is about this resource.
    pub fn is_about(&self, resource: &str) -> bool {
        self.object_ref.as_ref().is_some_and(|object| object.resource == resource)
    }
}

/// All finished requests in a log.
pub(super) fn read(log: &Path) -> Result<Vec<AuditEvent>> {
    let text = std::fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
    // The last line may still be being written; then its request has not been answered.
    let complete = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
    complete.lines().map(|line| serde_json::from_str(line).context("not an audit event")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"x","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/a/configmaps/b","verb":"patch","user":{"username":"alice","groups":["g"]},"userAgent":"t","objectRef":{"resource":"configmaps","namespace":"a","name":"b","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200}}"#;

    #[test]
    fn complete_lines_are_events() {
        let log = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(log.path(), format!("{LINE}\n{{\"verb\":")).unwrap();
        let events = read(log.path()).unwrap();
        assert_eq!(events.len(), 1);
        assert!(events[0].is_mutation() && events[0].is_about("configmaps"));
        assert_eq!(events[0].user.username, "alice");
    }
}
