//! Where the registry keeps what it must not lose: append-only logs of numbered entries, and snapshots of their folds.
//!
//! The store keeps bytes and knows nothing of definitions or runs. Every entry is claimed by its number, once: of two
//! writers of the same number exactly one wins, and the other is given what is there. Nothing is ever updated in place.

#[cfg(feature = "test-suite")]
pub mod conformance;
mod object_store_adapter;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use larder_types::{ProjectNumber, Result};
pub use object_store_adapter::ObjectRegistryStore;

/// An append-only log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Log {
    /// Which projects there are; an entry's number is the project's.
    Projects,
    /// The revisions of a project.
    Revisions(ProjectNumber),
    /// The run events of a project.
    Runs(ProjectNumber),
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Projects => f.write_str("projects"),
            Self::Revisions(project) => write!(f, "{project}/revisions"),
            Self::Runs(project) => write!(f, "{project}/runs"),
        }
    }
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// The entry is durable under its number.
    Ours,
    /// Somebody else has the number; this is their entry.
    Taken(Bytes),
}

/// Keeps logs. Entries are numbered from 1 without holes.
///
/// Errors are `Unavailable` where the store does not answer and the effect is not known: appending the same entry again is
/// safe, since an adapter recognises its own. `DataLoss` where an entry is not what was written.
#[async_trait]
pub trait RegistryStore: Send + Sync + 'static {
    /// Claims `number`, the one after the newest, for `content`. Durable when it returns [`Appended::Ours`].
    async fn append(&self, log: Log, number: u64, content: Bytes) -> Result<Appended>;

    /// The entry of that number, or none if there is none yet.
    async fn read(&self, log: Log, number: u64) -> Result<Option<Bytes>>;

    /// All entries after `number`, in order; none, if it is the newest.
    async fn read_after(&self, log: Log, number: u64) -> Result<Vec<Bytes>>;

    /// Keeps the fold of all entries up to `number`, so that a start need not read them.
    async fn write_snapshot(&self, log: Log, number: u64, content: Bytes) -> Result<()>;

    /// The fold of all entries up to `number`, where it is kept.
    async fn read_snapshot(&self, log: Log, number: u64) -> Result<Option<Bytes>>;

    /// The newest snapshot and the number of the last entry in it.
    async fn latest_snapshot(&self, log: Log) -> Result<Option<(u64, Bytes)>>;
}
