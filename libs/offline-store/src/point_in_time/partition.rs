//! What does not fit in memory: both sides split by hash of key into files, joined one after another, and the results
//! merged by row number.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use ahash::RandomState;
use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, UInt32Array},
    compute::{interleave_record_batch, take_record_batch},
    datatypes::{SchemaRef, UInt64Type},
};
use datafusion::{
    common::{DataFusionError, Result},
    execution::SendableRecordBatchStream,
};
use futures::StreamExt;

use super::{
    candidates::{Candidates, HistoryBatch},
    run::{Out, Work},
    slots::{Slots, SpineRows},
    spec::Resolved,
    spill::{Spill, SpillWriter, Spilled},
};

/// Into how many parts one is split.
const PARTS: usize = 16;
/// How often: what then is still too large has one key.
const MAX_DEPTH: usize = 4;
/// Rows that are written from memory at once.
const ROWS_AT_ONCE: usize = 1024;

/// What had been read when the pool refused.
pub(super) enum Held {
    /// A part of the spine.
    Spine(SpineRows),
    /// All of the spine and the best of a part of the history.
    Slots(Slots, Candidates),
}

/// A side of the join, in files.
struct Side {
    spill: Spill,
    files: Vec<SpillWriter>,
    keys: Vec<usize>,
    state: RandomState,
}

/// Splits and joins.
pub(super) struct Partitions;

impl Partitions {
    pub(super) async fn join(
        work: &Work,
        held: Held,
        spine_rest: SendableRecordBatchStream,
        history_rest: SendableRecordBatchStream,
        depth: usize,
        out: Out<'_>,
        refused: DataFusionError,
    ) -> Result<()> {
        if depth == MAX_DEPTH {
            return Err(refused.context(
                "the rows of one entity key alone do not fit into the memory of a point-in-time join: raise its limit",
            ));
        }
        let columns = &work.columns;
        let mut spine = Side::new(work, &columns.spine_schema, &columns.spine_keys, depth)?;
        let mut history = Side::new(work, &columns.history_schema, &columns.history_keys, depth)?;
        let slots = write_held(work, held, &mut spine, &mut history)?;
        write_rest(work, spine_rest, &mut spine).await?;
        write_history(work, history_rest, &mut history, slots).await?;
        work.reservation.free();
        let results = join_each(work, spine.finish()?, history.finish()?, depth).await?;
        merge(work, results, out).await
    }
}

/// Writes what is in memory; gives back the slots where they are complete, to tell which rows of the history matter.
fn write_held(work: &Work, held: Held, spine: &mut Side, history: &mut Side) -> Result<Option<Slots>> {
    let (columns, reader): (&Resolved, _) = (&work.columns, &work.keys);
    match held {
        Held::Spine(rows) => {
            rows.batches(reader, columns, ROWS_AT_ONCE).try_for_each(|batch| spine.write(work, &batch?))?;
            drop(rows);
            work.reservation.free();
            Ok(None)
        }
        Held::Slots(slots, candidates) => {
            slots.batches(reader, columns, ROWS_AT_ONCE).try_for_each(|batch| spine.write(work, &batch?))?;
            candidates
                .batches(&slots, reader, columns, ROWS_AT_ONCE)
                .try_for_each(|batch| history.write(work, &batch?))?;
            drop(candidates);
            work.reservation.resize(slots.size());
            Ok(Some(slots))
        }
    }
}

async fn write_rest(work: &Work, mut rest: SendableRecordBatchStream, side: &mut Side) -> Result<()> {
    while let Some(batch) = rest.next().await.transpose()? {
        side.write(work, &batch)?;
    }
    Ok(())
}

async fn write_history(
    work: &Work,
    mut rest: SendableRecordBatchStream,
    side: &mut Side,
    slots: Option<Slots>,
) -> Result<()> {
    let Some(slots) = slots else { return write_rest(work, rest, side).await };
    let ttl = work.columns.ttl;
    while let Some(batch) = rest.next().await.transpose()? {
        let rows = HistoryBatch::new(&batch, &work.keys, &work.columns)?;
        let matters = |row: &usize| rows.slot(&slots, *row, ttl).is_some();
        let parts = split((0..rows.rows()).filter(matters), |row| rows.hash(row, &side.state));
        side.append(&batch, &parts)?;
    }
    Ok(())
}

/// The rows of each part. A row whose key has a null goes to the first.
fn split(rows: impl Iterator<Item = usize>, hash: impl Fn(usize) -> Option<u64>) -> Vec<Vec<u32>> {
    let mut parts = vec![Vec::new(); PARTS];
    for row in rows {
        // The low bits choose buckets within a table.
        let part = hash(row).map_or(0, |hash| (hash >> 32) as usize % PARTS);
        parts[part].push(row as u32);
    }
    parts
}

