//! What we last saw of every child, in a few hundred bytes each.
//!
//! Watches fill it, and so do our own writes: a reconcile right after a write sees what it wrote, not an older world. Of
//! two versions of one object the newer wins, whichever way it came.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use kube::{ResourceExt, core::ObjectMeta};
use smol_str::SmolStr;

use crate::{
    cluster::{
        facts::{
            ChildKind, ClaimFacts, Facts, JobFacts, Kind, NamespaceFacts, PodFacts, RouteFacts, WorkloadFacts,
        },
        fingerprint,
        uid::Uid,
    },
    names,
};

/// Where a child stands. Ordered by namespace first, so that one tenant's children are neighbours.
///
/// There is one of these for each child: short names stand in it without an allocation of their own, and long ones are shared
/// by its copies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The namespace; for a Namespace its own name.
    pub namespace: SmolStr,
    /// The kind.
    pub kind: Kind,
    /// The name.
    pub name: SmolStr,
}

impl Key {
    /// Where an object stands.
    pub fn of<K: ChildKind>(object: &K) -> Self {
        let name = object.name_any();
        let namespace = object.meta().namespace.as_ref().unwrap_or(&name).into();
        Self { namespace, kind: K::KIND, name: name.into() }
    }

    /// The tenant whose namespace this is. Not by the child's label, which somebody may have changed.
    pub fn tenant(&self) -> Option<String> {
        names::tenant_of(&self.namespace).map(str::to_owned)
    }
}

/// What we last saw of one child.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// Identity, for preconditions.
    pub uid: Uid,
    /// Version, to tell newer from older.
    pub version: u64,
    /// What we own of it.
    pub fingerprint: u64,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// It is on its way out.
    pub deleting: bool,
    /// The rest.
    pub facts: Facts,
}

impl Child {
    /// Takes from an object what is kept of it.
    pub fn of<K: ChildKind>(object: &K) -> Result<(Key, Self), serde_json::Error> {
        let managed = object.meta().managed_fields.as_deref();
        let child = Self {
            uid: object.meta().uid.as_deref().unwrap_or_default().into(),
            version: version_of(object),
            fingerprint: fingerprint::of_live(object, managed, names::FIELD_MANAGER)?,
            created: object.meta().creation_timestamp.as_ref().map(|time| time.0),
            deleting: object.meta().deletion_timestamp.is_some(),
            facts: object.facts(),
        };
        Ok((Key::of(object), child))
    }
}

/// The number by which versions of one object are ordered.
pub fn version_of<K: kube::Resource>(object: &K) -> u64 {
    version_in(object.meta())
}

/// The same of metadata.
pub fn version_in(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

/// All children of one tenant at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    children: BTreeMap<Key, Arc<Child>>,
    unserved: BTreeSet<Kind>,
}

impl Snapshot {
    /// A snapshot with just these children.
    pub fn new(children: impl IntoIterator<Item = (Key, Child)>) -> Self {
        let children = children.into_iter().map(|(key, child)| (key, Arc::new(child))).collect();
        Self { children, unserved: BTreeSet::new() }
    }

    /// Whether the cluster knows that kind; of kinds that are not watched, it is assumed.
    pub fn serves(&self, kind: Kind) -> bool {
        !self.unserved.contains(&kind)
    }

