//! Which faults there are, and when each of them comes.

use std::fmt;

use super::{
    course::Course,
    trace::{Subject, Target},
};

/// Something that goes wrong once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// At one of the writes of the course.
    AtWrite(Target, Trouble),
    /// The first read of that object fails with an internal error.
    AtRead(Subject),
    /// From the beginning of the course, on the watches of that resource, or of all.
    OnWatch(Option<String>, Disturbance),
}

/// What goes wrong at a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The operator is killed (`SIGKILL`) before the API server hears of the write.
    KillBefore,
    /// The operator is killed when the write is done, before it hears of that.
    KillAfterCommit,
    /// The operator is killed after the answer.
    KillAfterResponse,
    /// The operator is killed after the answer, and the next one finds the lists as they were before the course.
    KillAndRewind,
    /// The API server answers 409, 429 or 500 and does nothing.
    Refuse(u16),
    /// The write is done, and the answer is 504.
    TimeOutAfterCommit,
    /// The write is done, and the connection breaks.
    BreakAfterCommit,
    /// The write is done, and no answer ever comes, though the connection stays open.
    SilenceAfterCommit,
}

impl Trouble {
    /// All of them, those of every write first.
    pub(super) const ALL: [Self; 10] = [
        Self::KillBefore,
        Self::KillAfterCommit,
        Self::KillAfterResponse,
        Self::KillAndRewind,
        Self::Refuse(409),
        Self::Refuse(429),
        Self::Refuse(500),
        Self::TimeOutAfterCommit,
        Self::BreakAfterCommit,
        Self::SilenceAfterCommit,
    ];

    /// Whether the operator does not learn that the write is done, and has to ask for the same again unless a watch tells.
    pub(super) fn withholds_the_answer(self) -> bool {
        matches!(
            self,
            Self::KillAfterCommit
                | Self::TimeOutAfterCommit
                | Self::BreakAfterCommit
                | Self::SilenceAfterCommit
        )
    }

    /// Whether it comes before the API server hears of the write.
    pub(super) fn comes_before(self) -> bool {
        matches!(self, Self::KillBefore | Self::Refuse(_))
    }
}

/// What goes wrong on a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disturbance {
    /// The connection breaks in the middle of the first event.
    Cut,
    /// All events come late.
    Delay,
    /// Of the events on one object that follow each other closely, only the last comes, and late.
    Skip,
    /// Before each event come some of the earlier ones again.
    Replay,
    /// In place of the first event comes 410: the version to go on from is too old.
    Gone,
}

impl Disturbance {
    /// All of them.
    pub(super) const ALL: [Self; 5] = [Self::Cut, Self::Delay, Self::Skip, Self::Replay, Self::Gone];
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillBefore => formatter.write_str("killed before"),
            Self::KillAfterCommit => formatter.write_str("killed after commit"),
            Self::KillAfterResponse => formatter.write_str("killed after response"),
            Self::KillAndRewind => formatter.write_str("killed, lists rewound"),
            Self::Refuse(status) => write!(formatter, "answered {status}"),
            Self::TimeOutAfterCommit => formatter.write_str("504 after commit"),
            Self::BreakAfterCommit => formatter.write_str("cut off after commit"),
            Self::SilenceAfterCommit => formatter.write_str("silence after commit"),
        }
    }
}

impl fmt::Display for Disturbance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Cut => "watch cut",
            Self::Delay => "watch delayed",
            Self::Skip => "watch events missed",
            Self::Replay => "watch events replayed",
            Self::Gone => "watch answered 410",
        })
    }
}

impl Fault {
    /// Whether the operator is shown the past.
    pub(super) fn rewinds(&self) -> bool {
        matches!(self, Self::AtWrite(_, Trouble::KillAndRewind))
    }

