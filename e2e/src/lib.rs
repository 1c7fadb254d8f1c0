//! Everything around the product that makes it run and proves it: clusters, images, the demo, verification and benchmarks.
//!
//! Reading order: [`host`] talks to the machine, [`toolchain`] gets what the machine lacks, [`cluster`] starts a Kubernetes,
//! [`network_policy`] enforces its policies, [`images`] builds what runs on it, [`demo`] and [`verify`] are the two commands
//! that README promises, [`faults`] breaks things between the operator and its API server.

pub mod bench;
pub mod canaries;
pub mod cluster;
pub mod demo;
pub mod faults;
pub mod fleet;
pub mod helm;
pub mod host;
pub mod images;
pub mod network_policy;
pub mod probe;
pub mod queries;
pub mod rights;
pub mod toolchain;
pub mod verify;
