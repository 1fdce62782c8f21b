//! Batches made of rows, as the source's schema wants them.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BooleanArray},
    compute::filter,
};
use larder_client::{PushBatch, PushClient, Target};
use larder_definitions::{Catalog, PushSchema, unknown_name};
use larder_types::{Error, Name, Revision, ScalarType, Timestamp, ValueType};

use super::{Arguments, EVENT_TIMES, TimeColumns, To};
use crate::{
    failure::{Failure, Outcome},
    input::Rows,
};

/// Makes batches of rows.
pub(super) struct BatchBuilder {
    project: Name,
    source: Name,
    schema: Arc<PushSchema>,
    columns: TimeColumns,
    target: Target,
    id: String,
    revision: Revision,
}

/// What became of rows of a file.
pub(super) struct Made {
    /// None where all of them are left out.
    pub(super) batch: Option<PushBatch>,
    /// Which rows the batch has.
    pub(super) numbers: Vec<u64>,
    /// Rows without a time, which no event can be, and why.
    pub(super) left_out: Vec<(u64, String)>,
}

impl BatchBuilder {
    pub(super) fn new(catalog: &Catalog, arguments: &Arguments) -> Outcome<Self> {
        let source = catalog.source(arguments.source.as_str())?;
        let schema = source.push_schema.clone().ok_or_else(|| {
            let why = if source.is_push() { "no view reads it" } else { "it is not a push source" };
            Error::failed_precondition(format!("source {} takes no events: {why}", arguments.source))
        })?;
        Ok(Self {
            project: catalog.project.clone(),
            source: arguments.source.clone(),
            schema,
            columns: arguments.columns.clone(),
            target: match arguments.target {
                To::Online => Target::Online,
                To::Offline => Target::Offline,
                To::Both => Target::OnlineAndOffline,
            },
            id: arguments.batch_id.clone().unwrap_or_else(PushClient::batch_id),
            revision: catalog.revision,
        })
    }

    /// What the ids of all batches begin with.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The source's columns: keys, then features.
    fn wanted(&self) -> impl Iterator<Item = (&str, ValueType)> {
        let keys = self.schema.keys.iter().map(|key| (key.name.as_str(), key.key_type.scalar().into()));
        keys.chain(self.schema.columns.iter().map(|(name, value_type)| (name.as_str(), *value_type)))
    }

    pub(super) fn type_of(&self, column: &str) -> Option<ValueType> {
        self.wanted().find(|(name, _)| *name == column).map(|(_, value_type)| value_type)
    }

    /// The events of a file. A row without a time is left out, as one without a key is refused.
    pub(super) fn batch_of_file(&self, rows: &Rows) -> Outcome<Made> {
        let TimeColumns { event_time_column, created_time_column, deleted_column } = &self.columns;
        let guessed = || EVENT_TIMES.into_iter().find(|name| rows.column(name).is_some());
        let event_time = event_time_column.as_deref().or_else(guessed).unwrap_or(EVENT_TIMES[0]);
        let missing = |column: &str, flag: &str| {
            let has = rows.names().collect::<Vec<_>>().join(", ");
            Failure::wrong(format!("{} has no column {column} ({flag} names another one); it has {has}", rows.file))
        };
        let what = "with the time of the event; --event-time-column";
        let event_times = rows.times(event_time)?.ok_or_else(|| missing(event_time, what))?;
        let created_times = match created_time_column {
            Some(column) => rows.times(column)?.ok_or_else(|| missing(column, "--created-time-column"))?,
            None => Vec::new(),
        };
        let deleted = match deleted_column {
            Some(column) => deletions(rows, column)?.ok_or_else(|| missing(column, "--deleted-column"))?,
            None => Vec::new(),
        };
        let beside: Vec<&str> = [Some(event_time), created_time_column.as_deref(), deleted_column.as_deref()]
            .into_iter()
            .flatten()
            .collect();
        let columns = self.columns_of(rows, &beside)?;
        let times = [(event_time, &event_times), (created_time_column.as_deref().unwrap_or_default(), &created_times)];
        let without = |row: usize| times.iter().find(|(_, times)| times.get(row) == Some(&None)).map(|(name, _)| *name);
        let kept: Vec<usize> = (0..rows.len).filter(|row| without(*row).is_none()).collect();
        let number = |row: usize| rows.first + row as u64;
        let reason = |name: &str| format!("{name} is null: every event needs a time");
        let left_out: Vec<(u64, String)> =
            (0..rows.len).filter_map(|row| Some((number(row), reason(without(row)?)))).collect();
        let batch = PushBatch {
            batch_id: Some(self.batch_id(rows.first, &left_out)),
            columns: if left_out.is_empty() { columns } else { only(columns, &kept, rows.len)? },
            event_times: kept.iter().filter_map(|row| event_times[*row]).collect(),
            created_times: kept.iter().filter_map(|row| *created_times.get(*row)?).collect(),
            deleted: kept.iter().filter_map(|row| deleted.get(*row).copied()).collect(),
            ..self.empty()
        };
        let numbers: Vec<u64> = kept.into_iter().map(number).collect();
        Ok(Made { batch: (!numbers.is_empty()).then_some(batch), numbers, left_out })
    }

