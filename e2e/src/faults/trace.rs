//! What the operator asked the API server: who did what to which object, and what came of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use http::{Method, Uri};
use operator::names::child;
use serde_json::Value;

use crate::toolchain::cache::content_hash;

/// Where the keys of deleted tenants are.
pub(super) const KEYS: &str = "tenantry-keys";

/// How the tenant is called in traces, whatever its name was in the run.
pub(super) const TENANT: &str = "acme";

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
}

impl Verb {
    /// Whether it changes something.
    pub(super) fn writes(self) -> bool {
        match self {
            Self::Get | Self::List | Self::Watch => false,
            Self::Create | Self::Update | Self::Patch | Self::Delete => true,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
        })
    }
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Subject {
    /// Plural name, with the subresource: `tenants/status`.
    pub(super) resource: String,
    /// Empty for cluster-scoped objects.
    pub(super) namespace: String,
    /// Empty for lists and watches.
    pub(super) name: String,
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ", self.resource)?;
        if !self.namespace.is_empty() {
            write!(formatter, "{}/", self.namespace)?;
        }
        formatter.write_str(&self.name)
    }
}

/// A request that is about objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) verb: Verb,
    pub(super) subject: Subject,
}

impl Asked {
    /// Reads method, path and, for a new object, the body; nothing for requests that are not about objects, and for
    /// events, which speak of the work and are no part of it.
    pub(super) fn of(method: &Method, uri: &Uri, body: &[u8], tenant: &str) -> Option<Self> {
        let words: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        let (["api", _version, below @ ..] | ["apis", _, _version, below @ ..]) = words.as_slice() else {
            return None;
        };
        let (namespace, below) = match below {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let (resource, name) = match below {
            [resource] => ((*resource).to_owned(), ""),
            [resource, name] => ((*resource).to_owned(), *name),
            [resource, name, subresource] => (format!("{resource}/{subresource}"), *name),
            _ => return None,
        };
        if resource == "events" {
            return None;
        }
        let verb = verb(method, uri, name)?;
        let named = if verb == Verb::Create { name_in(body) } else { name.to_owned() };
        let common = |text: &str| text.replace(tenant, TENANT);
        let named = match resource.as_str() {
            "pods" => without_revision(&named),
            "jobs" if is_named_by_hash(&named) => without_hash(&named),
            "tenanttombstones" | "tenanttombstones/status" => without_hash(&named),
            "secrets" if namespace == KEYS => without_hash(&named),
            _ => named,
        };
        let subject = Subject { resource, namespace: common(namespace), name: common(&named) };
        Some(Self { verb, subject })
    }
}

/// A pod's name without the hash in it, which differs from tenant to tenant.
fn without_revision(pod: &str) -> String {
    match pod.rsplitn(3, '-').collect::<Vec<_>>()[..] {
        [index, _revision, workload] => format!("{workload}-*-{index}"),
        _ => pod.to_owned(),
    }
}

/// Whether the name of a Job ends in a hash over a time or a uid.
fn is_named_by_hash(job: &str) -> bool {
    [child::BACKUP, child::RESTORE, child::REHEARSAL].iter().any(|part| job.starts_with(&format!("{part}-")))
}

/// A name without the hash at its end, which differs from tenant to tenant or from time to time.
fn without_hash(name: &str) -> String {
    name.rsplit_once('-').map_or_else(|| name.to_owned(), |(rest, _hash)| format!("{rest}-*"))
}

fn verb(method: &Method, uri: &Uri, name: &str) -> Option<Verb> {
    let watches = uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"));
    Some(match *method {
        Method::GET if watches => Verb::Watch,
        Method::GET if name.is_empty() => Verb::List,
        Method::GET => Verb::Get,
        Method::POST => Verb::Create,
        Method::PUT => Verb::Update,
        Method::PATCH => Verb::Patch,
        Method::DELETE => Verb::Delete,
        _ => return None,
    })
}

fn name_in(body: &[u8]) -> String {
    let object: Value = serde_json::from_slice(body).unwrap_or_default();
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// A request that asks to change something, and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    /// 1 for the first of the course.
    pub(super) number: usize,
    pub(super) asked: Asked,
    /// The API server's answer, whatever the operator was told.
    pub(super) status: u16,
    /// Hash of the body.
    pub(super) body: String,
    /// It names the uid of the object that it means.
    pub(super) names_uid: bool,
    /// The operator did not hear the answer.
    pub(super) unheard: bool,
}

impl Write {
    pub(super) fn new(number: usize, asked: Asked, status: u16, body: &[u8]) -> Self {
        let object: Value = serde_json::from_slice(body).unwrap_or_default();
        let names_uid = !object["preconditions"]["uid"].is_null() || !object["metadata"]["uid"].is_null();
        let body = content_hash([body]).chars().take(8).collect();
        Self { number, asked, status, body, names_uid, unheard: false }
    }

    pub(super) fn succeeded(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl fmt::Display for Write {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, asked, status, body, names_uid: _, unheard: _ } = self;
        write!(formatter, "{number:>3}  {:6} {}  {status} {body}", asked.verb, asked.subject)
    }
}

/// One of the writes of a course. Writes that do not need each other go out at once, in an order that differs from run to
/// run, so a write is known by what it does and not by its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Its number in the undisturbed run.
    pub(super) number: usize,
    pub(super) asked: Asked,
    /// 1 for the first success of that kind, 2 for the next.
    pub(super) occurrence: usize,
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "write {} ({} {}", self.number, self.asked.verb, self.asked.subject)?;
        if 1 < self.occurrence {
            write!(formatter, ", time {}", self.occurrence)?;
        }
        formatter.write_str(")")
    }
}

