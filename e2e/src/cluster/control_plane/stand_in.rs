//! Plays the part of nodes and workload controllers: makes pods for workloads and says how they are, as a test's script says.
//!
//! Without a script everything works at once: pods are ready, Jobs succeed, claims are bound, and the CRM's visitors are content.

mod agenda;
mod management;
mod settle;
mod status;
mod traffic;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{
    StreamExt,
    future::ready,
    stream::{self, FuturesUnordered},
};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    batch::v1::Job,
    core::v1::{PersistentVolumeClaim, Pod},
};
use kube::{
    Api, Client, ResourceExt,
    api::ListParams,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};

use self::{
    agenda::{Agenda, Item},
    management::Ports,
    settle::Settle,
};

pub use self::traffic::Traffic;

/// Pause before something is looked at again after an error.
const RETRY: Duration = Duration::from_millis(200);
/// How many workloads are looked at at the same time.
const AT_ONCE: usize = 16;

/// The backup that is always made.
pub const BACKUP: &str = "20260101T000000Z-st4nd1";
/// The backup that is always restored.
pub const RESTORED: &str = "20251231T000000Z-st4nd0";

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are Kubernetes' own")]
pub enum Workload {
    Deployment,
    StatefulSet,
    Job,
    PersistentVolumeClaim,
}

/// What becomes of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Pods are ready; a Job has succeeded, with this termination message; a claim is bound.
    Works {
        /// What the container wrote to its termination log.
        message: String,
    },
    /// The container exited with this code and termination message: a Job has failed, other pods crash again and again.
    Exits {
        /// Not zero.
        code: i32,
        /// What the container wrote to its termination log.
        message: String,
    },
    /// The container cannot start, for example `ImagePullBackOff`.
    Waits {
        /// The reason as the kubelet gives it.
        reason: String,
        /// The message as the kubelet gives it.
        message: String,
    },
    /// Nothing happens: no pod is made, a claim stays pending.
    Nothing,
}

impl Outcome {
    /// Everything is well.
    pub fn works() -> Self {
        Self::Works { message: String::new() }
    }
}

/// A line of the script; empty names mean any.
#[derive(Clone, Debug)]
struct Rule {
    workload: Workload,
    namespace: String,
    name_prefix: String,
    /// A part of the name of the first container's image.
    image: String,
    outcome: Outcome,
}

#[derive(Debug, Default)]
struct Script {
    rules: Mutex<Vec<Rule>>,
    /// What the visitors of pods meet with whose image has this in its name.
    traffic: Mutex<Vec<(String, Traffic)>>,
}

impl Script {
    /// The last rule that fits counts.
    fn outcome(&self, workload: Workload, namespace: &str, name: &str, image: &str) -> Outcome {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |rule: &&Rule| {
            rule.workload == workload
                && (rule.namespace.is_empty() || rule.namespace == namespace)
                && name.starts_with(&rule.name_prefix)
                && image.contains(&rule.image)
        };
        rules.iter().rev().find(fits).map_or_else(Outcome::works, |rule| rule.outcome.clone())
    }

    /// The last that fits counts.
    fn traffic(&self, image: &str) -> Traffic {
        let traffic = self.traffic.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = traffic.iter().rev().find(|(part, _)| image.contains(part));
        fits.map(|(_, traffic)| *traffic).unwrap_or_default()
    }
}

