//! The embedded adapter: one redb file, in this process.
//!
//! Reads take a snapshot and never wait. Writes go to one thread, which puts what many callers sent into one transaction
//! (group commit) and answers when that is on disk. Callers have turns: one with few rows does not wait for all that
//! others sent before (`turns.rs`). What waits is in its callers' memory, who bound what they send. Every commit is made so
//! that opening the file after a crash does not walk the whole of it: a process that was killed is back at once, at the
//! price of a second sync per commit.
//!
//! Of keys that lie far apart, each row changes a page of its own; the more rows a call brings, the more share one. So
//! a materialization sends tens of thousands at a time (`benches/embedded.rs`).
//!
//! After a read or write of the file that failed nothing is written any more, since nobody knows what of it is on disk:
//! [`OnlineStore::check_health`] says so with FAILED_PRECONDITION, and the process is to end and open the file anew. What
//! was answered before is in it.
//!
//! The file belongs to one process at a time. Its layout is in `table.rs`, and names its format: a file of a newer one
//! is refused.

mod errors;
mod table;
mod turns;
mod writer;

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use larder_codec::{EncodedKeys, KeyScope};
use larder_types::{Error, Result, RowSetNumber, Timestamp};
use redb::{Builder, Database, DatabaseError, ReadableDatabase};
use tracing::Instrument;

use crate::{Capabilities, KeyWrite, OnlineStore, RowOutcome, Rows, RowsBuilder, SweepReport, WriteMode};
use errors::{lost, storage_error};
use table::{Removal, Step, Value};
use writer::Writer;

pub use redb::StorageBackend;

/// Rows that are read at once on the caller's thread: half a millisecond's worth. More are read on one that may block.
const INLINE_ROWS: usize = 512;

/// And so many bytes of them: few rows may be great.
const INLINE_BYTES: usize = 1 << 20;

/// How an embedded store uses the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedConfig {
    /// Bytes of the file that are kept in memory, at most.
    pub cache_bytes: usize,
    /// How long a transaction takes rows in, at most; making them durable takes about as long again, and who has few rows
    /// waits for both. More makes the writing of many rows quicker, as more of them share a page.
    pub group_time: Duration,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        Self { cache_bytes: 256 << 20, group_time: Duration::from_millis(500) }
    }
}

/// An online store in one file of this process.
///
/// Dropping it waits for the writes that are under way, and gives the file free.
#[derive(Debug)]
pub struct EmbeddedStore {
    db: Arc<Database>,
    writer: Writer,
}

impl EmbeddedStore {
    /// Opens the store in the file at `path`, which is created if it is not there; its folder must be.
    ///
    /// FAILED_PRECONDITION where another process has it open or a newer release made it, DATA_LOSS where it is not such
    /// a file or damaged, UNAVAILABLE where the system refuses.
    pub fn open(path: &Path, config: &EmbeddedConfig) -> Result<Self> {
        let named = |error: Error| error.context(format_args!("the online store's file {}", path.display()));
        Self::start(builder(config).create(path), config).map_err(named)
    }

    /// Opens the store on `backend` in place of a file.
    pub fn open_on(backend: impl StorageBackend, config: &EmbeddedConfig) -> Result<Self> {
        Self::start(builder(config).create_with_backend(backend), config)
    }

    fn start(db: std::result::Result<Database, DatabaseError>, config: &EmbeddedConfig) -> Result<Self> {
        let db = Arc::new(db.map_err(storage_error)?);
        table::prepare(&db)?;
        let writer = Writer::start(db.clone(), config.group_time)?;
        Ok(Self { db, writer })
    }

    /// Looks for what is to be removed in steps, beside those who write, who are held up only by what is found.
    async fn remove(&self, removal: Removal) -> Result<SweepReport> {
        let mut report = SweepReport::default();
        let mut after = None;
        loop {
            let (db, looking) = (self.db.clone(), removal.clone());
            let found = tokio::task::spawn_blocking(move || find(&db, &looking, after.as_deref())).await;
            let step =
                found.map_err(|error| Error::internal("looking for old rows was cut off").with_source(error))??;
            report.examined += step.examined;
            if !step.doomed.is_empty() {
                report.removed += self.writer.remove(removal.clone(), step.doomed).await?;
            }
            match step.last {
                Some(last) => after = Some(last),
                None => return Ok(report),
            }
        }
    }
}

