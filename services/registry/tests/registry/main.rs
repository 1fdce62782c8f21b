//! The registry as its callers see it: the real service over the object-store adapter, by typed clients, in process and
//! over a port, with leases by a clock that the test moves.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod audit;
mod changes;
mod concurrent;
mod cut_calls;
mod damaged;
mod declared;
mod exploring;
mod following;
mod history;
mod interleavings;
mod leases;
mod run_log;
mod surroundings;
