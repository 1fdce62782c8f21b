//! What rows say, case by case.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, Float64Array, Int32Array, Int64Array, ListArray, StringArray},
    buffer::BooleanBuffer,
    datatypes::Int32Type,
};
use larder_codec::{
    EncodedRows, RowDecoder, RowEncoder, RowSchema, SchemaColumn, compare_rows, is_deleted, row_version, schema_number,
};
use larder_types::{ColumnNumber, ErrorCode, ScalarType, SchemaNumber, Status, Timestamp, ValueType};

const INT: ValueType = ValueType::Scalar(ScalarType::Int64);
const TEXT: ValueType = ValueType::Scalar(ScalarType::String);
const LIST: ValueType = ValueType::List(ScalarType::Int32);

pub(crate) fn schema(number: u32, columns: &[(u32, ValueType)]) -> RowSchema {
    let column = |(number, value_type): &(u32, ValueType)| SchemaColumn {
        number: ColumnNumber(*number),
        value_type: *value_type,
    };
    RowSchema::new(SchemaNumber(number), columns.iter().map(column).collect()).unwrap()
}

/// Rows of `columns`, the n-th of event time n and created time 100 + n.
pub(crate) fn encode(schema: &RowSchema, columns: &[ArrayRef], rows: i64) -> EncodedRows {
    let (events, created): (Vec<_>, Vec<_>) = (0..rows).map(|row| (row, 100 + row)).unzip();
    RowEncoder::new(schema).encode(columns, &events, &created, None).unwrap()
}

fn two_rows() -> (RowSchema, EncodedRows) {
    let schema = schema(3, &[(1, INT), (2, TEXT), (5, LIST)]);
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(7), None]), None]);
    let columns: [ArrayRef; 3] = [
        Arc::new(Int64Array::from(vec![Some(42), None])),
        Arc::new(StringArray::from(vec![Some("é"), Some("")])),
        Arc::new(lists),
    ];
    let rows = encode(&schema, &columns, 2);
    (schema, rows)
}

#[test]
fn a_row_has_the_parts_that_the_layout_says() {
    let (_, rows) = two_rows();
    let times = |event: u8, created: u8| [0x80, 0, 0, 0, 0, 0, 0, event, 0x80, 0, 0, 0, 0, 0, 0, created];
    let first = [&[1][..], &times(0, 100), &[0, 3, 0], &42_i64.to_le_bytes(), &[2, 0, 0, 0, 12, 0, 0, 0]].concat();
    let list = [&[2, 0b10][..], &7_i32.to_le_bytes(), &[0; 4]].concat();
    assert_eq!(rows.get(0), [&first[..], "é".as_bytes(), &list].concat());
    assert_eq!(rows.get(1), [&[1][..], &times(1, 101), &[0, 3, 0b101], &[0; 8], &[0; 8]].concat());
    assert_eq!(rows.slice(1), rows.get(1));
}

#[test]
fn the_answers_of_each_kind_of_row() {
    let (schema, rows) = two_rows();
    let wanted = [(ColumnNumber(2), TEXT), (ColumnNumber(1), INT), (ColumnNumber(9), INT), (ColumnNumber(1), INT)];
    let decoder = RowDecoder::new(&[Arc::new(schema.clone())], &wanted).unwrap();
    let deleted =
        RowEncoder::new(&schema).encode(&empty_columns(), &[9], &[9], Some(&BooleanBuffer::new_set(1))).unwrap();
    let mut columns = decoder.columns(4);
    assert_eq!(columns.push(None, None).unwrap(), None);
    assert_eq!(columns.push(Some(deleted.get(0)), None).unwrap(), Some(row_version(deleted.get(0)).unwrap()));
    let second = Timestamp::from_micros(1);
    let version = columns.push(Some(rows.get(0)), Some(second)).unwrap().unwrap();
    assert_eq!((version.event_time.as_micros(), version.created_time.as_micros()), (0, 100));
    columns.push(Some(rows.get(1)), Some(second)).unwrap();
    let columns = columns.finish().unwrap();
    let statuses = |values: [Status; 4]| Some(values.map(Status::as_u8).to_vec());
    use Status::{NotFound, Null, OutsideMaxAge, Present};
    assert_eq!(columns[0].statuses, statuses([NotFound, NotFound, OutsideMaxAge, Present]));
    assert_eq!(columns[1].statuses, statuses([NotFound, NotFound, OutsideMaxAge, Null]));
    assert_eq!(columns[2].statuses, statuses([NotFound, NotFound, OutsideMaxAge, NotFound]));
    assert_eq!(columns[3].statuses, columns[1].statuses, "a column may be wanted twice");
    assert_eq!(*columns[0].values, StringArray::from(vec![None, None, None, Some("")]));
    assert_eq!(columns[2].values.null_count(), 4);
}

