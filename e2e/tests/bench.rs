//! Benchmarks in miniature: that they still measure, not what.

use std::path::Path;

use gateway_bench::Plan;

/// In the role of the gateway is this crate's own binary, which needs no second build.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_benchmark_gets_through_with_flat_memory() {
    let report = gateway_bench::run(Path::new(env!("CARGO_BIN_EXE_e2e")), &Plan::small()).await.unwrap();
    println!("{report}");
    report.check_memory().unwrap();
}
