//! A pushed batch, checked against what its source's events consist of.
//!
//! What is wrong with the batch as a whole is an error and nothing of it goes in; what is wrong with a row refuses that row
//! and the others go in.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use arrow::{
    array::{Array, ArrayRef, BooleanArray, UInt32Array},
    compute::{nullif, take},
};
use larder_contracts::columns::widen;
use larder_definitions::{PushSchema, unknown_name};
use larder_service::config::Span;
use larder_types::{Error, Result, Timestamp, ValueType, Violation};

/// The most bytes of a batch id: every row in the log has it.
const MAX_ID_BYTES: usize = 256;

/// The most columns that a message names.
const NAMED: usize = 10;

/// A batch as it came.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Names it for all time.
    pub id: String,
    /// Columns by the source's names.
    pub columns: Vec<(String, ArrayRef)>,
    /// When each event happened; its length is the batch's.
    pub event_times: Vec<Timestamp>,
    /// When each was recorded.
    pub created: Created,
    /// Which rows are deletions; empty: none.
    pub deleted: Vec<bool>,
}

/// When the rows of a batch were recorded.
#[derive(Debug, Clone)]
pub enum Created {
    /// As its sender says.
    Given(Vec<Timestamp>),
    /// When it came: the first of times that follow each other by a microsecond and are no other batch's.
    From(Timestamp),
}

/// Why a row did not go in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its position in the batch.
    pub row: usize,
    /// For a person.
    pub reason: String,
}

/// The rows of a batch that go in.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Of each, its position in the batch as it came.
    pub positions: Vec<usize>,
    /// The source's columns: keys, then features, in the order of the schema and of exactly its types.
    pub columns: Vec<(String, ArrayRef)>,
    /// When each event happened.
    pub event_times: Vec<Timestamp>,
    /// When each was recorded.
    pub created_times: Vec<Timestamp>,
    /// Which are deletions.
    pub deleted: BooleanArray,
}

impl Accepted {
    /// The same without some of its rows.
    pub fn without(self, gone: &[usize]) -> Result<Self> {
        let rows = self.positions.len();
        let gone: HashSet<usize> = gone.iter().copied().collect();
        let kept: Vec<usize> = (0..rows).filter(|row| !gone.contains(row)).collect();
        Ok(Self {
            columns: take_rows(self.columns, &kept, rows)?,
            event_times: kept.iter().map(|row| self.event_times[*row]).collect(),
            created_times: kept.iter().map(|row| self.created_times[*row]).collect(),
            deleted: kept.iter().map(|row| Some(self.deleted.value(*row))).collect(),
            positions: kept.iter().map(|row| self.positions[*row]).collect(),
        })
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&ArrayRef> {
        self.columns.iter().find(|(known, _)| known == name).map(|(_, values)| values)
    }
}

/// What a batch may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Rows.
    pub max_rows: usize,
    /// How far an event time may lie beyond the clock.
    pub max_ahead: Duration,
}

impl Batch {
    /// Checks it at `now`.
    pub fn check(self, schema: &PushSchema, limits: Limits, now: Timestamp) -> Result<(Accepted, Vec<Refusal>)> {
        let rows = self.event_times.len();
        check_id(&self.id)?;
        self.check_lengths(rows, limits)?;
        let deleted = if self.deleted.is_empty() { vec![false; rows] } else { self.deleted };
        let columns = check_columns(schema, self.columns, rows, deleted.iter().all(|deleted| *deleted))?;
        let columns = without_values_of(&deleted, schema, columns)?;
        let refusals = refuse(schema, &columns, (&self.event_times, &self.created), limits, now);
        let positions = kept(rows, &refusals);
        let created_times = match self.created {
            Created::Given(times) => positions.iter().map(|row| times[*row]).collect(),
            Created::From(first) => following(first, positions.len()),
        };
        let accepted = Accepted {
            columns: take_rows(columns, &positions, rows)?,
            event_times: positions.iter().map(|row| self.event_times[*row]).collect(),
            created_times,
            deleted: positions.iter().map(|row| Some(deleted[*row])).collect(),
            positions,
        };
        Ok((accepted, refusals))
    }