fn empty_columns() -> [ArrayRef; 3] {
    [
        Arc::new(Int64Array::from(vec![Some(1)])),
        Arc::new(StringArray::from(vec!["left out"])),
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)])])),
    ]
}

#[test]
fn a_deleted_row_has_no_values() {
    let (schema, _) = two_rows();
    let deleted = BooleanBuffer::new_set(1);
    let rows = RowEncoder::new(&schema).encode(&empty_columns(), &[-1], &[i64::MIN], Some(&deleted)).unwrap();
    let row = rows.get(0);
    assert_eq!(row.len(), 19);
    assert!(is_deleted(row).unwrap());
    assert_eq!(schema_number(row).unwrap(), SchemaNumber(3));
    let version = row_version(row).unwrap();
    assert_eq!((version.event_time.as_micros(), version.created_time), (-1, Timestamp::MIN));
}

#[test]
fn what_lies_beneath_a_null_does_not_change_the_bytes() {
    let schema = schema(1, &[(1, ValueType::Scalar(ScalarType::Float64)), (2, TEXT), (3, LIST)]);
    let nulls = || Some(BooleanBuffer::new_unset(1).into());
    let with = |value: f64, text: &str, item: i32| {
        let text = StringArray::from(vec![text]);
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(item)])]);
        let (field, offsets, items, _) = list.into_parts();
        let columns: [ArrayRef; 3] = [
            Arc::new(Float64Array::new(vec![value].into(), nulls())),
            Arc::new(StringArray::new(text.offsets().clone(), text.values().clone(), nulls())),
            Arc::new(ListArray::new(field, offsets, items, nulls())),
        ];
        encode(&schema, &columns, 1)
    };
    assert_eq!(with(1.5, "beneath", 7), with(f64::NAN, "", 0));
}

#[test]
fn slices_of_arrays_are_encoded_as_the_values_they_show() {
    let schema = schema(1, &[(1, TEXT), (2, LIST), (3, INT)]);
    let lists = [Some(vec![Some(1)]), None, Some(vec![None, Some(3)]), Some(vec![])];
    let columns: [ArrayRef; 3] = [
        Arc::new(StringArray::from(vec![Some("a"), None, Some("ccc"), Some("d")])),
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists)),
        Arc::new(Int64Array::from(vec![Some(1), Some(2), None, Some(4)])),
    ];
    let whole = encode(&schema, &columns, 4);
    let encoder = RowEncoder::new(&schema);
    let part = encoder.encode(&columns.map(|column| column.slice(1, 3)), &[1, 2, 3], &[101, 102, 103], None).unwrap();
    assert!(part.iter().eq(whole.iter().skip(1)));
}

#[test]
fn columns_that_do_not_fit_are_refused_with_what_would() {
    let schema = schema(8, &[(4, INT)]);
    let refusal = |columns: &[ArrayRef], created: &[i64]| {
        let error = RowEncoder::new(&schema).encode(columns, &[1], created, None).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
        error.to_string()
    };
    let one: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let narrow: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let two: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    assert_eq!(refusal(&[], &[1]), "schema 8 has 1 columns, 0 were given");
    assert_eq!(refusal(&[narrow], &[1]), "column 4 is int64, so Int64, not Int32");
    assert_eq!(refusal(&[two], &[1]), "column 4 has 2 values for 1 event times");
    assert_eq!(refusal(&[one], &[]), "1 event times, 0 created times and 1 deletions do not make rows");
}

#[test]
fn a_row_over_the_limit_is_refused_by_its_number() {
    let schema = schema(1, &[(1, TEXT)]);
    let long = "x".repeat(larder_codec::MAX_ROW_BYTES);
    let columns: [ArrayRef; 1] = [Arc::new(StringArray::from(vec!["short", &long]))];
    let error = RowEncoder::new(&schema).encode(&columns, &[1, 2], &[1, 2], None).unwrap_err();
    assert!(error.message().starts_with("row 1 takes 16777240 bytes, at most 16777216"), "{error}");
}

