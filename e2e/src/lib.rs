//! Everything around the product that makes it run and proves it: clusters, images, the demo, verification and benchmarks.
//!
//! Reading order: [`toolchain`] gets what a machine lacks, [`cluster`] starts a Kubernetes, [`network_policy`] enforces its
//! policies, [`images`] builds what runs on it, [`demo`] and [`verify`] are the two commands that README promises.

pub mod bench;
pub mod cluster;
pub mod demo;
pub mod images;
pub mod network_policy;
pub mod toolchain;
pub mod verify;
