//! The best history row seen so far for each slot. Values are not copied row by row: slots refer to rows of batches that
//! are kept, and batches are rewritten when most of what they hold has been beaten.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray, UInt32Array, new_null_array,
    },
    compute::{interleave, take},
    datatypes::{Int64Type, TimestampMicrosecondType},
};
use datafusion::common::Result;

use super::{
    keys::{KeyColumn, KeyReader},
    slots::{Slots, is_young_enough},
    spec::Resolved,
    ties::Tie,
};

/// Where the values of a row are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) batch: u32,
    pub(super) row: u32,
}

/// No row yet.
const EMPTY: Place = Place { batch: u32::MAX, row: 0 };
/// A deletion: times, and no values.
const GONE: Place = Place { batch: u32::MAX - 1, row: 0 };
/// The batch that is being looked at.
pub(super) const INCOMING: u32 = u32::MAX - 2;

/// Rewritten batches have this many rows.
const BATCH_ROWS: usize = 8192;
/// Batches are rewritten when more than this many times the live rows are kept.
const WASTE: usize = 4;

/// The best row of each slot.
#[derive(Debug)]
pub(super) struct Candidates {
    versions: Vec<(i64, i64)>,
    places: Vec<Place>,
    batches: Vec<Kept>,
    live_rows: usize,
    kept_rows: usize,
    kept_bytes: usize,
}

/// A batch of values.
#[derive(Debug)]
struct Kept {
    values: Vec<ArrayRef>,
    rows: usize,
    live: usize,
}

impl Kept {
    fn is_without_waste(&self) -> bool {
        self.live == self.rows && 2 * self.rows >= BATCH_ROWS
    }
}

/// The columns of a batch of history.
pub(super) struct HistoryBatch {
    keys: KeyColumn,
    event: TimestampMicrosecondArray,
    created: TimestampMicrosecondArray,
    deleted: BooleanArray,
    pub(super) values: Vec<ArrayRef>,
}

impl HistoryBatch {
    pub(super) fn new(batch: &RecordBatch, reader: &KeyReader, columns: &Resolved) -> Result<Self> {
        let keys: Vec<ArrayRef> = columns.history_keys.iter().map(|key| Arc::clone(batch.column(*key))).collect();
        Ok(Self {
            keys: reader.read(&keys)?,
            event: batch.column(columns.event).as_primitive::<TimestampMicrosecondType>().clone(),
            created: batch.column(columns.created).as_primitive::<TimestampMicrosecondType>().clone(),
            deleted: batch.column(columns.deleted).as_boolean().clone(),
            values: columns.values.iter().map(|value| Arc::clone(batch.column(*value))).collect(),
        })
    }

    pub(super) fn rows(&self) -> usize {
        self.event.len()
    }

    /// The slot that a row may win, if there is one.
    pub(super) fn slot(&self, slots: &Slots, row: usize, ttl: Option<i64>) -> Option<usize> {
        slots.find(&self.keys, row, self.event.value(row), ttl)
    }

    pub(super) fn hash(&self, row: usize, state: &ahash::RandomState) -> Option<u64> {
        self.keys.hash(row, state)
    }

    fn version(&self, row: usize) -> (i64, i64) {
        (self.event.value(row), self.created.value(row))
    }
}

