//! Restores on a real cluster, by the words of `docs/runbooks/restore.md`, while somebody writes all the time.

use std::{env::join_paths, time::Duration};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    fleet::{Crm, Installed, small_tenant},
    host::wait::{Look, Wait},
    images,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use operator::{
    api::{TenantRestore, TenantRestoreStatus},
    names,
};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{
    PASSWORD, READY,
    backups::backed_up,
    beside_others,
    failures::sql,
    owner,
    runbook::{OPENING, STAFF, Shell},
};

const TENANT: &str = "restored";
/// A backup, two restores and their starts.
const DONE: Duration = Duration::from_mins(5);
/// Between two records.
const PAUSE: Duration = Duration::from_millis(100);

/// A record that the CRM said it had.
#[derive(Debug)]
pub(crate) struct Written {
    id: String,
    pub(crate) sent: Timestamp,
    pub(crate) acknowledged: Timestamp,
}

/// Writes numbered records until told to stop, whatever comes of them.
pub(crate) fn write_on(crm: Crm) -> (watch::Sender<bool>, JoinHandle<Vec<Written>>) {
    let (stop, mut stopped) = watch::channel(false);
    let writer = tokio::spawn(async move {
        let mut ticks = interval(PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut written = Vec::new();
        for number in 0.. {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = stopped.changed() => break,
            }
            let sent = now();
            let record = json!({ "name": format!("Record {number}") });
            let Ok(reply) = crm.send(Method::POST, "/companies", Some(record)).await else { continue };
            if let (StatusCode::CREATED, Some(id)) = (reply.status, reply.body["id"].as_str()) {
                written.push(Written { id: id.to_owned(), sent, acknowledged: now() });
            }
        }
        written
    });
    (stop, writer)
}

#[expect(
    clippy::disallowed_methods,
    reason = "what happened when is measured by this machine's clock, which the cluster has too"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

/// The newest restore of the tenant: its name, and what is said of it.
async fn newest(fleet: &Installed) -> Result<(String, TenantRestoreStatus)> {
    let requests: Api<TenantRestore> = Api::all(fleet.client().await?);
    let mut all = requests.list(&ListParams::default()).await?.items;
    all.retain(|request| request.spec.tenant == TENANT);
    all.sort_by_key(|request| request.metadata.creation_timestamp.as_ref().map(|at| at.0));
    let newest = all.pop().context("nobody asked for a restore")?;
    Ok((newest.metadata.name.unwrap_or_default(), newest.status.unwrap_or_default()))
}

/// Which of these records there are.
pub(crate) async fn found(crm: &Crm, written: &[Written]) -> Result<Vec<bool>> {
    let mut found = Vec::new();
    for Written { id, .. } in written {
        let reply = crm.send(Method::GET, &format!("/companies/{id}"), None).await?;
        ensure!([StatusCode::OK, StatusCode::NOT_FOUND].contains(&reply.status), "{reply:?}");
        found.push(reply.status == StatusCode::OK);
    }
    Ok(found)
}

pub(crate) async fn signed_in(fleet: &Installed, tenant: &str) -> Result<Crm> {
    let mut crm = fleet.crm(tenant)?;
    crm.sign_in("owner@tenantry.example", PASSWORD).await?;
    Ok(crm)
}

