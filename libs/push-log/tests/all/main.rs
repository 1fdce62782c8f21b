//! The push log as its users see it: what is acknowledged is there, once, whatever happens meanwhile.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bytes;
mod compacting;
mod concurrent;
mod crashes;
mod interleavings;
mod panics;
mod reading;
mod support;
mod watched;
mod writing;
