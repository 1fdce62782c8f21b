//! The tests of the crate from outside, in one binary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;
mod join;
mod roots;
mod sources;
mod training;
mod training_errors;
