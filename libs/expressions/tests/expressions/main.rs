//! Expressions from the outside: golden results, refusals, limits, and that a row's result is its own.

#![expect(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "tests, and what they share")]

mod compiled;
mod documentation;
mod golden;
mod limits;
mod properties;
mod refusals;
mod sample;
