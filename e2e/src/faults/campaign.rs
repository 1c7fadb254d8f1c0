//! Many plans, one after the other, and what came of them.

use std::{collections::BTreeMap, fmt, pin::pin, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::{
    course::Course,
    harness::{Harness, Verdict},
    plan::{Fault, Plan, Trouble, by_lives, every_fault, spread},
    trace::{Target, Verb},
};
use crate::host::progress;

/// After so many plans a line says how far it is.
const MILESTONE: usize = 25;

/// What came of a plan.
struct Outcome {
    plan: Plan,
    verdict: Verdict,
}

/// What came of all plans; prints itself as a table.
pub struct Report {
    outcomes: Vec<Outcome>,
    /// How many there would have been, had nobody interrupted it.
    planned: usize,
}

impl Report {
    /// The plans that did not end as if nothing had happened, with the first difference.
    pub fn failures(&self) -> Vec<String> {
        let failed = self.outcomes.iter().filter_map(|Outcome { plan, verdict }| match verdict {
            Verdict::Differs(how) => Some(format!("{plan}: {how}")),
            Verdict::Same(_) | Verdict::NotReached => None,
        });
        failed.collect()
    }

    /// Whether every plan was tried.
    pub fn is_complete(&self) -> bool {
        self.outcomes.len() == self.planned
    }

    /// How many faults really happened.
    pub fn happened(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.verdict != Verdict::NotReached).count()
    }
}

/// One line of the table.
#[derive(Default)]
struct Line {
    plans: usize,
    same: usize,
    not_reached: usize,
    different: usize,
    slowest: Duration,
}

impl Line {
    fn add(&mut self, verdict: &Verdict) {
        self.plans += 1;
        match verdict {
            Verdict::Same(took) => {
                self.same += 1;
                self.slowest = self.slowest.max(*took);
            }
            Verdict::NotReached => self.not_reached += 1,
            Verdict::Differs(_) => self.different += 1,
        }
    }

    fn write(&self, formatter: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        let Self { plans, same, not_reached, different, slowest } = self;
        let seconds = slowest.as_secs_f64();
        writeln!(
            formatter,
            "{name:24} {plans:>6} {same:>15} {not_reached:>12} {different:>10} {seconds:>8.1} s"
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = BTreeMap::<String, Line>::new();
        let mut sum = Line::default();
        for Outcome { plan, verdict } in &self.outcomes {
            lines.entry(plan.fault.family()).or_default().add(verdict);
            sum.add(verdict);
        }
        writeln!(
            formatter,
            "{:24} {:>6} {:>15} {:>12} {:>10} {:>10}",
            "fault", "plans", "as undisturbed", "not reached", "different", "slowest"
        )?;
        for (name, line) in &lines {
            line.write(formatter, name)?;
        }
        sum.write(formatter, "all")?;
        if !self.is_complete() {
            writeln!(formatter, "interrupted after {} of {} plans", self.outcomes.len(), self.planned)?;
        }
        for failure in self.failures() {
            writeln!(formatter, "\n{failure}")?;
        }
        Ok(())
    }
}

impl Harness {
    /// Every fault of these courses; with words, those whose line in the report has some of them.
    pub async fn run_all(&mut self, courses: &[Course], matching: &[String]) -> Result<Report> {
        let mut plans = Vec::new();
        for course in courses {
            plans.extend(self.every_plan(*course)?);
        }
        let is_asked_for = |plan: &Plan| {
            let line = plan.to_string();
            matching.is_empty() || matching.iter().any(|words| line.contains(words))
        };
        plans.retain(is_asked_for);
        ensure!(!plans.is_empty(), "no fault of these courses has such words in its line: {matching:?}");
        self.run_plans(by_lives(plans)).await
    }

    /// The same few faults every time: of each course some kills, spread over its writes and moments, and some others.
    pub async fn run_sample(&mut self, kills: usize, others: usize) -> Result<Report> {
        let mut plans = Vec::new();
        for course in Course::ALL {
            // A namespace takes its five seconds to go, so there are fewer deletions.
            let (kills, others) = if course == Course::Delete { (kills / 2, 1) } else { (kills, others) };
            let all = self.every_plan(course)?.into_iter().filter(|plan| !is_slow(plan));
            let (deadly, rest): (Vec<_>, Vec<_>) = all.partition(is_kill);
            let (rewound, harmless): (Vec<_>, Vec<_>) =
                rest.into_iter().partition(|plan| plan.fault.rewinds());
            plans.extend(spread(&deadly, kills));
            plans.extend(spread(&harmless, others));
            // A tenant's life ends with a journey in time, and the next has to be begun.
            plans.extend(spread(&rewound, usize::from(course == Course::Change)));
        }
        plans.extend(
            self.giveaways()?
                .into_iter()
                .filter_map(|giveaway| Some(Plan { course: giveaway.course, fault: giveaway.fault? })),
        );
        self.run_plans(by_lives(plans)).await
    }

