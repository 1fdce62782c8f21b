//! The whole system in one process, over real ports and real embedded stores, through the typed client.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "what surrounds a test fails it")]

mod damaged_history;
mod definitions;
mod history;
mod kill;
mod memory;
mod ports;
mod power;
mod power_cuts;
mod refused_starts;
mod sandbox;
mod traces;
mod training_equals_serving;
mod workload;
mod wrong_requests;
