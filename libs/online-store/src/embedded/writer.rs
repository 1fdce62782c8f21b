//! The one thread that writes.
//!
//! It puts rows of those who wait into one transaction, round after round ([`mod@super::turns`] says whose), and answers every caller
//! all of whose rows are durable. A transaction takes in rows until it has many or has taken a while, so that much is
//! synced at once; it ends early for callers with few rows. If it fails, all callers with rows in it get the error.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, OnceLock},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use larder_types::{Error, ErrorCode, Result, Timestamp};
use redb::{Database, Table, WriteTransaction};
use tokio::sync::{mpsc, oneshot};

use super::{
    errors::{lost, storage_error},
    table::{self, Removal, Value},
    turns::{FEW, ROUND, turns},
};
use crate::{
    KeyWrite, RowOutcome, RowWrite, WriteMode,
    decision::{Stored, decide},
};

/// A transaction takes no more in when it has so many rows, or kibibytes of them.
const GROUP: usize = 50_000;

/// Sends to the thread, and ends it when dropped.
#[derive(Debug)]
pub(super) struct Writer {
    commands: Option<mpsc::UnboundedSender<Command>>,
    /// Why a transaction failed that the file was to blame for; redb refuses to write from then on.
    failure: Arc<OnceLock<String>>,
    thread: Option<JoinHandle<()>>,
}

enum Command {
    Write(Write),
    Remove(Remove),
}

struct Write {
    writes: Vec<KeyWrite>,
    rows: usize,
    cost: usize,
    mode: WriteMode,
    now: Timestamp,
    reply: oneshot::Sender<Result<Vec<RowOutcome>>>,
}

struct Remove {
    removal: Removal,
    doomed: Vec<Vec<u8>>,
    reply: oneshot::Sender<Result<u64>>,
}

impl Writer {
    pub(super) fn start(db: Arc<Database>, group_time: Duration) -> Result<Self> {
        let (commands, waiting) = mpsc::unbounded_channel();
        let failure = Arc::new(OnceLock::new());
        let worker = Worker { file: File { db, failure: failure.clone() }, waiting: Waiting::new(waiting), group_time };
        let thread =
            std::thread::Builder::new().name("online-store-writer".to_owned()).spawn(move || worker.run()).map_err(
                |error| Error::unavailable("the thread that writes online rows cannot start").with_source(error),
            )?;
        Ok(Self { commands: Some(commands), failure, thread: Some(thread) })
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
        let cost = writes.iter().map(cost_of).fold(0, usize::saturating_add);
        let (reply, answer) = oneshot::channel();
        self.send(Command::Write(Write { writes, rows, cost, mode, now, reply }))?;
        answer.await.map_err(|_| stopped())?
    }

    /// Removes those of `doomed` that are still to be removed, and answers how many.
    pub(super) async fn remove(&self, removal: Removal, doomed: Vec<Vec<u8>>) -> Result<u64> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Remove(Remove { removal, doomed, reply }))?;
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

/// A row is one, and a large one as many as it has kibibytes. One that several row sets share is counted for each: it is
/// written for each.
fn cost_of(write: &KeyWrite) -> usize {
    write.rows.iter().map(|row| 1 + (write.key.len() + row.row.len()) / 1_024).sum()
}

fn stopped() -> Error {
    Error::unavailable("the thread that writes online rows has stopped")
}

struct Worker {
    file: File,
    waiting: Waiting,
    group_time: Duration,
}

impl Worker {
    fn run(mut self) {
        while self.waiting.wait() {
            // In turns, so that neither waits for the other for long.
            if let Some(Remove { removal, doomed, reply }) = self.waiting.removals.pop_front() {
                let _ = reply.send(self.file.transact(|transaction| remove(transaction, &removal, &doomed)));
            }
            self.write_group();
        }
    }

    fn write_group(&mut self) {
        if self.waiting.calls.is_empty() {
            return;
        }
        let (waiting, patience) = (&mut self.waiting, self.group_time);
        let written = self.file.transact(|transaction| take_in(waiting, transaction, patience));
        waiting.answer(&written);
    }
}

/// Those who wait for the thread.
struct Waiting {
    commands: mpsc::UnboundedReceiver<Command>,
    /// In the order in which they came.
    calls: Vec<Call>,
    removals: VecDeque<Remove>,
}

/// A call that writes.
struct Call {
    write: Write,
    /// How many of its writes were taken in.
    taken: usize,
    /// What the others cost.
    left: usize,
    /// The outcomes of the rows that were taken in.
    outcomes: Vec<RowOutcome>,
    /// Whether some of them are in the transaction under way.
    is_in_group: bool,
}

impl Call {
    /// Its next writes, of about that cost, and what they do cost.
    fn next(&self, cost: usize) -> (Range<usize>, usize) {
        let (mut end, mut taken) = (self.taken, 0);
        while taken < cost {
            let Some(write) = self.write.writes.get(end) else { break };
            taken += cost_of(write);
            end += 1;
        }
        (self.taken..end, taken)
    }
}

impl Waiting {
    fn new(commands: mpsc::UnboundedReceiver<Command>) -> Self {
        Self { commands, calls: Vec::new(), removals: VecDeque::new() }
    }

    /// Until somebody waits; false when nobody will any more.
    fn wait(&mut self) -> bool {
        self.take_what_came();
        if !self.calls.is_empty() || !self.removals.is_empty() {
            return true;
        }
        match self.commands.blocking_recv() {
            Some(command) => self.take(command),
            None => return false,
        }
        self.take_what_came();
        true
    }

