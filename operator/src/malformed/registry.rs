//! Which objects are malformed at the moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::Resource;

use super::{Malformed, report};

/// The malformed objects of all our kinds.
#[derive(Debug, Default)]
pub struct Registry {
    entries: Mutex<BTreeMap<Key, Entry>>,
}

/// Kind and name.
type Key = (String, String);

#[derive(Debug)]
struct Entry {
    object: Arc<Malformed>,
    told: bool,
}

impl Registry {
    /// Sets an object aside. What was told of it before is not told again, unless something else is wrong with it now, or a write
    /// that was under way has put other words in the place of those.
    pub fn put(&self, object: Malformed) {
        let key = (object.kind().to_owned(), object.name().to_owned());
        let mut entries = self.lock();
        let told = entries.get(&key).is_some_and(|known| known.told && same(&known.object, &object));
        let told = told && report::stands(&object);
        entries.insert(key, Entry { object: Arc::new(object), told });
    }

    /// An object of that name can be read, or is gone.
    pub fn remove<K: Resource<DynamicType = ()>>(&self, name: &str) {
        if let Some(entry) = self.lock().remove(&key::<K>(name)) {
            no_longer(&entry.object);
        }
    }

    /// Forgets all of a kind that a complete list did not show as malformed.
    pub fn retain<K: Resource<DynamicType = ()>>(&self, malformed: &BTreeSet<String>) {
        let kind = K::kind(&());
        self.lock().retain(|(of, name), entry| {
            let keep = *of != kind || malformed.contains(name);
            if !keep {
                no_longer(&entry.object);
            }
            keep
        });
    }

    /// The malformed object of that kind and name.
    pub fn get<K: Resource<DynamicType = ()>>(&self, name: &str) -> Option<Arc<Malformed>> {
        self.lock().get(&key::<K>(name)).map(|entry| entry.object.clone())
    }

    /// All malformed objects of a kind.
    pub fn of_kind<K: Resource<DynamicType = ()>>(&self) -> Vec<Arc<Malformed>> {
        let kind = K::kind(&());
        let entries = self.lock();
        entries.iter().filter(|((of, _), _)| *of == kind).map(|(_, entry)| entry.object.clone()).collect()
    }

    /// Those that nobody has been told of.
    pub fn untold(&self) -> Vec<Arc<Malformed>> {
        self.lock().values().filter(|entry| !entry.told).map(|entry| entry.object.clone()).collect()
    }

    /// Everybody has been told of this object as it is.
    pub fn told(&self, object: &Malformed) {
        let key = (object.kind().to_owned(), object.name().to_owned());
        if let Some(entry) = self.lock().get_mut(&key).filter(|entry| same(&entry.object, object)) {
            entry.told = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key<K: Resource<DynamicType = ()>>(name: &str) -> Key {
    (K::kind(&()).into_owned(), name.to_owned())
}

fn no_longer(object: &Malformed) {
    tracing::info!(kind = object.kind(), name = object.name(), "object is no longer malformed");
}

fn same(one: &Malformed, other: &Malformed) -> bool {
    one.metadata.uid == other.metadata.uid && one.cause == other.cause
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{Plan, Tenant},
        testing::malformed_tenant,
    };

    #[test]
    fn the_same_fault_is_told_once_and_another_again() {
        let registry = Registry::default();
        registry.put(malformed_tenant());
        let untold = registry.untold();
        assert_eq!(untold.len(), 1);
        registry.told(&untold[0]);
        assert!(registry.untold().is_empty());
        let saying = |reason: &str| {
            let mut object = malformed_tenant();
            object.raw["status"]["conditions"] = serde_json::json!([{
                "type": "Ready", "status": "False", "reason": reason, "message": "", "lastTransitionTime": "2026-11-22T13:25:01Z",
            }]);
            object
        };
        registry.put(saying("Malformed"));
        assert!(registry.untold().is_empty(), "the status that tells of it changes it, and that is no news");
        registry.put(saying("AsExpected"));
        assert_eq!(registry.untold().len(), 1, "a write from before came after, and hid it");
        registry.told(&untold[0]);
        let mut worse = saying("Malformed");
        worse.cause = "spec.plan: invalid type".to_owned();
        registry.put(worse);
        assert_eq!(registry.untold().len(), 1);
        registry.told(&untold[0]);
        assert_eq!(registry.untold().len(), 1, "the new fault has not been told of");
    }

    #[test]
    fn kinds_do_not_mix() {
        let registry = Registry::default();
        registry.put(malformed_tenant());
        registry.retain::<Plan>(&BTreeSet::new());
        registry.remove::<Plan>("acme");
        assert_eq!((registry.of_kind::<Plan>().len(), registry.of_kind::<Tenant>().len()), (0, 1));
        assert!(registry.get::<Tenant>("acme").is_some());
        registry.retain::<Tenant>(&BTreeSet::new());
        assert!(registry.get::<Tenant>("acme").is_none());
    }
}
