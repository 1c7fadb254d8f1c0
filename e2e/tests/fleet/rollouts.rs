//! Releases that reach the customers on a real cluster while they work: good ones that nobody notices, and bad ones that harm one.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{
    fleet::{Crm, Installed, small_tenant},
    host::wait::{Look, Wait},
    images::TestRelease,
};
use futures::future::try_join_all;
use jiff::SignedDuration;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use operator::api::{Channel, Plan, Release, Tenant, UpgradeStatus, UpgradeStep, conditions};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    READY, beside_others, fleet_size, owner,
    restores::{found, signed_in, write_on},
    visitors::Visitors,
};

/// From a changed line until the last tenant has baked, on a machine that does other things as well: for all, and for each of them.
const ROLLED_OUT: Duration = Duration::from_mins(8);
const FOR_EACH: Duration = Duration::from_secs(30);
/// Customers of each tenant, and between two requests of one of them.
const CUSTOMERS: usize = 2;
const PAUSE: Duration = Duration::from_millis(100);
/// Requests a second that two cores answer beside a rollout, sender included.
const AT_MOST: u32 = 120;
/// Of so many tenants, five are upgraded at the same time; of more, two, since each upgrade starts half a dozen containers.
const FEW: usize = 10;
/// As many tenants are made at the same time.
const MADE_AT_ONCE: usize = 5;
/// Their plan: the sample `small`, with pods that ask for so little processor time that many have room on one node.
const PLAN: &str = "many";
/// From the detection of a failure until the release before serves again.
const UNDONE: SignedDuration = SignedDuration::from_secs(60);

/// Tenants of a channel of their own; the first is the first wave.
pub(crate) struct Fleet {
    installed: Installed,
    channel: &'static str,
    tenants: Vec<String>,
}

impl Fleet {
    pub(crate) async fn start(
        installed: &Installed,
        channel: &'static str,
        tenants: Vec<String>,
    ) -> Result<Self> {
        let client = installed.client().await?;
        make_plan(&client).await?;
        let spec = json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "Channel", "metadata": {"name": channel},
            "spec": {"release": installed.release, "rollout": {
                "waves": [{"name": "first", "tenants": {"matchLabels": {"tier": "own"}}}],
                "bake": "15s", "rehearse": "FirstWave", "maxParallel": if FEW < tenants.len() { 2 } else { 5 },
            }},
        });
        let params = PatchParams::apply("e2e").force();
        Api::<Channel>::all(client.clone()).patch(channel, &params, &Patch::Apply(&spec)).await?;
        for (number, some) in tenants.chunks(MADE_AT_ONCE).enumerate() {
            for (place, name) in some.iter().enumerate() {
                let mut tenant = small_tenant(name, &installed.release);
                (tenant.spec.channel, tenant.spec.release) = (Some(channel.to_owned()), None);
                PLAN.clone_into(&mut tenant.spec.plan);
                let tier = if number == 0 && place == 0 { "own" } else { "all" };
                tenant.metadata.labels = Some([("tier".to_owned(), tier.to_owned())].into());
                installed.apply(&tenant).await?;
            }
            try_join_all(some.iter().map(|name| installed.wait_ready(name, READY))).await?;
        }
        Ok(Self { installed: installed.clone(), channel, tenants })
    }

    fn deadline(&self) -> Duration {
        let tenants = u32::try_from(self.tenants.len()).unwrap_or(u32::MAX);
        ROLLED_OUT + FOR_EACH * tenants
    }

    /// The changed line.
    async fn wants(&self, release: &str) -> Result<()> {
        let channels: Api<Channel> = Api::all(self.installed.client().await?);
        let patch = json!({"spec": {"release": release}});
        channels.patch(self.channel, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }

    async fn release(&self, release: TestRelease, change: impl FnOnce(&mut Release)) -> Result<String> {
        let mut release = self.installed.test_release(release)?;
        change(&mut release);
        let releases: Api<Release> = Api::all(self.installed.client().await?);
        let params = PatchParams::apply("e2e").force();
        releases.patch(&release.name_any(), &params, &Patch::Apply(&release)).await?;
        Ok(release.name_any())
    }

    /// Waits until the channel says that of its present spec.
    pub(crate) async fn until(&self, type_: &str, status: &str) -> Result<Channel> {
        let channels: Api<Channel> = Api::all(self.installed.client().await?);
        let tenants: Api<Tenant> = Api::all(self.installed.client().await?);
        // Each look costs the API server something, and customers are at work on the same machine.
        Wait::new(format!("channel {} to be {type_}={status}", self.channel), self.deadline())
            .every(Duration::from_secs(1))
            .until(async || {
                let channel = channels.get(self.channel).await?;
                let all = channel.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
                let found = conditions::find(&all, type_).filter(|condition| {
                    condition.status == status && condition.observed_generation == channel.metadata.generation
                });
                if found.is_some() {
                    return Ok(Look::Done(channel));
                }
                let of_channel = |tenant: &Tenant| tenant.spec.channel.as_deref() == Some(self.channel);
                let seen = tenants.list(&ListParams::default()).await?.items.into_iter();
                let seen = seen.filter(of_channel).map(|tenant| {
                    let name = tenant.name_any();
                    let status = tenant.status.unwrap_or_default();
                    format!("{name}: {:?} {:?}", status.release, status.upgrade)
                });
                Ok(Look::NotYet(format!("{all:?}, {:?}", seen.collect::<Vec<_>>())))
            })
            .await
    }

    /// Waits until a tenant has gone back from a release, and says what it says of that.
    async fn undone(&self, name: &str, release: &str) -> Result<UpgradeStatus> {
        let is_failed = |tenant: &Tenant| {
            let upgrade = tenant.status.as_ref().and_then(|status| status.upgrade.as_ref());
            upgrade.is_some_and(|upgrade| upgrade.step == UpgradeStep::Failed && upgrade.to == release)
        };
        let waited = self.installed.wait(name, "to have gone back", self.deadline(), is_failed).await?;
        waited.tenant.status.and_then(|status| status.upgrade).context("it says what failed")
    }

    /// What each tenant runs.
    pub(crate) async fn run(&self) -> Result<Vec<String>> {
        let tenants: Api<Tenant> = Api::all(self.installed.client().await?);
        let mut all = Vec::new();
        for name in &self.tenants {
            let status = tenants.get(name).await?.status.unwrap_or_default();
            all.push(status.release.unwrap_or_default());
        }
        Ok(all)
    }

    /// Those that have anything to do with a release.
    async fn touched(&self, release: &str) -> Result<Vec<String>> {
        let tenants: Api<Tenant> = Api::all(self.installed.client().await?);
        let mut touched = self.tenants.clone();
        for name in &self.tenants {
            let status = tenants.get(name).await?.status.unwrap_or_default();
            let is_told = status.target_release.as_deref() == Some(release);
            if !is_told && status.upgrade.is_none_or(|upgrade| upgrade.to != release) {
                touched.retain(|other| other != name);
            }
        }
        Ok(touched)
    }

    /// Twenty requests a second at each of these; fewer if there are many, so that the machine has something left for the rollout.
    async fn visitors(&self, tenants: &[String]) -> Result<Visitors> {
        let mut customers = Vec::new();
        for some in tenants.chunks(MADE_AT_ONCE) {
            for crm in try_join_all(some.iter().map(|name| owner(&self.installed, name))).await? {
                customers.extend([crm.clone(), crm]);
            }
        }
        let together = u32::try_from(self.tenants.len() * CUSTOMERS)?;
        Ok(Visitors::start_every(PAUSE.max(Duration::from_secs(1) * together / AT_MOST), customers))
    }
}

