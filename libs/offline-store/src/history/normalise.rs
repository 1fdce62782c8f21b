//! From the columns of a file or a log to a view's history.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray},
    compute::filter_record_batch,
    datatypes::{DataType, Schema, SchemaRef},
};
use larder_types::{Error, Result, ScalarType, Timestamp, ValueType, did_you_mean, near_names};
use serde::{Deserialize, Serialize};

use super::{HistorySchema, TimeRange};
use crate::{
    hive,
    widen::{Declared, can_widen, has_no_values, misfit, to_micros, type_name, widen},
};

/// Which columns of a source have what is said of a row besides its values.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RowColumns {
    /// The event time.
    pub event_time: String,
    /// The created time.
    pub created_time: Option<String>,
    /// Whether it is a deletion.
    pub deleted: Option<String>,
}

/// What a column is, in messages.
const EVENT_TIME: &str = "event time";
const CREATED_TIME: &str = "created time";
const JOIN_KEY: &str = "join key";

/// Where a wanted column comes from.
#[derive(Debug, Clone)]
enum Origin {
    /// A column of the file.
    Column(usize),
    /// A part `name=value` of the file's path.
    Path(ArrayRef),
}

/// Normalises batches of one file.
#[derive(Debug)]
pub(super) struct Normaliser {
    file: String,
    event_time: usize,
    event_time_name: String,
    created_time: Option<usize>,
    deleted: Option<usize>,
    keys: Vec<(Origin, ValueType)>,
    features: Vec<(Origin, ValueType)>,
    schema: SchemaRef,
}

/// A normalised batch, and how many rows were refused for a null event time or key.
pub(super) struct Normalised {
    pub(super) batch: RecordBatch,
    pub(super) refused: usize,
}

impl Normaliser {
    /// Checks the columns of a file. `FAILED_PRECONDITION` names the file, the column, what was found and what is wanted.
    pub(super) fn new(
        file: &str,
        found: &Schema,
        wanted: &HistorySchema,
        system: &RowColumns,
        path_parts: &[(String, String)],
    ) -> Result<Self> {
        let columns = Columns { file, found, path_parts };
        let time = |name: &str, what: &str| columns.of_file(name, ScalarType::Timestamp.into(), what);
        let event_time = time(&system.event_time, EVENT_TIME)?;
        let keys = wanted.keys.iter().map(|key| {
            let value_type = ValueType::Scalar(key.key_type.scalar());
            Ok((columns.find(key.name.as_str(), value_type, JOIN_KEY)?, value_type))
        });
        let features = wanted.features.iter().map(|feature| {
            let what = format!("feature {}", feature.name);
            Ok((columns.find(&feature.column, feature.value_type, &what)?, feature.value_type))
        });
        Ok(Self {
            file: file.to_owned(),
            event_time,
            event_time_name: system.event_time.clone(),
            created_time: system.created_time.as_ref().map(|name| time(name, CREATED_TIME)).transpose()?,
            deleted: system
                .deleted
                .as_ref()
                .map(|name| columns.of_file(name, ScalarType::Bool.into(), "deletions"))
                .transpose()?,
            keys: keys.collect::<Result<_>>()?,
            features: features.collect::<Result<_>>()?,
            schema: wanted.arrow(),
        })
    }

    /// The columns of the file that are needed, ascending.
    pub(super) fn needed(&self) -> Vec<usize> {
        let origins = self.keys.iter().chain(&self.features).filter_map(|(origin, _)| match origin {
            Origin::Column(index) => Some(*index),
            Origin::Path(_) => None,
        });
        let mut needed: Vec<usize> =
            origins.chain([self.event_time]).chain(self.created_time).chain(self.deleted).collect();
        needed.sort_unstable();
        needed.dedup();
        needed
    }

    /// Normalises a batch of the columns [`Normaliser::needed`], and leaves out rows outside of the range.
    pub(super) fn apply(&self, batch: &RecordBatch, needed: &[usize], range: TimeRange) -> Result<Normalised> {
        let rows = batch.num_rows();
        let column = |index: usize| -> Result<&ArrayRef> {
            let position = needed.binary_search(&index).ok();
            position
                .and_then(|position| batch.columns().get(position))
                .ok_or_else(|| self.damaged("a column is missing"))
        };
        let value = |(origin, value_type): &(Origin, ValueType)| match origin {
            Origin::Column(index) => widen(column(*index)?, *value_type).map_err(|error| error.context(&self.file)),
            Origin::Path(value) => hive::repeat(value, rows),
        };
        let keys = self.keys.iter().map(value).collect::<Result<Vec<_>>>()?;
        let event = self.event_times(column(self.event_time)?)?;
        let created = self.created_time.map(|index| to_micros(column(index)?)).transpose()?;
        let deleted = self.deleted.map(|index| column(index).cloned()).transpose()?;
        let features = self.features.iter().map(value).collect::<Result<Vec<_>>>()?;
        let whole = keys.iter().all(|key| key.null_count() == 0) && event.null_count() == 0;
        let keep = Keep::of(&keys, &event, range);
        let created = created.map_or_else(|| lowest(rows), |created| without_nulls(&created));
        let deleted = deleted.unwrap_or_else(|| Arc::new(BooleanArray::from(vec![false; rows])));
        let mut columns = keys;
        columns.extend([Arc::new(event) as ArrayRef, created, deleted]);
        columns.extend(features);
        if whole && keep.all {
            return Ok(Normalised { batch: self.batch(Arc::clone(&self.schema), columns)?, refused: 0 });
        }
        self.filtered(columns, &keep)
    }