    fn check_lengths(&self, rows: usize, limits: Limits) -> Result<()> {
        if rows > limits.max_rows {
            let limit = limits.max_rows;
            return Err(Error::invalid_field(
                "event_times",
                format!(
                    "the batch has {rows} rows; the limit is {limit} (push_ingest.max_batch_rows): send several batches"
                ),
            ));
        }
        match &self.created {
            Created::Given(times) if times.len() != rows => {
                return Err(wrong_length("created_times", times.len(), rows));
            }
            Created::Given(_) | Created::From(_) => {}
        }
        match self.deleted.len() {
            0 => Ok(()),
            length if length == rows => Ok(()),
            length => Err(wrong_length("deleted", length, rows)),
        }
    }
}

fn check_id(id: &str) -> Result<()> {
    let is_name = (1..=MAX_ID_BYTES).contains(&id.len()) && !id.chars().any(char::is_control);
    if is_name {
        return Ok(());
    }
    Err(Error::invalid_field(
        "batch_id",
        format!("has {} bytes: an id has at most {MAX_ID_BYTES}, and no control characters", id.len()),
    ))
}

fn wrong_length(field: &str, length: usize, rows: usize) -> Error {
    Error::invalid_field(field, format!("has {length} rows, event_times has {rows}: every column needs every row"))
}

/// The source's columns in the schema's order and types. A batch of deletions needs the keys only.
fn check_columns(
    schema: &PushSchema,
    given: Vec<(String, ArrayRef)>,
    rows: usize,
    only_deletions: bool,
) -> Result<Vec<(String, ArrayRef)>> {
    let mut by_name: HashMap<String, ArrayRef> = HashMap::with_capacity(given.len());
    for (name, values) in given {
        if by_name.insert(name.clone(), values).is_some() {
            return Err(Error::invalid_field(format!("columns.{name}"), "is given twice"));
        }
    }
    let keys = schema.keys.iter().map(|key| (key.name.as_str(), key.key_type.scalar().into(), true));
    let features = schema.columns.iter().map(|(name, value_type)| (name.as_str(), *value_type, false));
    let mut columns = Vec::with_capacity(schema.keys.len() + schema.columns.len());
    let mut missing = Vec::new();
    for (name, value_type, is_key) in keys.chain(features) {
        let values = match by_name.remove(name) {
            Some(values) if values.len() == rows => widen(|| format!("columns.{name}"), &values, value_type)?,
            Some(values) => return Err(wrong_length(&format!("columns.{name}"), values.len(), rows)),
            None if only_deletions && !is_key => arrow::array::new_null_array(&value_type.arrow(), rows),
            None => {
                missing.push((name, value_type, is_key));
                continue;
            }
        };
        columns.push((name.to_owned(), values));
    }
    if let Some(extra) = by_name.keys().min() {
        return Err(unexpected(schema, extra));
    }
    all_there(&missing).map(|()| columns)
}

/// Of a deletion only its keys count: nothing else of it is kept.
fn without_values_of(
    deleted: &[bool],
    schema: &PushSchema,
    mut columns: Vec<(String, ArrayRef)>,
) -> Result<Vec<(String, ArrayRef)>> {
    if deleted.contains(&true) {
        let deleted = BooleanArray::from(deleted.to_vec());
        for (name, values) in &mut columns[schema.keys.len()..] {
            let kept = nullif(values, &deleted);
            *values = kept.map_err(|error| Error::internal(format!("columns.{name}: {error}")))?;
        }
    }
    Ok(columns)
}

fn missing_column((name, value_type, is_key): (&str, ValueType, bool)) -> Violation {
    let values = if is_key { "a join key, never null" } else { "its values may be null" };
    Violation {
        field: format!("columns.{name}"),
        description: format!("is missing: an event of this source has a column of that name, {value_type} ({values})"),
    }
}

