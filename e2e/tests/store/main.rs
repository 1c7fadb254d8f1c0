//! The door to the backup stores, as a process with the chart's rights on a real API server, before a real object storage and
//! a real directory: who may do what, that nothing half appears, and what is said when a store does not work.

mod access;
mod faults;
mod interruptions;
mod lab;
mod lock;
mod memory;
mod storage;
mod tokens;
