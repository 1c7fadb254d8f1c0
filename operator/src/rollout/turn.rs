//! Whose turn it is to be upgraded. Pure: everything follows from what the tenants are and how far they say they have come, so
//! that an operator that was away, or is a new one, decides the same.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::{api::TenantCounts, rollout::waves::Waves};

/// How far a tenant is with its channel's release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It runs another one.
    Waiting,
    /// It is on its way to another one. In its turn it is led to this one instead, else it will be waiting when that is over.
    Busy,
    /// It was told to go, and is on its way.
    Upgrading,
    /// It runs the release, and is watched.
    Baking,
    /// It runs the release, and stayed healthy.
    Done,
    /// It could not, and runs what it ran before.
    Failed,
    /// It cannot be upgraded now, through no fault of the release.
    Aside,
}

/// A tenant of the channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its name.
    pub name: &'a str,
    /// The number of its wave.
    pub wave: usize,
    /// How far it is.
    pub stage: Stage,
    /// When its maintenance window opens; `None` if it is open.
    pub opens_at: Option<Timestamp>,
    /// It failed before with this release, and tries again.
    pub retries: bool,
}

impl Member<'_> {
    fn is_open(&self) -> bool {
        self.opens_at.is_none()
    }

    /// It failed, and has not shown since that it can.
    fn is_failure(&self) -> bool {
        let tries_again = self.retries && matches!(self.stage, Stage::Upgrading | Stage::Baking);
        tries_again || self.stage == Stage::Failed
    }
}

/// What the channel allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits<'a> {
    /// Tenants that may be on their way at the same time.
    pub parallel: usize,
    /// Tenants that may fail.
    pub failures: usize,
    /// No tenant is told to go.
    pub paused: bool,
    /// Names of the waves that somebody has let begin.
    pub approved: BTreeSet<&'a str>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The tenants that may go now.
    pub go: Vec<String>,
    /// The first wave that is not done; `None` when all are.
    pub wave: Option<usize>,
    /// Why nobody else may go, whatever happens.
    pub halt: Option<Halt>,
    /// How many have failed, those included that try again and have not succeeded yet.
    pub failures: usize,
    /// The wave waits for somebody's word.
    pub awaits_approval: bool,
    /// All that could go in this wave wait for their maintenance windows.
    pub awaits_windows: bool,
    /// When the next maintenance window opens of one that waits in this wave.
    pub next_opening: Option<Timestamp>,
    /// How many are how far.
    pub counts: TenantCounts,
}

/// Why a rollout goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    /// More tenants failed than may.
    TooManyFailures,
    /// All who tried it in that wave failed.
    NobodySucceeded {
        /// Number of the wave.
        wave: usize,
    },
}

/// Decides who may go.
pub fn turn(waves: &Waves, members: &[Member<'_>], limits: &Limits<'_>) -> Turn {
    let count = |wanted: &[Stage]| members.iter().filter(|member| wanted.contains(&member.stage)).count();
    let states: Vec<WaveState> = (0..waves.count()).map(|wave| WaveState::of(wave, members)).collect();
    let wave = states.iter().position(|state| *state != WaveState::Done);
    let failures = members.iter().filter(|member| member.is_failure()).count();
    let halt = if limits.failures < failures {
        Some(Halt::TooManyFailures)
    } else {
        let lost = states.iter().position(|state| *state == WaveState::Lost);
        lost.map(|wave| Halt::NobodySucceeded { wave })
    };
    let awaits_approval =
        wave.is_some_and(|wave| waves.needs_approval(wave) && !limits.approved.contains(waves.name(wave)));
    let at = |stage: Stage| members.iter().filter(move |member| member.stage == stage);
    let is_of_wave = |member: &&Member<'_>| Some(member.wave) == wave;
    // Those of the wave who are on their way to what nobody wants any more need no room of others to be led elsewhere.
    let elsewhere = at(Stage::Busy).filter(|member| !is_of_wave(member)).count();
    let room = limits.parallel.saturating_sub(count(&[Stage::Upgrading]) + elsewhere);
    let room = if limits.paused || halt.is_some() || awaits_approval { 0 } else { room };
    // What has begun is brought to its end, or led elsewhere, also when the window has closed.
    let may_go = |member: &&Member<'_>| member.is_open() || member.stage == Stage::Busy;
    let next = at(Stage::Busy).chain(at(Stage::Waiting)).filter(is_of_wave).filter(may_go);
    let is_moving = |member: &Member<'_>| {
        matches!(member.stage, Stage::Busy | Stage::Upgrading | Stage::Baking)
            || member.stage == Stage::Waiting && member.is_open()
    };
    let is_held = at(Stage::Waiting).filter(is_of_wave).any(|member| !member.is_open());
    let awaits_windows = is_held && !members.iter().filter(is_of_wave).any(is_moving);
    Turn {
        go: next.take(room).map(|member| member.name.to_owned()).collect(),
        wave,
        halt,
        failures,
        awaits_approval,
        awaits_windows,
        next_opening: at(Stage::Waiting).filter(is_of_wave).filter_map(|member| member.opens_at).min(),
        counts: counts(members),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaveState {
    /// Somebody's turn is still to come, or not over.
    Open,
    /// All have had their turn, and all who tried it failed.
    Lost,
    /// All have had their turn.
    Done,
}

impl WaveState {
    fn of(wave: usize, members: &[Member<'_>]) -> Self {
        let has = |wanted: &[Stage]| {
            members.iter().any(|member| member.wave == wave && wanted.contains(&member.stage))
        };
        if has(&[Stage::Waiting, Stage::Busy, Stage::Upgrading, Stage::Baking]) {
            Self::Open
        } else if has(&[Stage::Failed]) && !has(&[Stage::Done]) {
            Self::Lost
        } else {
            Self::Done
        }
    }
}

fn counts(members: &[Member<'_>]) -> TenantCounts {
    let mut counts = TenantCounts::default();
    for member in members {
        counts.total += 1;
        *match member.stage {
            Stage::Waiting => &mut counts.waiting,
            Stage::Busy | Stage::Upgrading => &mut counts.upgrading,
            Stage::Baking => &mut counts.baking,
            Stage::Done => &mut counts.up_to_date,
            Stage::Failed => &mut counts.failed,
            Stage::Aside => &mut counts.set_aside,
        } += 1;
    }
    counts
}

#[cfg(test)]
mod tests;
