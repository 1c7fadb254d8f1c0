//! Keeps one store: opens it, looks again and again whether it works, and says so in its status.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{
    Door,
    backend::{self, Backend, Surroundings},
    stores::{Opened, State},
};
use crate::api::{
    BackupStore, BackupStoreSpec, BackupStoreStatus,
    conditions::{READY, Verdict, find, set_condition},
};

/// Owner of what the door says in statuses.
pub(super) const FIELD_MANAGER: &str = "tenantry-store";
/// The reason of a store that works.
const PROBED: &str = "Probed";
/// A status that could not be written, or a Secret that could not be read, is tried again so soon.
const SOON: Duration = Duration::from_secs(10);

/// What a backend was made of.
#[derive(Clone, PartialEq)]
struct Sources {
    spec: BackupStoreSpec,
    credentials: Option<BTreeMap<String, ByteString>>,
}

/// The backend in use.
type InUse = Option<(Sources, Arc<Backend>)>;

/// Keeps a store until dropped.
pub(super) async fn keep(
    door: Arc<Door>,
    client: Client,
    mut seen: watch::Receiver<Arc<BackupStore>>,
    state: Arc<State>,
) {
    let mut in_use = None;
    loop {
        let store = seen.borrow_and_update().clone();
        let pause = match look(&door, &client, &store, &mut in_use, &state).await {
            Ok(()) => jittered(door.limits.probe_interval),
            Err(error) => {
                let name = store.name_any();
                tracing::warn!(
                    store = name,
                    error = &error as &dyn std::error::Error,
                    "a store was not looked at"
                );
                SOON
            }
        };
        tokio::select! {
            changed = seen.changed() => if changed.is_err() { return },
            () = state.look.notified() => {}
            () = sleep(pause) => {}
        }
    }
}

/// Looks once: opens what changed, probes, tells. An error is the Kubernetes API's, and says nothing of the store.
async fn look(
    door: &Door,
    client: &Client,
    store: &BackupStore,
    in_use: &mut InUse,
    state: &State,
) -> kube::Result<()> {
    let name = store.name_any();
    let result = match refresh(door, client, store, in_use).await? {
        Ok(backend) => {
            state.set(Opened::Open(backend.clone()));
            probe(&backend, door.limits.store_timeout).await
        }
        Err(error) => {
            *in_use = None;
            state.set(Opened::Closed(error.reason(), error.to_string()));
            Err(error)
        }
    };
    let verdict = match result {
        Ok(()) => Verdict::yes(PROBED, "an object was written and read back"),
        Err(error) => Verdict::no(error.reason(), error.to_string()),
    };
    door.metrics.probed(&name, verdict.reason, verdict.reason == PROBED);
    tell(door, client, store, verdict).await
}

/// The backend of the store as it is now; the old one, with its connections, if nothing has changed.
async fn refresh(
    door: &Door,
    client: &Client,
    store: &BackupStore,
    in_use: &mut InUse,
) -> kube::Result<Result<Arc<Backend>, backend::Error>> {
    let credentials = match credentials(client, &door.namespace, &store.spec).await? {
        Ok(secret) => secret,
        Err(error) => return Ok(Err(error)),
    };
    let data = credentials.as_ref().map(|secret| secret.data.clone().unwrap_or_default());
    let sources = Sources { spec: store.spec.clone(), credentials: data };
    if let Some((of, backend)) = in_use
        && *of == sources
    {
        return Ok(Ok(backend.clone()));
    }
    let (spec, claims) = (store.spec.clone(), door.claims.clone());
    let (patience, now) = (door.limits.store_timeout, door.now);
    // A volume whose server is away may hold up whoever looks at it.
    let opening = spawn_blocking(move || {
        Backend::open(&spec, credentials.as_ref(), &Surroundings { claims: &claims, patience, now })
    });
    let opened = match timeout(door.limits.store_timeout, opening).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => Err(backend::Error::Failing(error.to_string())),
        Err(_) => Err(silent(door.limits.store_timeout)),
    };
    Ok(opened.map(|backend| {
        let backend = Arc::new(backend);
        *in_use = Some((sources, backend.clone()));
        backend
    }))
}

/// The Secret that a store names, if it names one, there is one, and the door may read it.
pub(super) async fn credentials(
    client: &Client,
    namespace: &str,
    spec: &BackupStoreSpec,
) -> kube::Result<Result<Option<Secret>, backend::Error>> {
    let Some(name) = spec.s3.as_ref().map(|s3| &s3.credentials_secret) else { return Ok(Ok(None)) };
    match Api::<Secret>::namespaced(client.clone(), namespace).get_opt(name).await {
        Ok(secret) => Ok(Ok(secret)),
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            Ok(Err(backend::Error::CredentialsMissing(format!(
                "the door may not read the Secret {name}: name it in the chart's value store.credentialsSecrets"
            ))))
        }
        Err(error) => Err(error),
    }
}

async fn probe(backend: &Backend, patience: Duration) -> Result<(), backend::Error> {
    let name = hex::encode(rand::random::<[u8; 8]>());
    match timeout(patience, backend.probe(&name)).await {
        Ok(result) => result,
        Err(_) => Err(silent(patience)),
    }
}

fn silent(patience: Duration) -> backend::Error {
    backend::Error::Unreachable(format!("no answer within {} s", patience.as_secs()))
}

/// Writes the status, if it says something new.
async fn tell(door: &Door, client: &Client, store: &BackupStore, verdict: Verdict) -> kube::Result<()> {
    let (name, generation) = (store.name_any(), store.metadata.generation);
    let before = store.status.clone().unwrap_or_default();
    let mut status = BackupStoreStatus { observed_generation: generation, ..before.clone() };
    if find(&before.conditions, READY).is_none_or(|ready| ready.reason != verdict.reason) {
        tracing::info!(
            store = name,
            reason = verdict.reason,
            message = verdict.message,
            "the store was looked at"
        );
    }
    set_condition(&mut status.conditions, READY, verdict, generation, (door.now)());
    if status == before {
        return Ok(());
    }
    // With the uid, a status never lands on a re-made object of the same name.
    let patch = json!({
        "apiVersion": BackupStore::api_version(&()), "kind": BackupStore::kind(&()),
        "metadata": {"name": name, "uid": store.uid()}, "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    Api::<BackupStore>::all(client.clone()).patch_status(&name, &params, &Patch::Apply(&patch)).await?;
    Ok(())
}

/// A tenth more or less, so that many stores are not looked at in the same moment for ever.
pub(super) fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(rand::random_range(0.9..1.1))
}
