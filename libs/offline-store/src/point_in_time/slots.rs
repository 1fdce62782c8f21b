//! The spine as the join holds it: a slot for each (key, time), those of a key next to each other and in order of time.

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray, UInt64Array},
    datatypes::{TimestampMicrosecondType, UInt64Type},
};
use datafusion::common::{Result, exec_err};

use super::{
    keys::{KeyColumn, KeyReader, KeyTable, NO_KEY},
    spec::Resolved,
};

/// Of a row that matches nothing, as a part of its key is null.
const NO_SLOT: u32 = u32::MAX;

/// Bytes that sorting a spine row into its slot takes at most, beside its key.
const BYTES_WHILE_SORTING: usize = 88;

/// Spine rows as they come in.
#[derive(Debug)]
pub(super) struct SpineRows {
    table: KeyTable,
    keys: Vec<u32>,
    times: Vec<i64>,
    rows: Vec<u64>,
}

/// All spine rows of a partition.
#[derive(Debug)]
pub(super) struct Slots {
    table: KeyTable,
    /// Where the slots of each key begin, and where the last key's end.
    starts: Vec<u32>,
    /// The time of each slot.
    times: Vec<i64>,
    /// The key of each slot.
    keys: Vec<u32>,
    /// The row numbers, ascending.
    rows: Vec<u64>,
    /// The slot of each row.
    row_slots: Vec<u32>,
}

impl SpineRows {
    pub(super) fn new() -> Self {
        Self { table: KeyTable::new(), keys: Vec::new(), times: Vec::new(), rows: Vec::new() }
    }

    pub(super) fn push(&mut self, batch: &RecordBatch, keys: &KeyColumn, columns: &Resolved) -> Result<()> {
        let times = batch.column(columns.spine_time).as_primitive::<TimestampMicrosecondType>();
        let rows = batch.column(columns.spine_row).as_primitive::<UInt64Type>();
        if let Some(null) = times.nulls().and_then(|nulls| nulls.iter().position(|valid| !valid)) {
            return exec_err!("row {} of the spine has no time", rows.value(null));
        }
        if self.rows.len() + batch.num_rows() >= NO_SLOT as usize {
            return exec_err!("a partition of the spine has more than {NO_SLOT} rows");
        }
        self.keys.extend((0..batch.num_rows()).map(|row| self.table.insert(keys, row)));
        self.times.extend_from_slice(times.values());
        self.rows.extend_from_slice(rows.values());
        Ok(())
    }

    /// Bytes of memory that these rows take until they are [`Slots`].
    pub(super) fn size(&self) -> usize {
        self.table.size() + self.rows.capacity() * BYTES_WHILE_SORTING
    }

    pub(super) fn into_slots(self) -> Slots {
        let (keys, times, rows) = in_order_of_rows(self.keys, self.times, self.rows);
        let mut order: Vec<(u32, i64, u32)> =
            keys.iter().zip(&times).enumerate().map(|(row, (key, time))| (*key, *time, row as u32)).collect();
        order.sort_unstable();
        drop((keys, times));
        let mut slots = Slots {
            starts: Vec::with_capacity(self.table.len() + 1),
            times: Vec::new(),
            keys: Vec::new(),
            row_slots: vec![NO_SLOT; rows.len()],
            rows,
            table: self.table,
        };
        for (key, time, row) in order.into_iter().take_while(|(key, ..)| *key != NO_KEY) {
            if slots.starts.len() as u32 <= key {
                slots.starts.push(slots.times.len() as u32);
                slots.push(key, time);
            } else if slots.times.last() != Some(&time) {
                slots.push(key, time);
            }
            slots.row_slots[row as usize] = slots.times.len() as u32 - 1;
        }
        slots.starts.push(slots.times.len() as u32);
        slots
    }

    /// The rows again, a batch at a time, to be written elsewhere.
    pub(super) fn batches<'a>(
        &'a self,
        reader: &'a KeyReader,
        columns: &'a Resolved,
        rows: usize,
    ) -> impl Iterator<Item = Result<RecordBatch>> + 'a {
        (0..self.rows.len()).step_by(rows).map(move |start| {
            let range = start..(start + rows).min(self.rows.len());
            let keys = &self.keys[range.clone()];
            spine_batch(&self.table, reader, columns, keys, self.times[range.clone()].to_vec(), &self.rows[range])
        })
    }
}

