//! Whatever an operator misses or does twice, an upgrade comes to one of two ends.

use proptest::prelude::*;

use super::*;

/// What is wrong with a release, if anything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Backup,
    Rehearsal,
    Migration,
    Crashes,
    Errors,
}

/// What becomes of one look: the operator may be killed at any write.
#[derive(Clone, Copy, Debug)]
enum Luck {
    /// Nothing of it is written.
    Lost,
    /// The record is written, and nothing else.
    Recorded,
    /// All of it is done.
    Done,
}

/// A tenant, and all that happens to it outside of the operator.
struct Tenant {
    story: Story,
    fault: Fault,
    /// The schema that each database has, by the release that has migrated it.
    schema: &'static str,
    has_backup: bool,
    /// Records that were written since the backup, as far as they are still there.
    written: u32,
    lost: u32,
    second: i64,
}

impl Tenant {
    fn new(fault: Fault, safety: Safety) -> Self {
        let mut story = Story::new("r1", "r2");
        (story.safety, story.vitals) = (safety, Some(vitals(100, 0, true)));
        Self { story, fault, schema: "r1", has_backup: false, written: 0, lost: 0, second: 0 }
    }

    fn app(&self) -> Verdict {
        let is_one_way = self.story.record.as_ref().is_some_and(|record| record.safety().is_one_way);
        match (self.story.running.as_str(), self.fault) {
            ("r2", Fault::Crashes) => crashes(),
            ("r1", _) if is_one_way && self.schema == "r2" => crashes(),
            _ => answers(),
        }
    }

    fn look(&mut self, luck: Luck) {
        self.second += 30;
        let before = self.story.record.clone();
        self.story.vitals = Some(match (self.story.running.as_str(), self.fault) {
            ("r2", Fault::Errors) => vitals(100, 50, true),
            _ => vitals(100, 0, true),
        });
        let app = self.app();
        let upgrade = self.story.upgrade(self.second, &app);
        match luck {
            Luck::Lost => self.story.record = before,
            Luck::Recorded => {}
            Luck::Done => self.carry_out(&upgrade),
        }
        if !upgrade.is_read_only() && matches!(luck, Luck::Done) {
            self.written += 1;
        }
    }

    fn carry_out(&mut self, upgrade: &Upgrade) {
        let story = &mut self.story;
        match &upgrade.work {
            Some(Work::BackUp(_)) if self.fault == Fault::Backup => story.backup = Tried::Failed("no".into()),
            Some(Work::BackUp(_)) => {
                story.backup = Tried::Done(BACKUP.into());
                (self.has_backup, self.written) = (true, 0);
            }
            Some(Work::Rehearse { .. }) if self.fault == Fault::Rehearsal => {
                story.rehearsal = Tried::Failed("no".into());
            }
            Some(Work::Rehearse { .. }) => story.rehearsal = Tried::Done(()),
            Some(Work::Restore { .. }) => {
                assert!(self.has_backup && upgrade.stops_the_crm);
                story.restore = Undoing::Done(Some(at(self.second)));
                story.generation = 2;
                self.schema = "r1";
                self.lost = std::mem::take(&mut self.written);
            }
            None => {}
        }
        match (upgrade.release.as_str(), story.running.as_str()) {
            ("r2", "r1") if self.fault == Fault::Migration => {
                story.migration = Some(Outcome::Failed { what: "no".into() });
            }
            ("r2", "r1") => (self.schema, story.running) = ("r2", "r2".into()),
            // A release that cannot work on the schema is never put on it.
            ("r1", "r2") => story.running = "r1".into(),
            _ => {}
        }
    }
}

fn faults() -> impl Strategy<Value = Fault> {
    prop::sample::select(vec![
        Fault::None,
        Fault::Backup,
        Fault::Rehearsal,
        Fault::Migration,
        Fault::Crashes,
        Fault::Errors,
    ])
}

fn ways() -> impl Strategy<Value = Safety> {
    let of = |backs_up, rehearses, is_one_way| Safety { backs_up, rehearses, is_one_way };
    prop::sample::select(vec![
        of(false, false, false),
        of(true, false, false),
        of(true, true, false),
        of(true, false, true),
        of(true, true, true),
    ])
}

fn lucks() -> impl Strategy<Value = Vec<Luck>> {
    prop::collection::vec(prop::sample::select(vec![Luck::Lost, Luck::Recorded, Luck::Done]), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn it_ends_with_the_new_release_or_as_it_began(fault in faults(), safety in ways(), lucks in lucks()) {
        let mut tenant = Tenant::new(fault, safety);
        for luck in lucks.into_iter().chain([Luck::Done; 20]) {
            tenant.look(luck);
        }
        let shows = match fault {
            Fault::None => false,
            Fault::Backup => safety.backs_up,
            Fault::Rehearsal => safety.rehearses,
            Fault::Migration | Fault::Crashes | Fault::Errors => true,
        };
        let record = tenant.story.record.clone();
        if shows {
            prop_assert_eq!(tenant.story.running.as_str(), "r1");
            prop_assert!(record.is_some_and(|record| record.failure.is_some_and(|failure| failure.is_undone)));
            prop_assert_eq!(tenant.app().word, Word::True, "what serves can serve");
        } else {
            prop_assert_eq!((tenant.story.running.as_str(), record), ("r2", None));
        }
        // Only what was written while the new release was watched can be lost.
        if fault != Fault::Errors {
            prop_assert_eq!(tenant.lost, 0);
        }
    }
}