fn find(db: &Database, removal: &Removal, after: Option<&[u8]>) -> Result<Step> {
    let snapshot = db.begin_read().map_err(storage_error)?;
    let rows = snapshot.open_table(table::ROWS).map_err(storage_error)?;
    removal.find(&rows, after)
}

fn builder(config: &EmbeddedConfig) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(config.cache_bytes);
    builder.set_repair_callback(|session| {
        tracing::warn!(progress = session.progress(), "the online store's file was not closed in order: repairing it");
    });
    builder
}

#[async_trait]
impl OnlineStore for EmbeddedStore {
    async fn read_within(&self, keys: &EncodedKeys, row_sets: &[RowSetNumber], max_bytes: usize) -> Result<Rows> {
        let span = tracing::debug_span!("online store read", keys = keys.len(), row_sets = row_sets.len());
        // Who asks for more than a little expects it.
        if keys.len().saturating_mul(row_sets.len()) <= INLINE_ROWS && max_bytes <= INLINE_BYTES {
            return span.in_scope(|| read(&self.db, keys, row_sets, max_bytes));
        }
        let (db, keys, row_sets) = (self.db.clone(), keys.clone(), row_sets.to_vec());
        let reading = tokio::task::spawn_blocking(move || span.in_scope(|| read(&db, &keys, &row_sets, max_bytes)));
        reading.await.map_err(|error| Error::internal("reading the online store was cut off").with_source(error))?
    }

    async fn write(&self, writes: Vec<KeyWrite>, mode: WriteMode, now: Timestamp) -> Result<Vec<RowOutcome>> {
        writes.iter().try_for_each(check_write)?;
        let span = tracing::debug_span!("online store write", keys = writes.len());
        self.writer.write(writes, mode, now).instrument(span).await
    }

    async fn sweep(&self, now: Timestamp) -> Result<SweepReport> {
        self.remove(Removal::Expired { now }).await
    }

    async fn purge(&self, scope: &KeyScope, row_set: RowSetNumber) -> Result<u64> {
        let report = self.remove(Removal::RowSet { scope: scope.clone(), row_set }).await?;
        Ok(report.removed)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { key_at_once: true }
    }

    async fn check_health(&self) -> Result<()> {
        self.writer.check_health()?;
        read(&self.db, &EncodedKeys::default(), &[], 0).map(|_| ()).map_err(|error| lost(&error.to_string()))
    }
}

/// Reads out of one snapshot.
fn read(db: &Database, keys: &EncodedKeys, row_sets: &[RowSetNumber], max_bytes: usize) -> Result<Rows> {
    let snapshot = db.begin_read().map_err(storage_error)?;
    let rows = snapshot.open_table(table::ROWS).map_err(storage_error)?;
    let mut answer = RowsBuilder::new(keys.len(), row_sets.len(), max_bytes);
    let mut table_key = Vec::new();
    for key in keys.iter() {
        for row_set in row_sets {
            let Some(key) = key else {
                answer.push(None)?;
                continue;
            };
            table::write_key(*row_set, key, &mut table_key);
            let found = rows.get(table_key.as_slice()).map_err(storage_error)?;
            match found {
                Some(value) => answer.push(Some(Value::read(value.value())?.row))?,
                None => answer.push(None)?,
            }
            table_key.clear();
        }
    }
    Ok(answer.finish())
}

fn check_write(write: &KeyWrite) -> Result<()> {
    let length = write.key.len();
    if length == 0 || length > larder_codec::MAX_KEY_BYTES {
        return Err(Error::invalid_argument(format!("an online key of {length} bytes cannot be written")));
    }
    write.rows.iter().try_for_each(|row| match larder_codec::row_version(&row.row) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::invalid_argument(format!("row set {}: {error}", row.row_set))),
    })
}

#[cfg(test)]
mod tests;
