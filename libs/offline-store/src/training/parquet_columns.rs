//! Columns as Parquet can hold them. It knows no times in seconds and no days in milliseconds, and a writer makes plain
//! integers of them; so times are written in milliseconds, and days as days, of whatever depth. What it cannot hold at all
//! is refused by the name of its column. All other columns are written as they are.

#![expect(clippy::wildcard_enum_match_arm, reason = "Arrow's enum: a type that is not named is written as it is")]

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};
use larder_types::{Error, Result};

use crate::widen::type_name;

/// Checks that Parquet can hold the columns of a spine.
///
/// # Errors
/// `INVALID_ARGUMENT` names each column that it cannot hold.
pub fn check_parquet(schema: &Schema) -> Result<()> {
    let wrong: Vec<(&str, String)> = schema
        .fields()
        .iter()
        .filter(|field| !can_hold(field.data_type()))
        .map(|field| (field.name().as_str(), cannot_hold(field)))
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let texts: Vec<&str> = wrong.iter().map(|(_, text)| text.as_str()).collect();
    let error = Error::invalid_argument(format!("the spine: {}", texts.join("; ")));
    Err(wrong.iter().fold(error, |error, (name, text)| error.with_violation(format!("spine.{name}"), text)))
}

fn cannot_hold(field: &Field) -> String {
    format!(
        "column `{}` has type {}, which Parquet cannot hold: convert it, or leave it out",
        field.name(),
        type_name(field.data_type())
    )
}