/// Names of that many tenants.
pub(crate) fn names(prefix: &str, count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("{prefix}-{number}")).collect()
}

async fn make_plan(client: &Client) -> Result<()> {
    let plans: Api<Plan> = Api::all(client.clone());
    let mut spec = plans.get("small").await?.spec;
    "2m".clone_into(&mut spec.app.cpu);
    "5m".clone_into(&mut spec.database.cpu);
    let params = PatchParams::apply("e2e").force();
    plans.patch(PLAN, &params, &Patch::Apply(Plan::new(PLAN, spec))).await?;
    Ok(())
}

fn reason(upgrade: &UpgradeStatus) -> &str {
    upgrade.last_failure.as_ref().map_or("", |failure| failure.reason.as_str())
}

#[expect(
    clippy::disallowed_methods,
    reason = "what happened when is measured by this machine's clock, which the cluster has too"
)]
fn since(upgrade: &UpgradeStatus) -> SignedDuration {
    let at = upgrade.last_failure.as_ref().map(|failure| failure.at.0).unwrap_or_default();
    jiff::Timestamp::now().duration_since(at)
}

async fn company(crm: &Crm, name: &str) -> Result<()> {
    let reply = crm.send(Method::POST, "/companies", Some(json!({"name": name}))).await?;
    ensure!(reply.status == StatusCode::CREATED, "{reply:?}");
    Ok(())
}

/// How many companies there are of that name. Pods that end answer what is on its way to them for some seconds more.
async fn companies(crm: &Crm, name: &str) -> Result<usize> {
    Wait::new("the release before to answer alone", UNDONE.unsigned_abs())
        .until(async || {
            let reply = crm.send(Method::GET, &format!("/companies?q={name}"), None).await?;
            Ok(match reply.body["items"].as_array() {
                Some(items) if reply.status == StatusCode::OK => Look::Done(items.len()),
                _ => Look::NotYet(format!("{reply:?}")),
            })
        })
        .await
}

