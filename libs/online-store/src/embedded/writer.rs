//! The one thread that writes.
//!
//! It takes what is waiting, up to a number of rows and bytes, puts it into one transaction in the order of the table's keys, and
//! answers every caller once that is durable. If the transaction fails, all callers in it get the error.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
    thread::JoinHandle,
};

use larder_types::{Error, ErrorCode, Result, Timestamp};
use redb::{Database, Table, WriteTransaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{
    EmbeddedConfig,
    errors::{lost, storage_error},
    table::{self, Removal, Value},
};
use crate::{
    KeyWrite, RowOutcome, RowWrite, WriteMode,
    decision::{Stored, decide},
};

/// Rows that one transaction takes in, unless a single call brings more.
const GROUP_ROWS: usize = 50_000;

/// … and bytes.
const GROUP_BYTES: usize = 64 << 20;

/// Waiting bytes are counted in units of so many.
const UNIT: usize = 1_024;

/// Sends to the thread, and ends it when dropped.
#[derive(Debug)]
pub(super) struct Writer {
    commands: Option<mpsc::UnboundedSender<Command>>,
    /// Bounds the rows that wait.
    rows: Room,
    /// Bounds their bytes.
    bytes: Room,
    /// Why a transaction failed that the file was to blame for; redb refuses to write from then on.
    failure: Arc<OnceLock<String>>,
    thread: Option<JoinHandle<()>>,
}

enum Command {
    Write(Write),
    Remove { removal: Removal, doomed: Vec<Vec<u8>>, reply: oneshot::Sender<Result<u64>> },
}

struct Write {
    writes: Vec<KeyWrite>,
    rows: usize,
    bytes: usize,
    mode: WriteMode,
    now: Timestamp,
    reply: oneshot::Sender<Result<Vec<RowOutcome>>>,
    _room: [OwnedSemaphorePermit; 2],
}

/// So much of something may wait; what is more than all of it waits alone.
#[derive(Debug)]
struct Room {
    free: Arc<Semaphore>,
    all: usize,
}

impl Room {
    fn new(all: usize) -> Self {
        let all = all.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self { free: Arc::new(Semaphore::new(all)), all }
    }

    async fn take(&self, wanted: usize) -> Result<OwnedSemaphorePermit> {
        let wanted = u32::try_from(wanted.min(self.all)).unwrap_or(u32::MAX);
        Arc::clone(&self.free).acquire_many_owned(wanted).await.map_err(|_| stopped())
    }
}

impl Writer {
    pub(super) fn start(db: Arc<Database>, config: &EmbeddedConfig) -> Result<Self> {
        let (commands, waiting) = mpsc::unbounded_channel();
        let failure = Arc::new(OnceLock::new());
        let worker = Worker { db, waiting, failure: failure.clone() };
        let thread =
            std::thread::Builder::new().name("online-store-writer".to_owned()).spawn(move || worker.run()).map_err(
                |error| Error::unavailable("the thread that writes online rows cannot start").with_source(error),
            )?;
        let (rows, bytes) = (Room::new(config.queue_rows), Room::new(config.queue_bytes / UNIT));
        Ok(Self { commands: Some(commands), rows, bytes, failure, thread: Some(thread) })
    }

    pub(super) async fn write(
        &self,
        writes: Vec<KeyWrite>,
        mode: WriteMode,
        now: Timestamp,
    ) -> Result<Vec<RowOutcome>> {
        let rows: usize = writes.iter().map(|write| write.rows.len()).sum();
        if rows == 0 {
            return Ok(Vec::new());
        }
        let bytes = writes.iter().map(bytes_of).fold(0, usize::saturating_add);
        // Always in this order, so that no two callers wait for each other.
        let room = [self.rows.take(rows).await?, self.bytes.take(bytes.div_ceil(UNIT)).await?];
        let (reply, answer) = oneshot::channel();
        self.send(Command::Write(Write { writes, rows, bytes, mode, now, reply, _room: room }))?;
        answer.await.map_err(|_| stopped())?
    }

    /// Removes those of `doomed` that are still to be removed, and answers how many.
    pub(super) async fn remove(&self, removal: Removal, doomed: Vec<Vec<u8>>) -> Result<u64> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Remove { removal, doomed, reply })?;
        answer.await.map_err(|_| stopped())?
    }

    pub(super) fn check_health(&self) -> Result<()> {
        match (self.failure.get(), &self.commands) {
            (Some(failure), _) => Err(lost(failure)),
            (None, Some(commands)) if !commands.is_closed() => Ok(()),
            (None, _) => Err(lost("the thread that writes has stopped")),
        }
    }

    fn send(&self, command: Command) -> Result<()> {
        let commands = self.commands.as_ref().ok_or_else(stopped)?;
        commands.send(command).map_err(|_| stopped())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes online rows panicked");
        }
    }
}

/// A row that several row sets share is counted for each: it is written for each.
fn bytes_of(write: &KeyWrite) -> usize {
    write.rows.iter().fold(write.key.len(), |bytes, row| bytes.saturating_add(row.row.len()))
}

fn stopped() -> Error {
    Error::unavailable("the thread that writes online rows has stopped")
}

struct Worker {
    db: Arc<Database>,
    waiting: mpsc::UnboundedReceiver<Command>,
    failure: Arc<OnceLock<String>>,
}