/// The schema with which rows of `schema` are written to a Parquet file.
pub fn parquet_schema(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema.fields().iter().map(|field| written(field)).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The rows as they are written: with `schema`, which is what [`parquet_schema`] makes of their own.
///
/// # Errors
/// A column that Parquet cannot hold, a time that is beyond what milliseconds can count, a date that is no whole day.
pub fn parquet_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    if batch.schema_ref() == schema {
        return Ok(batch.clone());
    }
    let own = batch.schema_ref().fields();
    let columns = batch.columns().iter().zip(own).zip(schema.fields());
    let columns = columns.map(|((column, own), field)| match column.data_type() == field.data_type() {
        true => Ok(Arc::clone(column)),
        false if !can_hold(own.data_type()) => Err(ArrowError::InvalidArgumentError(cannot_hold(own))),
        false => converted(column, field),
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)
}

/// What it becomes is what it was.
fn converted(column: &ArrayRef, field: &Field) -> Result<ArrayRef, ArrowError> {
    let exact = CastOptions { safe: false, ..CastOptions::default() };
    let written = cast_with_options(column, field.data_type(), &exact)?;
    if has_days(column.data_type())
        && cast_with_options(&written, column.data_type(), &exact)?.as_ref() != column.as_ref()
    {
        return Err(ArrowError::InvalidArgumentError(format!(
            "column `{}` has a date64 that is no whole day: cast it to a timestamp",
            field.name()
        )));
    }
    Ok(written)
}

/// Of what cannot be held there are no rows: [`parquet_batch`] refuses them.
fn written(field: &Field) -> Field {
    let data_type = if can_hold(field.data_type()) { written_type(field.data_type()) } else { DataType::Null };
    field.clone().with_data_type(data_type)
}

fn written_type(data_type: &DataType) -> DataType {
    let item = |field: &Field| Arc::new(field.clone().with_data_type(written_type(field.data_type())));
    match data_type {
        DataType::Timestamp(TimeUnit::Second, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
        DataType::Time32(TimeUnit::Second) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Date64 => DataType::Date32,
        DataType::List(field) => DataType::List(item(field)),
        DataType::LargeList(field) => DataType::LargeList(item(field)),
        DataType::FixedSizeList(field, length) => DataType::FixedSizeList(item(field), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| item(field)).collect()),
        DataType::Map(field, is_sorted) => DataType::Map(item(field), *is_sorted),
        DataType::Dictionary(key, value) => DataType::Dictionary(key.clone(), Box::new(written_type(value))),
        other => other.clone(),
    }
}

fn has_days(data_type: &DataType) -> bool {
    *data_type == DataType::Date64 || within(data_type).iter().any(|inner| has_days(inner))
}

fn can_hold(data_type: &DataType) -> bool {
    let of_itself = match data_type {
        DataType::Union(_, _) | DataType::Interval(IntervalUnit::MonthDayNano) => false,
        DataType::Struct(fields) => !fields.is_empty(),
        DataType::FixedSizeBinary(length) => *length > 0,
        DataType::Decimal32(digits, scale)
        | DataType::Decimal64(digits, scale)
        | DataType::Decimal128(digits, scale)
        | DataType::Decimal256(digits, scale) => u8::try_from(*scale).is_ok_and(|scale| scale <= *digits),
        // Its writer knows no others.
        DataType::Dictionary(_, value) => {
            !value.is_nested() && !matches!(**value, DataType::Utf8View | DataType::BinaryView)
        }
        _ => true,
    };
    of_itself && within(data_type).iter().all(|inner| can_hold(inner))
}

/// The types of which a type is made.
fn within(data_type: &DataType) -> Vec<&DataType> {
    match data_type {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _)
        | DataType::RunEndEncoded(_, field) => vec![field.data_type()],
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        DataType::Dictionary(_, value) => vec![value.as_ref()],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Array, ArrayRef, AsArray, Date32Array, Date64Array, Int64Array, StructArray, TimestampSecondArray},
        compute::cast,
        datatypes::{Fields, Int64Type, UnionFields, UnionMode},
    };
    use bytes::Bytes;
    use parquet::arrow::{
        ArrowWriter,
        arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    };

    use super::*;

    /// Written, and read by somebody who knows Parquet alone.
    fn read_back(batch: &RecordBatch) -> RecordBatch {
        let schema = parquet_schema(&batch.schema());
        let mut file = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut file, Arc::clone(&schema), None).unwrap();
        writer.write(&parquet_batch(batch, &schema).unwrap()).unwrap();
        writer.close().unwrap();
        let plain = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(Bytes::from(file), plain).unwrap();
        reader.build().unwrap().next().unwrap().unwrap()
    }

    #[test]
    fn times_of_all_units_come_back_as_times() {
        use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
        let utc = || Some(Arc::from("UTC"));
        let cases = [
            (DataType::Timestamp(Second, utc()), DataType::Timestamp(Millisecond, utc())),
            (DataType::Timestamp(Second, None), DataType::Timestamp(Millisecond, None)),
            (DataType::Timestamp(Millisecond, utc()), DataType::Timestamp(Millisecond, utc())),
            (DataType::Timestamp(Microsecond, utc()), DataType::Timestamp(Microsecond, utc())),
            (DataType::Timestamp(Nanosecond, None), DataType::Timestamp(Nanosecond, None)),
            (DataType::Time32(Second), DataType::Time32(Millisecond)),
            (DataType::Time32(Millisecond), DataType::Time32(Millisecond)),
            (DataType::Time64(Microsecond), DataType::Time64(Microsecond)),
            (DataType::Time64(Nanosecond), DataType::Time64(Nanosecond)),
        ];
        for (given, expected) in cases {
            let numbers: ArrayRef = match given {
                DataType::Time32(_) => Arc::new(arrow::array::Int32Array::from(vec![Some(0), None, Some(86_399)])),
                _ => Arc::new(Int64Array::from(vec![Some(0), None, Some(86_399)])),
            };
            let column = cast(&numbers, &given).unwrap();
            let batch = RecordBatch::try_from_iter_with_nullable([("t", Arc::clone(&column), true)]).unwrap();
            let found = read_back(&batch);
            assert_eq!(*found.column(0).data_type(), expected, "{given}");
            assert_eq!(found.column(0), &cast(&column, &expected).unwrap(), "{given}");
        }
    }

    #[test]
    fn times_in_seconds_are_found_within_others() {
        let seconds: ArrayRef = Arc::new(TimestampSecondArray::from(vec![Some(1), None]).with_timezone("UTC"));
        let field = Arc::new(Field::new("item", seconds.data_type().clone(), true));
        let lists = cast(&seconds, &DataType::List(Arc::clone(&field))).unwrap();
        let structs: ArrayRef = Arc::new(StructArray::from(vec![(field, Arc::clone(&seconds))]));
        let batch = RecordBatch::try_from_iter([("lists", lists), ("structs", structs)]).unwrap();
        let found = read_back(&batch);
        let millis = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        for values in [found.column(0).as_list::<i32>().values(), found.column(1).as_struct().column(0)] {
            assert_eq!(*values.data_type(), millis);
            assert_eq!(cast(values, &DataType::Int64).unwrap().as_primitive::<Int64Type>().value(0), 1_000);
        }
    }

    #[test]
    fn a_time_that_milliseconds_cannot_count_is_an_error() {
        let seconds = TimestampSecondArray::from(vec![i64::MAX]);
        let batch = RecordBatch::try_from_iter([("t", Arc::new(seconds) as ArrayRef)]).unwrap();
        assert!(parquet_batch(&batch, &parquet_schema(&batch.schema())).is_err());
    }

    #[test]
    fn days_come_back_as_dates() {
        let days: ArrayRef = Arc::new(Date64Array::from(vec![Some(86_400_000), None, Some(-2 * 86_400_000)]));
        let field = Arc::new(Field::new("day", DataType::Date64, true));
        let structs: ArrayRef = Arc::new(StructArray::from(vec![(field, Arc::clone(&days))]));
        let batch = RecordBatch::try_from_iter([("days", days), ("structs", structs)]).unwrap();
        let found = read_back(&batch);
        let dates: ArrayRef = Arc::new(Date32Array::from(vec![Some(1), None, Some(-2)]));
        assert_eq!(found.column(0), &dates);
        assert_eq!(found.column(1).as_struct().column(0), &dates);

        let noon = Date64Array::from(vec![43_200_000]);
        let batch = RecordBatch::try_from_iter([("noon", Arc::new(noon) as ArrayRef)]).unwrap();
        let error = parquet_batch(&batch, &parquet_schema(&batch.schema())).unwrap_err().to_string();
        assert!(error.contains("column `noon` has a date64 that is no whole day"), "{error}");
    }

    #[test]
    fn columns_that_parquet_cannot_hold_are_named() {
        let number = UnionFields::try_new([0], [Field::new("number", DataType::Int64, true)]).unwrap();
        let union = DataType::Union(number, UnionMode::Sparse);
        let nothing = DataType::Struct(Fields::empty());
        let dictionary = |values: DataType| DataType::Dictionary(Box::new(DataType::Int32), Box::new(values));
        let types = [
            ("u", union.clone()),
            ("i", DataType::Interval(IntervalUnit::MonthDayNano)),
            ("s", nothing.clone()),
            ("of_u", DataType::List(Arc::new(Field::new("item", union, true)))),
            ("of_s", DataType::Struct(Fields::from(vec![Field::new("inner", nothing, true)]))),
            ("views", dictionary(DataType::Utf8View)),
            ("great", DataType::Decimal128(5, -2)),
            ("small", DataType::Decimal128(5, 7)),
            ("empty", DataType::FixedSizeBinary(0)),
            ("fine", DataType::Interval(IntervalUnit::DayTime)),
            ("texts", dictionary(DataType::Utf8)),
            ("decimal", DataType::Decimal64(5, 5)),
        ];
        let schema = Schema::new(types.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec());
        let error = check_parquet(&schema).unwrap_err();
        let fields: Vec<_> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
        let expected = ["u", "i", "s", "of_u", "of_s", "views", "great", "small", "empty"];
        assert_eq!(fields, expected.map(|name| format!("spine.{name}")));
        // Who writes one all the same is told so, too.
        let batch = RecordBatch::new_empty(Arc::new(schema));
        let written = parquet_schema(&batch.schema());
        ArrowWriter::try_new(Vec::new(), Arc::clone(&written), None).unwrap();
        let error = parquet_batch(&batch, &written).unwrap_err().to_string();
        assert!(error.contains("column `u` has type"), "{error}");
    }
}
