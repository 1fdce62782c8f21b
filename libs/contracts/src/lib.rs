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

/// The compiled `proto/`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/larder_descriptors.bin"));
