//! The port: what services ask of an online store.

use async_trait::async_trait;
use bytes::Bytes;
use larder_codec::{EncodedKeys, KeyScope};
use larder_types::{Result, RowSetNumber, Timestamp};

use crate::Rows;

/// Keeps at most one row per (key, row set): the newest of all that were ever written.
///
/// Writes may be repeated and may come in any order, from any number of writers: as long as all use
/// [`WriteMode::Newest`], the rows are the same in the end. A write that was answered is seen by every later read.
/// Errors are UNAVAILABLE where the store does not answer, DATA_LOSS where it holds what nobody wrote; after an error of
/// a write it is not known which of its rows were written, and sending it again is safe.
#[async_trait]
pub trait OnlineStore: Send + Sync + 'static {
    /// The rows of each key in each row set: one call, however many. A missing key has no rows.
    ///
    /// A row may be past its expiry: that only says when it may be removed. RESOURCE_EXHAUSTED as soon as the rows have
    /// more than `max_bytes` together, which no more than a row's bytes of memory are taken beyond.
    async fn read_within(&self, keys: &EncodedKeys, row_sets: &[RowSetNumber], max_bytes: usize) -> Result<Rows>;

    /// The same, whatever it takes: for tools.
    async fn read(&self, keys: &EncodedKeys, row_sets: &[RowSetNumber]) -> Result<Rows> {
        self.read_within(keys, row_sets, usize::MAX).await
    }

    /// Writes each row that wins against the one that is there, as `mode` says, atomically per row; at `now`, which
    /// decides what is past its expiry.
    ///
    /// Answers an outcome per row, in the order given. A key, and even a row set of a key, may come several times: it is
    /// as if they were written one after the other. INVALID_ARGUMENT, and nothing written, where a key or a row is none.
    async fn write(&self, writes: Vec<KeyWrite>, mode: WriteMode, now: Timestamp) -> Result<Vec<RowOutcome>>;

    /// Removes the rows whose expiry lies before `now`. Reads and writes go on meanwhile.
    async fn sweep(&self, now: Timestamp) -> Result<SweepReport>;

    /// Removes all rows of `row_set` whose keys are in `scope`, and answers how many. Reads and writes go on meanwhile;
    /// a row that is written to the row set meanwhile may stay.
    async fn purge(&self, scope: &KeyScope, row_set: RowSetNumber) -> Result<u64>;

    /// What this store does beyond the promises of every store.
    fn capabilities(&self) -> Capabilities;

    /// Whether reads and writes can work now; the error says why not. FAILED_PRECONDITION where they will not until this
    /// process has ended and another opens the store: what a failed write left in memory is not what is on disk.
    async fn check_health(&self) -> Result<()>;
}

/// Rows of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyWrite {
    /// As [`larder_codec::KeyEncoder`] writes it.
    pub key: Bytes,
    /// Usually one per row set.
    pub rows: Vec<RowWrite>,
}

impl KeyWrite {
    /// A row of a key, the same for several row sets.
    pub fn to_row_sets(key: Bytes, row: Bytes, row_sets: &[RowSetNumber], expires_at: Option<Timestamp>) -> Self {
        let rows = row_sets.iter().map(|row_set| RowWrite { row_set: *row_set, row: row.clone(), expires_at });
        Self { rows: rows.collect(), key }
    }
}

/// A row to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowWrite {
    /// Where to.
    pub row_set: RowSetNumber,
    /// As [`larder_codec::RowEncoder`] writes it; a deletion is such a row, too.
    pub row: Bytes,
    /// The last instant at which the row must be there: event time + ttl + grace. None: it stays for ever.
    pub expires_at: Option<Timestamp>,
}

/// Which row wins against the one that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteMode {
    /// The greater one, as [`larder_codec::compare_rows`] orders them.
    Newest,
    /// As [`WriteMode::Newest`], but among rows of equal event and created time the one that is written: the source of a
    /// materialization may have been corrected in place.
    Materialization,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowOutcome {
    /// It is the row now.
    Written,
    /// The one that is there is newer, and stays.
    Older,
    /// It is there already, byte for byte. If it came with a later expiry than before, that holds now.
    Equal,
    /// It is past its expiry, and was not written.
    Expired,
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SweepReport {
    /// Rows that were looked at.
    pub examined: u64,
    /// Rows that were removed.
    pub removed: u64,
}

/// In what adapters differ, by intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// The rows of one [`KeyWrite`] become visible together, and a read sees all or none of them.
    pub key_at_once: bool,
}
