//! Waiting: always for something that has a name, always with a deadline, and explained when it was in vain.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, bail};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{command::tail, files};

/// How often a condition is looked at, unless told.
const INTERVAL: Duration = Duration::from_millis(50);
/// Lines of the log that an error quotes.
const TAIL_LINES: usize = 20;

/// Something to wait for.
#[derive(Clone, Debug)]
pub struct Wait {
    what: String,
    deadline: Duration,
    log: Option<PathBuf>,
    interval: Duration,
}

/// What a look at a condition found.
#[derive(Debug)]
pub enum Look<T> {
    /// It holds.
    Done(T),
    /// Not yet; the words say how things stand and end up in the error when time runs out.
    NotYet(String),
    /// It never will; the words say why.
    Never(String),
}

impl Wait {
    /// Waits for `what`, at most until the deadline.
    pub fn new(what: impl Into<String>, deadline: Duration) -> Self {
        Self { what: what.into(), deadline, log: None, interval: INTERVAL }
    }

    /// Looks so often, where looking has a price.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Names the log whose end explains why the wait was in vain.
    #[must_use]
    pub fn explained_by(mut self, log: &Path) -> Self {
        self.log = Some(log.to_path_buf());
        self
    }

    /// Looks again and again until the condition holds. An error of a look counts as "not yet".
    pub async fn until<T>(&self, mut look: impl AsyncFnMut() -> Result<Look<T>>) -> Result<T> {
        let start = Instant::now();
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut state = "never looked".to_owned();
        while start.elapsed() < self.deadline {
            ticks.tick().await;
            match tokio::time::timeout(self.deadline.saturating_sub(start.elapsed()), look()).await {
                Ok(Ok(Look::Done(value))) => return Ok(value),
                Ok(Ok(Look::NotYet(now))) => state = now,
                Ok(Ok(Look::Never(why))) => bail!("{} will not come: {why}{}", self.what, self.explanation()),
                Ok(Err(error)) => state = format!("{error:#}"),
                Err(_) => break,
            }
        }
        bail!(
            "gave up waiting for {} after {} s; last seen: {state}{}",
            self.what,
            self.deadline.as_secs(),
            self.explanation()
        )
    }

    fn explanation(&self) -> String {
        self.log.as_deref().map(quote).unwrap_or_default()
    }
}

fn quote(log: &Path) -> String {
    match files::read_tail(log, TAIL_LINES * 400) {
        Ok(text) if !text.trim().is_empty() => {
            format!("\n--- end of {} ---\n{}", log.display(), tail(&text, TAIL_LINES))
        }
        Ok(_) => format!("\n({} is empty)", log.display()),
        Err(error) => format!("\n(cannot read {}: {error})", log.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_in_vain_names_its_object_and_quotes_the_log() {
        let log = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(log.path(), "first\nlast words\n").unwrap();
        let error = Wait::new("the moon", Duration::from_millis(120))
            .explained_by(log.path())
            .until::<()>(async || Ok(Look::NotYet("still dark".to_owned())))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("the moon") && error.contains("still dark"), "{error}");
        assert!(error.contains("last words"), "{error}");
    }

    #[tokio::test]
    async fn a_look_that_hangs_does_not_outlive_the_deadline() {
        let wait = Wait::new("nothing", Duration::from_millis(60));
        let look = async || std::future::pending::<Result<Look<()>>>().await;
        assert!(wait.until(look).await.is_err());
    }

    #[tokio::test]
    async fn what_never_comes_is_not_waited_for() {
        let wait = Wait::new("an answer", Duration::from_mins(1));
        let error =
            wait.until::<()>(async || Ok(Look::Never("it died".to_owned()))).await.unwrap_err().to_string();
        assert!(error.contains("an answer will not come: it died"), "{error}");
    }

    #[tokio::test]
    async fn errors_of_a_look_are_not_the_end() {
        let mut looks = 0;
        let value = Wait::new("the third look", Duration::from_secs(5))
            .until(async || {
                looks += 1;
                if looks < 3 {
                    bail!("not there")
                }
                Ok(Look::Done(looks))
            })
            .await
            .unwrap();
        assert_eq!(value, 3);
    }
}
