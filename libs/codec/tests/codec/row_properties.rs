//! Rows against a naive oracle: whatever was encoded comes back bit for bit, under any later schema.

use std::{cmp::Ordering, sync::Arc};

use arrow::{array::ArrayRef, buffer::BooleanBuffer};
use larder_codec::{
    RowDecoder, RowEncoder, RowSchema, SchemaColumn, compare_rows, is_deleted, row_version, schema_number,
};
use larder_types::{ColumnNumber, SchemaNumber, Status, Timestamp, ValueType};
use proptest::prelude::*;

use crate::values::{Value, answers, any_type, any_value, column};

/// A row as it should be: times, whether it is deleted, and its values by column.
#[derive(Debug, Clone)]
struct Row {
    event_time: i64,
    created_time: i64,
    is_deleted: bool,
    values: Vec<Option<Value>>,
}

/// Rows of a schema.
#[derive(Debug, Clone)]
struct Written {
    schema: RowSchema,
    rows: Vec<Row>,
}

impl Written {
    fn encode(&self) -> Vec<Vec<u8>> {
        let columns = self.schema.columns().iter().enumerate();
        let columns: Vec<ArrayRef> = columns
            .map(|(position, schema_column)| {
                let values: Vec<_> = self.rows.iter().map(|row| row.values[position].clone()).collect();
                column(schema_column.value_type, &values)
            })
            .collect();
        let times = |time: fn(&Row) -> i64| self.rows.iter().map(time).collect::<Vec<_>>();
        let deleted: BooleanBuffer = self.rows.iter().map(|row| row.is_deleted).collect();
        let rows = RowEncoder::new(&self.schema)
            .encode(&columns, &times(|row| row.event_time), &times(|row| row.created_time), Some(&deleted))
            .unwrap();
        rows.iter().map(<[u8]>::to_vec).collect()
    }

    /// What a wanted column should answer for a row.
    fn answer(&self, row: &Row, wanted: ColumnNumber, oldest: Option<Timestamp>) -> (Option<Value>, Status) {
        if row.is_deleted {
            return (None, Status::NotFound);
        }
        if oldest.is_some_and(|oldest| row.event_time < oldest.as_micros()) {
            return (None, Status::OutsideMaxAge);
        }
        match self.schema.columns().iter().position(|column| column.number == wanted) {
            None => (None, Status::NotFound),
            Some(position) => match &row.values[position] {
                None => (None, Status::Null),
                Some(value) => (Some(value.clone()), Status::Present),
            },
        }
    }
}

fn any_time() -> impl Strategy<Value = i64> {
    prop_oneof![-2..=2_i64, any::<i64>(), Just(i64::MIN), Just(i64::MAX)]
}

fn any_row(schema: &RowSchema) -> impl Strategy<Value = Row> + use<> {
    let values: Vec<_> = schema.columns().iter().map(|column| any_value(column.value_type)).collect();
    (any_time(), any_time(), prop::bool::weighted(0.1), values)
        .prop_map(|(event_time, created_time, is_deleted, values)| Row { event_time, created_time, is_deleted, values })
}

fn any_written(schema: RowSchema) -> impl Strategy<Value = Written> {
    let rows = prop::collection::vec(any_row(&schema), 0..8);
    rows.prop_map(move |rows| Written { schema: schema.clone(), rows })
}

/// Some schemas of one view: each has any of its columns. And the types of all columns.
fn any_history() -> impl Strategy<Value = (Vec<ValueType>, Vec<Written>)> {
    let types = prop::collection::vec(any_type(), 0..20);
    types.prop_flat_map(|types| {
        let chosen = prop::collection::vec(prop::collection::vec(any::<bool>(), types.len()), 1..4);
        let numbers = prop::sample::subsequence(vec![0, 1, 127, 128, 16_384, u32::MAX], 3);
        let all = types.clone();
        let written = (chosen, numbers).prop_flat_map(move |(chosen, numbers)| {
            let schemas = chosen.into_iter().zip(numbers).map(|(chosen, number)| {
                let columns = all.iter().zip(chosen).enumerate().filter(|(_, (_, is_chosen))| *is_chosen);
                let columns = columns.map(|(column, (value_type, _))| SchemaColumn {
                    number: ColumnNumber(column as u32),
                    value_type: *value_type,
                });
                any_written(RowSchema::new(SchemaNumber(number), columns.collect()).unwrap())
            });
            schemas.collect::<Vec<_>>()
        });
        (Just(types), written)
    })
}

proptest! {
    #[test]
    fn rows_of_any_schema_come_back_as_the_wanted_columns(
        (types, history) in any_history(),
        oldest in prop::option::of(any_time().prop_map(Timestamp::from_micros)),
    ) {
        let schemas: Vec<_> = history.iter().map(|written| Arc::new(written.schema.clone())).collect();
        let wanted: Vec<_> = (0_u32..).map(ColumnNumber).zip(types).collect();
        let decoder = RowDecoder::new(&schemas, &wanted).unwrap();
        let encoded: Vec<_> = history.iter().flat_map(Written::encode).collect();
        let columns = decoder.decode(encoded.iter().map(|row| Some(&row[..])), oldest).unwrap();
        for ((number, value_type), column) in wanted.into_iter().zip(columns) {
            let rows = history.iter().flat_map(|written| written.rows.iter().map(move |row| (written, row)));
            let expected: Vec<_> = rows.map(|(written, row)| written.answer(row, number, oldest)).collect();
            prop_assert_eq!(answers(value_type, &column), expected);
        }
    }

    #[test]
    fn a_row_says_its_times_schema_and_whether_it_is_deleted((_, history) in any_history()) {
        for written in history {
            for (row, bytes) in written.rows.iter().zip(written.encode()) {
                let version = row_version(&bytes).unwrap();
                prop_assert_eq!(version.event_time.as_micros(), row.event_time);
                prop_assert_eq!(version.created_time.as_micros(), row.created_time);
                prop_assert_eq!(is_deleted(&bytes).unwrap(), row.is_deleted);
                prop_assert_eq!(schema_number(&bytes).unwrap(), written.schema.number());
            }
        }
    }

    #[test]
    fn rows_are_ordered_as_their_times_and_equal_only_where_identical((_, history) in any_history()) {
        let rows: Vec<_> = history.iter().flat_map(|written| {
            written.encode().into_iter().zip(&written.rows).map(|(bytes, row)| ((row.event_time, row.created_time), bytes))
        }).collect();
        for (times, bytes) in &rows {
            for (other_times, other_bytes) in &rows {
                let tuples = (times, &bytes[17..]).cmp(&(other_times, &other_bytes[17..]));
                prop_assert_eq!(compare_rows(bytes, other_bytes), tuples);
                prop_assert_eq!(tuples == Ordering::Equal, bytes == other_bytes);
            }
        }
    }

    #[test]
    fn damaged_rows_are_answered_with_values_or_an_error(
        (types, history) in any_history(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let schemas: Vec<_> = history.iter().map(|written| Arc::new(written.schema.clone())).collect();
        let wanted: Vec<_> = (0_u32..).map(ColumnNumber).zip(types).collect();
        let decoder = RowDecoder::new(&schemas, &wanted).unwrap();
        for mut bytes in history.iter().flat_map(Written::encode) {
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            let _ = decoder.decode([Some(&bytes[..])], None);
            let _ = decoder.decode([Some(&bytes[..cut.index(bytes.len())])], None);
        }
    }

    #[test]
    fn any_bytes_are_answered_with_values_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = (row_version(&bytes), is_deleted(&bytes), schema_number(&bytes), compare_rows(&bytes, &[1]));
    }
}
