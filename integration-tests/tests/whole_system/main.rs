//! The whole system in one process, over real ports and real embedded stores, through the typed client.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "what surrounds a test fails it")]

mod definitions;
mod history;
mod kill;
mod sandbox;
mod training_equals_serving;