/// How often an object was made and deleted.
pub(super) type Counts = BTreeMap<Subject, (usize, usize)>;

/// All that was seen during one course.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    pub(super) writes: Vec<Write>,
    /// Objects that were read by name.
    pub(super) reads: BTreeSet<Subject>,
    /// Resources whose watches had news.
    pub(super) news: BTreeSet<String>,
}

impl Trace {
    /// How often that was done with success.
    pub(super) fn successes(&self, asked: &Asked) -> usize {
        self.writes.iter().filter(|write| write.asked == *asked && write.succeeded()).count()
    }

    /// The writes that succeeded.
    pub(super) fn targets(&self) -> Vec<Target> {
        let mut targets: Vec<Target> = Vec::new();
        for write in self.writes.iter().filter(|write| write.succeeded()) {
            let before = targets.iter().filter(|target| target.asked == write.asked).count();
            targets.push(Target { number: write.number, asked: write.asked.clone(), occurrence: before + 1 });
        }
        targets
    }

    /// What was made and deleted, and how often. Who asks for a deletion again because no answer came to the first time deletes
    /// once: something that goes slowly is still there, and the request names its uid.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::new();
        let mut unheard = BTreeSet::new();
        for write in self.writes.iter().filter(|write| write.succeeded()) {
            let deleted = write.asked.verb == Verb::Delete;
            let again = deleted && unheard.remove(&write.asked.subject);
            if write.unheard && deleted {
                unheard.insert(write.asked.subject.clone());
            }
            if !again && (write.status == 201 || deleted) {
                let (made, gone) = counts.entry(write.asked.subject.clone()).or_default();
                *if deleted { gone } else { made } += 1;
            }
        }
        counts
    }

    /// Deletes that would have hit any object of that name.
    pub(super) fn careless_deletes(&self) -> impl Iterator<Item = &Write> {
        self.writes.iter().filter(|write| write.asked.verb == Verb::Delete && !write.names_uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &Method, path: &str, body: &str) -> Option<String> {
        let asked = Asked::of(method, &path.parse().unwrap(), body.as_bytes(), "acme-0007")?;
        Some(format!("{} {}", asked.verb, asked.subject))
    }

    #[test]
    fn requests_are_understood() {
        let table = [
            (Method::GET, "/apis/tenantry.dev/v1alpha1/tenants?limit=500", "", Some("list tenants ")),
            (Method::GET, "/api/v1/pods?labelSelector=a&watch=true", "", Some("watch pods ")),
            (
                Method::GET,
                "/api/v1/namespaces/tenant-acme-0007/secrets/a",
                "",
                Some("get secrets tenant-acme/a"),
            ),
            (
                Method::PATCH,
                "/api/v1/namespaces/tenant-acme-0007?force=true",
                "",
                Some("patch namespaces tenant-acme"),
            ),
            (
                Method::PATCH,
                "/apis/tenantry.dev/v1alpha1/tenants/acme-0007/status",
                "",
                Some("patch tenants/status acme"),
            ),
            (
                Method::POST,
                "/apis/batch/v1/namespaces/tenant-acme-0007/jobs",
                r#"{"metadata":{"name":"migrate-1"}}"#,
                Some("create jobs tenant-acme/migrate-1"),
            ),
            (Method::POST, "/apis/events.k8s.io/v1/namespaces/default/events", "{}", None),
            (
                Method::PATCH,
                "/api/v1/namespaces/tenant-acme-0007/pods/crm-d920c6b2-0",
                "",
                Some("patch pods tenant-acme/crm-*-0"),
            ),
            (Method::GET, "/version", "", None),
        ];
        for (method, path, body, expected) in table {
            assert_eq!(asked(&method, path, body).as_deref(), expected, "{path}");
        }
    }

    fn write(number: usize, verb: Verb, name: &str, status: u16, body: &str) -> Write {
        let subject = Subject { resource: "services".into(), namespace: "a".into(), name: name.into() };
        Write::new(number, Asked { verb, subject }, status, body.as_bytes())
    }

    #[test]
    fn only_what_succeeded_counts() {
        let trace = Trace {
            writes: vec![
                write(1, Verb::Patch, "crm", 403, ""),
                write(2, Verb::Patch, "crm", 201, ""),
                write(3, Verb::Patch, "crm", 200, ""),
                write(4, Verb::Delete, "crm", 409, r#"{"preconditions":{"uid":"a"}}"#),
                write(5, Verb::Delete, "crm", 200, "{}"),
            ],
            ..Trace::default()
        };
        assert_eq!(trace.counts().into_values().collect::<Vec<_>>(), [(1, 1)]);
        let targets: Vec<_> =
            trace.targets().iter().map(|target| (target.number, target.occurrence)).collect();
        assert_eq!(targets, [(2, 1), (3, 2), (5, 1)]);
        assert_eq!(trace.careless_deletes().map(|write| write.number).collect::<Vec<_>>(), [5]);
    }

    #[test]
    fn a_delete_is_repeated_without_blame_only_when_nobody_heard_the_answer() {
        let twice = |unheard| {
            let first = Write { unheard, ..write(1, Verb::Delete, "crm", 200, "{}") };
            let writes = vec![first, write(2, Verb::Delete, "crm", 200, "{}")];
            Trace { writes, ..Trace::default() }.counts().into_values().collect::<Vec<_>>()
        };
        assert_eq!(twice(true), [(0, 1)]);
        assert_eq!(twice(false), [(0, 2)]);
    }
}