/// Plays nodes and workload controllers until dropped.
#[derive(Debug)]
pub struct StandIn {
    script: Arc<Script>,
    changed: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl StandIn {
    /// Begins to play. The client must be allowed everything.
    pub fn start(client: Client) -> Self {
        let script = Arc::new(Script::default());
        let changed = watch::Sender::new(());
        let task = tokio::spawn(play(client, script.clone(), changed.subscribe()));
        Self { script, changed, task }
    }

    /// From now on, this becomes of workloads in `namespace` whose names start with `name_prefix`; either may be empty for any.
    /// Workloads that are there already follow too. Later rules win.
    pub fn on(&self, workload: Workload, namespace: &str, name_prefix: &str, outcome: Outcome) {
        self.add(Rule {
            workload,
            namespace: namespace.to_owned(),
            name_prefix: name_prefix.to_owned(),
            image: String::new(),
            outcome,
        });
    }

    /// What becomes of all workloads of that kind whose image has this in its name.
    pub fn on_image(&self, workload: Workload, image: &str, outcome: Outcome) {
        self.on_part_of_image(workload, "", image, outcome);
    }

    /// What becomes of those of them whose names start with `name_prefix`: of the drills with an image, for example.
    pub fn on_part_of_image(&self, workload: Workload, name_prefix: &str, image: &str, outcome: Outcome) {
        self.add(Rule {
            workload,
            namespace: String::new(),
            name_prefix: name_prefix.to_owned(),
            image: image.to_owned(),
            outcome,
        });
    }

    /// What the visitors of all pods meet with whose image has this in its name, also of those that are there already.
    pub fn on_visitors(&self, image: &str, traffic: Traffic) {
        let mut all = self.script.traffic.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((image.to_owned(), traffic));
        drop(all);
        self.changed.send_replace(());
    }

    fn add(&self, rule: Rule) {
        self.script.rules.lock().unwrap_or_else(PoisonError::into_inner).push(rule);
        self.changed.send_replace(());
    }

    /// From now on every backup is made, and every trial of one succeeds; both are always the same backup.
    pub fn backups_succeed(&self) {
        let made = json!({"backup": BACKUP, "createdAt": "2026-01-01T00:00:00Z", "schemaVersion": 1});
        let with = |more: Value| {
            let mut report = made.clone();
            for (key, value) in more.as_object().into_iter().flatten() {
                report[key] = value.clone();
            }
            Outcome::Works { message: report.to_string() }
        };
        self.on(Workload::Job, "", "backup", with(json!({"code": "BackedUp", "size": 4096})));
        self.on(Workload::Job, "", "drill", with(json!({"code": "Drilled", "restoredIn": 1, "rows": 2})));
    }

    /// From now on every restore succeeds, always of the same backup, and leaves that version of the schema.
    pub fn restores_succeed(&self, schema_version: i64) {
        let report = json!({
            "code": "Restored", "backup": RESTORED, "createdAt": "2025-12-31T00:00:00Z", "rows": 2, "restoredIn": 1,
            "schemaVersion": schema_version,
        });
        self.on(Workload::Job, "", "restore-", Outcome::Works { message: report.to_string() });
    }

    /// Forgets the script: everything works again.
    pub fn reset(&self) {
        self.script.traffic.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.script.rules.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.changed.send_replace(());
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

enum Event {
    /// A workload changed, or one of its pods.
    Workload(Item),
    /// The script changed: everything has to be looked at.
    Script,
}

async fn play(client: Client, script: Arc<Script>, script_changes: watch::Receiver<()>) {
    let script_changes = stream::unfold(script_changes, async |mut changes| {
        changes.changed().await.ok()?;
        Some((Event::Script, changes))
    });
    let mut events = stream::select_all([
        watch_all::<Deployment>(&client, |object| event(Workload::Deployment, object)),
        watch_all::<StatefulSet>(&client, |object| event(Workload::StatefulSet, object)),
        watch_all::<Job>(&client, |object| event(Workload::Job, object)),
        watch_all::<PersistentVolumeClaim>(&client, |object| event(Workload::PersistentVolumeClaim, object)),
        watch_all::<Pod>(&client, event_of_owner),
        script_changes.boxed(),
    ]);
    let settle = Settle { client, script, ports: Ports::default() };
    let mut agenda = Agenda::default();
    let (mut looks, mut pauses) = (FuturesUnordered::new(), FuturesUnordered::new());
    loop {
        while looks.len() < AT_ONCE
            && let Some(item) = agenda.next()
        {
            let settle = &settle;
            looks.push(async move { (Box::pin(settle.look_at(&item)).await, item) });
        }
        tokio::select! {
            Some(event) = events.next() => match event {
                Event::Workload(item) => agenda.add(item),
                Event::Script => add_all(&settle.client, &mut agenda).await,
            },
            Some((result, item)) = looks.next() => {
                agenda.done(&item);
                // Objects come and go while they are looked at, and a pod may need something that is made only next.
                if let Err(error) = result {
                    tracing::debug!("the stand-in could not do its part, and tries again: {error:#}");
                    pauses.push(async move {
                        tokio::time::sleep(RETRY).await;
                        item
                    });
                }
            }
            Some(item) = pauses.next() => agenda.add(item),
            else => return,
        }
    }
}

fn event(workload: Workload, object: &impl ResourceExt) -> Option<Event> {
    item(workload, object).map(Event::Workload)
}

fn item(workload: Workload, object: &impl ResourceExt) -> Option<Item> {
    Some(Item { workload, namespace: object.namespace()?, name: object.name_any() })
}

fn event_of_owner(pod: &Pod) -> Option<Event> {
    let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true))?;
    let workload = match owner.kind.as_str() {
        "Deployment" => Workload::Deployment,
        "StatefulSet" => Workload::StatefulSet,
        "Job" => Workload::Job,
        _ => return None,
    };
    Some(Event::Workload(Item { workload, namespace: pod.namespace()?, name: owner.name.clone() }))
}

/// Changes of all objects of a kind, their deletion included.
fn watch_all<K>(client: &Client, event: fn(&K) -> Option<Event>) -> stream::BoxStream<'static, Event>
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + 'static,
{
    watcher(Api::<K>::all(client.clone()), watcher::Config::default())
        // An API server that is gone refuses at once: without a pause this would never let go of its thread.
        .default_backoff()
        .filter_map(move |change| {
            ready(match change {
                Ok(
                    watcher::Event::Apply(object)
                    | watcher::Event::InitApply(object)
                    | watcher::Event::Delete(object),
                ) => event(&object),
                _ => None,
            })
        })
        .boxed()
}

/// Puts everything that there is on the agenda.
async fn add_all(client: &Client, agenda: &mut Agenda) {
    // What is made after this list is an event.
    let added = tokio::try_join!(
        items::<Deployment>(client, Workload::Deployment),
        items::<StatefulSet>(client, Workload::StatefulSet),
        items::<Job>(client, Workload::Job),
        items::<PersistentVolumeClaim>(client, Workload::PersistentVolumeClaim),
    );
    match added {
        Ok((deployments, stateful_sets, jobs, claims)) => {
            [deployments, stateful_sets, jobs, claims].concat().into_iter().for_each(|item| agenda.add(item));
        }
        Err(error) => tracing::warn!("the stand-in does not see what there is: {error}"),
    }
}

async fn items<K>(client: &Client, workload: Workload) -> kube::Result<Vec<Item>>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let objects = Api::<K>::all(client.clone()).list(&ListParams::default()).await?;
    Ok(objects.iter().filter_map(|object| item(workload, object)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(rules: &[(Workload, &str, &str, Outcome)]) -> Script {
        let rules = rules.iter().map(|(workload, namespace, prefix, outcome)| Rule {
            workload: *workload,
            namespace: (*namespace).to_owned(),
            name_prefix: (*prefix).to_owned(),
            image: String::new(),
            outcome: outcome.clone(),
        });
        Script { rules: Mutex::new(rules.collect()), ..Script::default() }
    }

    #[test]
    fn the_last_rule_that_fits_counts() {
        let script = script(&[
            (Workload::Job, "", "migrate", Outcome::Nothing),
            (Workload::Job, "tenant-a", "migrate", Outcome::works()),
            (Workload::Deployment, "", "", Outcome::Nothing),
        ]);
        let table = [
            (Workload::Job, "tenant-a", "migrate-1", Outcome::works()),
            (Workload::Job, "tenant-b", "migrate-1", Outcome::Nothing),
            (Workload::Job, "tenant-b", "other", Outcome::works()),
            (Workload::Deployment, "tenant-a", "crm", Outcome::Nothing),
            (Workload::StatefulSet, "tenant-a", "database", Outcome::works()),
        ];
        for (workload, namespace, name, expected) in table {
            assert_eq!(
                script.outcome(workload, namespace, name, "image"),
                expected,
                "{workload:?} {namespace}/{name}"
            );
        }
    }
}
