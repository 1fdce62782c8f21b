//! What users declare, and what is made of it.
//!
//! Objects as data ([`object`]), the immutable [`Catalog`] that services work from, and runs, leases and watermarks
//! ([`run`]). This crate does no input or output beyond reading files of definitions, and knows no wire format.

pub mod catalog;
pub mod object;
pub mod run;

pub use catalog::{AnyView, Catalog, KeySpace, PushSchema, ResolvedSource, ResolvedView, unknown_name};
pub use object::*;