impl Side {
    fn new(work: &Work, schema: &SchemaRef, keys: &[usize], depth: usize) -> Result<Self> {
        let spill = work.spill(schema);
        let files = (0..PARTS).map(|_| spill.create()).collect::<Result<_>>()?;
        // Each level splits by other bits than the one above it.
        let seed = |number: u64| (number + 4 * depth as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let state = RandomState::with_seeds(seed(1), seed(2), seed(3), seed(4));
        Ok(Self { files, keys: keys.to_vec(), state, spill })
    }

    fn write(&mut self, work: &Work, batch: &RecordBatch) -> Result<()> {
        let keys: Vec<ArrayRef> = self.keys.iter().map(|key| Arc::clone(batch.column(*key))).collect();
        let keys = work.keys.read(&keys)?;
        let parts = split(0..batch.num_rows(), |row| keys.hash(row, &self.state));
        self.append(batch, &parts)
    }

    fn append(&mut self, batch: &RecordBatch, parts: &[Vec<u32>]) -> Result<()> {
        for (file, rows) in self.files.iter_mut().zip(parts).filter(|(_, rows)| !rows.is_empty()) {
            file.append(&take_record_batch(batch, &UInt32Array::from(rows.clone()))?)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Finished> {
        let files = self.files.iter_mut().map(SpillWriter::finish).collect::<Result<_>>()?;
        Ok(Finished { spill: self.spill, files })
    }
}

/// Files that are read again.
struct Finished {
    spill: Spill,
    files: Vec<Spilled>,
}

async fn join_each(work: &Work, mut spine: Finished, mut history: Finished, depth: usize) -> Result<Finished> {
    let mut results = Finished { spill: work.spill(&work.columns.output_schema), files: Vec::new() };
    for part in 0..PARTS {
        // Taken, so that a file goes when it has been read.
        let (Some(spine_file), history_file) = (spine.files[part].take(), history.files[part].take()) else { continue };
        let mut file = results.spill.create()?;
        let (spine, history) = (spine.spill.read(Some(spine_file))?, history.spill.read(history_file)?);
        work.join(spine, history, depth + 1, Out::File(&mut file)).await?;
        results.files.push(file.finish()?);
    }
    Ok(results)
}

/// A result being merged.
struct Cursor {
    stream: SendableRecordBatchStream,
    batch: RecordBatch,
    row: usize,
}

impl Cursor {
    fn number(&self) -> u64 {
        self.batch.column(0).as_primitive::<UInt64Type>().value(self.row)
    }

    /// The next batch with rows; whether there is one.
    async fn refill(&mut self) -> Result<bool> {
        while let Some(batch) = self.stream.next().await.transpose()? {
            if batch.num_rows() > 0 {
                (self.batch, self.row) = (batch, 0);
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Brings results, each in the order of row numbers, into that order together. One batch of each is in memory.
async fn merge(work: &Work, mut results: Finished, mut out: Out<'_>) -> Result<()> {
    let files = std::mem::take(&mut results.files);
    let mut cursors = Vec::new();
    for file in files.into_iter().flatten() {
        let batch = RecordBatch::new_empty(Arc::clone(results.spill.schema()));
        let mut cursor = Cursor { stream: results.spill.read(Some(file))?, batch, row: 0 };
        if cursor.refill().await? {
            cursors.push(cursor);
        }
    }
    let mut heap: BinaryHeap<Reverse<(u64, usize)>> =
        cursors.iter().enumerate().map(|(index, cursor)| Reverse((cursor.number(), index))).collect();
    let mut picked: Vec<(usize, usize)> = Vec::new();
    while let Some(Reverse((_, index))) = heap.pop() {
        picked.push((index, cursors[index].row));
        cursors[index].row += 1;
        let used_up = cursors[index].row == cursors[index].batch.num_rows();
        if used_up || picked.len() == work.batch_rows {
            // What was picked refers to the batches in memory, so it goes before one of them is replaced.
            out.send(gather(&cursors, &picked)?).await?;
            picked.clear();
        }
        if !used_up || cursors[index].refill().await? {
            heap.push(Reverse((cursors[index].number(), index)));
        }
    }
    if !picked.is_empty() {
        out.send(gather(&cursors, &picked)?).await?;
    }
    Ok(())
}

fn gather(cursors: &[Cursor], picked: &[(usize, usize)]) -> Result<RecordBatch> {
    let batches: Vec<&RecordBatch> = cursors.iter().map(|cursor| &cursor.batch).collect();
    Ok(interleave_record_batch(&batches, picked)?)
}
