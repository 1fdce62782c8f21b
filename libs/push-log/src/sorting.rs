//! Putting the rows of segments in the order of files, in memory.
//!
//! Rows of a file are sorted by key columns, event time, created time, then batch id and row number so that the order
//! does not depend on who brought them together.

use std::collections::{BTreeMap, HashMap};

use arrow::{
    array::{Array, ArrayRef, RecordBatch, UInt32Array},
    compute::{concat_batches, max, min, take_record_batch},
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
    row::{RowConverter, Rows, SortField},
};
use larder_types::{Error, Name, Result, Timestamp};

use crate::{
    BATCH_ID, CREATED_TIME, EVENT_TIME, INGESTED_AT, ROW_NUMBER, given_up::GoOn, layout::day_of, rows::SystemColumns,
};

/// So many rows are sorted, or looked at for repeats, before it is asked whether to go on.
const PIECE_ROWS: usize = 1 << 16;

/// Sorted rows of one day.
pub(crate) struct DayOfRows {
    pub(crate) day: i64,
    pub(crate) rows: RecordBatch,
    pub(crate) min_event_time: Timestamp,
    pub(crate) max_event_time: Timestamp,
}

/// The rows of `batches`, which have one schema, without repeats, by day of the event time, sorted.
pub(crate) fn sort_by_day(batches: &[RecordBatch], keys: &[Name], go_on: &GoOn<'_>) -> Result<Vec<DayOfRows>> {
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    let rows = concat_batches(&first.schema(), batches).map_err(defect)?;
    let order = SortOrder::new(&rows.schema(), keys)?;
    let sorted = order.sorted(&rows, go_on)?;
    let system = SystemColumns::of(&rows)?;
    let kept = without_repeats(&order, &rows, &sorted, go_on)?;
    let mut days: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
    for row in kept {
        days.entry(day_of(system.event_time.value(row as usize))).or_default().push(row);
    }
    let day_of_rows = |(day, indices)| {
        go_on()?;
        take_day(day, &rows, indices)
    };
    days.into_iter().map(day_of_rows).collect()
}

fn take_day(day: i64, rows: &RecordBatch, indices: Vec<u32>) -> Result<DayOfRows> {
    let rows = take_record_batch(rows, &UInt32Array::from(indices)).map_err(defect)?;
    let times = SystemColumns::of(&rows)?.event_time;
    let [min_event_time, max_event_time] =
        [min(times), max(times)].map(|time| Timestamp::from_micros(time.unwrap_or_default()));
    Ok(DayOfRows { day, rows, min_event_time, max_event_time })
}

/// The rows in order, each once; see [`Repeats`].
fn without_repeats(order: &SortOrder, rows: &RecordBatch, sorted: &[u32], go_on: &GoOn<'_>) -> Result<Vec<u32>> {
    let groups = order.groups(rows)?;
    let mut repeats = Repeats::default();
    let mut kept = Vec::with_capacity(sorted.len());
    let mut group = None;
    for (looked_at, row) in sorted.iter().rev().enumerate() {
        if looked_at % PIECE_ROWS == 0 {
            go_on()?;
        }
        let this = groups.row(*row as usize);
        if group != Some(this) {
            repeats = Repeats::default();
            group = Some(this);
        }
        if !repeats.has(rows, *row as usize)? {
            kept.push(*row);
        }
    }
    kept.reverse();
    Ok(kept)
}

