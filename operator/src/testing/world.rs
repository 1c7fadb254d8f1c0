//! A tenant in a world in memory: the API server, the watches that bring its news, and nodes that do as they should.

use std::{
    cell::Cell,
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::channel::mpsc;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    batch::v1::{CronJob, Job},
    core::v1::{LimitRange, Namespace, PersistentVolumeClaim, Pod, ResourceQuota, Service, ServiceAccount},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
    rbac::v1::RoleBinding,
};
use kube::{
    Resource,
    runtime::{
        controller::Action,
        reflector::{self, store::Writer},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    api::{
        BackupStore, Channel, Plan, Release, Tenant, TenantBackup, TenantExport, TenantRestore,
        TenantTombstone,
    },
    args::RunArgs,
    cluster::{
        Cluster,
        cache::{Child, Key},
        facts::ChildKind,
        http_route::HttpRoute,
    },
    malformed::Guarded,
    process::{backoff::Backoff, metrics::Metrics},
    tenant::{
        self, Context, Error, first_look::Looked, hosts::Ledger, pods::TEMPLATE_REVISION, requests::Requests,
    },
    testing::{
        fake_api::FakeApi,
        nodes::{Pods, component_of, metrics_text, pod_of, report_of},
        plan, release, settings, store, tenant as acme,
    },
};

pub(crate) const TENANT: &str = "/apis/tenantry.dev/v1alpha1/tenants/acme";
pub(crate) const NAMESPACE: &str = "/api/v1/namespaces/tenant-acme";
pub(crate) const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/tenant-acme/deployments/crm";
pub(crate) const DATABASE: &str = "/apis/apps/v1/namespaces/tenant-acme/statefulsets/database";
const CLAIM: &str = "/api/v1/namespaces/tenant-acme/persistentvolumeclaims/database";
const PODS: &str = "/api/v1/namespaces/tenant-acme/pods";

thread_local! {
    /// Each test has a thread of its own, and so a time of its own.
    static SINCE_THE_BEGINNING: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

fn clock() -> Timestamp {
    Timestamp::UNIX_EPOCH + SINCE_THE_BEGINNING.with(Cell::get)
}

/// A world with one Tenant, its plan and its release, in which nothing has happened yet.
pub(crate) struct World {
    pub(crate) api: FakeApi,
    pub(crate) ctx: Arc<Context>,
    /// A CRM whose image has this in its name ends as soon as it starts.
    pub(crate) crashing: Option<String>,
    /// What the pods of the CRM say when they are asked for their metrics.
    pub(crate) metrics: Arc<Mutex<Option<String>>>,
    tenants: Writer<Tenant>,
    plans: Writer<Plan>,
    releases: Writer<Release>,
    channels: Writer<Channel>,
    stores: Writer<BackupStore>,
    backups: Writer<TenantBackup>,
    restores: Writer<TenantRestore>,
    exports: Writer<TenantExport>,
    tombstones: Writer<TenantTombstone>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(settings())
    }

    /// A world whose operator runs with these settings.
    pub(crate) fn with(settings: RunArgs) -> Self {
        SINCE_THE_BEGINNING.with(|since| since.set(Duration::ZERO));
        let api = FakeApi::default();
        api.put(TENANT, serde_json::to_value(acme()).unwrap());
        Self::over(api, settings)
    }

    /// The same world after the operator was started again with other settings.
    pub(crate) fn restarted_with(self, settings: RunArgs) -> Self {
        Self::over(self.api, settings)
    }

    fn over(api: FakeApi, settings: RunArgs) -> Self {
        let metrics = Arc::new(Metrics::new().unwrap());
        let (tenants, tenants_writer) = reflector::store();
        let (plans, plans_writer) = reflector::store();
        let (releases, releases_writer) = reflector::store();
        let (channels, channels_writer) = reflector::store();
        let (stores, stores_writer) = reflector::store();
        let (backups, backups_writer) = reflector::store();
        let (restores, restores_writer) = reflector::store();
        let (exports, exports_writer) = reflector::store();
        let (tombstones, tombstones_writer) = reflector::store();
        let crm = Arc::new(Mutex::new(Some(metrics_text(100, 0, false))));
        let ctx = Context {
            cluster: Cluster::new(api.client(), metrics.clone()),
            hosts: Mutex::new(Ledger::new(&settings.base_domain, [])),
            settings,
            tenants,
            plans,
            releases,
            channels,
            stores,
            requests: Requests { backups, restores, exports },
            tombstones,
            malformed: Arc::default(),
            wake: mpsc::unbounded().0,
            backoff: Backoff::new(|| 0.0),
            queue: Arc::default(),
            metrics,
            now: clock,
            random: || [7; 32],
            template_revision: TEMPLATE_REVISION,
            ask: Box::new(Pods(crm.clone())),
            written: Mutex::default(),
            looked: Looked::default(),
        };
        let mut world = Self {
            api,
            ctx: Arc::new(ctx),
            crashing: None,
            metrics: crm,
            tenants: tenants_writer,
            plans: plans_writer,
            releases: releases_writer,
            channels: channels_writer,
            stores: stores_writer,
            backups: backups_writer,
            restores: restores_writer,
            exports: exports_writer,
            tombstones: tombstones_writer,
        };
        world.plans.apply_watcher_event(&watcher::Event::Apply(plan()));
        world.stores.apply_watcher_event(&watcher::Event::Apply(store()));
        world.add_release(release("r1", 1));
        world
    }

    pub(crate) fn add_release(&mut self, release: Release) {
        self.releases.apply_watcher_event(&watcher::Event::Apply(release));
    }

    /// The plan no longer has the form of its kind.
    pub(crate) fn damage_plan(&mut self) {
        let mut raw = serde_json::to_value(plan()).unwrap();
        raw["spec"]["seats"] = json!("ten");
        let malformed = serde_json::from_value::<Guarded<Plan>>(raw).unwrap().0.unwrap_err();
        self.ctx.malformed.put(*malformed);
        self.plans.apply_watcher_event(&watcher::Event::Delete(plan()));
    }

    /// [`plan`] with a change, as a person would make it.
    pub(crate) fn change_plan(&mut self, change: impl FnOnce(&mut Value)) {
        let mut raw = serde_json::to_value(plan()).unwrap();
        change(&mut raw);
        let changed = serde_json::from_value(raw).unwrap();
        self.plans.apply_watcher_event(&watcher::Event::Apply(changed));
    }

    /// The store of the plan's backups is gone.
    pub(crate) fn remove_store(&mut self) {
        self.stores.apply_watcher_event(&watcher::Event::Delete(store()));
    }

    /// The Tenant as it is now.
    pub(crate) fn tenant(&self) -> Tenant {
        serde_json::from_value(self.api.get(TENANT).expect("the Tenant is there")).unwrap()
    }

    /// Changes the spec as a person would.
    pub(crate) fn change_tenant(&self, change: impl FnOnce(&mut Value)) {
        self.api.change(TENANT, |tenant| {
            change(tenant);
            tenant["metadata"]["generation"] =
                json!(tenant["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        });
    }

    /// One reconcile, with all news known before.
    pub(crate) async fn reconcile(&mut self) -> Result<Action, Error> {
        self.bring_news();
        Box::pin(tenant::reconcile(Arc::new(self.tenant()), self.ctx.clone())).await
    }

    /// One reconcile of an operator that still has this version of the Tenant.
    pub(crate) async fn reconcile_on_old_tenant(&mut self, old: Tenant) -> Result<Action, Error> {
        self.bring_news();
        Box::pin(tenant::reconcile(Arc::new(old), self.ctx.clone())).await
    }

    /// One reconcile of an operator that still has this version of a TenantBackup.
    pub(crate) async fn reconcile_on_old_news(&mut self, old: &Value) -> Result<Action, Error> {
        self.bring_news();
        let old = serde_json::from_value(old.clone()).unwrap();
        self.backups.apply_watcher_event(&watcher::Event::Apply(old));
        Box::pin(tenant::reconcile(Arc::new(self.tenant()), self.ctx.clone())).await
    }

    /// That time passes.
    pub(crate) fn later(time: Duration) {
        SINCE_THE_BEGINNING.with(|since| since.set(since.get() + time));
    }

    /// Reconciles, with the nodes working in between, until nothing is written any more; errors are retried.
    pub(crate) async fn settle(&mut self) {
        for _ in 0..20 {
            if self.api.get(TENANT).is_none() {
                return;
            }
            self.api.take_calls();
            let outcome = self.reconcile().await;
            let before = self.api.objects();
            self.nodes_work();
            let quiet = self.api.take_calls().iter().all(|call| !call.is_write());
            if outcome.is_ok() && quiet && self.api.objects() == before {
                return;
            }
        }
        panic!("the world does not come to rest: {:#?}", self.tenant().status);
    }

    /// What the watches would bring.
    pub(crate) fn bring_news(&mut self) {
        let objects = self.api.objects();
        relist(&mut self.tenants, &objects);
        relist(&mut self.channels, &objects);
        relist(&mut self.backups, &objects);
        relist(&mut self.restores, &objects);
        relist(&mut self.exports, &objects);
        relist(&mut self.tombstones, &objects);
        self.news_of::<Namespace>(&objects);
        self.news_of::<RoleBinding>(&objects);
        self.news_of::<ServiceAccount>(&objects);
        self.news_of::<ResourceQuota>(&objects);
        self.news_of::<LimitRange>(&objects);
        self.news_of::<NetworkPolicy>(&objects);
        self.news_of::<PersistentVolumeClaim>(&objects);
        self.news_of::<Service>(&objects);
        self.news_of::<PodDisruptionBudget>(&objects);
        self.news_of::<CronJob>(&objects);
        self.news_of::<StatefulSet>(&objects);
        self.news_of::<Deployment>(&objects);
        self.news_of::<Job>(&objects);
        self.news_of::<Pod>(&objects);
        self.news_of::<Ingress>(&objects);
        self.news_of::<HttpRoute>(&objects);
    }

    fn news_of<K: ChildKind>(&self, objects: &BTreeMap<String, Value>) {
        let mut seen: HashSet<Key> = HashSet::new();
        let kind = K::kind(&());
        for object in objects.values().filter(|object| object["kind"] == *kind) {
            let labelled = !object["metadata"]["labels"]["tenantry.dev/tenant"].is_null();
            if labelled {
                let (key, child) = Child::of(&serde_json::from_value::<K>(object.clone()).unwrap()).unwrap();
                seen.insert(key.clone());
                self.ctx.cluster.cache().put(key, child);
            }
        }
        self.ctx.cluster.cache().retain(K::KIND, &seen);
    }

    /// Volumes are bound, pods start and stop, Jobs report success.
    pub(crate) fn nodes_work(&self) {
        let objects = self.api.objects();
        if objects.contains_key(CLAIM) {
            self.api.change(CLAIM, |claim| claim["status"] = json!({"phase": "Bound"}));
        }
        for (path, component) in [(DATABASE, "database"), (DEPLOYMENT, "crm")] {
            let replicas =
                objects.get(path).map_or(0, |object| object["spec"]["replicas"].as_i64().unwrap_or(0));
            if objects.contains_key(path) {
                self.run_pods(path, replicas);
            }
            for number in 0..3 {
                let pod = format!("{PODS}/{component}-{number}");
                match (number < replicas, self.api.get(&pod).is_some()) {
                    (true, false) => self.api.put(
                        &pod,
                        pod_of(
                            component,
                            number,
                            &json!({
                                "phase": "Running",
                                "podIP": "127.0.0.1",
                                "conditions": [{"type": "Ready", "status": "True"}],
                            }),
                        ),
                    ),
                    (false, true) => self.api.remove(&pod),
                    _ => (),
                }
            }
        }
        self.crash();
        for (path, job) in objects.iter().filter(|(_, object)| object["kind"] == "Job") {
            let name = job["metadata"]["name"].as_str().unwrap_or_default();
            if let Some(report) = report_of(job) {
                self.end_job(path, name, &report.to_string(), 0);
            }
        }
        let jobs = |pod: &Value| {
            pod["metadata"]["labels"]["job-name"]
                .as_str()
                .map(|job| format!("/apis/batch/v1/namespaces/tenant-acme/jobs/{job}"))
        };
        for (path, pod) in &objects {
            if jobs(pod).is_some_and(|job| !objects.contains_key(&job)) {
                self.api.remove(path);
            }
        }
    }

    /// Like [`Self::nodes_work`], when the namespace may be gone already.
    pub(crate) fn nodes_work_if_possible(&self) {
        if self.api.get(NAMESPACE).is_some() {
            self.nodes_work();
        }
        // Pods whose controller is gone go as well.
        let objects = self.api.objects();
        for (component, path) in [("database", DATABASE), ("crm", DEPLOYMENT)] {
            for pod in objects.keys().filter(|pod| pod.starts_with(&format!("{PODS}/{component}-"))) {
                if !objects.contains_key(path) {
                    self.api.remove(pod);
                }
            }
        }
    }

    /// The first new pod of a CRM that crashes; those of the release before answer on.
    fn crash(&self) {
        let pod = format!("{PODS}/crm-crashing");
        let deployment = self.api.get(DEPLOYMENT).unwrap_or_default();
        let image = deployment["spec"]["template"]["spec"]["containers"][0]["image"].to_string();
        if self.crashing.as_ref().is_none_or(|crashing| !image.contains(crashing)) {
            return self.api.remove(&pod);
        }
        self.api.change(DEPLOYMENT, |deployment| {
            let replicas = deployment["status"]["replicas"].as_i64().unwrap_or(0);
            deployment["status"]["replicas"] = json!(replicas + 1);
            deployment["status"]["updatedReplicas"] = json!(1);
        });
        let container = json!({
            "name": "crm", "image": image, "imageID": "", "ready": false, "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "it crashes"}},
        });
        let mut object = pod_of("crm", 0, &json!({"phase": "Running", "containerStatuses": [container]}));
        object["metadata"]["name"] = json!("crm-crashing");
        if self.api.get(&pod).is_none() {
            self.api.put(&pod, object);
        }
    }

    fn run_pods(&self, path: &str, replicas: i64) {
        self.api.change(path, |object| {
            let generation = object["metadata"]["resourceVersion"].clone();
            object["metadata"]["generation"] = json!(1);
            object["status"] = json!({
                "observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas,
            });
            object["metadata"]["resourceVersion"] = generation;
        });
    }

    /// A Job ends with that termination message, if it has not ended before.
    pub(crate) fn end_job(&self, path: &str, name: &str, report: &str, exit_code: i32) {
        let job = self.api.get(path).unwrap_or_default();
        if !job["status"]["conditions"].is_null() {
            return;
        }
        let component = component_of(&job);
        let condition = if exit_code == 0 { "Complete" } else { "Failed" };
        self.api.change(path, |job| {
            job["status"] = json!({"conditions": [{"type": condition, "status": "True", "lastTransitionTime": "1970-01-01T00:00:00Z"}]});
        });
        let pod = format!("{PODS}/{name}-x");
        if self.api.get(&pod).is_none() {
            let terminated =
                json!({"terminated": {"exitCode": exit_code, "reason": "Completed", "message": report}});
            let container = json!({"name": component, "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": terminated});
            let mut object =
                pod_of(&component, 0, &json!({"phase": "Succeeded", "containerStatuses": [container]}));
            object["metadata"]["name"] = json!(format!("{name}-x"));
            object["metadata"]["labels"]["job-name"] = json!(name);
            self.api.put(&pod, object);
        }
    }
}

/// What a new list of a kind of ours would bring.
fn relist<K>(writer: &mut Writer<K>, objects: &BTreeMap<String, Value>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + 'static,
{
    writer.apply_watcher_event(&watcher::Event::Init);
    for object in objects.values().filter(|object| object["kind"] == *K::kind(&())) {
        let object = serde_json::from_value(object.clone()).unwrap();
        writer.apply_watcher_event(&watcher::Event::InitApply(object));
    }
    writer.apply_watcher_event(&watcher::Event::InitDone);
}
