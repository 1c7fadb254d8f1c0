//! A cluster, the proxy, and the operator under test; runs courses with and without faults, and judges how they end.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use operator::{api::Tenant, names};
use serde_json::json;
use tempfile::TempDir;

use super::{
    course::{self, Course},
    oracle::{self, Fingerprints, Picture, difference},
    plan::Fault,
    process::{Process, Program, touch},
    proxy::Proxy,
    trace::{Counts, Subject, Target, Trace, Write},
};
use crate::{
    cluster::{
        ControlPlane,
        control_plane::{Outcome, StandIn, Workload},
        kubeconfig,
    },
    helm::{self, Pods},
    host::wait::{Look, Wait},
};

/// The operator has come to rest when it has changed nothing for so long, and has nothing waiting.
const QUIET: Duration = Duration::from_millis(250);
/// What an undisturbed course takes at most, on a busy machine.
const UNDISTURBED: Duration = Duration::from_mins(1);

/// How a course ends when nothing goes wrong.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    pub(super) picture: Picture,
    pub(super) counts: Counts,
    /// The writes that every run makes.
    pub(super) targets: Vec<Target>,
    pub(super) reads: Vec<Subject>,
    /// Resources whose watches have news.
    pub(super) news: Vec<String>,
}

/// How a course with a fault ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As if nothing had happened, after this time.
    Same(Duration),
    /// As if nothing had happened, and nothing had: this run did not do what the fault waits for.
    NotReached,
    /// Not as it should be; the first difference, in words.
    Differs(String),
}

/// What a course should end in.
struct Expected<'a> {
    picture: &'a Picture,
    /// An operator that sees the past tells the CRM of it, and then of the present, each time with a higher revision; and it
    /// removes the finished Job of a migration that it does not know yet.
    rewound: bool,
}

impl Expected<'_> {
    fn difference(&self, found: &Picture) -> Option<String> {
        if self.rewound {
            let comparable = |picture| oracle::without_finished_migrations(oracle::rank_revisions(picture));
            return difference(&comparable(self.picture), &comparable(found));
        }
        difference(self.picture, found)
    }
}

/// A cluster, the proxy, and the operator under test.
pub struct Harness {
    client: Client,
    proxy: Proxy,
    operator: Option<Process>,
    program: Program,
    /// The tenant that lives now, and the course that comes next in its life.
    life: Option<(String, Course)>,
    lives: u32,
    pub(super) references: BTreeMap<Course, Reference>,
    /// How long a course with a fault may take.
    patience: Duration,
    _nodes: StandIn,
    _folder: TempDir,
    _control_plane: ControlPlane,
}