    fn take_what_came(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            self.take(command);
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Write(write) => {
                let outcomes = Vec::with_capacity(write.rows);
                self.calls.push(Call { left: write.cost, write, taken: 0, outcomes, is_in_group: false });
            }
            Command::Remove(remove) => self.removals.push_back(remove),
        }
    }

    /// The stretches of calls that are written next, of so many rows.
    fn next_round(&self, round: usize) -> Vec<Turn> {
        let left: Vec<usize> = self.calls.iter().map(|call| call.left).collect();
        let turn = |(call, cost): (usize, usize)| {
            let (writes, cost) = self.calls[call].next(cost);
            Turn { call, writes, cost }
        };
        turns(&left, round).into_iter().map(turn).collect()
    }

    /// Answers those who are done, or failed with the transaction.
    fn answer(&mut self, written: &Result<()>) {
        // A transaction that could not be begun fails for all.
        let has_begun = self.calls.iter().any(|call| call.is_in_group);
        let answered = self.calls.extract_if(.., |call| match written {
            Ok(()) => call.left == 0,
            Err(_) => call.is_in_group || !has_begun,
        });
        for call in answered {
            let _ = call.write.reply.send(match written {
                Ok(()) => Ok(call.outcomes),
                Err(error) => Err(Error::new(error.code(), error.message())),
            });
        }
        self.calls.iter_mut().for_each(|call| call.is_in_group = false);
    }
}

/// A stretch of a call's writes.
struct Turn {
    call: usize,
    writes: Range<usize>,
    cost: usize,
}

/// Takes rows of those who wait into a transaction, of those as well who come meanwhile.
fn take_in(waiting: &mut Waiting, transaction: &WriteTransaction, patience: Duration) -> Result<((), Changed)> {
    let started = Instant::now();
    let (mut taken, mut is_changed, mut has_ended_few) = (0, false, false);
    let mut many = ROUND;
    loop {
        let has_few = waiting.calls.iter().any(|call| call.left <= FEW);
        let turns = waiting.next_round(if has_few { ROUND } else { many });
        // Told of an error even if it comes at the first of them.
        turns.iter().for_each(|turn| waiting.calls[turn.call].is_in_group = true);
        let (outcomes, Changed(has_changed)) = Round::of(&waiting.calls, &turns).apply(transaction)?;
        is_changed |= has_changed;
        for (turn, outcomes) in turns.into_iter().zip(outcomes) {
            let call = &mut waiting.calls[turn.call];
            taken += turn.cost;
            call.taken = turn.writes.end;
            call.left -= turn.cost;
            call.outcomes.extend(outcomes);
            has_ended_few |= call.left == 0 && call.write.cost <= FEW;
        }
        waiting.take_what_came();
        let left: usize = waiting.calls.iter().map(|call| call.left).sum();
        let is_full = taken >= GROUP || started.elapsed() >= patience;
        // More rows at once share more of the way to their pages. As long as it is quick, nobody waits for long who comes.
        if started.elapsed() < patience / 4 {
            many = (many * 2).min(GROUP.saturating_sub(taken)).max(ROUND);
        }
        // Whoever has few rows does not wait until the many of others are durable.
        if left == 0 || is_full || (has_ended_few && left > ROUND) {
            return Ok(((), Changed(is_changed)));
        }
    }
}

/// The database, and whether it still can be written.
struct File {
    db: Arc<Database>,
    failure: Arc<OnceLock<String>>,
}

impl File {
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

/// Rows of some calls, to be written in the order of the table's keys: neighbours share pages.
struct Round<'a> {
    calls: Vec<&'a Write>,
    /// How many rows of each.
    rows: Vec<usize>,
    keys: Vec<u8>,
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    key: Range<usize>,
    row: &'a RowWrite,
    /// The place of its call among those of the round.
    turn: usize,
    /// The place of the row's outcome among those of its call's turn.
    place: usize,
}

impl<'a> Round<'a> {
    fn of(calls: &'a [Call], turns: &[Turn]) -> Self {
        let of_turns = turns.iter().map(|turn| &calls[turn.call].write).collect();
        let mut round = Self { calls: of_turns, rows: Vec::new(), keys: Vec::new(), entries: Vec::new() };
        for (number, turn) in turns.iter().enumerate() {
            let writes = &calls[turn.call].write.writes[turn.writes.clone()];
            let rows = writes.iter().flat_map(|write| write.rows.iter().map(move |row| (&write.key, row)));
            let before = round.entries.len();
            for (place, (key, row)) in rows.enumerate() {
                let start = round.keys.len();
                table::write_key(row.row_set, key, &mut round.keys);
                round.entries.push(Entry { key: start..round.keys.len(), row, turn: number, place });
            }
            round.rows.push(round.entries.len() - before);
        }
        let keys = &round.keys;
        // Stable: rows of one key stay in the order in which they came.
        round.entries.sort_by(|a, b| keys[a.key.clone()].cmp(&keys[b.key.clone()]));
        round
    }

    /// Writes what wins, and answers the outcomes of each turn.
    fn apply(&self, transaction: &WriteTransaction) -> Result<(Vec<Vec<RowOutcome>>, Changed)> {
        let mut outcomes: Vec<_> = self.rows.iter().map(|rows| vec![RowOutcome::Written; *rows]).collect();
        let mut rows = transaction.open_table(table::ROWS).map_err(storage_error)?;
        let mut value = Vec::new();
        let mut is_changed = false;
        for entry in &self.entries {
            let (outcome, is_put) = self.put(entry, &mut rows, &mut value)?;
            outcomes[entry.turn][entry.place] = outcome;
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
        let call = self.calls[entry.turn];
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