impl Worker {
    fn run(mut self) {
        let mut next = self.waiting.blocking_recv();
        while let Some(command) = next.take() {
            match command {
                Command::Remove { removal, doomed, reply } => {
                    let answer = self.transact(|transaction| remove(transaction, &removal, &doomed));
                    let _ = reply.send(answer);
                }
                Command::Write(first) => next = self.write_group(first),
            }
            if next.is_none() {
                next = self.waiting.blocking_recv();
            }
        }
    }

    /// Writes `first` and what waits behind it. Answers a command that it took and could not put into the group.
    fn write_group(&mut self, first: Write) -> Option<Command> {
        let (mut rows, mut bytes) = (first.rows, first.bytes);
        let mut group = vec![first];
        let mut left_over = None;
        while rows < GROUP_ROWS && bytes < GROUP_BYTES && left_over.is_none() {
            match self.waiting.try_recv() {
                Ok(Command::Write(write)) => {
                    rows += write.rows;
                    bytes = bytes.saturating_add(write.bytes);
                    group.push(write);
                }
                Ok(other @ Command::Remove { .. }) => left_over = Some(other),
                Err(_) => break,
            }
        }
        match self.transact(|transaction| Group::of(&group).apply(transaction)) {
            Ok(outcomes) => group.into_iter().zip(outcomes).for_each(|(write, outcomes)| {
                let _ = write.reply.send(Ok(outcomes));
            }),
            Err(error) => group.into_iter().for_each(|write| {
                let _ = write.reply.send(Err(Error::new(error.code(), error.message())));
            }),
        }
        left_over
    }

    fn transact<T>(&self, work: impl FnOnce(&WriteTransaction) -> Result<(T, Changed)>) -> Result<T> {
        let result = self.try_transact(work);
        if let Err(error) = &result
            && error.code() == ErrorCode::Unavailable
            && self.failure.set(error.to_string()).is_ok()
        {
            tracing::error!(%error, "the online store's file failed: nothing is written to it any more");
        }
        result
    }

    fn try_transact<T>(&self, work: impl FnOnce(&WriteTransaction) -> Result<(T, Changed)>) -> Result<T> {
        let mut transaction = self.db.begin_write().map_err(storage_error)?;
        transaction.set_quick_repair(true);
        let (result, Changed(is_changed)) = work(&transaction)?;
        // All that is there is durable already.
        if is_changed {
            transaction.commit().map_err(storage_error)?;
        } else {
            transaction.abort().map_err(storage_error)?;
        }
        Ok(result)
    }
}

/// Whether a transaction has anything to commit.
struct Changed(bool);

fn remove(transaction: &WriteTransaction, removal: &Removal, doomed: &[Vec<u8>]) -> Result<(u64, Changed)> {
    let mut rows = transaction.open_table(table::ROWS).map_err(storage_error)?;
    let removed = removal.remove(&mut rows, doomed)?;
    Ok((removed, Changed(removed > 0)))
}

/// The rows of some calls, to be written in the order of the table's keys: neighbours share pages.
struct Group<'a> {
    calls: &'a [Write],
    keys: Vec<u8>,
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    key: Range<usize>,
    row: &'a RowWrite,
    call: usize,
    /// The place of the row's outcome in the answer of its call.
    place: usize,
}

impl<'a> Group<'a> {
    fn of(calls: &'a [Write]) -> Self {
        let mut group = Self { calls, keys: Vec::new(), entries: Vec::new() };
        for (call, write) in calls.iter().enumerate() {
            let rows = write.writes.iter().flat_map(|write| write.rows.iter().map(move |row| (&write.key, row)));
            for (place, (key, row)) in rows.enumerate() {
                let start = group.keys.len();
                table::write_key(row.row_set, key, &mut group.keys);
                group.entries.push(Entry { key: start..group.keys.len(), row, call, place });
            }
        }
        let keys = &group.keys;
        // Stable: rows of one key stay in the order in which they came.
        group.entries.sort_by(|a, b| keys[a.key.clone()].cmp(&keys[b.key.clone()]));
        group
    }

    /// Writes what wins, and answers the outcomes of each call.
    fn apply(&self, transaction: &WriteTransaction) -> Result<(Vec<Vec<RowOutcome>>, Changed)> {
        let mut outcomes: Vec<_> = self.calls.iter().map(|call| vec![RowOutcome::Written; call.rows]).collect();
        let mut rows = transaction.open_table(table::ROWS).map_err(storage_error)?;
        let mut value = Vec::new();
        let mut is_changed = false;
        for entry in &self.entries {
            let (outcome, is_put) = self.put(entry, &mut rows, &mut value)?;
            outcomes[entry.call][entry.place] = outcome;
            is_changed |= is_put;
        }
        Ok((outcomes, Changed(is_changed)))
    }

    fn put(
        &self,
        entry: &Entry<'_>,
        rows: &mut Table<'_, &[u8], &[u8]>,
        value: &mut Vec<u8>,
    ) -> Result<(RowOutcome, bool)> {
        use redb::ReadableTable;
        let key = &self.keys[entry.key.clone()];
        let call = &self.calls[entry.call];
        let new = Stored { row: &entry.row.row, expires_at: entry.row.expires_at.unwrap_or(Timestamp::MAX) };
        let there = rows.get(key).map_err(storage_error)?;
        let stored = there.as_ref().map(|value| Value::read(value.value())).transpose()?;
        let (outcome, is_put) = decide(stored, new, call.mode, call.now);
        drop(there);
        if is_put {
            Value::write(new, value);
            rows.insert(key, value.as_slice()).map_err(storage_error)?;
        }
        Ok((outcome, is_put))
    }
}
