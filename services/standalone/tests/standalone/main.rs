//! All services in one process, as `larder up` runs them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails in here fails the test")]

mod configuration;
mod data_folder;
mod failing;
