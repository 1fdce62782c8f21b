//! Merging sorted files into one, holding a batch of each in memory.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    compute::{interleave_record_batch, max, min},
    datatypes::SchemaRef,
    row::{OwnedRow, Rows},
};
use futures::{StreamExt, stream::BoxStream};
use larder_types::{Error, Name, Result, Timestamp};
use object_store::{ObjectStore, path::Path};
use parquet::arrow::ProjectionMask;

use crate::{
    files::{self, parquet_error},
    given_up::GoOn,
    rows::SystemColumns,
    segment::BATCH_ROWS,
    sorting::{Repeats, SortOrder, defect},
};

/// What a merge wrote.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Merged {
    pub(crate) size: u64,
    pub(crate) rows: u64,
    pub(crate) min_event_time: Timestamp,
    pub(crate) max_event_time: Timestamp,
}

/// Writes the rows of `inputs` (paths and sizes; all of one schema, sorted by `keys`) to a new file at `output`, in
/// order. Of rows of the same key and event time that are one row, the one with the greatest created time is kept.
///
/// Memory: the compressed row group that each input is in, [`files::BATCH_BYTES`] of decoded rows for all inputs together and as
/// much again for those that go out next, one row group of the output, and all rows of one key and event time.
pub(crate) async fn merge(
    store: &Arc<dyn ObjectStore>,
    inputs: &[(Path, u64)],
    keys: &[Name],
    output: &Path,
    go_on: &GoOn<'_>,
) -> Result<Merged> {
    let mut opened = Vec::with_capacity(inputs.len());
    let mut schema = None;
    let mut batch_rows = BATCH_ROWS;
    for (path, size) in inputs {
        let builder = files::open(store, path, *size).await?;
        let groups = builder.metadata().row_groups();
        let rows = files::batch_rows(groups, &ProjectionMask::all(), BATCH_ROWS);
        batch_rows = batch_rows.min(rows);
        let builder = builder.with_batch_size((rows / inputs.len()).max(1));
        schema.get_or_insert_with(|| Arc::clone(builder.schema()));
        let in_file = path.clone();
        let batches = builder.build().map_err(|error| parquet_error(path, error))?;
        opened.push(batches.map(move |batch| batch.map_err(|error| parquet_error(&in_file, error))).boxed());
    }
    let schema = schema.ok_or_else(|| Error::internal("a merge of no files"))?;
    let order = SortOrder::new(&schema, keys)?;
    let mut merger = Merger::start(order, opened, batch_rows).await?;
    write(&mut merger, store, &schema, output, go_on).await
}

async fn write(
    merger: &mut Merger,
    store: &Arc<dyn ObjectStore>,
    schema: &SchemaRef,
    output: &Path,
    go_on: &GoOn<'_>,
) -> Result<Merged> {
    let mut writer = files::create(store, output, schema)?;
    let mut merged = Merged { size: 0, rows: 0, min_event_time: Timestamp::MAX, max_event_time: Timestamp::MIN };
    while let Some(batch) = merger.next_batch().await? {
        go_on()?;
        let times = SystemColumns::of(&batch)?.event_time;
        let [least, greatest] = [min(times), max(times)].map(|time| Timestamp::from_micros(time.unwrap_or_default()));
        merged.min_event_time = merged.min_event_time.min(least);
        merged.max_event_time = merged.max_event_time.max(greatest);
        merged.rows += batch.num_rows() as u64;
        writer.write(&batch).await.map_err(|error| parquet_error(output, error))?;
    }
    writer.finish().await.map_err(|error| parquet_error(output, error))?;
    merged.size = writer.bytes_written() as u64;
    Ok(merged)
}

/// One input: the batch that is being taken from, and the stream of those after it.
struct Cursor {
    batches: BoxStream<'static, Result<RecordBatch>>,
    /// Where the batch is in [`Merger::batches`].
    slot: usize,
    next: usize,
    rows: Rows,
    groups: Rows,
}

