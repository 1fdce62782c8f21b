//! Materializations and training sets against real parts: a registry in this process, Parquet files, a push log, the embedded store.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod feed;
mod interrupted;
mod leases;
mod resuming;
mod same_rows;
mod schedules;
mod training;
mod upkeep;
mod waiting;