impl Harness {
    /// Starts a cluster with the chart's roles and policies. `executable` is the `e2e` binary.
    pub async fn start(executable: &Path, patience: Duration) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("tenantry-faults-").tempdir()?;
        // A build that goes on meanwhile must not put another operator in the place of the one under test.
        let own = folder.path().join("operator");
        std::fs::copy(executable, &own).with_context(|| format!("cannot copy {}", executable.display()))?;
        let control_plane = ControlPlane::start().await?;
        helm::install(control_plane.kubeconfig(), &json!({}), Pods::Leave).await?;
        let client = kubeconfig::break_glass(control_plane.kubeconfig()).await?;
        course::prepare(&client).await?;
        let nodes = StandIn::start(control_plane.client().await?);
        migrations_succeed(&nodes);
        nodes.backups_succeed();
        nodes.restores_succeed(course::LAST_SCHEMA);
        let operator = control_plane.client_as_service_account(helm::NAMESPACE, names::OPERATOR).await?;
        let proxy = Proxy::start(operator).await?;
        let program = Program {
            executable: own,
            mutant: None,
            kubeconfig: folder.path().join("kubeconfig"),
            log: folder.path().join("operator.log"),
        };
        std::fs::write(&program.kubeconfig, proxy.kubeconfig().to_string())?;
        touch(&program.log)?;
        Ok(Self {
            client,
            proxy,
            operator: None,
            program,
            life: None,
            lives: 0,
            references: BTreeMap::new(),
            patience,
            _nodes: nodes,
            _folder: folder,
            _control_plane: control_plane,
        })
    }

    /// From now on the operator is broken in that way, or whole again.
    pub(super) async fn replace_operator(&mut self, mutant: Option<&'static str>) -> Result<()> {
        self.end_life().await?;
        self.program.mutant = mutant;
        Ok(())
    }

    /// Lets a tenant live undisturbed: with this the faults are compared.
    pub async fn learn(&mut self) -> Result<()> {
        // The route table, which the first operator of a cluster makes, belongs to no tenant.
        self.keep_operator().await?;
        Wait::new("the route table of the first operator", UNDISTURBED)
            .until(async || {
                let made = self.proxy.trace().writes.iter().any(Write::succeeded);
                Ok(if made && self.rests().await? {
                    Look::Done(())
                } else {
                    Look::NotYet("not there".to_owned())
                })
            })
            .await?;
        self.references = self.live().await?;
        Ok(())
    }

    /// Lets another tenant live undisturbed. What it has in common with the first is where faults can come; if it ends
    /// differently, the oracle is of no use.
    pub async fn confirm(&mut self) -> Result<()> {
        let second = self.live().await?;
        for ((course, first), second) in self.references.iter_mut().zip(second.into_values()) {
            if let Some(difference) = difference(&first.picture, &second.picture) {
                bail!("two undisturbed runs of {course} end differently: {difference}");
            }
            if let Some(difference) = uneven(&first.counts, &second.counts) {
                bail!("two undisturbed runs of {course} differ: {difference}");
            }
            let common = |target: &Target| {
                let same =
                    |other: &Target| (&other.asked, other.occurrence) == (&target.asked, target.occurrence);
                second.targets.iter().any(same)
            };
            first.targets.retain(common);
            first.reads.retain(|read| second.reads.contains(read));
            first.news.retain(|resource| second.news.contains(resource));
        }
        Ok(())
    }

    /// One whole life without faults.
    async fn live(&mut self) -> Result<BTreeMap<Course, Reference>> {
        let mut references = BTreeMap::new();
        for course in Course::ALL {
            let tenant = self.at(course)?;
            let (picture, trace) = self.run(course, &tenant, None, None, UNDISTURBED).await?;
            self.life = course.next().map(|next| (tenant, next));
            let reference = Reference {
                picture,
                counts: trace.counts(),
                targets: trace.targets(),
                reads: trace.reads.into_iter().collect(),
                news: trace.news.into_iter().collect(),
            };
            references.insert(course, reference);
        }
        Ok(references)
    }

    /// Runs a course with a fault, or without any, and judges how it ends. A tenant that stands before the course is
    /// brought there first.
    pub(super) async fn judge(&mut self, course: Course, fault: Option<Fault>) -> Result<Verdict> {
        let tenant = self.reach(course).await?;
        let reference = self.references.get(&course).context("nothing was learned yet")?.clone();
        let begun = Instant::now();
        let rewound = fault.as_ref().is_some_and(Fault::rewinds);
        let ended = self.run(course, &tenant, fault.clone(), Some(&reference.picture), self.patience).await;
        let verdict = match ended {
            Err(error) => Verdict::Differs(format!("{error:#}")),
            Ok((_, trace)) => match wrongdoing(&reference, &trace, rewound) {
                Some(wrong) => Verdict::Differs(wrong),
                None if fault.is_some() && !self.proxy.has_fired() => Verdict::NotReached,
                None => Verdict::Same(begun.elapsed()),
            },
        };
        // After a journey in time the revision of the entitlement is another, in all that follows.
        if rewound || matches!(verdict, Verdict::Differs(_)) {
            self.end_life().await?;
        } else {
            self.life = course.next().map(|next| (tenant, next));
        }
        Ok(verdict)
    }

    /// The tenant for which that course comes next.
    fn at(&mut self, course: Course) -> Result<String> {
        if self.life.is_none() {
            self.lives += 1;
            self.life = Some((format!("acme-{:04}", self.lives), Course::Create));
        }
        match &self.life {
            Some((tenant, next)) if *next == course => Ok(tenant.clone()),
            other => bail!("{course} cannot follow in {other:?}"),
        }
    }

    /// Brings a tenant to the point before a course, without faults.
    async fn reach(&mut self, course: Course) -> Result<String> {
        if self.life.as_ref().is_some_and(|(_, next)| course < *next) {
            self.end_life().await?;
        }
        for before in Course::ALL.into_iter().filter(|before| *before < course) {
            if self.life.as_ref().is_some_and(|(_, next)| before < *next) {
                continue;
            }
            let tenant = self.at(before)?;
            let picture = self.references.get(&before).map(|reference| reference.picture.clone());
            self.run(before, &tenant, None, picture.as_ref(), UNDISTURBED).await?;
            self.life = before.next().map(|next| (tenant, next));
        }
        self.at(course)
    }

    /// Runs a course to its end: the tenant says so, the operator rests, and what is there is as expected.
    async fn run(
        &mut self,
        course: Course,
        tenant: &str,
        fault: Option<Fault>,
        expected: Option<&Picture>,
        deadline: Duration,
    ) -> Result<(Picture, Trace)> {
        self.keep_operator().await?;
        let before = oracle::fingerprints(&self.client, tenant).await?;
        let rewound = fault.as_ref().is_some_and(Fault::rewinds);
        let expected = expected.map(|picture| Expected { picture, rewound });
        self.proxy.begin(tenant, fault).await?;
        course.begin(&self.client, tenant).await?;
        let picture = Wait::new(format!("the end of {course}"), deadline)
            .until(async || self.look(course, tenant, &before, expected.as_ref()).await)
            .await?;
        Ok((picture, self.proxy.trace()))
    }

    async fn look(
        &mut self,
        course: Course,
        tenant: &str,
        before: &Fingerprints,
        expected: Option<&Expected<'_>>,
    ) -> Result<Look<Picture>> {
        self.keep_operator().await?;
        let said = course.look(&self.client, tenant).await?;
        let Look::Done(()) = said else {
            return Ok(match said {
                Look::NotYet(now) => Look::NotYet(now),
                Look::Never(why) => Look::Never(why),
                Look::Done(()) => Look::NotYet(String::new()),
            });
        };
        if !self.rests().await? {
            return Ok(Look::NotYet("the operator is at work".to_owned()));
        }
        let picture = oracle::picture(&self.client, tenant, before).await?;
        Ok(match expected.and_then(|expected| expected.difference(&picture)) {
            Some(difference) => Look::NotYet(difference),
            None => Look::Done(picture),
        })
    }

    /// Whether the operator has seen everything, has nothing to do, and has done nothing for a while.
    async fn rests(&mut self) -> Result<bool> {
        let Some(operator) = &mut self.operator else { return Ok(false) };
        Ok(operator.is_idle().await? && QUIET <= self.proxy.quiet_for() && !self.proxy.wants_kill())
    }

    /// Kills the operator if it is to be killed, and starts one if there is none.
    async fn keep_operator(&mut self) -> Result<()> {
        if self.proxy.wants_kill() {
            self.kill_operator().await?;
        }
        if self.operator.is_none() {
            self.operator = Some(Process::start(&self.program)?);
        }
        Ok(())
    }

    async fn kill_operator(&mut self) -> Result<()> {
        if let Some(operator) = self.operator.take() {
            operator.kill().await?;
            self.proxy.next_process();
        }
        Ok(())
    }

    /// Removes the tenant by hand, whatever state it is in; the operator does not see it.
    async fn end_life(&mut self) -> Result<()> {
        self.kill_operator().await?;
        let Some((tenant, _)) = self.life.take() else { return Ok(()) };
        course::withdraw_requests(&self.client, &tenant).await?;
        let tenants: Api<Tenant> = Api::all(self.client.clone());
        if tenants.get_opt(&tenant).await?.is_some() {
            let free =
                json!({"metadata": {"finalizers": null, "annotations": {names::CONFIRM_DELETE: tenant}}});
            tenants.patch(&tenant, &PatchParams::default(), &Patch::Merge(free)).await?;
            // If it was being deleted, it went with its finalizer.
            if tenants.get_opt(&tenant).await?.is_some() {
                tenants.delete(&tenant, &DeleteParams::default()).await?;
            }
        }
        course::withdraw_channel(&self.client, &tenant).await?;
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let namespace = names::namespace_of(&tenant);
        if namespaces.get_opt(&namespace).await?.is_some() {
            // The next tenant has another name, so nothing waits for the end of this namespace.
            namespaces.delete(&namespace, &DeleteParams::default()).await?;
        }
        Ok(())
    }
}

