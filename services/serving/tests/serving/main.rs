//! The serving service as its callers see it: real definitions, real pushed rows, real transport.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod answers;
mod held_store;
mod limits;
mod plans;
mod refusals;
mod sandbox;
mod shop;
mod streams;
mod swaps;
