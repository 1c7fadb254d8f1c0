//! The BackupStores: followed, opened, probed, swept, and told of in their status.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::StreamExt;
use http::StatusCode;
use kube::{
    Api, Client, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Door,
    backend::Backend,
    keeper,
    path::{Prefix, StoreName},
    problem::Problem,
    sweep,
};
use crate::{api::BackupStore, malformed::Guarded};

/// How many tenants wait for their part of a store to be swept.
const WAITING: usize = 1024;

/// All stores that there are.
#[derive(Debug, Default)]
pub(super) struct Stores {
    entries: RwLock<BTreeMap<String, Entry>>,
    listed: AtomicBool,
}

#[derive(Debug)]
struct Entry {
    seen: watch::Sender<Arc<BackupStore>>,
    state: Arc<State>,
    grown: mpsc::Sender<Prefix>,
    _keeper: AbortOnDropHandle<()>,
    _sweeper: AbortOnDropHandle<()>,
}

/// What requests and the keeper of a store tell one another.
#[derive(Debug, Default)]
pub(super) struct State {
    opened: watch::Sender<Opened>,
    /// Something went wrong, so a look is due.
    pub(super) look: Notify,
}

/// Whether requests can be carried out.
#[derive(Clone, Debug, Default)]
pub(super) enum Opened {
    /// Its keeper has not come to it.
    #[default]
    NotYet,
    Open(Arc<Backend>),
    /// It cannot be tried, for this reason.
    Closed(&'static str, String),
}

impl State {
    pub(super) fn set(&self, opened: Opened) {
        self.opened.send_replace(opened);
    }

    /// The backend, as soon as there is one.
    pub(super) async fn open(&self) -> Arc<Backend> {
        let mut opened = self.opened.subscribe();
        loop {
            if let Opened::Open(backend) = &*opened.borrow_and_update() {
                return backend.clone();
            }
            // It changes as long as we have it.
            let _ = opened.changed().await;
        }
    }
}

impl Stores {
    /// Whether all of them are known.
    pub(super) fn are_listed(&self) -> bool {
        self.listed.load(Ordering::Acquire)
    }

    /// Where the objects of a store are.
    pub(super) fn backend(&self, name: &StoreName) -> Result<Arc<Backend>, Problem> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = entries.get(name.as_str()) else {
            let message = format!("there is no BackupStore {:?}", name.as_str());
            return Err(Problem::new(StatusCode::NOT_FOUND, "StoreNotFound", message));
        };
        let opened = entry.state.opened.borrow().clone();
        match opened {
            Opened::Open(backend) => Ok(backend),
            Opened::NotYet => Err(Problem::busy("the store is being opened")),
            Opened::Closed(reason, message) => {
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason, message))
            }
        }
    }

    /// Has the keeper of a store look at it soon.
    pub(super) fn look_again(&self, name: &StoreName) {
        if let Some(entry) = self.entries.read().unwrap_or_else(PoisonError::into_inner).get(name.as_str()) {
            entry.state.look.notify_one();
        }
    }

    /// A tenant has one more backup, so that an older one may go.
    pub(super) fn has_grown(&self, name: &StoreName, prefix: &Prefix) {
        if let Some(entry) = self.entries.read().unwrap_or_else(PoisonError::into_inner).get(name.as_str()) {
            // With so many waiting, this one has time until the next sweep of all.
            let _ = entry.grown.try_send(prefix.clone());
        }
    }

    fn put(&self, door: &Arc<Door>, client: &Client, store: BackupStore) {
        let name = store.name_any();
        // The API server takes no other names.
        let Ok(parsed) = StoreName::parse(&name) else { return };
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(&name) {
            entry.seen.send_if_modified(|seen| {
                // A status is our own word, and no news.
                let is_news = version(seen) != version(&store);
                *seen = Arc::new(store);
                is_news
            });
            return;
        }
        let (seen, news) = watch::channel(Arc::new(store));
        let state = Arc::<State>::default();
        let keeper = keeper::keep(door.clone(), client.clone(), news, state.clone());
        let keeper = AbortOnDropHandle::new(tokio::spawn(keeper));
        let (grown, arrivals) = mpsc::channel(WAITING);
        let sweeper = sweep::keep_swept(door.clone(), client.clone(), parsed, state.clone(), arrivals);
        let sweeper = AbortOnDropHandle::new(tokio::spawn(sweeper));
        entries.insert(name, Entry { seen, state, grown, _keeper: keeper, _sweeper: sweeper });
    }

    fn retain(&self, door: &Door, keep: impl Fn(&str) -> bool) {
        self.entries.write().unwrap_or_else(PoisonError::into_inner).retain(|name, _| {
            let stays = keep(name);
            if !stays {
                door.metrics.forget_store(name);
            }
            stays
        });
    }
}

fn version(store: &BackupStore) -> (Option<&str>, Option<i64>) {
    (store.metadata.uid.as_deref(), store.metadata.generation)
}

/// Follows the stores until dropped.
pub(super) async fn follow(door: Arc<Door>, client: Client) {
    let api: Api<Guarded<BackupStore>> = Api::all(client.clone());
    let mut events = pin!(watcher(api, watcher::Config::default()).default_backoff());
    let mut listed = BTreeSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(object)) => {
                listed.insert(object.name_any());
                take(&door, &client, object);
            }
            Ok(watcher::Event::Apply(object)) => take(&door, &client, object),
            Ok(watcher::Event::InitDone) => {
                door.stores.retain(&door, |name| listed.contains(name));
                door.stores.listed.store(true, Ordering::Release);
            }
            Ok(watcher::Event::Delete(object)) => {
                let gone = object.name_any();
                door.stores.retain(&door, |name| name != gone);
            }
            Err(error) => {
                door.metrics.watch_failures.inc();
                tracing::warn!(%error, "the watch of BackupStores failed; it starts again by itself");
            }
        }
    }
}

fn take(door: &Arc<Door>, client: &Client, object: Guarded<BackupStore>) {
    match object.0 {
        Ok(store) => door.stores.put(door, client, store),
        // One that was good before stays in use.
        Err(malformed) => {
            tracing::error!(name = malformed.name(), cause = malformed.cause, "a BackupStore cannot be read");
        }
    }
}
