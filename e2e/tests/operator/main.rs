//! The operator on a real API server, with the chart's roles and admission policies and no nodes: what it makes, that it
//! then keeps still, that it repairs, stops, starts, upgrades, reports and removes.

mod bootstrap;
mod canary;
mod channels;
mod deletion;
mod drift;
mod exports;
mod failures;
mod haste;
mod lab;
mod life;
mod malformed;
mod manual;
mod mishaps;
mod pull_secrets;
mod quiet;
mod replicas;
mod requests;
mod restores;
mod routes;
mod scale;
mod starts;
mod states;
