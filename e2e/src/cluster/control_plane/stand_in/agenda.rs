//! What the stand-in has to look at.

use std::collections::{HashSet, VecDeque};

use super::Workload;

/// A workload: only what it is called, since what an event says of it may be older than what was seen already.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Item {
    pub(super) workload: Workload,
    pub(super) namespace: String,
    pub(super) name: String,
}

/// What has to be looked at, first come first served; each thing once, and never twice at the same time.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    waiting: VecDeque<Item>,
    /// Those that wait, to be found quickly.
    known: HashSet<Item>,
    busy: HashSet<Item>,
}

impl Agenda {
    /// Something changed.
    pub(super) fn add(&mut self, item: Item) {
        if self.known.insert(item.clone()) {
            self.waiting.push_back(item);
        }
    }

    /// The next to be looked at now, until it is [done](Self::done).
    pub(super) fn next(&mut self) -> Option<Item> {
        let at = self.waiting.iter().position(|item| !self.busy.contains(item))?;
        let item = self.waiting.remove(at)?;
        self.known.remove(&item);
        self.busy.insert(item.clone());
        Some(item)
    }

    /// It has been looked at.
    pub(super) fn done(&mut self, item: &Item) {
        self.busy.remove(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str) -> Item {
        Item { workload: Workload::Job, namespace: "a".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn what_changes_while_it_is_looked_at_is_looked_at_again_afterwards() {
        let mut agenda = Agenda::default();
        for name in ["one", "two", "one"] {
            agenda.add(item(name));
        }
        assert_eq!(agenda.next(), Some(item("one")));
        agenda.add(item("one"));
        assert_eq!(agenda.next(), Some(item("two")));
        assert_eq!(agenda.next(), None, "one is being looked at");
        agenda.done(&item("one"));
        assert_eq!(agenda.next(), Some(item("one")));
        agenda.done(&item("one"));
        assert_eq!(agenda.next(), None);
    }
}
