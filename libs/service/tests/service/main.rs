//! The shared service against generated clients: in process and over the network.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails in here fails the test")]

mod calls;
mod config;
mod fake;
mod network;
mod readiness;
mod stopping;
mod traces;
