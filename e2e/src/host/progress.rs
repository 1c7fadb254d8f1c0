//! Lines on standard error that say what is being done and how long it took.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use anyhow::Result;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A step this long is announced before it ends.
const LONG: Duration = Duration::from_secs(2);
/// A step that goes on is mentioned again this often.
const STILL: Duration = Duration::from_secs(30);

/// Prints a line with the time since the first one.
pub fn say(text: &str) {
    eprintln!("{:>7.1}s  {text}", START.elapsed().as_secs_f32());
}

/// Does a step and says so: at its end with the time it took, and meanwhile when it is long.
pub async fn step<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    LazyLock::force(&START);
    let start = Instant::now();
    let mut work = std::pin::pin!(work);
    let mut patience = LONG;
    let result = loop {
        tokio::select! {
            result = &mut work => break result,
            () = tokio::time::sleep(patience) => {
                let took = start.elapsed();
                let words = if took < STILL { String::new() } else { format!(" (still, after {} s)", took.as_secs()) };
                say(&format!("{what} …{words}"));
                patience = STILL;
            }
        }
    };
    let outcome = if result.is_ok() { "done" } else { "FAILED" };
    say(&format!("{what}: {outcome} in {:.1} s", start.elapsed().as_secs_f32()));
    result
}
