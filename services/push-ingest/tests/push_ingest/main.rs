//! The push-ingest service as its callers see it: real definitions, a real push log, a real online store.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod batches;
mod created;
mod failing;
mod failures;
mod newest_wins;
mod refusals;
mod sandbox;
mod streams;
mod targets;
