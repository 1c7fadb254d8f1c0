//! Whatever goes wrong between the operator and the API server, a tenant ends as if nothing had happened; and a harness
//! that says so notices operators that are broken on purpose.

use std::{path::Path, time::Duration};

use anyhow::Result;
use e2e::faults::Harness;

/// The `e2e` binary is the operator, too.
const EXECUTABLE: &str = env!("CARGO_BIN_EXE_e2e");
/// The operator waits at most a few seconds before it tries again; a busy machine may take as long once more.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a broken operator gets to come right by itself: more than its first pauses after a failure.
const PATIENCE_WITH_MUTANTS: Duration = Duration::from_secs(6);
/// How many faults of each course.
const KILLS: usize = 2;
const OTHERS: usize = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_of_all_faults_leaves_no_trace() -> Result<()> {
    let mut harness = Harness::start(Path::new(EXECUTABLE), PATIENCE).await?;
    harness.learn().await?;
    harness.confirm().await?;
    let report = harness.run_sample(KILLS, OTHERS).await?;
    println!("{report}");
    assert_eq!(report.failures(), [] as [String; 0]);
    let planned = 4 * (KILLS + OTHERS);
    assert!(planned * 9 / 10 <= report.happened(), "most faults must really have happened:\n{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_broken_operator_is_caught() -> Result<()> {
    let mut harness = Harness::start(Path::new(EXECUTABLE), PATIENCE_WITH_MUTANTS).await?;
    harness.learn().await?;
    let caught = harness.hunt().await?;
    assert_eq!(caught.len(), 5);
    for (mutant, how) in caught {
        println!("{mutant}: {}", how.as_deref().unwrap_or("NOT CAUGHT"));
        assert!(how.is_some(), "{mutant} was not caught");
    }
    Ok(())
}
