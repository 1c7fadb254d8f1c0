//! Pods that are taken away while they work, as with a node that is gone: those of Jobs, and that of the backup door. What came of
//! it is told, nothing is lost that there was, and what is asked for next ends well.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use age::x25519::Identity;
use anyhow::{Context as _, Result, bail, ensure};
use e2e::{
    fleet::{Installed, small_tenant},
    helm,
    host::wait::{Look, Wait},
};
use k8s_openapi::{
    api::{batch::v1::Job, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
};
use operator::{
    api::{Tenant, TenantBackup, TenantExport, TenantRestore, conditions},
    names::{self, Component},
    tenant::requests::Request,
};
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin},
    time::timeout,
};

use crate::{
    READY, alone,
    backups::{backed_up, kept, run_now},
    beside_others,
    failures::{psql, sql},
    owner,
};

const COMPANY: &str = "杭州不倒翁有限公司";
/// A statement after which backups and exports of a tenant do not come further than its companies.
const COMPANIES: &str = "lock table crm.company in access exclusive mode";
/// As in `crm-app`: whoever makes, restores or drops databases waits for its turn.
const TURN: &str = "select pg_advisory_xact_lock(x'0043524d52455354'::bigint)";

/// A transaction in a tenant's database that holds what others wait for.
struct Held {
    psql: Child,
    input: ChildStdin,
}

impl Held {
    async fn take(fleet: &Installed, tenant: &str, statement: &str) -> Result<Self> {
        let mut command = psql(fleet, tenant, "crm").await?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut psql = command.spawn().context("cannot start psql")?;
        let mut input = psql.stdin.take().context("standard input was not piped")?;
        let mut output = BufReader::new(psql.stdout.take().context("standard output was not piped")?).lines();
        input.write_all(format!("begin;\n{statement};\n\\echo held\n").as_bytes()).await?;
        let said = async {
            while let Some(line) = output.next_line().await? {
                if line == "held" {
                    return Ok(());
                }
            }
            bail!("psql ended")
        };
        timeout(READY, said).await.with_context(|| format!("{statement}: not in time"))??;
        Ok(Self { psql, input })
    }

    /// The end of what psql reads is the end of its transaction.
    async fn let_go(mut self) -> Result<()> {
        drop(self.input);
        timeout(READY, self.psql.wait()).await.context("psql does not end")??;
        Ok(())
    }
}

/// Waits until the pods of so many Jobs wait for what is held.
async fn until_they_wait(fleet: &Installed, tenant: &str, pods: usize) -> Result<()> {
    let waiting = "select count(distinct client_addr) from pg_stat_activity
                   where wait_event_type = 'Lock' and usename in ('crm_backup', 'crm_owner')";
    Wait::new(format!("{pods} Jobs of {tenant} to be at work in its database"), READY)
        .every(Duration::from_millis(250))
        .until(async || {
            let count = sql(fleet, tenant, "postgres", waiting).await?;
            let is_so = count.trim().parse::<usize>()? == pods;
            Ok(if is_so { Look::Done(()) } else { Look::NotYet(format!("there are {}", count.trim())) })
        })
        .await
}

/// Takes a pod of that component away which is at work: at once, and without a word to what runs in it.
async fn take_away(fleet: &Installed, namespace: &str, component: &str) -> Result<Pod> {
    let pods: Api<Pod> = Api::namespaced(fleet.client().await?, namespace);
    let ours = ListParams::default().labels(&format!("app.kubernetes.io/component={component}"));
    Wait::new(format!("a pod of {component} in {namespace} that is at work"), READY)
        .until(async || {
            let all = pods.list(&ours).await?.items;
            let Some(pod) = all.into_iter().find(is_at_work) else { return Ok(Look::NotYet("none".into())) };
            let at_once = DeleteParams {
                grace_period_seconds: Some(0),
                preconditions: Some(Preconditions {
                    uid: pod.uid(),
                    resource_version: pod.resource_version(),
                }),
                ..DeleteParams::default()
            };
            pods.delete(&pod.name_any(), &at_once).await?;
            Ok(Look::Done(pod))
        })
        .await
}

/// Whether one of its containers runs; the database server beside a drill is one.
fn is_at_work(pod: &Pod) -> bool {
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.init_container_statuses.into_iter().chain(status.container_statuses).flatten();
    pod.metadata.deletion_timestamp.is_none()
        && containers.into_iter().any(|one| one.state.is_some_and(|state| state.running.is_some()))
}

/// Asks for something to be done to a tenant.
async fn ask<K: Request + Serialize>(fleet: &Installed, tenant: &str, more: Value) -> Result<K> {
    let mut spec = json!({ "tenant": tenant });
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    let request = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()),
        "metadata": {"generateName": format!("{tenant}-")}, "spec": spec,
    });
    let requests: Api<K> = Api::all(fleet.client().await?);
    Ok(requests.create(&PostParams::default(), &serde_json::from_value(request)?).await?)
}

