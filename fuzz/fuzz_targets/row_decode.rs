//! Any bytes as an online row: values or an error. What could be read is written and read again without change.

#![no_main]

use std::sync::{Arc, LazyLock};

use arrow::array::ArrayRef;
use larder_codec::{RowDecoder, RowEncoder, RowSchema, SchemaColumn, is_deleted, row_version, schema_number};
use larder_types::{ColumnNumber, ScalarType, SchemaNumber, ValueType};
use libfuzzer_sys::fuzz_target;

/// A schema of every type, one of every second, one of none.
static SCHEMAS: LazyLock<Vec<Arc<RowSchema>>> = LazyLock::new(|| {
    let every = columns();
    let column =
        |(number, value_type): &(ColumnNumber, ValueType)| SchemaColumn { number: *number, value_type: *value_type };
    let of = |step: usize| every.iter().step_by(step).map(column).collect::<Vec<_>>();
    let columns = [of(1), of(2), Vec::new()];
    let schemas = (0..).zip(columns).map(|(number, columns)| RowSchema::new(SchemaNumber(number), columns));
    schemas.map(|schema| Arc::new(schema.expect("the columns differ"))).collect()
});

static DECODER: LazyLock<RowDecoder> =
    LazyLock::new(|| RowDecoder::new(&SCHEMAS, &columns()).expect("the schemas agree"));

fn columns() -> Vec<(ColumnNumber, ValueType)> {
    let types = ScalarType::ALL.into_iter().flat_map(|scalar| [ValueType::Scalar(scalar), ValueType::List(scalar)]);
    (0..).map(ColumnNumber).zip(types).collect()
}

fuzz_target!(|row: &[u8]| {
    let Ok(columns) = DECODER.decode([Some(row)], None) else { return };
    if is_deleted(row).expect("it was decoded") {
        return;
    }
    let number = schema_number(row).expect("it was decoded");
    let version = row_version(row).expect("it was decoded");
    let schema = SCHEMAS.iter().find(|schema| schema.number() == number).expect("it was decoded");
    let times = ([version.event_time.as_micros()], [version.created_time.as_micros()]);
    let write = |columns: Vec<ArrayRef>| {
        let rows = RowEncoder::new(schema).encode(&columns, &times.0, &times.1, None);
        rows.expect("what was read can be written").get(0).to_vec()
    };
    let of_schema = |columns: Vec<larder_codec::DecodedColumn>| {
        let numbered = (0..).map(ColumnNumber).zip(columns);
        numbered.filter(|(number, _)| schema.position(*number).is_some()).map(|(_, column)| column.values).collect()
    };
    let written = write(of_schema(columns));
    let again = DECODER.decode([Some(&written[..])], None).expect("what was written can be read");
    assert_eq!(write(of_schema(again)), written);
});