impl Candidates {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            versions: vec![(i64::MIN, i64::MIN); slots],
            places: vec![EMPTY; slots],
            batches: Vec::new(),
            live_rows: 0,
            kept_rows: 0,
            kept_bytes: 0,
        }
    }

    /// Bytes that candidates of so many slots take before there are any.
    pub(super) fn size_of(slots: usize) -> usize {
        slots * (size_of::<(i64, i64)>() + size_of::<Place>())
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        Self::size_of(self.places.len()) + self.kept_bytes
    }

    /// Takes in what is better than before.
    pub(super) fn absorb(&mut self, slots: &Slots, batch: &HistoryBatch, columns: &Resolved) -> Result<()> {
        let mut won = Vec::new();
        let mut ties = Vec::new();
        for row in 0..batch.rows() {
            let Some(slot) = batch.slot(slots, row, columns.ttl) else { continue };
            let version = batch.version(row);
            if self.places[slot] == EMPTY || version > self.versions[slot] {
                self.replace(slot, version, batch.deleted.value(row), row, &mut won);
            } else if version == self.versions[slot] && self.places[slot] != GONE {
                // Encoded, a deletion is greater than any values: its flag comes first.
                if batch.deleted.value(row) {
                    self.replace(slot, version, true, row, &mut won);
                } else {
                    ties.push(Tie { slot, row });
                }
            }
        }
        ties.retain(|tie| self.versions[tie.slot] == batch.version(tie.row) && self.places[tie.slot] != GONE);
        for tie in super::ties::winners(self, batch, &ties, columns)? {
            self.replace(tie.slot, batch.version(tie.row), false, tie.row, &mut won);
        }
        self.keep(batch, &won)?;
        let in_splinters = self.batches.len() > 1024 && self.is_in_splinters();
        if self.kept_rows > WASTE * self.live_rows + 4 * BATCH_ROWS || in_splinters {
            self.compact()?;
        }
        Ok(())
    }

    fn replace(&mut self, slot: usize, version: (i64, i64), deleted: bool, row: usize, won: &mut Vec<u32>) {
        self.release(self.places[slot]);
        self.versions[slot] = version;
        self.places[slot] = if deleted { GONE } else { Place { batch: INCOMING, row: row as u32 } };
        if !deleted {
            won.push(slot as u32);
        }
    }

    fn release(&mut self, place: Place) {
        if let Some(kept) = self.batches.get_mut(place.batch as usize) {
            kept.live -= 1;
            self.live_rows -= 1;
        }
    }

    /// Keeps the rows of the incoming batch that slots refer to.
    fn keep(&mut self, batch: &HistoryBatch, won: &[u32]) -> Result<()> {
        let number = self.batches.len() as u32;
        let mut rows: Vec<(u32, u32)> = Vec::new();
        for slot in won {
            let place = &mut self.places[*slot as usize];
            if place.batch == INCOMING {
                place.batch = number;
                rows.push((*slot, place.row));
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        if 2 * rows.len() >= batch.rows() && is_tight(&batch.values) {
            self.push(batch.values.clone(), batch.rows(), rows.len());
            return Ok(());
        }
        let indices: UInt32Array = rows.iter().map(|(_, row)| *row).collect();
        let values = batch.values.iter().map(|array| take(array, &indices, None)).collect::<Result<_, _>>()?;
        for (position, (slot, _)) in rows.iter().enumerate() {
            self.places[*slot as usize].row = position as u32;
        }
        self.push(values, rows.len(), rows.len());
        Ok(())
    }

    fn push(&mut self, values: Vec<ArrayRef>, rows: usize, live: usize) {
        let bytes = bytes_of(&values);
        self.kept_rows += rows;
        self.kept_bytes += bytes;
        self.live_rows += live;
        self.batches.push(Kept { values, rows, live });
    }

    /// Whether [`Candidates::compact`] would give back so much memory that it is worth its time.
    pub(super) fn is_wasteful(&self) -> bool {
        8 * (self.kept_rows - self.live_rows) >= self.kept_rows.max(1) || self.is_in_splinters()
    }

    /// Small batches take more memory than their values.
    fn is_in_splinters(&self) -> bool {
        self.batches.len() >= 4 && self.kept_rows / self.batches.len() < BATCH_ROWS / 16
    }

    /// Rewrites batches so that only live rows are kept. At most some batches are there twice at a time.
    pub(super) fn compact(&mut self) -> Result<()> {
        let known = self.batches.len() as u32;
        let mut order: Vec<u32> = (0..self.places.len() as u32).collect();
        order.retain(|slot| self.places[*slot as usize].batch < known);
        order.sort_unstable_by_key(|slot| self.places[*slot as usize]);
        let mut old: Vec<Option<Kept>> = std::mem::take(&mut self.batches).into_iter().map(Some).collect();
        (self.live_rows, self.kept_rows, self.kept_bytes) = (0, 0, 0);
        let mut rest = order.as_slice();
        while let Some(first) = rest.first() {
            let batch = self.places[*first as usize].batch as usize;
            let is_whole = |slot: &u32| {
                old[self.places[*slot as usize].batch as usize].as_ref().is_some_and(Kept::is_without_waste)
            };
            let wasteful = rest.iter().take(BATCH_ROWS).take_while(|slot| !is_whole(slot)).count();
            let count = match wasteful {
                0 => self.move_whole(rest, &mut old[batch]),
                some => self.rewrite(&rest[..some], &old)?,
            };
            rest = &rest[count..];
            let next = rest.first().map_or(old.len(), |slot| self.places[*slot as usize].batch as usize);
            old[..next].iter_mut().for_each(|kept| *kept = None);
        }
        Ok(())
    }

    /// Takes over a batch without waste; tells of how many slots.
    fn move_whole(&mut self, slots: &[u32], kept: &mut Option<Kept>) -> usize {
        let Some(kept) = kept.take() else { return slots.len() };
        let number = self.batches.len() as u32;
        for slot in &slots[..kept.live] {
            self.places[*slot as usize].batch = number;
        }
        let live = kept.live;
        self.push(kept.values, kept.rows, live);
        live
    }

    /// Copies the rows of these slots into one batch; tells of how many slots.
    fn rewrite(&mut self, slots: &[u32], old: &[Option<Kept>]) -> Result<usize> {
        let batch_of = |slot: &u32| self.places[*slot as usize].batch as usize;
        let (low, high) = (batch_of(&slots[0]), batch_of(&slots[slots.len() - 1]));
        let present: Vec<usize> = (low..=high).filter(|batch| old[*batch].is_some()).collect();
        let indices: Vec<(usize, usize)> = slots
            .iter()
            .map(|slot| {
                let batch = present.partition_point(|known| *known < batch_of(slot));
                (batch, self.places[*slot as usize].row as usize)
            })
            .collect();
        let columns = old[low].as_ref().map_or(0, |kept| kept.values.len());
        let values = (0..columns)
            .map(|column| {
                let arrays: Vec<&dyn Array> = present
                    .iter()
                    .filter_map(|batch| old[*batch].as_ref())
                    .map(|kept| kept.values[column].as_ref())
                    .collect();
                interleave(&arrays, &indices)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let number = self.batches.len() as u32;
        for (row, slot) in slots.iter().enumerate() {
            self.places[*slot as usize] = Place { batch: number, row: row as u32 };
        }
        self.push(values, slots.len(), slots.len());
        Ok(slots.len())
    }

    /// The place of a slot's best row.
    pub(super) fn place(&self, slot: usize) -> Place {
        self.places[slot]
    }

    /// One column of values, gathered from these places; [`INCOMING`] is in `incoming`, what is nowhere is null.
    pub(super) fn gather(
        &self,
        column: usize,
        places: &[Place],
        incoming: Option<&ArrayRef>,
        null: &ArrayRef,
    ) -> Result<ArrayRef> {
        let mut arrays: Vec<&dyn Array> = self.batches.iter().map(|kept| kept.values[column].as_ref()).collect();
        arrays.push(null.as_ref());
        arrays.push(incoming.unwrap_or(null).as_ref());
        let (nothing, current) = (self.batches.len(), self.batches.len() + 1);
        let index = |place: &Place| match *place {
            EMPTY | GONE => (nothing, 0),
            Place { batch: INCOMING, row } => (current, row as usize),
            Place { batch, row } => (batch as usize, row as usize),
        };
        let indices: Vec<(usize, usize)> = places.iter().map(index).collect();
        Ok(interleave(&arrays, &indices)?)
    }

    /// Lets each slot without a row see the row of the slot before it of the same key: rows of later slots are later.
    pub(super) fn settle(&mut self, slots: &Slots) {
        for slot in 1..self.places.len() {
            if self.places[slot] == EMPTY && slots.key(slot) == slots.key(slot - 1) {
                self.places[slot] = self.places[slot - 1];
                self.versions[slot] = self.versions[slot - 1];
            }
        }
    }

    /// The values that rows see, by position; after [`Candidates::settle`].
    pub(super) fn output(
        &self,
        slots: &Slots,
        rows: std::ops::Range<usize>,
        columns: &Resolved,
    ) -> Result<Vec<ArrayRef>> {
        let seen = |row| {
            let slot = slots.of_row(row)?;
            let young = is_young_enough(slots.time(slot), self.versions[slot].0, columns.ttl);
            young.then_some(self.places[slot])
        };
        let places: Vec<Place> = rows.map(|row| seen(row).unwrap_or(EMPTY)).collect();
        let column = |value: &usize| {
            let data_type = columns.history_schema.field(columns.values[*value]).data_type();
            self.gather(*value, &places, None, &new_null_array(data_type, 1))
        };
        columns.output.iter().map(column).collect()
    }

    /// Bytes of values that a row takes on average.
    pub(super) fn row_bytes(&self) -> usize {
        self.kept_bytes / self.kept_rows.max(1)
    }

    /// The candidates as rows of the history again, a batch at a time, to be written elsewhere.
    pub(super) fn batches<'a>(
        &'a self,
        slots: &'a Slots,
        reader: &'a KeyReader,
        columns: &'a Resolved,
        rows: usize,
    ) -> impl Iterator<Item = Result<RecordBatch>> + 'a {
        let taken: Vec<usize> = (0..self.places.len()).filter(|slot| self.places[*slot] != EMPTY).collect();
        (0..taken.len()).step_by(rows).map(move |start| {
            let some = &taken[start..(start + rows).min(taken.len())];
            self.history_batch(some, slots, reader, columns)
        })
    }

    fn history_batch(
        &self,
        taken: &[usize],
        slots: &Slots,
        reader: &KeyReader,
        columns: &Resolved,
    ) -> Result<RecordBatch> {
        let schema = &columns.history_schema;
        let ids: Vec<u32> = taken.iter().map(|slot| slots.key(*slot)).collect();
        let types = columns.key_types(schema, &columns.history_keys);
        let mut found: Vec<(usize, ArrayRef)> =
            columns.history_keys.iter().copied().zip(reader.columns(slots.table(), &ids, &types)?).collect();
        let time = |index: usize, of: fn(&(i64, i64)) -> i64| -> Result<(usize, ArrayRef)> {
            let values = arrow::array::PrimitiveArray::<Int64Type>::from_iter_values(
                taken.iter().map(|slot| of(&self.versions[*slot])),
            );
            Ok((index, arrow::compute::cast(&values, schema.field(index).data_type())?))
        };
        found.push(time(columns.event, |version| version.0)?);
        found.push(time(columns.created, |version| version.1)?);
        let deleted: BooleanArray = taken.iter().map(|slot| Some(self.places[*slot] == GONE)).collect();
        found.push((columns.deleted, Arc::new(deleted)));
        let places: Vec<Place> = taken.iter().map(|slot| self.places[*slot]).collect();
        for (value, index) in columns.values.iter().enumerate() {
            let null = new_null_array(schema.field(*index).data_type(), 1);
            found.push((*index, self.gather(value, &places, None, &null)?));
        }
        super::batch_of(schema, found, taken.len())
    }
}

/// Whether arrays hold little more memory than their rows take: those read from a file may be slices of a large buffer.
fn is_tight(values: &[ArrayRef]) -> bool {
    let needed: usize = values.iter().map(|array| array.to_data().get_slice_memory_size().unwrap_or(0)).sum();
    bytes_of(values) <= 2 * needed
}

/// Bytes of memory of arrays, buffers that they share counted once.
fn bytes_of(values: &[ArrayRef]) -> usize {
    let fields: Vec<_> = values
        .iter()
        .enumerate()
        .map(|(index, array)| arrow::datatypes::Field::new(index.to_string(), array.data_type().clone(), true))
        .collect();
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    RecordBatch::try_new(schema, values.to_vec())
        .map_or(0, |batch| datafusion::physical_plan::spill::get_record_batch_memory_size(&batch))
}