impl Cursor {
    fn at_end_of_batch(&self) -> bool {
        self.next >= self.rows.num_rows()
    }
}

struct Merger {
    order: SortOrder,
    /// So many rows of the inputs with the longest rows are what a batch may have in memory.
    batch_rows: usize,
    cursors: Vec<Cursor>,
    /// Batches that chosen rows are in, and those that cursors are in.
    batches: Vec<RecordBatch>,
    /// Rows of the key and event time that is being taken, as (batch, row), in order.
    group: Vec<(usize, usize)>,
    group_key: Option<OwnedRow>,
    /// Rows that go into the next batch.
    chosen: Vec<(usize, usize)>,
}

impl Merger {
    async fn start(
        order: SortOrder,
        inputs: Vec<BoxStream<'static, Result<RecordBatch>>>,
        batch_rows: usize,
    ) -> Result<Self> {
        let mut merger = Self {
            order,
            batch_rows,
            cursors: Vec::new(),
            batches: Vec::new(),
            group: Vec::new(),
            group_key: None,
            chosen: Vec::new(),
        };
        for mut batches in inputs {
            if let Some(batch) = next_with_rows(&mut batches).await? {
                let (rows, groups) = (merger.order.rows(&batch)?, merger.order.groups(&batch)?);
                let slot = merger.keep(batch);
                merger.cursors.push(Cursor { batches, slot, next: 0, rows, groups });
            }
        }
        Ok(merger)
    }

    fn keep(&mut self, batch: RecordBatch) -> usize {
        self.batches.push(batch);
        self.batches.len() - 1
    }

    /// The next rows in order; none at the end.
    async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        while self.chosen.len() < self.batch_rows {
            let Some(index) = self.least() else {
                self.end_group()?;
                break;
            };
            self.take_from(index)?;
            if self.cursors[index].at_end_of_batch() {
                self.refill(index).await?;
            }
        }
        if self.chosen.is_empty() {
            return Ok(None);
        }
        let rest = self.chosen.split_off(self.chosen.len().min(self.batch_rows));
        let rows = std::mem::replace(&mut self.chosen, rest);
        let batches: Vec<_> = self.batches.iter().collect();
        let batch = interleave_record_batch(&batches, &rows).map_err(defect)?;
        self.forget_unused();
        Ok(Some(batch))
    }

    /// The cursor with the least row. There are few, so looking at each is as good as a heap.
    fn least(&self) -> Option<usize> {
        (0..self.cursors.len()).min_by(|a, b| {
            let [a, b] = [*a, *b].map(|index| &self.cursors[index]);
            a.rows.row(a.next).cmp(&b.rows.row(b.next))
        })
    }

    fn take_from(&mut self, index: usize) -> Result<()> {
        let cursor = &self.cursors[index];
        let key = cursor.groups.row(cursor.next);
        if self.group_key.as_ref().is_none_or(|group| group.row() != key) {
            let key = key.owned();
            self.end_group()?;
            self.group_key = Some(key);
        }
        let cursor = &mut self.cursors[index];
        self.group.push((cursor.slot, cursor.next));
        cursor.next += 1;
        Ok(())
    }

    /// Chooses the group's rows without repeats.
    fn end_group(&mut self) -> Result<()> {
        if self.group.len() > 1 {
            let mut repeats = Repeats::default();
            let mut kept = Vec::with_capacity(self.group.len());
            for (slot, row) in self.group.iter().rev() {
                if !repeats.has(&self.batches[*slot], *row)? {
                    kept.push((*slot, *row));
                }
            }
            self.chosen.extend(kept.into_iter().rev());
            self.group.clear();
        } else {
            self.chosen.append(&mut self.group);
        }
        Ok(())
    }

    /// Gives a cursor its next batch, or takes it away at its end.
    async fn refill(&mut self, index: usize) -> Result<()> {
        match next_with_rows(&mut self.cursors[index].batches).await? {
            Some(batch) => {
                let (rows, groups) = (self.order.rows(&batch)?, self.order.groups(&batch)?);
                let slot = self.keep(batch);
                let cursor = &mut self.cursors[index];
                (cursor.slot, cursor.next, cursor.rows, cursor.groups) = (slot, 0, rows, groups);
            }
            None => drop(self.cursors.swap_remove(index)),
        }
        Ok(())
    }

    /// Drops the batches that no cursor, group or chosen row is in, and renumbers the others.
    fn forget_unused(&mut self) {
        let mut used = vec![false; self.batches.len()];
        let slots = self.cursors.iter().map(|cursor| cursor.slot);
        for slot in slots.chain(self.group.iter().chain(&self.chosen).map(|(slot, _)| *slot)) {
            used[slot] = true;
        }
        let mut renumbered = Vec::with_capacity(used.len());
        let mut kept = 0;
        for used in &used {
            renumbered.push(kept);
            kept += usize::from(*used);
        }
        let mut used = used.into_iter();
        self.batches.retain(|_| used.next().unwrap_or(true));
        self.cursors.iter_mut().for_each(|cursor| cursor.slot = renumbered[cursor.slot]);
        self.group.iter_mut().chain(&mut self.chosen).for_each(|(slot, _)| *slot = renumbered[*slot]);
    }
}