    fn event_times(&self, column: &ArrayRef) -> Result<TimestampMicrosecondArray> {
        if has_no_values(column.data_type()) && !column.is_empty() {
            let (file, name) = (&self.file, &self.event_time_name);
            let message =
                format!("`{file}`: column `{name}` ({EVENT_TIME}) has no value in any row: every row needs one");
            return Err(Error::failed_precondition(message));
        }
        to_micros(column)
    }

    fn filtered(&self, columns: Vec<ArrayRef>, keep: &Keep) -> Result<Normalised> {
        let nullable = self.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let nullable = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
        let kept = filter_record_batch(&self.batch(nullable, columns)?, &keep.rows)
            .map_err(|error| self.damaged(&error.to_string()))?;
        let batch = self.batch(Arc::clone(&self.schema), kept.columns().to_vec())?;
        Ok(Normalised { batch, refused: keep.refused })
    }

    fn batch(&self, schema: SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
        RecordBatch::try_new(schema, columns).map_err(|error| self.damaged(&error.to_string()))
    }

    fn damaged(&self, why: &str) -> Error {
        Error::data_loss(format!("`{}` is damaged: {why}", self.file))
    }
}

/// Which rows stay.
struct Keep {
    rows: BooleanArray,
    all: bool,
    refused: usize,
}

impl Keep {
    fn of(keys: &[ArrayRef], event: &TimestampMicrosecondArray, range: TimeRange) -> Self {
        let mut refused = 0;
        let rows: Vec<bool> = (0..event.len())
            .map(|row| {
                let whole = event.is_valid(row) && keys.iter().all(|key| key.is_valid(row));
                refused += usize::from(!whole);
                whole && range.contains(Timestamp::from_micros(event.value(row)))
            })
            .collect();
        Self { all: rows.iter().all(|keep| *keep), rows: BooleanArray::from(rows), refused }
    }
}

fn lowest(rows: usize) -> ArrayRef {
    let times = TimestampMicrosecondArray::from_value(Timestamp::MIN.as_micros(), rows);
    Arc::new(times.with_data_type(ScalarType::Timestamp.arrow()))
}

/// A row whose created time is null is as one of a source without created times.
fn without_nulls(times: &TimestampMicrosecondArray) -> ArrayRef {
    if times.null_count() == 0 {
        return Arc::new(times.clone());
    }
    let filled = times.iter().map(|time| time.unwrap_or(Timestamp::MIN.as_micros()));
    let filled = TimestampMicrosecondArray::from_iter_values(filled);
    Arc::new(filled.with_data_type(ScalarType::Timestamp.arrow()))
}

struct Columns<'a> {
    file: &'a str,
    found: &'a Schema,
    path_parts: &'a [(String, String)],
}

impl Columns<'_> {
    /// A column of the file, or of its path.
    fn find(&self, name: &str, wanted: ValueType, what: &str) -> Result<Origin> {
        let part = self.path_parts.iter().find(|(part, _)| part == name);
        match part {
            Some((_, text)) if self.found.index_of(name).is_err() => self.of_path(name, text, wanted),
            Some(_) | None => self.of_file(name, wanted, what).map(Origin::Column),
        }
    }

    fn of_file(&self, name: &str, wanted: ValueType, what: &str) -> Result<usize> {
        let Ok(index) = self.found.index_of(name) else { return Err(self.missing(name, wanted, what)) };
        if self.found.fields().iter().skip(index + 1).any(|field| field.name() == name) {
            let file = self.file;
            return Err(Error::failed_precondition(format!(
                "`{file}` has two columns `{name}` ({what}): which is meant?"
            )));
        }
        let found = self.found.field(index).data_type();
        if can_widen(found, wanted) {
            return Ok(index);
        }
        let misfit = match what {
            EVENT_TIME | CREATED_TIME if matches!(found, DataType::Date32 | DataType::Date64) => {
                format!("has type {}, {wanted} is wanted: a day is no instant, convert it to one", type_name(found))
            }
            EVENT_TIME | CREATED_TIME => misfit(found, &wanted.to_string(), Declared::Not),
            JOIN_KEY => misfit(found, &wanted.to_string(), Declared::Key),
            _ => misfit(found, &wanted.to_string(), Declared::Feature),
        };
        Err(Error::failed_precondition(format!("`{}`: column `{name}` ({what}) {misfit}", self.file)))
    }

    fn missing(&self, name: &str, wanted: ValueType, what: &str) -> Error {
        let near = near_names(name, self.found.fields().iter().map(|field| field.name().as_str()));
        let hint = did_you_mean(&near);
        Error::failed_precondition(format!(
            "`{}` has no column `{name}` ({what}), {wanted} is declared{hint}",
            self.file
        ))
    }

    fn of_path(&self, name: &str, text: &str, wanted: ValueType) -> Result<Origin> {
        match hive::parse(text, wanted) {
            Some(parsed) => Ok(Origin::Path(parsed)),
            None => Err(Error::failed_precondition(format!(
                "`{}`: `{name}={text}` in its path is no {wanted}, which is declared",
                self.file
            ))),
        }
    }
}
