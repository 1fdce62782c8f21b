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

use crate::{BATCH_ID, CREATED_TIME, EVENT_TIME, INGESTED_AT, ROW_NUMBER, layout::day_of, rows::SystemColumns};

/// Sorted rows of one day.
pub(crate) struct DayOfRows {
    pub(crate) day: i64,
    pub(crate) rows: RecordBatch,
    pub(crate) min_event_time: Timestamp,
    pub(crate) max_event_time: Timestamp,
}

/// The rows of `batches`, which have one schema, without repeats, by day of the event time, sorted.
pub(crate) fn sort_by_day(batches: &[RecordBatch], keys: &[Name]) -> Result<Vec<DayOfRows>> {
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    let rows = concat_batches(&first.schema(), batches).map_err(defect)?;
    let order = SortOrder::new(&rows.schema(), keys)?;
    let sorted = order.sorted(&rows)?;
    let system = SystemColumns::of(&rows)?;
    let kept = without_repeats(&order, &rows, &sorted)?;
    let mut days: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
    for row in kept {
        days.entry(day_of(system.event_time.value(row as usize))).or_default().push(row);
    }
    days.into_iter().map(|(day, indices)| take_day(day, &rows, indices)).collect()
}

fn take_day(day: i64, rows: &RecordBatch, indices: Vec<u32>) -> Result<DayOfRows> {
    let rows = take_record_batch(rows, &UInt32Array::from(indices)).map_err(defect)?;
    let times = SystemColumns::of(&rows)?.event_time;
    let [min_event_time, max_event_time] =
        [min(times), max(times)].map(|time| Timestamp::from_micros(time.unwrap_or_default()));
    Ok(DayOfRows { day, rows, min_event_time, max_event_time })
}

/// The rows in order, each once; see [`Repeats`].
fn without_repeats(order: &SortOrder, rows: &RecordBatch, sorted: &[u32]) -> Result<Vec<u32>> {
    let groups = order.groups(rows)?;
    let mut repeats = Repeats::default();
    let mut kept = Vec::with_capacity(sorted.len());
    let mut group = None;
    for row in sorted.iter().rev() {
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
    fn sorted(&self, batch: &RecordBatch) -> Result<Vec<u32>> {
        let rows = self.rows(batch)?;
        let count = u32::try_from(rows.num_rows())
            .map_err(|_| Error::resource_exhausted("too many rows to sort at once: compact fewer segments at once"))?;
        let mut order: Vec<_> = (0..count).collect();
        order.sort_by(|a, b| rows.row(*a as usize).cmp(&rows.row(*b as usize)));
        Ok(order)
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
