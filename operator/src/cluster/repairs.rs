//! How often each child was put right, so that another controller that writes the same fields is noticed and cannot draw
//! the operator into a hot loop.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::cluster::cache::Key;

/// So many times within [`WINDOW`] the same child is put right without a word.
pub const PATIENCE: usize = 6;
/// What is longer ago does not count.
pub const WINDOW: Duration = Duration::from_secs(10);
/// Records of children that have been left in peace are dropped when there are more than this.
const KEPT: usize = 256;
/// Looking for them takes time, so it is not done more often than this: a fleet that is made has thousands of records.
const TIDY: Duration = Duration::from_secs(1);

/// The last repairs of each child.
#[derive(Debug, Default)]
pub struct Repairs {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    records: HashMap<Key, Record>,
    tidied: Option<Instant>,
}

#[derive(Debug)]
struct Record {
    /// Fingerprint of what was wanted; when that changes, a write is no repair.
    wanted: u64,
    at: VecDeque<Instant>,
}

impl Repairs {
    /// Whether the child was put right so often lately that somebody must be changing it back.
    pub fn is_contested(&self, key: &Key, wanted: u64, now: Instant) -> bool {
        self.lock().records.get(key).is_some_and(|record| {
            record.wanted == wanted && PATIENCE <= record.at.iter().filter(|at| is_recent(**at, now)).count()
        })
    }

    /// The child was written.
    pub fn count(&self, key: Key, wanted: u64, now: Instant) {
        let mut inner = self.lock();
        let Inner { records, tidied } = &mut *inner;
        if KEPT < records.len() && tidied.is_none_or(|at| TIDY <= now.saturating_duration_since(at)) {
            records.retain(|_, record| record.at.back().is_some_and(|at| is_recent(*at, now)));
            *tidied = Some(now);
        }
        let record = records.entry(key).or_insert_with(|| Record { wanted, at: VecDeque::new() });
        if record.wanted != wanted {
            *record = Record { wanted, at: VecDeque::new() };
        }
        record.at.push_back(now);
        if PATIENCE < record.at.len() {
            record.at.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_recent(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::facts::Kind;

    fn key(name: &str) -> Key {
        Key { namespace: "tenant-acme".into(), kind: Kind::Service, name: name.into() }
    }

    #[test]
    fn the_same_repair_again_and_again_is_a_fight_until_it_rests() {
        let (repairs, start) = (Repairs::default(), Instant::now());
        for number in 0..PATIENCE {
            let now = start + Duration::from_secs(number as u64);
            assert!(!repairs.is_contested(&key("crm"), 1, now), "after {number}");
            repairs.count(key("crm"), 1, now);
        }
        let soon = start + Duration::from_secs(WINDOW.as_secs() - 1);
        assert!(repairs.is_contested(&key("crm"), 1, soon));
        assert!(!repairs.is_contested(&key("crm"), 2, soon), "a change of ours is no repair");
        assert!(!repairs.is_contested(&key("database"), 1, soon));
        assert!(!repairs.is_contested(&key("crm"), 1, start + WINDOW), "the first is long ago");
    }

    #[test]
    fn those_left_in_peace_are_forgotten() {
        let (repairs, start) = (Repairs::default(), Instant::now());
        for number in 0..1000 {
            repairs.count(key(&number.to_string()), 1, start);
        }
        repairs.count(key("crm"), 1, start + WINDOW);
        assert_eq!(repairs.lock().records.len(), 1);
    }
}
