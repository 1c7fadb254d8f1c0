//! A release that reaches a fleet by the words of `docs/runbooks/ship-a-release.md`, and two that harm its first tenant and are got out of by
//! those of `halted-rollout.md`.

use anyhow::{Context as _, Result, ensure};
use e2e::{fleet::Installed, images::TestRelease};
use futures::future::try_join_all;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use operator::api::Channel;
use serde_json::json;

use crate::{
    READY, beside_others, owner,
    rollouts::Fleet,
    runbook::{OPENING, STAFF, Shell},
};

const CHANNEL: &str = "shipping";
/// The first is the wave `first`, the second the wave `everyone`.
const TENANTS: [&str; 2] = ["ships-1", "ships-2"];
/// The image in the runbook's example.
const EXAMPLE: &str =
    "docker.io/tenantry/crm-app@sha256:0000000000000000000000000000000000000000000000000000000000000000";
/// Where the runbook says how far a rollout is.
const WATCHING: &str = "Watching it";

/// Two tenants, of which the second needs somebody's word.
async fn start(installed: &Installed) -> Result<Fleet> {
    let fleet = Fleet::start(installed, CHANNEL, TENANTS.map(str::to_owned).to_vec()).await?;
    let rollout = json!({
        "waves": [
            { "name": "first", "tenants": { "matchLabels": { "tier": "own" } } },
            { "name": "everyone", "approval": "Required" },
        ],
        // For another release than those that are shipped, so the runbook has one to do away with.
        "approvals": [{ "release": installed.release, "wave": "everyone" }],
    });
    let channels: Api<Channel> = Api::all(installed.client().await?);
    let patch = Patch::Merge(json!({ "spec": { "rollout": rollout } }));
    channels.patch(CHANNEL, &PatchParams::default(), &patch).await?;
    fleet.until("UpToDate", "True").await?;
    Ok(fleet)
}

/// Somebody who ships a release.
struct Shipper {
    shell: Shell,
    /// Name of the Release that the runbook makes.
    release: String,
}

impl Shipper {
    /// The runbook, for that release. A Release never changes, so this one is another than that of other tests.
    async fn of(installed: &Installed, release: TestRelease) -> Result<Self> {
        let object = installed.test_release(release)?;
        let (name, spec) = (format!("{}-shipped", object.name_any()), object.spec);
        let min_app = spec.schema.min_app_schema.context("a test release says which app it needs")?;
        let case = [
            ("channel=stable", format!("channel={CHANNEL}")),
            ("release=0.2.0", format!("release={name}")),
            ("version: 0.2.0", format!("version: {}", spec.version)),
            (EXAMPLE, spec.image),
            (
                "{version: 2, minAppSchema: 1}",
                format!("{{version: {}, minAppSchema: {min_app}}}", spec.schema.version),
            ),
        ];
        let case = case.each_ref().map(|(example, word)| (*example, word.as_str()));
        Ok(Self { shell: Shell::open(installed, "ship-a-release", &case).await?, release: name })
    }

    /// What the runbook's sections print.
    async fn does(&self, sections: &[&str]) -> Result<String> {
        typed(&self.shell, sections).await
    }
}

/// Somebody who reads the other runbook because of the first tenant.
async fn reader(installed: &Installed) -> Result<Shell> {
    let (channel, tenant) = (format!("channel={CHANNEL}"), format!("tenant={}", TENANTS[0]));
    let case = [("channel=stable", channel.as_str()), ("tenant=acme", tenant.as_str())];
    Shell::open(installed, "halted-rollout", &case).await
}

/// What the sections of a runbook print, after its opening.
async fn typed(shell: &Shell, sections: &[&str]) -> Result<String> {
    let said = shell.follow(STAFF, &[&[OPENING][..], sections].concat(), &[]).await?;
    println!("{sections:?}:\n{said}");
    Ok(said)
}

/// Fails unless the last line that was printed about something begins with these words, the first of which is its name.
fn shows(said: &str, words: &[&str]) -> Result<()> {
    let mut lines = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let last = lines.rfind(|line| line.first() == words.first());
    ensure!(last.is_some_and(|line| line.starts_with(words)), "it does not say {words:?}:\n{said}");
    Ok(())
}