async fn next_with_rows(batches: &mut BoxStream<'static, Result<RecordBatch>>) -> Result<Option<RecordBatch>> {
    while let Some(batch) = batches.next().await.transpose()? {
        if batch.num_rows() > 0 {
            return Ok(Some(batch));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use arrow::{array::Int64Array, compute::concat_batches};
    use larder_types::{ScalarType, SchemaNumber};

    use super::*;
    use crate::{EVENT_TIME, LogSchema, PushedRows};

    fn key() -> Name {
        Name::new("key").unwrap()
    }

    fn sorted_rows(keys: impl Iterator<Item = i64>) -> RecordBatch {
        let keys: Vec<i64> = keys.collect();
        let pushed = PushedRows {
            batch_id: "b",
            ingested_at: Timestamp::MIN,
            schema_number: SchemaNumber(1),
            row_numbers: (0..keys.len() as i32).collect(),
            event_times: vec![Timestamp::MIN; keys.len()],
            created_times: vec![Timestamp::MIN; keys.len()],
            deleted: vec![false; keys.len()],
        };
        let schema = LogSchema::new([(key(), ScalarType::Int64.into())]).unwrap();
        schema.batch(&pushed, vec![(key(), Arc::new(Int64Array::from(keys)))]).unwrap()
    }

    /// However short the batches of the inputs are, and whatever lies between them.
    #[tokio::test]
    async fn batches_have_no_more_rows_than_they_may() {
        let inputs = [sorted_rows((0..100).step_by(2)), sorted_rows((1..60).step_by(2))];
        let schema = inputs[0].schema();
        assert!(schema.index_of(EVENT_TIME).is_ok());
        let in_threes = |rows: &RecordBatch| {
            let pieces: Vec<_> = (0..rows.num_rows()).step_by(3).collect();
            let rows = rows.clone();
            let piece = move |at: usize| Ok(rows.slice(at, 3.min(rows.num_rows() - at)));
            futures::stream::iter(pieces).map(piece).boxed()
        };
        let order = SortOrder::new(&schema, &[key()]).unwrap();
        let mut merger = Merger::start(order, inputs.iter().map(in_threes).collect(), 7).await.unwrap();
        let mut batches = Vec::new();
        while let Some(batch) = merger.next_batch().await.unwrap() {
            assert!(batch.num_rows() <= 7, "{}", batch.num_rows());
            assert!(merger.batches.len() <= 7, "{}", merger.batches.len());
            batches.push(batch);
        }
        let merged = concat_batches(&schema, &batches).unwrap();
        let expected: Vec<i64> = (0..60).chain((60..100).step_by(2)).collect();
        assert_eq!(merged.column_by_name("key").unwrap().as_ref(), &Int64Array::from(expected));
    }
}
