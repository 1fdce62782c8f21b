//! The tests of the crate from outside, in one binary.

mod fixture;
mod join;
mod sources;
mod training;
mod training_errors;
