//! What the proxy remembers, and what it decides about each request. No input or output here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hyper::body::Bytes;

use super::{
    plan::{Disturbance, Fault, Trouble},
    trace::{Asked, Trace, Verb, Write},
};

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It goes to the API server.
    SendOn,
    /// It goes nowhere and is never answered.
    Hold,
    /// It is answered with that status, and the API server does not hear of it.
    Refuse(u16),
    /// It is answered with this older list.
    Recorded(Bytes),
}

/// What the proxy remembers.
#[derive(Debug)]
pub(super) struct State(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    /// Name of the tenant in this run.
    tenant: String,
    /// How many operators there have been.
    process: u64,
    /// What will go wrong and has not yet.
    fault: Option<Fault>,
    fired: bool,
    /// From now on no request of this process comes through.
    frozen: bool,
    kill: bool,
    trace: Trace,
    last_write: Instant,
    /// Path and query of every list that the operator has asked for.
    listed: BTreeSet<String>,
    /// Lists as they were before the course, for the operator that comes after a kill.
    rewound: BTreeMap<String, Bytes>,
    /// Resources whose watch has had its disturbance.
    disturbed: BTreeSet<String>,
}

impl Default for State {
    fn default() -> Self {
        Self(Mutex::new(Inner {
            tenant: "no tenant yet".to_owned(),
            process: 0,
            fault: None,
            fired: false,
            frozen: false,
            kill: false,
            trace: Trace::default(),
            last_write: Instant::now(),
            listed: BTreeSet::new(),
            rewound: BTreeMap::new(),
            disturbed: BTreeSet::new(),
        }))
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A course begins.
    pub(super) fn begin(&self, tenant: &str, fault: Option<Fault>, rewound: Vec<(String, Bytes)>) {
        let mut inner = self.lock();
        tenant.clone_into(&mut inner.tenant);
        inner.fault = fault;
        inner.fired = false;
        inner.trace = Trace::default();
        inner.last_write = Instant::now();
        inner.rewound = rewound.into_iter().collect();
        inner.disturbed.clear();
    }

    /// Name of the tenant in this run.
    pub(super) fn tenant(&self) -> String {
        self.lock().tenant.clone()
    }

    /// The number of the operator that is there now.
    pub(super) fn process(&self) -> u64 {
        self.lock().process
    }

    /// The operator is to be killed.
    pub(super) fn kill(&self) {
        self.lock().kill = true;
    }

    pub(super) fn wants_kill(&self) -> bool {
        self.lock().kill
    }

    /// Another operator comes.
    pub(super) fn next_process(&self) {
        let mut inner = self.lock();
        inner.process += 1;
        inner.frozen = false;
        inner.kill = false;
        inner.last_write = Instant::now();
    }

    pub(super) fn has_fired(&self) -> bool {
        self.lock().fired
    }

    pub(super) fn quiet_for(&self) -> Duration {
        self.lock().last_write.elapsed()
    }

    pub(super) fn trace(&self) -> Trace {
        self.lock().trace.clone()
    }

    /// Path and query of every list that the operator has asked for.
    pub(super) fn listed(&self) -> Vec<String> {
        self.lock().listed.iter().cloned().collect()
    }

    /// Decides about a request of the operator with that number.
    pub(super) fn decide(&self, process: u64, asked: Option<&Asked>, path: &str) -> Decision {
        let mut inner = self.lock();
        if process != inner.process || inner.frozen {
            return Decision::Hold;
        }
        let Some(asked) = asked else { return Decision::SendOn };
        match asked.verb {
            Verb::List => inner.list(path),
            Verb::Get => inner.get(asked),
            Verb::Watch => Decision::SendOn,
            Verb::Create | Verb::Update | Verb::Patch | Verb::Delete => inner.write(asked),
        }
    }

    /// A write was answered; says what is to go wrong now.
    pub(super) fn written(&self, mut write: Write) -> Option<Trouble> {
        let mut inner = self.lock();
        inner.last_write = Instant::now();
        write.number = inner.trace.writes.len() + 1;
        let occurrence = inner.trace.successes(&write.asked) + 1;
        let trouble = match &inner.fault {
            Some(Fault::AtWrite(target, trouble))
                if write.succeeded() && target.asked == write.asked && target.occurrence == occurrence =>
            {
                Some(*trouble)
            }
            _ => None,
        };
        write.unheard = trouble.is_some_and(Trouble::withholds_the_answer);
        inner.trace.writes.push(write);
        let trouble = trouble?;
        inner.fire();
        // The operator must not do anything between its end as planned and its end as it comes.
        inner.frozen =
            matches!(trouble, Trouble::KillAfterCommit | Trouble::KillAfterResponse | Trouble::KillAndRewind);
        Some(trouble)
    }

    /// An event comes in on a watch; says how the watch is disturbed, and notes that it is.
    pub(super) fn event(&self, resource: &str) -> Option<Disturbance> {
        let mut inner = self.lock();
        inner.trace.news.insert(resource.to_owned());
        let Some(Fault::OnWatch(which, disturbance)) = inner.fault.clone() else { return None };
        if which.is_some_and(|which| which != resource) {
            return None;
        }
        let first = inner.disturbed.insert(resource.to_owned());
        // These two end the watch; ending it again and again would only be more of the same, and slow.
        if matches!(disturbance, Disturbance::Cut | Disturbance::Gone) && !first {
            return None;
        }
        inner.fired = true;
        Some(disturbance)
    }
}

impl Inner {
    /// The fault has happened, and does not happen again.
    fn fire(&mut self) {
        self.fired = true;
        self.fault = None;
    }