    /// What kind of fault it is, for the table.
    pub(super) fn family(&self) -> String {
        match self {
            Self::AtWrite(_, trouble) => trouble.to_string(),
            Self::AtRead(_) => "read answered 500".to_owned(),
            Self::OnWatch(_, disturbance) => disturbance.to_string(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtWrite(target, trouble) => write!(formatter, "{target}: {trouble}"),
            Self::AtRead(subject) => write!(formatter, "get {subject}: answered 500"),
            Self::OnWatch(Some(resource), disturbance) => write!(formatter, "{resource}: {disturbance}"),
            Self::OnWatch(None, disturbance) => write!(formatter, "everything: {disturbance}"),
        }
    }
}

/// A fault in a course.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) course: Course,
    pub(super) fault: Fault,
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, {}", self.course, self.fault)
    }
}

/// Every fault that a course can meet, given what it writes, reads and hears.
///
/// The operator gives up on a request that is not answered only after a good while, so of that fault there is one a course.
pub(super) fn every_fault(targets: &[Target], reads: &[Subject], news: &[String]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for trouble in Trouble::ALL {
        let rare = trouble == Trouble::SilenceAfterCommit;
        let targets = targets.iter().take(if rare { 1 } else { usize::MAX });
        faults.extend(targets.map(|target| Fault::AtWrite(target.clone(), trouble)));
    }
    faults.extend(reads.iter().cloned().map(Fault::AtRead));
    for disturbance in Disturbance::ALL {
        let resources = news.iter().cloned().map(Some).chain([None]);
        faults.extend(resources.map(|resource| Fault::OnWatch(resource, disturbance)));
    }
    faults
}

/// The same few of many every time, spread evenly over all of them.
pub(super) fn spread<T: Clone>(all: &[T], few: usize) -> Vec<T> {
    let few = few.min(all.len());
    (0..few).map(|index| all[(2 * index + 1) * all.len() / (2 * few)].clone()).collect()
}

/// Orders plans so that as many as can be follow each other in the life of one tenant: one of each course, then again.
pub(super) fn by_lives(plans: Vec<Plan>) -> Vec<Plan> {
    let mut seen = std::collections::BTreeMap::<Course, usize>::new();
    let mut numbered: Vec<_> = plans
        .into_iter()
        .map(|plan| {
            let life = seen.entry(plan.course).or_default();
            *life += 1;
            (*life, plan.course, plan)
        })
        .collect();
    numbered.sort_by_key(|(life, course, _)| (*life, *course));
    numbered.into_iter().map(|(_, _, plan)| plan).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_even_and_has_no_more_than_there_are() {
        let all: Vec<u32> = (0..100).collect();
        assert_eq!(spread(&all, 4), [12, 37, 62, 87]);
        assert_eq!(spread(&all[..2], 4), [0, 1]);
        assert_eq!(spread(&all[..0], 4), [] as [u32; 0]);
    }

    #[test]
    fn a_life_has_each_course_once() {
        let plan = |course| Plan { course, fault: Fault::OnWatch(None, Disturbance::Cut) };
        let plans = by_lives(vec![
            plan(Course::Create),
            plan(Course::Create),
            plan(Course::Change),
            plan(Course::Delete),
            plan(Course::Change),
        ]);
        let courses: Vec<Course> = plans.into_iter().map(|plan| plan.course).collect();
        assert_eq!(courses, [Course::Create, Course::Change, Course::Delete, Course::Create, Course::Change]);
    }

    #[test]
    fn silence_comes_once_a_course() {
        let subject =
            |name: &str| Subject { resource: "a".into(), namespace: String::new(), name: name.into() };
        let asked = |name| super::super::trace::Asked {
            verb: super::super::trace::Verb::Patch,
            subject: subject(name),
        };
        let target = |number, name| Target { number, asked: asked(name), occurrence: 1 };
        let faults = every_fault(&[target(1, "a"), target(2, "b")], &[subject("c")], &["pods".to_owned()]);
        // Nine kinds at two writes and one at one, one read, five kinds on two sets of watches.
        assert_eq!(faults.len(), 9 * 2 + 1 + 1 + 5 * 2);
    }
}