fn in_order_of_rows(keys: Vec<u32>, times: Vec<i64>, rows: Vec<u64>) -> (Vec<u32>, Vec<i64>, Vec<u64>) {
    if rows.is_sorted() {
        return (keys, times, rows);
    }
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_unstable_by_key(|position| rows[*position]);
    let by_row = |position: &usize| rows[*position];
    (
        order.iter().map(|position| keys[*position]).collect(),
        order.iter().map(|position| times[*position]).collect(),
        order.iter().map(by_row).collect(),
    )
}

impl Slots {
    fn push(&mut self, key: u32, time: i64) {
        self.times.push(time);
        self.keys.push(key);
    }

    /// How many slots there are.
    pub(super) fn len(&self) -> usize {
        self.times.len()
    }

    /// The row numbers, ascending.
    pub(super) fn rows(&self) -> &[u64] {
        &self.rows
    }

    /// The slot of a row by its position; none if its key has a null.
    pub(super) fn of_row(&self, position: usize) -> Option<usize> {
        let slot = self.row_slots[position];
        (slot != NO_SLOT).then_some(slot as usize)
    }

    pub(super) fn time(&self, slot: usize) -> i64 {
        self.times[slot]
    }

    pub(super) fn key(&self, slot: usize) -> u32 {
        self.keys[slot]
    }

    pub(super) fn table(&self) -> &KeyTable {
        &self.table
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        let words = self.starts.capacity() + self.keys.capacity() + self.row_slots.capacity();
        self.table.size() + 4 * words + 8 * (self.times.capacity() + self.rows.capacity())
    }

    /// The first slot of the row's key that may see an event of that time, if any spine row can, now or within the ttl.
    pub(super) fn find(&self, keys: &KeyColumn, row: usize, event: i64, ttl: Option<i64>) -> Option<usize> {
        let key = self.table.find(keys, row)? as usize;
        let (start, end) = (self.starts[key] as usize, self.starts[key + 1] as usize);
        let slot = start + self.times[start..end].partition_point(|time| *time < event);
        (slot < end && is_young_enough(self.times[slot], event, ttl)).then_some(slot)
    }

    /// The rows again, a batch at a time, to be written elsewhere.
    pub(super) fn batches<'a>(
        &'a self,
        reader: &'a KeyReader,
        columns: &'a Resolved,
        rows: usize,
    ) -> impl Iterator<Item = Result<RecordBatch>> + 'a {
        (0..self.rows.len()).step_by(rows).map(move |start| {
            let range = start..(start + rows).min(self.rows.len());
            let slots = range.clone().map(|row| self.of_row(row));
            // A row without a slot matches nothing, whatever its time.
            let (keys, times): (Vec<u32>, Vec<i64>) =
                slots.map(|slot| slot.map_or((NO_KEY, 0), |slot| (self.keys[slot], self.times[slot]))).unzip();
            spine_batch(&self.table, reader, columns, &keys, times, &self.rows[range])
        })
    }
}

/// Whether a row with this event time is not older at `time` than the ttl allows.
pub(super) fn is_young_enough(time: i64, event: i64, ttl: Option<i64>) -> bool {
    ttl.is_none_or(|ttl| time.saturating_sub(ttl) <= event)
}

fn spine_batch(
    table: &KeyTable,
    reader: &KeyReader,
    columns: &Resolved,
    keys: &[u32],
    times: Vec<i64>,
    rows: &[u64],
) -> Result<RecordBatch> {
    let schema = &columns.spine_schema;
    let types = columns.key_types(schema, &columns.spine_keys);
    let mut found: Vec<(usize, ArrayRef)> =
        columns.spine_keys.iter().copied().zip(reader.columns(table, keys, &types)?).collect();
    let times = TimestampMicrosecondArray::from(times);
    let times = times.with_data_type(schema.field(columns.spine_time).data_type().clone());
    found.push((columns.spine_time, std::sync::Arc::new(times)));
    found.push((columns.spine_row, std::sync::Arc::new(UInt64Array::from(rows.to_vec()))));
    super::batch_of(schema, found, rows.len())
}