    fn list(&mut self, path: &str) -> Decision {
        self.listed.insert(path.to_owned());
        // Only the operator that comes after the kill is sent back in time.
        let past = if self.fired { self.rewound.remove(path) } else { None };
        past.map_or(Decision::SendOn, Decision::Recorded)
    }

    fn get(&mut self, asked: &Asked) -> Decision {
        self.trace.reads.insert(asked.subject.clone());
        if matches!(&self.fault, Some(Fault::AtRead(subject)) if *subject == asked.subject) {
            self.fire();
            return Decision::Refuse(500);
        }
        Decision::SendOn
    }

    fn write(&mut self, asked: &Asked) -> Decision {
        self.last_write = Instant::now();
        let occurrence = self.trace.successes(asked) + 1;
        let trouble = match &self.fault {
            Some(Fault::AtWrite(target, trouble))
                if trouble.comes_before() && target.asked == *asked && target.occurrence == occurrence =>
            {
                *trouble
            }
            _ => return Decision::SendOn,
        };
        self.fire();
        if let Trouble::Refuse(status) = trouble {
            return Decision::Refuse(status);
        }
        self.frozen = true;
        self.kill = true;
        Decision::Hold
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::trace::{Subject, Target};

    fn asked(verb: Verb, name: &str) -> Asked {
        Asked {
            verb,
            subject: Subject { resource: "services".into(), namespace: "a".into(), name: name.into() },
        }
    }

    fn at_write(name: &str, occurrence: usize, trouble: Trouble) -> Fault {
        let target = Target { number: 1, asked: asked(Verb::Patch, name), occurrence };
        Fault::AtWrite(target, trouble)
    }

    fn patched(name: &str, status: u16) -> Write {
        Write::new(0, asked(Verb::Patch, name), status, b"")
    }

    #[test]
    fn a_kill_before_holds_the_write_and_everything_after_it() {
        let state = State::default();
        state.begin("acme-1", Some(at_write("crm", 1, Trouble::KillBefore)), Vec::new());
        let patch = asked(Verb::Patch, "other");
        assert_eq!(state.decide(0, Some(&patch), ""), Decision::SendOn);
        assert_eq!(state.decide(0, Some(&asked(Verb::Patch, "crm")), ""), Decision::Hold);
        assert!(state.wants_kill() && state.has_fired());
        assert_eq!(state.decide(0, Some(&patch), ""), Decision::Hold);
        state.next_process();
        assert_eq!(state.decide(0, Some(&patch), ""), Decision::Hold, "the dead are not listened to");
        assert_eq!(state.decide(1, Some(&asked(Verb::Patch, "crm")), ""), Decision::SendOn, "it comes once");
    }

    #[test]
    fn a_kill_after_waits_for_the_success_that_is_meant() {
        let state = State::default();
        state.begin("acme-1", Some(at_write("crm", 2, Trouble::KillAfterCommit)), Vec::new());
        assert_eq!(state.written(patched("crm", 403)), None);
        assert_eq!(state.written(patched("crm", 201)), None);
        assert_eq!(state.written(patched("crm", 200)), Some(Trouble::KillAfterCommit));
        assert_eq!(state.decide(0, Some(&asked(Verb::Get, "crm")), ""), Decision::Hold);
        assert_eq!(state.written(patched("other", 200)), None, "what was under way is still recorded");
        assert_eq!(state.trace().writes.len(), 4);
    }

    #[test]
    fn a_refusal_and_a_failed_read_come_once() {
        let state = State::default();
        state.begin("acme-1", Some(at_write("crm", 1, Trouble::Refuse(409))), Vec::new());
        assert_eq!(state.decide(0, Some(&asked(Verb::Patch, "crm")), ""), Decision::Refuse(409));
        assert_eq!(state.decide(0, Some(&asked(Verb::Patch, "crm")), ""), Decision::SendOn);
        let read = asked(Verb::Get, "crm");
        state.begin("acme-1", Some(Fault::AtRead(read.subject.clone())), Vec::new());
        assert_eq!(state.decide(0, Some(&read), ""), Decision::Refuse(500));
        assert_eq!(state.decide(0, Some(&read), ""), Decision::SendOn);
    }

    #[test]
    fn only_the_operator_after_the_kill_sees_the_past() {
        let state = State::default();
        let past = vec![("/services".to_owned(), Bytes::from("past"))];
        state.begin("acme-1", Some(at_write("crm", 1, Trouble::KillAndRewind)), past);
        let list = asked(Verb::List, "");
        assert_eq!(state.decide(0, Some(&list), "/services"), Decision::SendOn);
        assert_eq!(state.written(patched("crm", 200)), Some(Trouble::KillAndRewind));
        state.next_process();
        assert_eq!(state.decide(1, Some(&list), "/services"), Decision::Recorded(Bytes::from("past")));
        assert_eq!(state.decide(1, Some(&list), "/services"), Decision::SendOn);
    }

    #[test]
    fn a_watch_is_cut_once_and_delayed_all_the_time() {
        let state = State::default();
        let on = |disturbance| Some(Fault::OnWatch(Some("pods".to_owned()), disturbance));
        state.begin("acme-1", on(Disturbance::Cut), Vec::new());
        assert_eq!(state.event("services"), None);
        assert!(!state.has_fired());
        assert_eq!(state.event("pods"), Some(Disturbance::Cut));
        assert_eq!(state.event("pods"), None);
        state.begin("acme-1", on(Disturbance::Delay), Vec::new());
        assert_eq!(state.event("pods"), Some(Disturbance::Delay));
        assert_eq!(state.event("pods"), Some(Disturbance::Delay));
        assert_eq!(state.trace().news.len(), 1);
    }
}
