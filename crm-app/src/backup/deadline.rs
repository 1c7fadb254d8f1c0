//! When to give up, and how long to put up with what passes.

use std::time::{Duration, Instant};

use super::{Problem, Step};

/// A door or a database that is being replaced is back by then.
const PATIENCE: Duration = Duration::from_mins(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// When to give up.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// So long from now.
    pub fn within(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// Does something until it is done or the deadline comes.
    pub async fn hold<T>(
        self,
        step: Step,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let done = tokio::time::timeout_at(self.0.into(), work).await;
        done.unwrap_or(Err(Problem::DeadlineExceeded { step }))
    }

    /// Tries again, with pauses, while it fails in a way that passes. The last failure is the answer: the deadline hides it
    /// neither during a pause nor in the middle of another try.
    pub(crate) async fn patiently<T>(
        self,
        mut work: impl AsyncFnMut() -> Result<T, Problem>,
        passes: impl Fn(&Problem) -> bool,
    ) -> Result<T, Problem> {
        let end = self.0.min(Instant::now() + PATIENCE);
        let mut pause = FIRST_PAUSE;
        let mut done = work().await;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let problem = match done {
                Err(problem) if passes(&problem) && pause < left => problem,
                done => return done,
            };
            tracing::info!(reason = %problem, "waits");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            done = tokio::time::timeout_at(self.0.into(), work()).await.unwrap_or(Err(problem));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Step = Step::Find;

    #[tokio::test]
    async fn what_passes_is_tried_until_just_before_the_deadline_and_then_named() {
        let mut tries = 0;
        let deadline = Deadline::within(Duration::from_millis(350));
        let work = deadline.patiently(
            async || {
                tries += 1;
                Err::<(), _>(Problem::DoorUnreachable)
            },
            |problem| *problem == Problem::DoorUnreachable,
        );
        assert_eq!(deadline.hold(STEP, work).await, Err(Problem::DoorUnreachable));
        assert!(2 <= tries, "{tries}");
    }

    #[tokio::test]
    async fn a_try_that_the_deadline_interrupts_does_not_hide_why_it_was_made() {
        let mut tries = 0;
        let deadline = Deadline::within(Duration::from_millis(300));
        let work = deadline.patiently(
            async || {
                tries += 1;
                if tries == 1 { Err::<(), _>(Problem::DoorUnreachable) } else { std::future::pending().await }
            },
            |problem| *problem == Problem::DoorUnreachable,
        );
        assert_eq!(deadline.hold(STEP, work).await, Err(Problem::DoorUnreachable));
        assert_eq!(tries, 2);
    }

    #[tokio::test]
    async fn what_does_not_pass_is_tried_once() {
        let mut tries = 0;
        let deadline = Deadline::within(Duration::from_secs(10));
        let work = deadline.patiently(
            async || {
                tries += 1;
                Err::<(), _>(Problem::WrongKey)
            },
            |problem| *problem == Problem::DoorUnreachable,
        );
        assert_eq!(deadline.hold(STEP, work).await, Err(Problem::WrongKey));
        assert_eq!(tries, 1);
    }

    #[tokio::test]
    async fn what_never_ends_is_cut_off() {
        let never = std::future::pending::<Result<(), Problem>>();
        let held = Deadline::within(Duration::from_millis(20)).hold(STEP, never).await;
        assert_eq!(held, Err(Problem::DeadlineExceeded { step: STEP }));
    }
}