#[test]
fn bytes_of_newer_releases_and_damaged_ones_are_told_apart() {
    let (schema, rows) = two_rows();
    let decoder = RowDecoder::new(&[Arc::new(schema)], &[(ColumnNumber(2), TEXT), (ColumnNumber(5), LIST)]).unwrap();
    let changed = |at: usize, byte: u8| {
        let mut row = rows.get(0).to_vec();
        row[at] = byte;
        row
    };
    let cut = rows.get(0)[..rows.get(0).len() - 1].to_vec();
    let cases = [
        (changed(0, 2), ErrorCode::Unimplemented, "format version 2, this release reads 1"),
        (changed(17, 2), ErrorCode::Unimplemented, "flags 0x02"),
        (changed(18, 4), ErrorCode::DataLoss, "names schema 4, the view's schemas are 3"),
        (changed(17, 1), ErrorCode::DataLoss, "is deleted and yet has"),
        (changed(19, 0b1000), ErrorCode::DataLoss, "columns beyond the last"),
        (changed(28, 13), ErrorCode::DataLoss, "an end offset lies before"),
        (changed(32, 11), ErrorCode::DataLoss, "its values end at byte"),
        (changed(37, 0xFF), ErrorCode::DataLoss, "not UTF-8"),
        (changed(38, 3), ErrorCode::DataLoss, "a list is cut short"),
        (cut, ErrorCode::DataLoss, "its values end at byte"),
        (Vec::new(), ErrorCode::DataLoss, "0 bytes is cut short"),
        (vec![1; 17], ErrorCode::DataLoss, "17 bytes is cut short"),
    ];
    for (row, code, part) in cases {
        let error = decoder.decode([Some(&row[..])], None).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(part), "{error}");
    }
    assert!(row_version(&changed(0, 2)).is_ok(), "the times are at the same place in every version");
}

#[test]
fn decoders_refuse_schemas_that_contradict_each_other_or_what_is_wanted() {
    let (a, b) = (Arc::new(schema(1, &[(1, INT)])), Arc::new(schema(1, &[(2, INT)])));
    assert!(RowDecoder::new(&[a.clone(), a.clone()], &[]).is_ok());
    let error = RowDecoder::new(&[a.clone(), b], &[]).unwrap_err();
    assert_eq!(error.message(), "two different schemas have number 1");
    let error = RowDecoder::new(&[a], &[(ColumnNumber(1), TEXT)]).unwrap_err();
    assert_eq!(error.message(), "column 1 is wanted as string, in schema 1 it is int64");
}

#[test]
fn rows_are_ordered_by_event_time_then_created_time_then_bytes() {
    let schema = schema(1, &[(1, INT)]);
    let row = |event: i64, created: i64, value: i64| {
        let columns: [ArrayRef; 1] = [Arc::new(Int64Array::from(vec![value]))];
        RowEncoder::new(&schema).encode(&columns, &[event], &[created], None).unwrap().get(0).to_vec()
    };
    let ordered = [
        row(i64::MIN, i64::MAX, 9),
        row(-1, 5, 1),
        row(0, i64::MIN, 9),
        row(0, -1, 9),
        row(0, 0, 1),
        row(0, 0, 2),
        row(1, i64::MIN, 0),
        row(i64::MAX, i64::MIN, 0),
    ];
    for pair in ordered.windows(2) {
        assert!(compare_rows(&pair[0], &pair[1]).is_lt());
        assert!(compare_rows(&pair[1], &pair[0]).is_gt());
    }
}

#[test]
fn rows_of_the_measured_example_take_what_the_budget_counts_on() {
    let float = ValueType::Scalar(ScalarType::Float64);
    let bytes: usize = [13, 8, 6]
        .into_iter()
        .map(|columns: u32| {
            let schema = schema(1, &(0..columns).map(|column| (column, float)).collect::<Vec<_>>());
            let values: Vec<ArrayRef> =
                (0..columns).map(|column| Arc::new(Float64Array::from(vec![f64::from(column)])) as ArrayRef).collect();
            encode(&schema, &values, 1).byte_len()
        })
        .sum();
    assert_eq!(bytes, 27 * 8 + 3 * 19 + 4);
}