/// Rows of one key and event time, the latest first, as they are looked for repeats.
///
/// Of rows with one identity (batch id and row number) those with the greatest created time stay: one, unless a batch id was
/// used again for other values. Those stay all of them, since which one counts is decided by those who read them, and not
/// by when the log is rewritten.
#[derive(Default)]
pub(crate) struct Repeats<'a>(HashMap<(&'a str, i32), Vec<(&'a RecordBatch, usize)>>);

impl<'a> Repeats<'a> {
    /// Whether the row was there before, or a later one of its identity was.
    pub(crate) fn has(&mut self, batch: &'a RecordBatch, row: usize) -> Result<bool> {
        let system = SystemColumns::of(batch)?;
        let kept = self.0.entry(system.identity(row)).or_default();
        if let Some((latest, at)) = kept.first()
            && SystemColumns::of(latest)?.created_time.value(*at) > system.created_time.value(row)
        {
            return Ok(true);
        }
        if kept.iter().any(|(other, at)| have_one_content(other, *at, batch, row)) {
            return Ok(true);
        }
        kept.push((batch, row));
        Ok(false)
    }
}

/// Whether rows of one schema say the same, whenever they came in.
fn have_one_content(one: &RecordBatch, at: usize, other: &RecordBatch, row: usize) -> bool {
    let fields = one.schema_ref().fields().iter();
    let mut columns = fields.zip(one.columns()).zip(other.columns());
    columns.all(|((field, one), other)| {
        field.name() == INGESTED_AT || one.slice(at, 1).to_data() == other.slice(row, 1).to_data()
    })
}

/// The order of rows in files.
pub(crate) struct SortOrder {
    columns: Vec<usize>,
    /// How many of `columns` are keys and event time: rows that agree in these differ in their version only.
    group: usize,
    by_all: RowConverter,
    by_group: RowConverter,
}

impl SortOrder {
    /// For batches of `schema`. Keys that it does not have are left out.
    pub(crate) fn new(schema: &SchemaRef, keys: &[Name]) -> Result<Self> {
        let keys = keys.iter().map(Name::as_str).filter(|key| schema.index_of(key).is_ok());
        let names: Vec<_> = keys.chain([EVENT_TIME, CREATED_TIME, BATCH_ID, ROW_NUMBER]).collect();
        let columns: Vec<_> =
            names.iter().map(|name| schema.index_of(name)).collect::<Result<_, _>>().map_err(defect)?;
        let group = columns.len() - 3;
        Ok(Self {
            by_all: converter(schema, &columns)?,
            by_group: converter(schema, &columns[..group])?,
            columns,
            group,
        })
    }

    /// The row numbers in order.
    fn sorted(&self, batch: &RecordBatch, go_on: &GoOn<'_>) -> Result<Vec<u32>> {
        let rows = self.rows(batch)?;
        let count = u32::try_from(rows.num_rows())
            .map_err(|_| Error::resource_exhausted("too many rows to sort at once: compact fewer segments at once"))?;
        let mut order: Vec<_> = (0..count).collect();
        // Sorting finds what is in order already, so each round but the first compares few times for a row.
        let mut piece = PIECE_ROWS;
        loop {
            for piece in order.chunks_mut(piece) {
                go_on()?;
                piece.sort_by(|a, b| rows.row(*a as usize).cmp(&rows.row(*b as usize)));
            }
            if piece >= order.len() {
                return Ok(order);
            }
            piece *= 2;
        }
    }

    /// What rows of a batch are compared by.
    pub(crate) fn rows(&self, batch: &RecordBatch) -> Result<Rows> {
        self.by_all.convert_columns(&arrays(batch, &self.columns)).map_err(defect)
    }

    /// What rows of a batch are grouped by: keys and event time.
    pub(crate) fn groups(&self, batch: &RecordBatch) -> Result<Rows> {
        self.by_group.convert_columns(&arrays(batch, &self.columns[..self.group])).map_err(defect)
    }
}

fn converter(schema: &Schema, columns: &[usize]) -> Result<RowConverter> {
    let fields = columns.iter().map(|index| SortField::new(schema.field(*index).data_type().clone()));
    RowConverter::new(fields.collect()).map_err(defect)
}

fn arrays(batch: &RecordBatch, columns: &[usize]) -> Vec<ArrayRef> {
    columns.iter().map(|index| batch.column(*index).clone()).collect()
}

pub(crate) fn defect(error: ArrowError) -> Error {
    Error::internal(format!("rows of the push log cannot be sorted: {error}")).with_source(error)
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, sync::Arc};

    use arrow::array::Int64Array;
    use larder_types::{ErrorCode, ScalarType, SchemaNumber};

    use super::*;
    use crate::{LogSchema, PushedRows};

    fn rows(count: usize) -> RecordBatch {
        let keys: Vec<i64> = (0..count as i64).map(|row| row * 7_919 % count as i64).collect();
        let pushed = PushedRows {
            batch_id: "b",
            ingested_at: Timestamp::MIN,
            schema_number: SchemaNumber(1),
            row_numbers: (0..count as i32).collect(),
            event_times: keys.iter().map(|key| Timestamp::from_micros(key % 3 * 86_400_000_000)).collect(),
            created_times: vec![Timestamp::MIN; count],
            deleted: vec![false; count],
        };
        let key = Name::new("key").unwrap();
        let schema = LogSchema::new([(key.clone(), ScalarType::Int64.into())]).unwrap();
        schema.batch(&pushed, vec![(key, Arc::new(Int64Array::from(keys)) as ArrayRef)]).unwrap()
    }

    #[test]
    fn pieces_are_sorted_as_the_whole_is_and_given_up_between_any_two() {
        let (batch, keys) = (rows(5 * PIECE_ROWS + 1), [Name::new("key").unwrap()]);
        let asked = Cell::new(0);
        let ask = |give_up_at: Option<u32>| {
            asked.set(asked.get() + 1);
            if give_up_at == Some(asked.get()) { Err(Error::unavailable("given up")) } else { Ok(()) }
        };
        let days = sort_by_day(std::slice::from_ref(&batch), &keys, &|| ask(None)).unwrap();
        assert_eq!(days.iter().map(|day| day.rows.num_rows()).sum::<usize>(), batch.num_rows());
        for day in &days {
            let keys = day.rows.column_by_name("key").unwrap();
            let keys = keys.as_any().downcast_ref::<Int64Array>().unwrap().values();
            assert!(keys.is_sorted_by(|a, b| a < b), "day {}", day.day);
        }
        // Six pieces, then three, two and one of them; six stretches looked at for repeats; three days.
        let all = asked.get();
        assert_eq!(all, 6 + 3 + 2 + 1 + 6 + 3);
        for give_up_at in [1, 7, 12, 13, all] {
            asked.set(0);
            let given_up = sort_by_day(std::slice::from_ref(&batch), &keys, &|| ask(Some(give_up_at)));
            assert_eq!(given_up.map(drop).unwrap_err().code(), ErrorCode::Unavailable);
            assert_eq!(asked.get(), give_up_at);
        }
    }
}
