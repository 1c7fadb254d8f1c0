//! The operator on a real API server, with the chart's roles and admission policies and no nodes: what it makes, that it
//! then keeps still, that it repairs, stops, starts, upgrades, reports and removes.

mod deletion;
mod failures;
mod lab;
mod life;
mod quiet;
mod states;
