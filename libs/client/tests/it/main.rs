//! Typed clients against servers that a test scripts, in process and over the network.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod fake;
mod projects;
mod push;
mod training;