/// Each CRM takes a record.
async fn all_serve(installed: &Installed) -> Result<()> {
    for name in TENANTS {
        owner(installed, name).await?.create_company("Shipped").await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_runbooks_ship_a_release_and_lead_out_of_two_that_fail() -> Result<()> {
    let (installed, _turn) = beside_others().await?;
    let fleet = start(&installed).await?;
    let good = ships(&installed, &fleet).await?;
    sets_the_line_back(&installed, &fleet, &good).await?;
    tries_again(&installed, &fleet, &good).await?;
    try_join_all(TENANTS.map(|name| installed.delete(name, READY))).await?;
    Ok(())
}

/// A good release, in two waves, with a pause between them and somebody's word for the second; its name.
async fn ships(installed: &Installed, fleet: &Fleet) -> Result<String> {
    let [first, second] = TENANTS;
    let before = installed.release.as_str();
    let staff = Shipper::of(installed, TestRelease::Expands).await?;
    let good = staff.release.as_str();
    let said = staff.does(&["The Release", "The channel before"]).await?;
    shows(&said, &[CHANNEL, before, "True", "RolledOut"])?;
    shows(&said, &[first, CHANNEL, "first", before, "<none>"])?;
    shows(&said, &[second, CHANNEL, "everyone", before, "<none>"])?;

    let said = staff.does(&["The line", WATCHING]).await?;
    shows(&said, &[CHANNEL, good, "False", "AwaitingApproval", "everyone", "1", "2", "0"])?;
    shows(&said, &[first, CHANNEL, "first", good, "<none>"])?;
    shows(&said, &[second, CHANNEL, "everyone", before, "<none>"])?;
    shows(&staff.does(&["Pausing"]).await?, &[CHANNEL, good, "False", "Paused", "everyone"])?;

    let said = staff.does(&["Letting a wave begin", WATCHING]).await?;
    shows(&said, &[CHANNEL, good, "True", "RolledOut", "2", "2", "0"])?;
    let said = staff.does(&["Afterwards"]).await?;
    shows(&said, &[good])?;
    for name in TENANTS {
        shows(&said, &[name, good, "True", "AsExpected"])?;
    }
    assert_eq!(fleet.run().await?, [good; 2]);
    all_serve(installed).await?;
    Ok(staff.release)
}

/// A release that crashes in the first wave; the line is set back.
async fn sets_the_line_back(installed: &Installed, fleet: &Fleet, good: &str) -> Result<()> {
    let staff = Shipper::of(installed, TestRelease::Crashes).await?;
    let said = staff.does(&["The Release", "The line", WATCHING]).await?;
    shows(&said, &[CHANNEL, &staff.release, "False", "Halted", "first", "0", "2", "1"])?;

    let shell = reader(installed).await?;
    let said = typed(&shell, &["What the channel says"]).await?;
    shows(&said, &["Halted=True", "TooManyFailures"])?;
    shows(&said, &[TENANTS[0], "CrashLooping"])?;
    let said = typed(&shell, &["What the tenant says"]).await?;
    for word in [r#""step": "Failed""#, r#""reason": "CrashLooping""#, "UpgradeGoingBack"] {
        ensure!(said.contains(word), "the tenant does not say {word}:\n{said}");
    }
    let lost = typed(&shell, &["What was lost"]).await?;
    ensure!(lost.trim().is_empty(), "the release before works on its schema: {lost}");
    assert_eq!(fleet.run().await?, [good; 2]);
    all_serve(installed).await?;

    let said = typed(&shell, &["Setting the line back"]).await?;
    shows(&said, &[CHANNEL, good, "True", "RolledOut", "2", "2", "0"])?;
    all_serve(installed).await
}

/// A release that cannot migrate what the first tenant has; that is mended, and it tries again.
async fn tries_again(installed: &Installed, fleet: &Fleet, good: &str) -> Result<()> {
    let first = TENANTS[0];
    let unmigratable = owner(installed, first).await?.create_company("unmigratable").await?;
    let staff = Shipper::of(installed, TestRelease::MigrationFails).await?;
    let said = staff.does(&["The Release", "The line", WATCHING]).await?;
    shows(&said, &[CHANNEL, &staff.release, "False", "Halted", "first", "0", "2", "1"])?;
    let shell = reader(installed).await?;
    let said = typed(&shell, &["What the channel says"]).await?;
    shows(&said, &[first, "RehearsalFailed"])?;
    assert_eq!(fleet.run().await?, [good; 2]);

    owner(installed, first).await?.rename_company(&unmigratable, "mended").await?;
    typed(&shell, &["Trying again"]).await?;
    let said = staff.does(&[WATCHING]).await?;
    shows(&said, &[CHANNEL, &staff.release, "False", "AwaitingApproval", "everyone", "1", "2", "0"])?;
    assert_eq!(fleet.run().await?, [staff.release.as_str(), good]);
    all_serve(installed).await
}