/// What was done on the way that must not be, although the end is as it should be.
///
/// An operator that sees the past may make again what went since, and take it away when it has caught up.
fn wrongdoing(reference: &Reference, trace: &Trace, rewound: bool) -> Option<String> {
    let careless = trace.careless_deletes().next();
    let careless = careless.map(|write| format!("a delete does not say which object it means: {write}"));
    careless.or_else(|| if rewound { None } else { uneven(&reference.counts, &trace.counts()) })
}

/// The first object that was not made and deleted as often as it should be.
fn uneven(expected: &Counts, found: &Counts) -> Option<String> {
    expected.keys().chain(found.keys()).find_map(|subject| {
        let count = |counts: &Counts| counts.get(subject).copied().unwrap_or_default();
        let ((made, deleted), (really_made, really_deleted)) = (count(expected), count(found));
        let differs = (made, deleted) != (really_made, really_deleted);
        differs.then(|| {
            format!(
                "{subject} was made {really_made} times and deleted {really_deleted} times, and should be {made} and {deleted} times"
            )
        })
    })
}

/// Each migration reports the schema of its release.
fn migrations_succeed(nodes: &StandIn) {
    for (release, schema_version) in course::RELEASES {
        // A database that was restored is migrated, too.
        for generation in [1, 2] {
            let image = course::image(release);
            let job = names::migration_job(&image, schema_version, &names::sign_in_secret(None), generation);
            let message = json!({"code": "Migrated", "schemaVersion": schema_version}).to_string();
            nodes.on(Workload::Job, "", &job, Outcome::Works { message });
        }
    }
}
