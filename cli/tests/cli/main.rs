//! The built command, as a person or a script runs it.

#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a failure of the surroundings is a failed test"
)]

mod running;
mod with_services;
mod without_services;