    /// The child of that kind and name.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Child> {
        self.of_kind(kind).find(|(key, _)| key.name == name).map(|(_, child)| child)
    }

    /// Whether a child is there just as it is wanted: applying it would send nothing.
    pub fn has<K: ChildKind>(&self, desired: &K) -> Result<bool, serde_json::Error> {
        let wanted = fingerprint::of_desired(desired)?;
        let child = self.get(K::KIND, &desired.name_any());
        Ok(child.is_some_and(|child| !child.deleting && child.fingerprint == wanted))
    }

    /// All children of a kind, in the order of their names.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Child)> {
        self.children
            .iter()
            .filter(move |(key, _)| key.kind == kind)
            .map(|(key, child)| (key, child.as_ref()))
    }

    /// All children.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Child)> {
        self.children.iter().map(|(key, child)| (key, child.as_ref()))
    }

    /// What is kept of the namespace.
    pub fn namespace(&self) -> Option<(&Child, &NamespaceFacts)> {
        self.of_kind(Kind::Namespace).find_map(|(_, child)| match &child.facts {
            Facts::Namespace(facts) => Some((child, facts.as_ref())),
            _ => None,
        })
    }

    /// What is kept of a StatefulSet or Deployment.
    pub fn workload(&self, kind: Kind, name: &str) -> Option<&WorkloadFacts> {
        match &self.get(kind, name)?.facts {
            Facts::Workload(facts) => Some(facts.as_ref()),
            _ => None,
        }
    }

    /// What is kept of a Job.
    pub fn job(&self, name: &str) -> Option<&JobFacts> {
        match &self.get(Kind::Job, name)?.facts {
            Facts::Job(facts) => Some(facts.as_ref()),
            _ => None,
        }
    }

    /// What is kept of a volume claim.
    pub fn claim(&self, name: &str) -> Option<&ClaimFacts> {
        match &self.get(Kind::PersistentVolumeClaim, name)?.facts {
            Facts::Claim(facts) => Some(facts.as_ref()),
            _ => None,
        }
    }

    /// What is kept of the HTTPRoutes, by name.
    pub fn http_routes(&self) -> impl Iterator<Item = (&str, &RouteFacts)> {
        self.of_kind(Kind::HttpRoute).filter_map(|(key, child)| match &child.facts {
            Facts::Route(facts) => Some((key.name.as_str(), facts.as_ref())),
            _ => None,
        })
    }

    /// What is kept of the pods of one component, by name; pods on their way out are left out.
    pub fn pods(&self, component: names::Component) -> impl Iterator<Item = (&str, &PodFacts)> {
        self.all_pods(component).filter(|(_, child, _)| !child.deleting).map(|(name, _, facts)| (name, facts))
    }

    /// Like [`Self::pods`], with those on their way out.
    pub fn all_pods(&self, component: names::Component) -> impl Iterator<Item = (&str, &Child, &PodFacts)> {
        self.of_kind(Kind::Pod).filter_map(move |(key, child)| match &child.facts {
            Facts::Pod(facts) if facts.component == component.as_str() => {
                Some((key.name.as_str(), child, facts.as_ref()))
            }
            _ => None,
        })
    }
}

/// What we last saw of every child.
#[derive(Debug, Default)]
pub struct Cache {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    children: BTreeMap<Key, Arc<Child>>,
    /// Uids of the children that went last, and the version as of which they were gone: the answer to a write may come
    /// after the news that its object is gone. A later version is of one that is back, because it lost our label only.
    gone: VecDeque<(Uid, u64)>,
    /// Kinds that the cluster does not know, as their watches found out.
    unserved: BTreeSet<Kind>,
}

/// More than can go while one write is under way.
const REMEMBERED_GONE: usize = 1024;

impl Cache {
    /// Remembers a version of a child, unless a newer one is known; says whether that changed anything.
    pub fn put(&self, key: Key, child: Child) -> bool {
        let mut inner = self.lock();
        match inner.children.get(&key) {
            Some(known) if known.uid == child.uid && child.version <= known.version => false,
            _ if inner.gone.iter().any(|(uid, version)| *uid == child.uid && child.version <= *version) => {
                false
            }
            _ => {
                inner.children.insert(key, Arc::new(child));
                true
            }
        }
    }

    /// Forgets a child that is gone as of `version`, unless a later one of that name is known.
    pub fn remove(&self, key: &Key, uid: &Uid, version: u64) {
        let mut inner = self.lock();
        if inner.gone.len() == REMEMBERED_GONE {
            inner.gone.pop_front();
        }
        inner.gone.push_back((uid.clone(), version));
        if inner.children.get(key).is_some_and(|known| known.uid == *uid && known.version <= version) {
            inner.children.remove(key);
        }
    }

    /// Forgets all children of a kind that a complete list did not have; returns where they stood.
    pub fn retain(&self, kind: Kind, seen: &HashSet<Key>) -> Vec<Key> {
        let mut lost = Vec::new();
        self.lock().children.retain(|key, _| {
            let keep = key.kind != kind || seen.contains(key);
            if !keep {
                lost.push(key.clone());
            }
            keep
        });
        lost
    }

