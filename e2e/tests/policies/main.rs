//! The chart's admission policies and roles on a real API server, each tried by the people whom it stops and by those whom
//! it must let through.

mod data;
mod exports;
mod lab;
mod operation;
mod operator;
mod restores;
mod rights;
mod types;
