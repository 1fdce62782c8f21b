//! The contracts: code generated from `proto/`, and every conversion between the wire and the domain.
//!
//! Floor 3: it knows values, definitions and the transport's types; no service, no store, no connection. Nothing else in
//! the project takes a message of definitions or runs apart.

pub mod catalog;
pub mod columns;
pub mod explore;
pub mod ipc;
pub mod revisions;
pub mod runs;
pub mod status;
pub mod wire;

mod api;
mod objects;
#[cfg(test)]
mod samples;
mod values;

pub use api::{materializer, push, registry, serving, types};
pub use wire::{Path, Wire, encoded_len};

/// The most that a limit of ours on the size of messages may be set to, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// How great a message the transport takes on either side, in bytes: above whatever our own limits let through, so that it
/// is they that a caller is told of. They count the values of an answer; with statuses and all that frames them, a message
/// is at most about twice as great (a truth value, counted as a byte, is sent with another one for its status).
pub const TRANSPORT_MESSAGE_LIMIT: usize = 4 * MAX_MESSAGE_BYTES;

/// The compiled `proto/`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/larder_descriptors.bin"));