#[tokio::test]
async fn a_good_release_reaches_all_and_nobody_notices_and_bad_ones_harm_nobody_but_the_first() -> Result<()>
{
    let (installed, _turn) = beside_others().await?;
    let fleet = Fleet::start(&installed, "rolling", names("rolls", fleet_size()?)).await?;
    let count = fleet.tenants.len();
    let good = fleet.release(TestRelease::Expands, |_| ()).await?;
    let visitors = fleet.visitors(&fleet.tenants).await?;
    fleet.wants(&good).await?;
    fleet.until("UpToDate", "True").await?;
    println!("a good release: {}", visitors.end().await?);
    assert_eq!(fleet.run().await?, vec![good.as_str(); count]);

    let (of_first_wave, rest) = fleet.tenants.split_at(1);
    let first = owner(&installed, &of_first_wave[0]).await?;
    company(&first, "unmigratable").await?;
    let others = fleet.visitors(rest).await?;
    for (release, expected) in [
        (TestRelease::MigrationFails, "RehearsalFailed"),
        (TestRelease::Crashes, "CrashLooping"),
        (TestRelease::Errors, "TooManyErrors"),
        (TestRelease::Slow, "TooSlow"),
    ] {
        let bad = fleet.release(release, |_| ()).await?;
        // Somebody has to use it for it to be seen; that some of this fails is what it is about.
        let at_work = fleet.visitors(of_first_wave).await?;
        fleet.wants(&bad).await?;
        let upgrade = fleet.undone(&of_first_wave[0], &bad).await?;
        let (took, said) = (since(&upgrade), reason(&upgrade));
        ensure!(said == expected, "{release:?}: {upgrade:?}");
        ensure!(took <= UNDONE, "{release:?} was undone {took:#} after it was found out");
        let served = at_work.go_home().await?;
        println!("{release:?}: {said}, undone {took:#} after it was found out; of its customers, {served}");
        fleet.until("Halted", "True").await?;
        assert_eq!(fleet.run().await?, vec![good.as_str(); count], "{release:?} was undone");
        assert_eq!(fleet.touched(&bad).await?, of_first_wave, "{release:?} touched nobody else");
        assert_eq!(companies(&first, "unmigratable").await?, 1, "nothing is lost");
        ensure!(upgrade.lost.is_none(), "{upgrade:?}");
    }
    println!("the others, meanwhile: {}", others.end().await?);
    Ok(())
}

#[tokio::test]
async fn a_release_from_which_only_a_backup_leads_back_loses_what_it_says_and_nothing_else() -> Result<()> {
    let (installed, _turn) = beside_others().await?;
    let fleet = Fleet::start(&installed, "one-way", vec!["one-way".to_owned()]).await?;
    // Nobody writes from the backup until it serves, and it never does.
    let crashes = fleet.release(TestRelease::Crashes, one_way).await?;
    let (stop, writer) = write_on(owner(&installed, "one-way").await?);
    fleet.wants(&crashes).await?;
    let upgrade = fleet.undone("one-way", &crashes).await?;
    stop.send_replace(true);
    let written = writer.await?;
    ensure!(reason(&upgrade) == "CrashLooping" && upgrade.lost.is_none(), "{upgrade:?}");
    installed.wait_ready("one-way", READY).await?;
    let kept = found(&signed_in(&installed, "one-way").await?, &written).await?;
    ensure!(!kept.is_empty() && kept.iter().all(|kept| *kept), "what was acknowledged is there: {kept:?}");

    // This one serves for a while, and then it does not.
    let errors = fleet.release(TestRelease::Errors, one_way).await?;
    let (stop, writer) = write_on(signed_in(&installed, "one-way").await?);
    fleet.wants(&errors).await?;
    let upgrade = fleet.undone("one-way", &errors).await?;
    stop.send_replace(true);
    let written = writer.await?;
    ensure!(reason(&upgrade) == "TooManyErrors", "{upgrade:?}");
    let lost = upgrade.lost.clone().with_context(|| format!("{upgrade:?}"))?;
    installed.wait_ready("one-way", READY).await?;
    let kept = found(&signed_in(&installed, "one-way").await?, &written).await?;
    let gone: Vec<_> =
        written.iter().zip(&kept).filter(|(_, kept)| !**kept).map(|(written, _)| written).collect();
    ensure!(!gone.is_empty(), "it answered for a while, so something must have been written: {lost:?}");
    for record in &gone {
        // The status has whole seconds.
        let second = Duration::from_secs(1);
        ensure!(lost.from.0 <= record.acknowledged && record.sent <= lost.to.0 + second, "{lost:?}");
    }
    println!("of {} records {} were lost, all of them in {lost:?}", written.len(), gone.len());

    // And this one is as it should be.
    let contracts = fleet.release(TestRelease::Contracts, |_| ()).await?;
    fleet.wants(&contracts).await?;
    fleet.until("UpToDate", "True").await?;
    company(&signed_in(&installed, "one-way").await?, "after").await?;
    assert_eq!(fleet.run().await?, [contracts]);
    Ok(())
}

/// The same image, of which it is said that the app before cannot work on its schema.
fn one_way(release: &mut Release) {
    release.metadata.name = Some(format!("{}-one-way", release.name_any()));
    release.spec.schema.min_app_schema = Some(release.spec.schema.version);
}
