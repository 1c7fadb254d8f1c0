//! The signals by which a process is asked to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

use crate::backup::Problem;

/// Waits for SIGTERM or SIGINT.
pub(super) async fn told() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// The same for work that ends by it.
pub(super) async fn interrupted() -> Problem {
    if let Err(error) = told().await {
        tracing::error!(%error, "signals.unheard");
        std::future::pending::<()>().await;
    }
    Problem::Interrupted
}