    /// Events given as arguments.
    pub(super) fn batch_of_values(
        &self,
        rows: &Rows,
        event_times: Vec<Timestamp>,
        deleted: Vec<bool>,
    ) -> Outcome<PushBatch> {
        let columns = self.columns_of(rows, &[])?;
        Ok(PushBatch { batch_id: Some(self.batch_id(rows.first, &[])), columns, event_times, deleted, ..self.empty() })
    }

    /// A row in the push log is known by its batch and its place in it. So a batch that lacks rows is another one than that of
    /// the same rows without a gap, once the times are put right.
    fn batch_id(&self, first: u64, left_out: &[(u64, String)]) -> String {
        let Self { id, .. } = self;
        match left_out {
            [] => format!("{id}-{first}"),
            left_out => format!("{id}-{first}-{:016x}", digest(left_out.iter().map(|(row, _)| *row))),
        }
    }

    fn empty(&self) -> PushBatch {
        PushBatch {
            project: self.project.clone(),
            source: self.source.clone(),
            batch_id: None,
            columns: Vec::new(),
            event_times: Vec::new(),
            created_times: Vec::new(),
            deleted: Vec::new(),
            target: self.target,
            min_revision: self.revision,
        }
    }

    /// The source's columns that the rows have; `beside`: columns that are not the source's.
    fn columns_of(&self, rows: &Rows, beside: &[&str]) -> Outcome<Vec<(String, ArrayRef)>> {
        if let Some(name) = rows.names().find(|name| !beside.contains(name) && self.type_of(name).is_none()) {
            let known: Vec<&str> = self.wanted().map(|(name, _)| name).collect();
            let error = unknown_name(&format!("source {}", self.source), "column", name, &known);
            return Err(Failure::wrong(format!(
                "{}: {}\n  its columns are {}",
                rows.file,
                error.message(),
                known.join(", ")
            )));
        }
        let mut columns = Vec::new();
        for (name, value_type) in self.wanted() {
            if let Some(array) = rows.typed(name, value_type)? {
                columns.push((name.to_owned(), array));
            }
        }
        Ok(columns)
    }
}

fn only(columns: Vec<(String, ArrayRef)>, kept: &[usize], rows: usize) -> Outcome<Vec<(String, ArrayRef)>> {
    let is_kept: BooleanArray = (0..rows).map(|row| Some(kept.binary_search(&row).is_ok())).collect();
    let only = |(name, values): (String, ArrayRef)| {
        let kept = filter(&values, &is_kept).map_err(|error| Error::internal(format!("{name}: {error}")))?;
        Ok((name, kept))
    };
    columns.into_iter().map(only).collect()
}

/// FNV-1a: the same of the same rows in every release.
fn digest(rows: impl Iterator<Item = u64>) -> u64 {
    let bytes = rows.flat_map(u64::to_le_bytes);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Which rows are deletions; null is no deletion.
fn deletions(rows: &Rows, column: &str) -> Outcome<Option<Vec<bool>>> {
    let array = rows.typed(column, ScalarType::Bool.into())?;
    Ok(array.map(|array| {
        let flags = array.as_any().downcast_ref::<BooleanArray>();
        flags.into_iter().flatten().map(|flag| flag.unwrap_or(false)).collect()
    }))
}
