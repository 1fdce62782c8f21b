//! The layout of the file.
//!
//! - Table `meta`: `format` is the number of this layout, 1.
//! - Table `rows`: key = row set (4 bytes, big-endian), entity key; value = expiry (8 bytes, big-endian microseconds, the
//!   greatest for none), row. So the rows of a row set lie together: a materialization writes one stretch of the file,
//!   and a purge removes one.

use std::ops::Bound;

use larder_codec::KeyScope;
use larder_types::{Error, Result, RowSetNumber, Timestamp};
use redb::{Database, ReadableTable, Table, TableDefinition};

use super::errors::storage_error;
use crate::decision::Stored;

/// Row set and key to expiry and row.
pub(super) const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const FORMAT: u64 = 1;

/// Entries that one step of a removal looks at.
const STEP: u64 = 10_000;

/// Makes the tables of a new file; refuses a file of a format that this release does not know.
pub(super) fn prepare(db: &Database) -> Result<()> {
    let mut transaction = db.begin_write().map_err(storage_error)?;
    transaction.set_quick_repair(true);
    {
        let mut meta = transaction.open_table(META).map_err(storage_error)?;
        let format = meta.get("format").map_err(storage_error)?.map(|format| format.value());
        match format {
            None => drop(meta.insert("format", FORMAT).map_err(storage_error)?),
            Some(FORMAT) => {}
            Some(other) => {
                return Err(Error::failed_precondition(format!(
                    "it has format {other}, this release reads format {FORMAT}: use the release that wrote it, or a newer one"
                )));
            }
        }
        transaction.open_table(ROWS).map_err(storage_error)?;
    }
    transaction.commit().map_err(storage_error)
}

/// Adds a key of [`ROWS`] to `out`.
pub(super) fn write_key(row_set: RowSetNumber, key: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&row_set.0.to_be_bytes());
    out.extend_from_slice(key);
}

/// A value of [`ROWS`].
pub(super) struct Value;

impl Value {
    /// Puts a value in the place of `out`.
    pub(super) fn write(stored: Stored<'_>, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&stored.expires_at.as_micros().to_be_bytes());
        out.extend_from_slice(stored.row);
    }

    pub(super) fn read(value: &[u8]) -> Result<Stored<'_>> {
        let (expires_at, row) = value
            .split_first_chunk()
            .ok_or_else(|| Error::data_loss(format!("an entry of the online store has {} bytes", value.len())))?;
        Ok(Stored { row, expires_at: Timestamp::from_micros(i64::from_be_bytes(*expires_at)) })
    }
}

/// What is to be removed.
#[derive(Debug, Clone)]
pub(super) enum Removal {
    /// What may be removed at `now`.
    Expired { now: Timestamp },
    /// The rows of a row set with keys in `scope`.
    RowSet { scope: KeyScope, row_set: RowSetNumber },
}

/// What one step of a removal found.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) examined: u64,
    /// The keys of what is to be removed.
    pub(super) doomed: Vec<Vec<u8>>,
    /// Where the next step goes on; none after the last.
    pub(super) last: Option<Vec<u8>>,
}

impl Removal {
    /// Looks at the next entries after `after`.
    pub(super) fn find(
        &self,
        rows: &impl ReadableTable<&'static [u8], &'static [u8]>,
        after: Option<&[u8]>,
    ) -> Result<Step> {
        let start = self.start();
        let from = after.map_or(Bound::Included(start.as_slice()), Bound::Excluded);
        let mut step = Step::default();
        for entry in rows.range::<&[u8]>((from, Bound::Unbounded)).map_err(storage_error)? {
            let (key, value) = entry.map_err(storage_error)?;
            let key = key.value();
            if !key.starts_with(&start) {
                break;
            }
            if self.dooms(key, value.value())? {
                step.doomed.push(key.to_vec());
            }
            step.examined += 1;
            if step.examined == STEP {
                step.last = Some(key.to_vec());
                break;
            }
        }
        Ok(step)
    }

    /// Removes those of `doomed` that are still to be, and answers how many.
    pub(super) fn remove(&self, rows: &mut Table<'_, &[u8], &[u8]>, doomed: &[Vec<u8>]) -> Result<u64> {
        let mut removed = 0;
        for key in doomed {
            let there = rows.get(key.as_slice()).map_err(storage_error)?;
            let is_doomed = there.map(|value| self.dooms(key, value.value())).transpose()?;
            if is_doomed == Some(true) {
                rows.remove(key.as_slice()).map_err(storage_error)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// What the keys of all entries that it can remove begin with.
    fn start(&self) -> Vec<u8> {
        let mut start = Vec::new();
        match self {
            Self::Expired { .. } => {}
            Self::RowSet { scope, row_set } => write_key(*row_set, scope.start(), &mut start),
        }
        start
    }

    fn dooms(&self, key: &[u8], value: &[u8]) -> Result<bool> {
        match self {
            Self::Expired { now } => Ok(Value::read(value)?.expires_at < *now),
            Self::RowSet { scope, .. } => Ok(key.get(4..).is_some_and(|key| scope.contains(key))),
        }
    }
}
