//! The columns of a log: what is said of each pushed row, then the source's own columns.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BooleanArray, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use larder_types::{Error, Name, Result, ScalarType, SchemaNumber, Timestamp, ValueType};

/// When it happened.
pub const EVENT_TIME: &str = "__event_time";
/// When it was recorded: given by the caller, or set when it was accepted.
pub const CREATED_TIME: &str = "__created_time";
/// When it became available here.
pub const INGESTED_AT: &str = "__ingested_at";
/// The batch it came with.
pub const BATCH_ID: &str = "__batch_id";
/// Its place in that batch.
pub const ROW_NUMBER: &str = "__row_number";
/// The schema it was checked against.
pub const SCHEMA_NUMBER: &str = "__schema_number";
/// Whether it is a deletion, which has keys and times and no other values.
pub const DELETED: &str = "__deleted";

/// The columns of every log, in their order. Names that start with two underscores are reserved for more of them.
pub const SYSTEM_COLUMNS: [&str; 7] =
    [EVENT_TIME, CREATED_TIME, INGESTED_AT, BATCH_ID, ROW_NUMBER, SCHEMA_NUMBER, DELETED];

fn system_fields() -> impl Iterator<Item = Field> {
    let time = ScalarType::Timestamp.arrow();
    let types = [time.clone(), time.clone(), time, DataType::Utf8, DataType::Int32, DataType::Int32, DataType::Boolean];
    SYSTEM_COLUMNS.into_iter().zip(types).map(|(name, data_type)| Field::new(name, data_type, false))
}

/// The columns of a source's rows in the log: [`SYSTEM_COLUMNS`], none of them null, then join keys and features by
/// name, nullable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSchema {
    columns: Vec<(Name, ValueType)>,
    arrow: SchemaRef,
}

/// What is said of the rows of one push, besides their values. The lists have one item a row.
#[derive(Debug, Clone)]
pub struct PushedRows<'a> {
    /// The batch.
    pub batch_id: &'a str,
    /// When it was accepted.
    pub ingested_at: Timestamp,
    /// The schema that the rows were checked against.
    pub schema_number: SchemaNumber,
    /// Each row's place in the batch; refused rows leave gaps.
    pub row_numbers: Vec<i32>,
    /// When each happened.
    pub event_times: Vec<Timestamp>,
    /// When each was recorded.
    pub created_times: Vec<Timestamp>,
    /// Which are deletions.
    pub deleted: Vec<bool>,
}

impl LogSchema {
    /// Of a source with these columns, in any order. Reserved and repeated names are refused.
    pub fn new(columns: impl IntoIterator<Item = (Name, ValueType)>) -> Result<Self> {
        let mut columns: Vec<_> = columns.into_iter().collect();
        columns.sort();
        if let Some((name, _)) = columns.iter().find(|(name, _)| name.as_str().starts_with("__")) {
            return Err(Error::invalid_field(name.as_str(), "names that start with `__` are reserved"));
        }
        if let Some([(name, _), _]) = columns.array_windows().find(|[(a, _), (b, _)]| a == b) {
            return Err(Error::invalid_field(name.as_str(), "a source has a column once"));
        }
        let own = columns.iter().map(|(name, value_type)| Field::new(name.as_str(), value_type.arrow(), true));
        let arrow = Arc::new(Schema::new(system_fields().chain(own).collect::<Vec<_>>()));
        Ok(Self { columns, arrow })
    }

    /// Of rows in this Arrow schema, whatever the order of their columns. Metadata is left out.
    pub fn of(schema: &Schema) -> Result<Self> {
        for expected in system_fields() {
            let found = schema.field_with_name(expected.name()).ok();
            if found.is_none_or(|found| found.data_type() != expected.data_type()) {
                return Err(Error::invalid_field(
                    expected.name(),
                    format!("rows of a push log have this column, of type {}", expected.data_type()),
                ));
            }
        }
        let own = schema.fields().iter().filter(|field| !SYSTEM_COLUMNS.contains(&field.name().as_str()));
        let columns: Result<Vec<_>> = own.map(|field| column_of(field)).collect();
        Self::new(columns?)
    }

    /// The source's columns, ordered by name.
    pub fn columns(&self) -> &[(Name, ValueType)] {
        &self.columns
    }

    /// The schema of batches.
    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }

    /// A batch of `rows` with `values` by column name, in any order; a column without values is null in every row.
    pub fn batch(&self, rows: &PushedRows<'_>, values: Vec<(Name, ArrayRef)>) -> Result<RecordBatch> {
        let count = rows.row_numbers.len();
        let mut arrays = rows.arrays()?;
        for (name, value_type) in &self.columns {
            let given = values.iter().find(|(given, _)| given == name).map(|(_, array)| Arc::clone(array));
            arrays.push(given.unwrap_or_else(|| arrow::array::new_null_array(&value_type.arrow(), count)));
        }
        if let Some((name, _)) = values.iter().find(|(given, _)| !self.columns.iter().any(|(name, _)| name == given)) {
            return Err(Error::invalid_field(name.as_str(), "the source has no such column"));
        }
        RecordBatch::try_new(Arc::clone(&self.arrow), arrays)
            .map_err(|error| Error::invalid_argument(format!("rows for the push log: {error}")).with_source(error))
    }

    /// `batch` with its columns in the order of this schema, which is [`LogSchema::of`] it.
    pub(crate) fn ordered(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let arrays = self.arrow.fields().iter().filter_map(|field| batch.column_by_name(field.name()).cloned());
        RecordBatch::try_new(Arc::clone(&self.arrow), arrays.collect())
            .map_err(|error| Error::invalid_argument(format!("rows for the push log: {error}")).with_source(error))
    }
}

