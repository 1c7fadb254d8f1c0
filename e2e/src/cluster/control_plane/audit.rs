//! The audit log as tests read it.

use std::{
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use jiff::Timestamp;
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
    /// Addresses that the request came from, the asking program's first.
    #[serde(default, rename = "sourceIPs")]
    pub source_ips: Vec<String>,
    /// When the API server had the request.
    #[serde(default, rename = "requestReceivedTimestamp")]
    pub received: Timestamp,
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
    read_lines(log, |_| true)
}

/// The finished requests in a log of which the line is wanted: of a long log, parsing all takes long.
pub(in crate::cluster) fn read_lines(log: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<AuditEvent>> {
    let text = std::fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
    // The last line may still be being written; then its request has not been answered.
    let complete = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
    let wanted = complete.lines().filter(|line| wanted(line));
    wanted.map(|line| serde_json::from_str(line).context("not an audit event")).collect()
}

/// Reads an audit log as it grows, each request once.
#[derive(Debug)]
pub struct AuditTail {
    log: PathBuf,
    /// Up to here it was read; always the start of a line.
    position: u64,
}

impl AuditTail {
    /// From the first request on.
    pub fn new(log: &Path) -> Self {
        Self { log: log.to_path_buf(), position: 0 }
    }

    /// Leaves out all requests that are finished now.
    pub fn skip(&mut self) -> Result<()> {
        self.each_line(|_| Ok(()))
    }

    /// Looks at all requests that were finished since the last call.
    pub fn read(&mut self, mut look: impl FnMut(AuditEvent)) -> Result<()> {
        self.each_line(|line| {
            look(serde_json::from_slice(line).context("not an audit event")?);
            Ok(())
        })
    }

    fn each_line(&mut self, mut look: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut file =
            File::open(&self.log).with_context(|| format!("cannot read {}", self.log.display()))?;
        file.seek(SeekFrom::Start(self.position))?;
        let mut lines = BufReader::new(file);
        let mut line = Vec::new();
        // The last line may still be being written; it is for the next call.
        while let length = lines.read_until(b'\n', &mut line)?
            && line.ends_with(b"\n")
        {
            look(&line)?;
            self.position += u64::try_from(length)?;
            line.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const LINE: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"x","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/a/configmaps/b","verb":"patch","user":{"username":"alice","groups":["g"]},"userAgent":"t","objectRef":{"resource":"configmaps","namespace":"a","name":"b","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"sourceIPs":["198.18.64.7"],"requestReceivedTimestamp":"2026-11-22T09:00:00.123456Z"}"#;

    #[test]
    fn complete_lines_are_events() {
        let log = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(log.path(), format!("{LINE}\n{{\"verb\":")).unwrap();
        let events = read(log.path()).unwrap();
        assert_eq!(events.len(), 1);
        assert!(events[0].is_mutation() && events[0].is_about("configmaps"));
        assert_eq!(events[0].user.username, "alice");
        assert_eq!(events[0].source_ips, ["198.18.64.7"]);
        assert_eq!(events[0].received.to_string(), "2026-11-22T09:00:00.123456Z");
    }

    #[test]
    fn a_tail_shows_each_event_once() {
        let mut log = tempfile::NamedTempFile::new().unwrap();
        let mut tail = AuditTail::new(log.path());
        let seen = |tail: &mut AuditTail| {
            let mut count = 0;
            tail.read(|_| count += 1).unwrap();
            count
        };
        let (half, rest) = LINE.split_at(40);
        write!(log, "{LINE}\n{LINE}\n{half}").unwrap();
        assert_eq!(seen(&mut tail), 2);
        assert_eq!(seen(&mut tail), 0);
        write!(log, "{rest}\n{LINE}\n").unwrap();
        assert_eq!(seen(&mut tail), 2);
        writeln!(log, "{LINE}").unwrap();
        tail.skip().unwrap();
        assert_eq!(seen(&mut tail), 0);
    }
}
