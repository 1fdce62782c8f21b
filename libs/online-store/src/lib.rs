//! Where served rows are kept: the port [`OnlineStore`] and its adapters. Floor 3.
//!
//! A store knows keys, row sets and rows as bytes; of a row it reads the times alone. It knows no names, schemas or
//! values, does no expressions, and judges no ttl when it reads: whoever decodes the rows does.
//!
//! What every adapter promises is checked by `conformance`, one suite for all; `forgetful` is a disk to put beneath an
//! embedded one, `interposed` a store in front of any (feature `test-suite`).

#[cfg(any(test, feature = "test-suite"))]
pub mod conformance;
mod decision;
mod embedded;
#[cfg(any(test, feature = "test-suite"))]
pub mod forgetful;
#[cfg(any(test, feature = "test-suite"))]
pub mod interposed;
mod port;
mod rows;

pub use embedded::{EmbeddedConfig, EmbeddedStore, StorageBackend};
pub use port::{Capabilities, KeyWrite, OnlineStore, RowOutcome, RowWrite, SweepReport, WriteMode};
pub use rows::{Rows, RowsBuilder};
