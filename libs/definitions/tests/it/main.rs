//! Tests of the crate as its users see it.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod golden;
mod language;
mod numbers;
mod page;
mod plans;
mod projects;
mod runs;
mod schedules;
mod selection;
mod validation;
mod views;
