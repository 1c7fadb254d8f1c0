//! Work on the fleet as a whole: done again after every change, one run at a time, and retried until it succeeds.

use std::{fmt::Display, future::Future, sync::Arc, time::Duration};

use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::process::backoff::Backoff;

/// Looked at this often even when nothing seems to change.
const RESYNC: Duration = Duration::from_mins(5);

/// Runs `work` now, after every change, and when it says that time alone makes a difference, until `stop` is set; a run under way is
/// finished. Changes during a run lead to one more run.
pub async fn keep<F, E>(
    what: &'static str,
    changed: Arc<Notify>,
    stop: CancellationToken,
    jitter: fn() -> f64,
    mut work: impl FnMut() -> F,
) where
    F: Future<Output = Result<Option<Duration>, E>>,
    E: Display,
{
    let backoff = Backoff::new(jitter);
    loop {
        let wait = match work().await {
            Ok(next) => {
                backoff.reset(what);
                next.map_or(RESYNC, |next| next.min(RESYNC))
            }
            Err(error) => {
                let wait = backoff.next(what);
                tracing::warn!(what, error = %error, retry_ms = wait.as_millis(), "fleet-wide work failed");
                wait
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            // A timeout is as good as a change: either way it is time to look again.
            _ = timeout(wait, changed.notified()) => (),
        }
    }
}