    /// Remembers whether the cluster knows a kind; says whether that is news.
    pub fn set_served(&self, kind: Kind, served: bool) -> bool {
        let mut inner = self.lock();
        if served { inner.unserved.remove(&kind) } else { inner.unserved.insert(kind) }
    }

    /// The tenants that have a namespace.
    pub fn tenants(&self) -> Vec<String> {
        let inner = self.lock();
        let namespaces = inner.children.iter().filter(|(key, _)| key.kind == Kind::Namespace);
        namespaces.filter_map(|(key, _)| key.tenant()).collect()
    }

    /// All children in one namespace, and the namespace.
    pub fn snapshot(&self, namespace: &str) -> Snapshot {
        let from = Key { namespace: namespace.into(), kind: Kind::Namespace, name: SmolStr::default() };
        let inner = self.lock();
        let children = inner
            .children
            .range(from..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(key, child)| (key.clone(), child.clone()))
            .collect();
        Snapshot { children, unserved: inner.unserved.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, kind: Kind, name: &str) -> Key {
        Key { namespace: namespace.into(), kind, name: name.into() }
    }

    fn child(uid: &str, version: u64) -> Child {
        Child {
            uid: uid.into(),
            version,
            fingerprint: 0,
            created: None,
            deleting: false,
            facts: Facts::Plain,
        }
    }

    #[test]
    fn an_older_version_does_not_overwrite_a_newer() {
        let cache = Cache::default();
        let at = key("tenant-acme", Kind::Service, "crm");
        assert!(cache.put(at.clone(), child("a", 5)));
        assert!(!cache.put(at.clone(), child("a", 4)));
        assert!(!cache.put(at.clone(), child("a", 5)));
        assert_eq!(cache.snapshot("tenant-acme").get(Kind::Service, "crm").unwrap().version, 5);
    }

    #[test]
    fn the_deletion_of_a_former_object_does_not_remove_its_successor() {
        let cache = Cache::default();
        let at = key("tenant-acme", Kind::Service, "crm");
        cache.put(at.clone(), child("a", 5));
        cache.put(at.clone(), child("b", 7));
        cache.remove(&at, &"a".into(), 6);
        assert!(cache.snapshot("tenant-acme").get(Kind::Service, "crm").is_some());
        cache.remove(&at, &"b".into(), 10);
        assert!(cache.snapshot("tenant-acme").get(Kind::Service, "crm").is_none());
        assert!(!cache.put(at, child("b", 9)), "an answer that comes late brings nothing back");
    }

    #[test]
    fn a_child_that_got_its_label_back_is_known_again() {
        let cache = Cache::default();
        let at = key("tenant-acme", Kind::Service, "crm");
        cache.put(at.clone(), child("a", 5));
        // Without the label it leaves the watch, which says that it is gone.
        cache.remove(&at, &"a".into(), 6);
        assert!(cache.put(at.clone(), child("a", 7)));
        cache.remove(&at, &"a".into(), 6);
        assert!(cache.snapshot("tenant-acme").get(Kind::Service, "crm").is_some(), "the news came late");
    }

    #[test]
    fn a_kind_is_known_until_its_watch_says_otherwise() {
        let cache = Cache::default();
        let serves = || cache.snapshot("tenant-acme").serves(Kind::HttpRoute);
        assert!(serves() && !cache.set_served(Kind::HttpRoute, true));
        assert!(cache.set_served(Kind::HttpRoute, false) && !cache.set_served(Kind::HttpRoute, false));
        assert!(!serves() && cache.snapshot("tenant-acme").serves(Kind::Ingress));
        assert!(cache.set_served(Kind::HttpRoute, true) && serves());
    }

    #[test]
    fn a_snapshot_is_of_one_namespace() {
        let cache = Cache::default();
        cache.put(key("tenant-a", Kind::Service, "crm"), child("a", 1));
        cache.put(key("tenant-ab", Kind::Service, "crm"), child("b", 1));
        cache.put(key("tenant-a", Kind::Namespace, "tenant-a"), child("c", 1));
        assert_eq!(cache.snapshot("tenant-a").iter().count(), 2);
        assert_eq!(cache.tenants(), ["a"]);
        let lost = cache.retain(Kind::Service, &HashSet::new());
        assert_eq!(lost.len(), 2);
        assert_eq!(cache.snapshot("tenant-a").iter().count(), 1);
    }
}
