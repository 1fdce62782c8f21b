//! Typed clients against servers that a test scripts, in process and over the network.

mod calls;
mod fake;
mod push;
mod training;