/// Waits until a request has come to its end, and says how it ended.
async fn ended<K: Request>(fleet: &Installed, request: &K) -> Result<(K, Condition)> {
    let requests: Api<K> = Api::all(fleet.client().await?);
    let name = request.name_any();
    Wait::new(format!("the end of {} {name}", K::kind(&())), READY)
        .until(async || {
            let now = requests.get(&name).await?;
            let complete = now.complete().cloned();
            Ok(match complete.filter(|_| now.is_finished()) {
                Some(complete) => Look::Done((now, complete)),
                None => Look::NotYet(format!("{:?}", now.complete())),
            })
        })
        .await
}

async fn ends_well<K: Request>(fleet: &Installed, request: &K) -> Result<K> {
    let (request, complete) = ended(fleet, request).await?;
    ensure!(complete.status == "True", "{complete:?}");
    Ok(request)
}

/// The Job of a request, and its name.
async fn job_of<K: Request>(
    fleet: &Installed,
    component: Component,
    request: &K,
) -> Result<(Api<Job>, String)> {
    let namespace = names::namespace_of(request.tenant());
    let job = names::request_job(component, &request.uid().unwrap_or_default());
    Ok((Api::namespaced(fleet.client().await?, &namespace), job))
}

/// Waits until the first try of the Job of a request has failed.
async fn first_try_failed<K: Request>(fleet: &Installed, component: Component, request: &K) -> Result<()> {
    let (jobs, job) = job_of(fleet, component, request).await?;
    Wait::new(format!("the end of the first try of Job {job}"), READY)
        .until(async || {
            let status = jobs.get(&job).await?.status.unwrap_or_default();
            let has_failed = status.failed.is_some_and(|failed| 0 < failed);
            Ok(if has_failed { Look::Done(()) } else { Look::NotYet(format!("{status:?}")) })
        })
        .await
}

/// The Job of a request is not tried again, as if it had been often enough.
async fn last_try<K: Request>(fleet: &Installed, component: Component, request: &K) -> Result<()> {
    let (jobs, job) = job_of(fleet, component, request).await?;
    let last = Patch::Merge(json!({ "spec": { "backoffLimit": 0 } }));
    Wait::new(format!("Job {job}"), READY)
        .until(async || {
            jobs.patch(&job, &PatchParams::default(), &last).await?;
            Ok(Look::Done(()))
        })
        .await
}

fn recipients() -> Value {
    json!({ "recipients": [Identity::generate().to_public().to_string()] })
}

/// A tenant with data, and with a backup of it: its uid, and the name of the backup.
async fn with_a_backup(fleet: &Installed, tenant: &str) -> Result<(String, String)> {
    fleet.apply(&small_tenant(tenant, &fleet.release)).await?;
    let ready = fleet.wait_ready(tenant, READY).await?.tenant;
    owner(fleet, tenant).await?.create_company(COMPANY).await?;
    Ok((ready.uid().context("a Tenant has a uid")?, backed_up(fleet, tenant).await?))
}

async fn companies(fleet: &Installed, tenant: &str) -> Result<String> {
    Ok(owner(fleet, tenant).await?.send(Method::GET, "/companies", None).await?.body.to_string())
}

#[tokio::test]
async fn jobs_whose_pods_are_taken_away_are_told_of_and_the_next_ones_end_well() -> Result<()> {
    let (fleet, _turn) = beside_others().await?;
    let (tenant, namespace) = ("struck", "tenant-struck");
    let (uid, last_good) = with_a_backup(&fleet, tenant).await?;
    let held = Held::take(&fleet, tenant, COMPANIES).await?;
    let backup: TenantBackup = ask(&fleet, tenant, json!({})).await?;
    let export: TenantExport = ask(&fleet, tenant, recipients()).await?;
    tokio::try_join!(
        last_try(&fleet, Component::Backup, &backup),
        last_try(&fleet, Component::Export, &export)
    )?;
    let strikes = async {
        until_they_wait(&fleet, tenant, 2).await?;
        take_away(&fleet, namespace, "backup").await?;
        take_away(&fleet, namespace, "export").await?;
        held.let_go().await
    };
    // Its Job tries it once more.
    let drill = run_now(&fleet, tenant, "drill", |status| status.last_drill, conditions::BACKUP_VERIFIED);
    let struck_drill = async { take_away(&fleet, namespace, "drill").await.map(drop) };
    let (backup, export) = (ended(&fleet, &backup), ended(&fleet, &export));
    let ((), (), (drill, _), (backup, lost), (export, not_made)) =
        tokio::try_join!(strikes, struck_drill, drill, backup, export)?;

    for (told, again) in [(&lost, "another TenantBackup"), (&not_made, "another TenantExport")] {
        println!("  {}: {}", told.reason, told.message);
        let is_clear = told.message.contains(again) && told.message.contains(namespace);
        ensure!(told.status == "False" && is_clear, "{told:?}");
    }
    let named = (backup.status.and_then(|it| it.backup), export.status.and_then(|it| it.path));
    ensure!(named == (None, None), "what was not made is named: {named:?}");
    ensure!(drill.result == "Verified" && drill.backup.as_ref() == Some(&last_good), "{drill:?}");
    let status = Api::<Tenant>::all(fleet.client().await?).get(tenant).await?.status.unwrap_or_default();
    let named = status.last_backup.map(|last| last.backup);
    ensure!(named.as_ref() == Some(&last_good), "{last_good} was the last one, and {named:?} is named");
    let stored = kept(&fleet, tenant, &uid).await?;
    ensure!(stored == [last_good], "the store has {stored:?}");
    ensure!(companies(&fleet, tenant).await?.contains(COMPANY), "the data is not what it was");

    let export = ask::<TenantExport>(&fleet, tenant, recipients()).await?;
    tokio::try_join!(backed_up(&fleet, tenant), ends_well(&fleet, &export))?;
    fleet.delete(tenant, READY).await
}

