//! Times in seconds as Parquet can hold them. It knows none, and a writer makes plain integers of them; so they are written in
//! milliseconds, of whatever depth. All other columns are written as they are.

#![expect(clippy::wildcard_enum_match_arm, reason = "Arrow's enum: a type that is not named holds no times in seconds")]

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};

/// The schema with which rows of `schema` are written to a Parquet file.
pub fn parquet_schema(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema.fields().iter().map(|field| in_milliseconds(field)).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The rows as they are written: with `schema`, which is what [`parquet_schema`] makes of their own.
///
/// # Errors
/// A time that is beyond what milliseconds can count.
pub fn parquet_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    if batch.schema_ref() == schema {
        return Ok(batch.clone());
    }
    let exact = CastOptions { safe: false, ..CastOptions::default() };
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| match column.data_type() == field.data_type() {
        true => Ok(Arc::clone(column)),
        false => cast_with_options(column, field.data_type(), &exact),
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)
}

fn in_milliseconds(field: &Field) -> Field {
    field.clone().with_data_type(type_in_milliseconds(field.data_type()))
}

fn type_in_milliseconds(data_type: &DataType) -> DataType {
    let item = |field: &Field| Arc::new(in_milliseconds(field));
    match data_type {
        DataType::Timestamp(TimeUnit::Second, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
        DataType::Time32(TimeUnit::Second) => DataType::Time32(TimeUnit::Millisecond),
        DataType::List(field) => DataType::List(item(field)),
        DataType::LargeList(field) => DataType::LargeList(item(field)),
        DataType::FixedSizeList(field, length) => DataType::FixedSizeList(item(field), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| item(field)).collect()),
        DataType::Map(field, is_sorted) => DataType::Map(item(field), *is_sorted),
        DataType::Dictionary(key, value) => DataType::Dictionary(key.clone(), Box::new(type_in_milliseconds(value))),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Array, ArrayRef, AsArray, Int64Array, TimestampSecondArray},
        compute::cast,
        datatypes::Int64Type,
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
        let structs: ArrayRef = Arc::new(arrow::array::StructArray::from(vec![(field, Arc::clone(&seconds))]));
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
}
