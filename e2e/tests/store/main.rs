//! The door to the backup stores, as a process with the chart's rights on a real API server, before a real object storage and
//! a real directory: who may do what, that nothing half appears, what is said when a store does not
//! work, and what is removed when.

mod access;
mod exports;
mod faults;
#[cfg(feature = "cluster")]
mod full_disk;
mod interruptions;
mod lab;
mod lock;
mod memory;
mod past;
mod relay;
mod restore_from;
mod retention;
mod rights;
mod storage;
mod tls;
mod tokens;
mod tombstones;