fn column_of(field: &Field) -> Result<(Name, ValueType)> {
    let name = Name::new(field.name())?;
    let value_type = ValueType::from_arrow(field.data_type()).ok_or_else(|| {
        Error::invalid_field(field.name(), format!("{} is not the Arrow type of a feature", field.data_type()))
    })?;
    Ok((name, value_type))
}

impl PushedRows<'_> {
    fn arrays(&self) -> Result<Vec<ArrayRef>> {
        let count = self.row_numbers.len();
        let schema_number = i32::try_from(self.schema_number.0)
            .map_err(|_| Error::invalid_argument(format!("{} is too great for a schema number", self.schema_number)))?;
        Ok(vec![
            times(self.event_times.iter().copied()),
            times(self.created_times.iter().copied()),
            times(std::iter::repeat_n(self.ingested_at, count)),
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(self.batch_id, count))),
            Arc::new(Int32Array::from(self.row_numbers.clone())),
            Arc::new(Int32Array::from(vec![schema_number; count])),
            Arc::new(BooleanArray::from(self.deleted.clone())),
        ])
    }
}

fn times(times: impl Iterator<Item = Timestamp>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(times.map(Timestamp::as_micros)).with_timezone("UTC"))
}

/// The system columns that this crate itself looks at.
pub(crate) struct SystemColumns<'a> {
    pub(crate) event_time: &'a TimestampMicrosecondArray,
    pub(crate) created_time: &'a TimestampMicrosecondArray,
    pub(crate) batch_id: &'a StringArray,
    pub(crate) row_number: &'a Int32Array,
}

impl<'a> SystemColumns<'a> {
    pub(crate) fn of(batch: &'a RecordBatch) -> Result<Self> {
        Ok(Self {
            event_time: column(batch, EVENT_TIME)?,
            created_time: column(batch, CREATED_TIME)?,
            batch_id: column(batch, BATCH_ID)?,
            row_number: column(batch, ROW_NUMBER)?,
        })
    }

    /// What makes it the same row as another.
    pub(crate) fn identity(&self, row: usize) -> (&'a str, i32) {
        (self.batch_id.value(row), self.row_number.value(row))
    }
}

fn column<'a, T: Array + 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a T> {
    let found = batch.column_by_name(name).and_then(|array| array.as_any().downcast_ref::<T>());
    let found = found.filter(|array| array.null_count() == 0);
    found.ok_or_else(|| Error::data_loss(format!("the column {name} is missing, null or of another type")))
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use larder_types::ErrorCode;

    use super::*;

    fn rows(count: usize) -> PushedRows<'static> {
        PushedRows {
            batch_id: "b",
            ingested_at: Timestamp::from_micros(3),
            schema_number: SchemaNumber(1),
            row_numbers: (0..i32::try_from(count).unwrap()).collect(),
            event_times: vec![Timestamp::from_micros(1); count],
            created_times: vec![Timestamp::from_micros(2); count],
            deleted: vec![false; count],
        }
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn columns_come_in_one_order_and_missing_values_are_null() {
        let int64 = ValueType::Scalar(ScalarType::Int64);
        let schema = LogSchema::new([(name("b"), int64), (name("a"), int64)]).unwrap();
        let batch = schema.batch(&rows(2), vec![(name("b"), Arc::new(Int64Array::from(vec![5, 6])))]).unwrap();
        let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names[..7], SYSTEM_COLUMNS);
        assert_eq!(names[7..], ["a", "b"]);
        assert_eq!(batch.column(7).null_count(), 2);
        let shuffled = batch.project(&[8, 3, 2, 1, 0, 7, 6, 5, 4]).unwrap();
        assert_eq!(LogSchema::of(&shuffled.schema()).unwrap(), schema);
        assert_eq!(schema.ordered(&shuffled).unwrap(), batch);
    }

    #[test]
    fn what_is_no_log_row_is_refused_by_the_name_of_the_column() {
        let int64 = ValueType::Scalar(ScalarType::Int64);
        let reserved = LogSchema::new([(name("__a"), int64)]).unwrap_err();
        let repeated = LogSchema::new([(name("a"), int64), (name("a"), int64)]).unwrap_err();
        let schema = LogSchema::new([(name("a"), int64)]).unwrap();
        let unknown = schema.batch(&rows(1), vec![(name("c"), Arc::new(Int64Array::from(vec![1])))]).unwrap_err();
        let mistyped = schema.batch(&rows(1), vec![(name("a"), Arc::new(Int32Array::from(vec![1])))]).unwrap_err();
        let missing = LogSchema::of(&Schema::new(vec![Field::new("a", DataType::Int64, true)])).unwrap_err();
        for (error, text) in
            [(reserved, "__a"), (repeated, "a: a source"), (unknown, "c: "), (mistyped, "Int64"), (missing, EVENT_TIME)]
        {
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            assert!(error.message().contains(text), "{error}");
        }
    }
}