    fn every_plan(&self, course: Course) -> Result<Vec<Plan>> {
        let reference = self.references.get(&course).context("nothing was learned yet")?;
        let faults = every_fault(&reference.targets, &reference.reads, &reference.news);
        Ok(faults.into_iter().map(|fault| Plan { course, fault }).collect())
    }

    async fn run_plans(&mut self, plans: Vec<Plan>) -> Result<Report> {
        let mut outcomes = Vec::new();
        let planned = plans.len();
        let mut interrupted = pin!(tokio::signal::ctrl_c());
        for plan in plans {
            let verdict = tokio::select! {
                verdict = self.judge(plan.course, Some(plan.fault.clone())) => verdict?,
                // Half an hour of work is not thrown away: the report is of what was done.
                _ = &mut interrupted => break,
            };
            let done = outcomes.len() + 1;
            if let Verdict::Differs(how) = &verdict {
                progress::say(&format!("{done}/{planned} {plan}: {how}"));
            } else if done.is_multiple_of(MILESTONE) {
                progress::say(&format!("{done}/{planned} faults"));
            }
            outcomes.push(Outcome { plan, verdict });
        }
        Ok(Report { outcomes, planned })
    }

    /// Breaks the operator in each known way and says, for each, what gave it away; nothing if the harness did not notice.
    pub async fn hunt(&mut self) -> Result<Vec<(&'static str, Option<String>)>> {
        let mut caught = Vec::new();
        for Giveaway { mutant, course, fault } in self.giveaways()? {
            self.replace_operator(Some(mutant)).await?;
            // An undisturbed course that ends differently gives it away as well.
            let how = match self.judge(course, fault).await {
                Ok(Verdict::Differs(how)) => Some(how),
                Ok(Verdict::Same(_) | Verdict::NotReached) => None,
                Err(error) => Some(format!("before {course}: {error:#}")),
            };
            caught.push((mutant, how));
        }
        self.replace_operator(None).await?;
        Ok(caught)
    }

    /// What shows that an operator is broken, for each way in which `operator::mutants` can break it.
    fn giveaways(&self) -> Result<Vec<Giveaway>> {
        let first = |course, verb, resource: &str| {
            let reference = self.references.get(&course).context("nothing was learned yet")?;
            let mut targets = reference.targets.iter();
            let is_it =
                |target: &&Target| target.asked.verb == verb && target.asked.subject.resource == resource;
            targets.find(is_it).cloned().with_context(|| format!("{course} makes no {verb} of {resource}"))
        };
        let changed = self.references.get(&Course::Change).context("nothing was learned yet")?;
        let mut reads = changed.reads.iter();
        let credentials = reads
            .find(|read| read.name == operator::names::child::DATABASE_CREDENTIALS)
            .context("the credentials are not read")?;
        let giveaway = |mutant, course, fault| Giveaway { mutant, course, fault };
        let at = |target, trouble| Some(Fault::AtWrite(target, trouble));
        let status = first(Course::Create, Verb::Patch, "tenants/status")?;
        let policy = first(Course::Change, Verb::Delete, "networkpolicies")?;
        let finalizer = first(Course::Delete, Verb::Patch, "tenants")?;
        Ok(vec![
            giveaway("deletes-by-name", Course::Change, None),
            giveaway("remakes-secrets", Course::Change, Some(Fault::AtRead(credentials.clone()))),
            giveaway("forgets-pruning", Course::Change, at(policy, Trouble::KillBefore)),
            giveaway("believes-status", Course::Create, at(status, Trouble::KillAfterCommit)),
            giveaway("lets-go-first", Course::Delete, at(finalizer, Trouble::KillAfterCommit)),
        ])
    }
}

/// A mutant, and what gives it away.
struct Giveaway {
    /// As the command line of the operator calls it.
    mutant: &'static str,
    course: Course,
    fault: Option<Fault>,
}

fn is_kill(plan: &Plan) -> bool {
    use Trouble::{KillAfterCommit, KillAfterResponse, KillBefore};
    matches!(plan.fault, Fault::AtWrite(_, KillBefore | KillAfterCommit | KillAfterResponse))
}

/// The operator's patience with a silent API server is longer than that of a test.
fn is_slow(plan: &Plan) -> bool {
    matches!(plan.fault, Fault::AtWrite(_, Trouble::SilenceAfterCommit))
}
