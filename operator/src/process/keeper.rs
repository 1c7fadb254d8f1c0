//! What we know of one of our own kinds, event by event.

use std::{collections::BTreeSet, sync::Arc};

use kube::{
    Resource, ResourceExt,
    runtime::{
        reflector::{ObjectRef, store::Writer},
        watcher,
    },
};

use crate::{
    cluster::cache::{version_in, version_of},
    malformed::{Guarded, Registry},
};

/// What we know of one kind: the objects that can be read in a store, the others set aside. An object that exists is in one
/// of them at any moment, or its addresses would be taken from it.
pub(super) struct Keeper<K: Resource<DynamicType = ()> + Clone + 'static> {
    pub(super) writer: Writer<K>,
    pub(super) malformed: Arc<Registry>,
    /// What news of an object is about: the object itself, or what it names.
    about: fn(&Guarded<K>) -> String,
    /// Malformed objects of the list that is coming in.
    listed: BTreeSet<String>,
    /// What that list is about.
    news: Vec<String>,
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Keeper<K> {
    pub(super) fn new(malformed: &Arc<Registry>) -> Self {
        Self {
            writer: Writer::default(),
            malformed: malformed.clone(),
            about: ResourceExt::name_any,
            listed: BTreeSet::new(),
            news: Vec::new(),
        }
    }

    /// One whose news are about what an object names.
    pub(super) fn about(malformed: &Arc<Registry>, about: fn(&Guarded<K>) -> String) -> Self {
        Self { about, ..Self::new(malformed) }
    }

    /// Takes an event in; returns what there is news of. Of a list there is none before all of it can be seen.
    pub(super) fn take(&mut self, event: watcher::Event<Guarded<K>>) -> Vec<String> {
        match event {
            watcher::Event::Init => {
                self.listed.clear();
                self.news.clear();
                self.writer.apply_watcher_event(&watcher::Event::Init);
                Vec::new()
            }
            watcher::Event::InitApply(object) => {
                self.news.push((self.about)(&object));
                match object.0 {
                    Ok(object) => self.writer.apply_watcher_event(&watcher::Event::InitApply(object)),
                    Err(object) => {
                        self.listed.insert(object.name().to_owned());
                        self.malformed.put(*object);
                    }
                }
                Vec::new()
            }
            watcher::Event::InitDone => {
                self.writer.apply_watcher_event(&watcher::Event::InitDone);
                self.malformed.retain::<K>(&std::mem::take(&mut self.listed));
                std::mem::take(&mut self.news)
            }
            watcher::Event::Apply(object) if self.is_past(&object) => Vec::new(),
            watcher::Event::Apply(object) => {
                let (name, about) = (object.name_any(), (self.about)(&object));
                match object.0 {
                    Ok(object) => {
                        self.writer.apply_watcher_event(&watcher::Event::Apply(object));
                        self.malformed.remove::<K>(&name);
                    }
                    Err(object) => {
                        self.malformed.put(*object);
                        self.forget(&name);
                    }
                }
                vec![about]
            }
            watcher::Event::Delete(object) => {
                let (name, about) = (object.name_any(), (self.about)(&object));
                self.forget(&name);
                self.malformed.remove::<K>(&name);
                vec![about]
            }
        }
    }

    /// Whether a later version of that very object is known. A watch that is begun anew may tell old news again, and to act
    /// on it would be to undo what was done since.
    fn is_past(&self, object: &Guarded<K>) -> bool {
        let name = object.name_any();
        let known = self.writer.as_reader().get(&ObjectRef::new(&name)).map(|known| known.meta().clone());
        let known = known.or_else(|| self.malformed.get::<K>(&name).map(|known| known.metadata.clone()));
        known.is_some_and(|known| known.uid == object.uid() && version_of(object) < version_in(&known))
    }

    /// Takes the object out of the store.
    fn forget(&mut self, name: &str) {
        if let Some(known) = self.writer.as_reader().get(&ObjectRef::new(name)) {
            self.writer.apply_watcher_event(&watcher::Event::Delete((*known).clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use watcher::Event;

    use super::*;
    use crate::{
        api::Tenant,
        testing::{malformed_tenant, tenant},
    };

    fn keeper() -> Keeper<Tenant> {
        Keeper::new(&Arc::default())
    }

    /// How many are in the store, and how many are set aside.
    fn known(keeper: &Keeper<Tenant>) -> (usize, usize) {
        (keeper.writer.as_reader().len(), keeper.malformed.of_kind::<Tenant>().len())
    }

    fn good() -> Guarded<Tenant> {
        Guarded(Ok(tenant()))
    }

    fn bad() -> Guarded<Tenant> {
        Guarded(Err(Box::new(malformed_tenant())))
    }

    #[test]
    fn an_object_is_either_known_or_set_aside() {
        let mut keeper = keeper();
        for (event, after) in [
            (Event::Apply(good()), (1, 0)),
            (Event::Apply(bad()), (0, 1)),
            (Event::Apply(bad()), (0, 1)),
            (Event::Apply(good()), (1, 0)),
            (Event::Delete(good()), (0, 0)),
            (Event::Apply(bad()), (0, 1)),
            (Event::Delete(bad()), (0, 0)),
            (Event::Apply(good()), (1, 0)),
            (Event::Delete(bad()), (0, 0)),
        ] {
            let what = format!("{event:?}");
            assert_eq!(keeper.take(event), ["acme"]);
            assert_eq!(known(&keeper), after, "after {what}");
        }
    }

    #[test]
    fn old_news_is_no_news() {
        let of_version = |version: &str| {
            let mut tenant = tenant();
            tenant.metadata.resource_version = Some(version.to_owned());
            tenant
        };
        let malformed_of_version = |version: &str| {
            let mut malformed = malformed_tenant();
            malformed.metadata.uid = tenant().metadata.uid;
            malformed.metadata.resource_version = Some(version.to_owned());
            Guarded(Err(Box::new(malformed)))
        };
        let mut keeper = keeper();
        let mut takes = |object| !keeper.take(Event::Apply(object)).is_empty();
        assert!(takes(Guarded(Ok(of_version("10")))));
        assert!(!takes(Guarded(Ok(of_version("9")))), "numbers, not texts");
        assert!(!takes(malformed_of_version("9")));
        assert!(takes(malformed_of_version("11")));
        assert!(!takes(Guarded(Ok(of_version("10")))));
        let mut another = of_version("3");
        another.metadata.uid = Some("another".to_owned());
        assert!(takes(Guarded(Ok(another))), "versions of different objects are not compared");
    }

    #[test]
    fn a_new_list_says_what_is_malformed_now() {
        let mut keeper = keeper();
        keeper.take(Event::Apply(good()));
        let mut list = |objects: Vec<Guarded<Tenant>>| {
            keeper.take(Event::Init);
            for object in &objects {
                assert!(keeper.take(Event::InitApply(object.clone())).is_empty(), "it cannot be seen yet");
            }
            assert_eq!(keeper.take(Event::InitDone).len(), objects.len());
            known(&keeper)
        };
        assert_eq!(list(vec![bad()]), (0, 1));
        assert_eq!(list(vec![bad()]), (0, 1));
        assert_eq!(list(vec![good()]), (1, 0));
        assert_eq!(list(vec![bad()]), (0, 1));
        assert_eq!(list(vec![]), (0, 0));
    }
}