#[tokio::test]
async fn the_runbook_brings_back_a_backup_and_what_was_there_before_and_the_loss_is_what_is_said()
-> Result<()> {
    let (fleet, _turn) = beside_others().await?;
    fleet.apply(&small_tenant(TENANT, &fleet.release)).await?;
    fleet.wait_ready(TENANT, READY).await?;
    let (stop, writer) = write_on(owner(&fleet, TENANT).await?);
    backed_up(&fleet, TENANT).await?;
    let tenant = format!("tenant={TENANT}");
    let shell = Shell::open(&fleet, "restore", &[("tenant=acme", &tenant)]).await?;
    println!("{}", shell.follow(STAFF, &[OPENING, "What there is", "In place"], &[]).await?);
    stop.send_replace(true);
    let written = writer.await?;
    fleet.wait_ready(TENANT, READY).await?;

    let (name, status) = newest(&fleet).await?;
    let lost = status.lost.clone().with_context(|| format!("{status:?}"))?;
    let kept = found(&signed_in(&fleet, TENANT).await?, &written).await?;
    let second = Duration::from_secs(1);
    for (record, kept) in written.iter().zip(&kept) {
        // The status has whole seconds.
        ensure!(
            *kept || lost.from.0 <= record.acknowledged,
            "{} was written before the backup, and is lost",
            record.id
        );
        ensure!(
            !*kept || record.sent <= lost.from.0 + second,
            "{} was written after the backup, and is there",
            record.id
        );
        ensure!(
            record.acknowledged <= lost.to.0 + second,
            "{} was written after the safety backup",
            record.id
        );
    }
    let (kept, gone): (Vec<_>, Vec<_>) = kept.into_iter().partition(|kept| *kept);
    ensure!(!kept.is_empty() && !gone.is_empty(), "{} records are there, {} are not", kept.len(), gone.len());
    println!("{} records are there, {} are lost as the status says: {lost:?}", kept.len(), gone.len());

    let restore = ("restore", format!("tenantrestore/{name}"));
    println!("{}", shell.follow(STAFF, &[OPENING, "Taking it back"], &[restore]).await?);
    fleet.wait_ready(TENANT, READY).await?;
    let back = found(&signed_in(&fleet, TENANT).await?, &written).await?;
    ensure!(back.iter().all(|there| *there), "what was there before is not back");

    by_hand(&fleet, &shell, &written).await?;
    old_databases_go(&fleet).await?;
    let back = found(&signed_in(&fleet, TENANT).await?, &written).await?;
    ensure!(back.iter().all(|there| *there), "records went with the old databases");
    fleet.delete(TENANT, DONE).await
}

/// The newest backup is the one that was made before it was taken back, so the first records are in it.
async fn by_hand(fleet: &Installed, shell: &Shell, written: &[Written]) -> Result<()> {
    let postgres = images::test_postgres().await?;
    let url = reqwest::Url::parse(&postgres.database_url())?;
    let port = url.port().context("a port")?.to_string();
    let mut variables =
        vec![("PGHOST", "127.0.0.1".to_owned()), ("PGPORT", port), ("PGUSER", "postgres".to_owned())];
    for (name, value) in postgres.environment().await? {
        if name == "PATH" {
            let both = std::env::split_paths(&value).chain(std::env::split_paths(&shell.path));
            variables.push(("PATH", join_paths(both)?.to_string_lossy().into_owned()));
        }
    }
    println!("{}", shell.follow(STAFF, &[OPENING, "What there is", "By hand"], &variables).await?);
    let database = format!("crm_{}", newest(fleet).await?.1.database_generation.unwrap_or_default() - 1);
    let first = &written.first().context("nothing was written")?.id;
    let check = format!("SELECT 1 / count(*) FROM crm.company WHERE id = '{first}'");
    postgres.sql(&database, &check).await.context("the first record is not in the dump")
}

/// The databases that served before are dropped a day after the switch. An administrator says that the day is over.
async fn old_databases_go(fleet: &Installed) -> Result<()> {
    let databases = async || {
        let list = "SELECT datname FROM pg_database WHERE datname LIKE 'crm%' ORDER BY datname";
        anyhow::Ok(sql(fleet, TENANT, "postgres", list).await?.lines().map(str::to_owned).collect::<Vec<_>>())
    };
    let before = databases().await?;
    ensure!(before == ["crm", "crm_2", "crm_3"], "{before:?}");
    let namespaces: Api<Namespace> = Api::all(fleet.client().await?);
    let namespace = format!("tenant-{TENANT}");
    let yesterday = (now() - SignedDuration::from_hours(25)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let passed = Patch::Merge(json!({ "metadata": { "annotations": { names::SWITCHED_AT: yesterday } } }));
    Wait::new("the old databases to be dropped", DONE)
        .until(async || {
            let live = namespaces.get(&namespace).await?;
            match live.annotations().get(names::SWITCHED_AT) {
                // The operator may have been writing what it knew before.
                Some(at) if *at != yesterday => {
                    namespaces.patch(&namespace, &PatchParams::default(), &passed).await?;
                    Ok(Look::NotYet(format!("they are kept since {at}")))
                }
                // What an administrator wrote stays when the operator has no more to say there.
                _ => Ok(match databases().await? {
                    left if left.len() == 1 => Look::Done(()),
                    left => Look::NotYet(format!("there are {left:?}")),
                }),
            }
        })
        .await?;
    let after = databases().await?;
    ensure!(after == ["crm_3"], "the one that serves should be left: {after:?}");
    println!("dropped a day after the switch: {}", before[..2].join(", "));
    Ok(())
}