#[tokio::test]
async fn a_restore_whose_pod_is_taken_away_is_taken_up_by_the_next() -> Result<()> {
    let (fleet, _turn) = beside_others().await?;
    let (tenant, namespace, later) = ("restruck", "tenant-restruck", "杭州后来有限公司");
    let (uid, last_good) = with_a_backup(&fleet, tenant).await?;
    owner(&fleet, tenant).await?.create_company(later).await?;
    let held = Held::take(&fleet, tenant, TURN).await?;
    let which = json!({ "from": {"backup": last_good}, "confirm": tenant });
    let restore: TenantRestore = ask(&fleet, tenant, which).await?;
    until_they_wait(&fleet, tenant, 1).await?;
    take_away(&fleet, namespace, "restore").await?;
    held.let_go().await?;

    let status = ends_well(&fleet, &restore).await?.status.unwrap_or_default();
    ensure!(
        (&status.backup, status.database_generation) == (&Some(last_good.clone()), Some(2)),
        "{status:?}"
    );
    let safety = status.safety_backup.context("it names the backup of what was there before")?.backup;
    let stored = kept(&fleet, tenant, &uid).await?;
    ensure!(stored.contains(&last_good) && stored.contains(&safety), "the store has {stored:?}");
    fleet.wait_ready(tenant, READY).await?;
    let mut person = fleet.crm(tenant)?;
    person.sign_in("owner@tenantry.example", crate::PASSWORD).await?;
    let companies = person.send(Method::GET, "/companies", None).await?.body.to_string();
    ensure!(companies.contains(COMPANY) && !companies.contains(later), "{companies}");
    fleet.delete(tenant, READY).await
}

#[tokio::test]
async fn a_door_that_is_taken_away_costs_what_is_on_its_way_a_try() -> Result<()> {
    // Everybody's backups go through it.
    let (fleet, _turn) = alone().await?;
    let tenant = "acme";
    let tenants: Api<Tenant> = Api::all(fleet.client().await?);
    let uid = tenants.get(tenant).await?.uid().context("a Tenant has a uid")?;
    let (before, known) = (kept(&fleet, tenant, &uid).await?, companies(&fleet, tenant).await?);
    let held = Held::take(&fleet, tenant, COMPANIES).await?;
    let backup: TenantBackup = ask(&fleet, tenant, json!({})).await?;
    let export: TenantExport = ask(&fleet, tenant, recipients()).await?;
    until_they_wait(&fleet, tenant, 2).await?;
    let door = take_away(&fleet, helm::NAMESPACE, "store").await?;
    // It says no goodbye, and they have nothing to say to it.
    let begun = Instant::now();
    tokio::try_join!(
        first_try_failed(&fleet, Component::Backup, &backup),
        first_try_failed(&fleet, Component::Export, &export)
    )?;
    println!("  the end of the door was noticed within {:.1} s", begun.elapsed().as_secs_f64());
    until_another_is_ready(&fleet, &door).await?;
    held.let_go().await?;

    let (backup, _) = tokio::try_join!(ends_well(&fleet, &backup), ends_well(&fleet, &export))?;
    let made = backup.status.and_then(|status| status.backup).context("it names the backup")?;
    let stored = kept(&fleet, tenant, &uid).await?;
    ensure!(
        before.iter().all(|backup| stored.contains(backup)) && stored.len() == before.len() + 1,
        "there were {before:?}, and there are {stored:?}"
    );
    let (drill, _) =
        run_now(&fleet, tenant, "drill", |status| status.last_drill, conditions::BACKUP_VERIFIED).await?;
    ensure!(drill.result == "Verified" && drill.backup.as_ref() == Some(&made), "{made}: {drill:?}");
    ensure!(companies(&fleet, tenant).await? == known, "the data is not what it was");
    Ok(())
}

/// Waits until another pod does what this one did.
async fn until_another_is_ready(fleet: &Installed, gone: &Pod) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(fleet.client().await?, helm::NAMESPACE);
    let ours = ListParams::default().labels("app.kubernetes.io/component=store");
    Wait::new("another pod of the door", READY)
        .until(async || {
            let others = pods.list(&ours).await?.items.into_iter().filter(|pod| pod.uid() != gone.uid());
            let conditions =
                others.flat_map(|pod| pod.status.unwrap_or_default().conditions.unwrap_or_default());
            let is_ready = conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True");
            Ok(if is_ready { Look::Done(()) } else { Look::NotYet("none is ready".into()) })
        })
        .await
}
