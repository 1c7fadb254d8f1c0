//! The benchmarks of the operator, on small fleets: what must be zero is zero at any scale, and the rest must be measurable.
//! Memory and times are those of a debug build on a busy machine, so they are not judged here.

use std::{path::Path, time::Duration};

use anyhow::Result;
use e2e::bench::{
    operator::{Extent, Floors, Scale, measure},
    rollout,
};

/// The `e2e` binary is the operator, too.
const EXECUTABLE: &str = env!("CARGO_BIN_EXE_e2e");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_at_rest_costs_no_writes() -> Result<()> {
    let scale = Scale {
        tenants: 8,
        floors: Floors::Before,
        idle: Duration::from_secs(3),
        restarts: 1,
        secrets: 20,
        secret_bytes: 100_000,
        // Long enough for a tenant that is looked at once a second.
        neighbours: Extent { blocks: 2, edits: 20 },
    };
    let report = Box::pin(measure(Path::new(EXECUTABLE), "operator", scale)).await?;
    println!("{report}");
    assert_eq!(report.needless_writes(), [] as [String; 0]);
    let figures = report.figures();
    let value =
        |name: &str| figures.iter().find(|figure| figure.name.contains(name)).map(|figure| figure.value);
    // Each figure is of what it says: so many writes make a tenant, and the failing tenant did fail.
    let writes = value("writes for each tenant").unwrap_or_default();
    assert!((25.0..60.0).contains(&writes), "{writes} writes for each tenant");
    assert!(1.0 <= value("how often it failed").unwrap_or_default(), "{figures:#?}");
    assert!(figures.iter().all(|figure| figure.value.is_finite()), "{figures:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_is_measured_beside_its_floor() -> Result<()> {
    let scale = rollout::Scale { tenants: 8, parallel: 4, backups: false };
    let report = Box::pin(rollout::measure(Path::new(EXECUTABLE), "operator", scale)).await?;
    println!("{report}");
    let figures = report.figures();
    assert!(figures.iter().all(|figure| figure.value.is_finite() && 0.0 < figure.value), "{figures:#?}");
    let missed = report.missed();
    assert!(missed.iter().all(|figure| figure.starts_with("time,")), "{missed:#?}");
    Ok(())
}