/// Names every column that is missing: the first ones in the message, which alone is told of a batch of a stream.
fn all_there(missing: &[(&str, ValueType, bool)]) -> Result<()> {
    match missing {
        [] => Ok(()),
        [one] => {
            let Violation { field, description } = missing_column(*one);
            Err(Error::invalid_field(field, description))
        }
        several => {
            let count = several.len();
            let named: Vec<&str> = several.iter().take(NAMED).map(|(name, ..)| *name).collect();
            let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
            let message = format!("{count} columns of this source's events are missing: {}{more}", named.join(", "));
            Err(Error::invalid_fields(message, several.iter().copied().map(missing_column).collect()))
        }
    }
}

fn unexpected(schema: &PushSchema, extra: &str) -> Error {
    let keys = schema.keys.iter().map(|key| key.name.as_str());
    let known: Vec<&str> = keys.chain(schema.columns.iter().map(|(name, _)| name.as_str())).collect();
    let hint = unknown_name("the source", "column", extra, &known);
    Error::invalid_field(format!("columns.{extra}"), format!("{hint}; an event has {}", known.join(", ")))
}

fn refuse(
    schema: &PushSchema,
    columns: &[(String, ArrayRef)],
    (event_times, created): (&[Timestamp], &Created),
    limits: Limits,
    now: Timestamp,
) -> Vec<Refusal> {
    let keys = &columns[..schema.keys.len()];
    let latest = now.plus(limits.max_ahead);
    let reason = |row: usize| {
        if let Some((name, _)) = keys.iter().find(|(_, values)| values.is_null(row)) {
            return Some(format!("{name} is null: a join key must have a value"));
        }
        if let Created::Given(times) = created
            && times[row] == Timestamp::MIN
        {
            return Some(
                "its created time is the lowest there is, which rows of sources without created times have".to_owned(),
            );
        }
        let event_time = event_times[row];
        (event_time > latest).then(|| {
            format!(
                "its event time {event_time} is more than {} beyond the service's clock, {now}",
                Span(limits.max_ahead)
            )
        })
    };
    (0..event_times.len()).filter_map(|row| reason(row).map(|reason| Refusal { row, reason })).collect()
}

/// The rows that were not refused; refusals are in the order of rows.
fn kept(rows: usize, refusals: &[Refusal]) -> Vec<usize> {
    let mut refused = refusals.iter().map(|refusal| refusal.row).peekable();
    (0..rows).filter(|row| refused.next_if_eq(row).is_none()).collect()
}

fn following(first: Timestamp, rows: usize) -> Vec<Timestamp> {
    (first.as_micros()..).take(rows).map(Timestamp::from_micros).collect()
}

fn take_rows(columns: Vec<(String, ArrayRef)>, positions: &[usize], rows: usize) -> Result<Vec<(String, ArrayRef)>> {
    if positions.len() == rows {
        return Ok(columns);
    }
    let indices: UInt32Array = positions.iter().map(|row| u32::try_from(*row).ok()).collect();
    let taken = |(name, values): (String, ArrayRef)| {
        let values =
            take(&values, &indices, None).map_err(|error| Error::internal(format!("columns.{name}: {error}")))?;
        Ok((name, values))
    };
    columns.into_iter().map(taken).collect()
}

#[cfg(test)]
mod tests {
    use larder_types::ScalarType;

    use super::*;

    #[test]
    fn the_message_names_ten_columns_and_violations_all() {
        let names: Vec<String> = (0..13).map(|number| format!("c{number}")).collect();
        let missing: Vec<_> =
            names.iter().map(|name| (name.as_str(), ValueType::Scalar(ScalarType::Int64), false)).collect();
        for (count, message) in [
            (
                1,
                "columns.c0: is missing: an event of this source has a column of that name, int64 (its values may be null)",
            ),
            (2, "2 columns of this source's events are missing: c0, c1"),
            (10, "10 columns of this source's events are missing: c0, c1, c2, c3, c4, c5, c6, c7, c8, c9"),
            (13, "13 columns of this source's events are missing: c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 and 3 more"),
        ] {
            let error = all_there(&missing[..count]).unwrap_err();
            assert_eq!(error.message(), message);
            assert_eq!(error.violations().len(), count);
        }
    }
}
