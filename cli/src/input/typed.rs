//! Cells into columns of a type. What is not exactly a value of the type is an error that names row and column; of floats, the
//! nearest to what is written is meant, and times finer than a microsecond are rounded down.

use std::{str::FromStr, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, ListArray,
        StringArray, TimestampMicrosecondArray,
    },
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::Field,
    error::ArrowError,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use larder_types::{ScalarType, Timestamp, ValueType};

use super::{Cells, Rows, cell::Cell, columns, json};
use crate::failure::{Failure, Outcome};

impl Rows {
    /// The column of that name as `value_type`; none where there is no such column.
    pub(crate) fn typed(&self, name: &str, value_type: ValueType) -> Outcome<Option<ArrayRef>> {
        let Some(column) = self.column(name) else { return Ok(None) };
        match &column.cells {
            Cells::Typed(array) => self.converted(name, array, value_type).map(Some),
            Cells::Untyped(cells) => self.read(name, cells, value_type).map(Some),
        }
    }

    /// The times in the column of that name, where they are not null; none where there is no such column.
    pub(crate) fn times(&self, name: &str) -> Outcome<Option<Vec<Option<Timestamp>>>> {
        let Some(array) = self.typed(name, ScalarType::Timestamp.into())? else { return Ok(None) };
        let times = array.as_any().downcast_ref::<TimestampMicrosecondArray>();
        Ok(Some(times.into_iter().flatten().map(|time| time.map(Timestamp::from_micros)).collect()))
    }

    fn wrong(&self, row: usize, column: &str, what: &str) -> Failure {
        Failure::wrong(format!("{}: row {}, column {column}: {what}", self.file, self.first + row as u64))
    }

    fn read(&self, name: &str, cells: &[Cell], value_type: ValueType) -> Outcome<ArrayRef> {
        let read = match value_type {
            ValueType::Scalar(scalar) => scalars(cells, scalar).map_err(Unfit::at),
            ValueType::List(item) => lists(cells, item),
        };
        read.map_err(|Unfit { row, item }| {
            let what = match item {
                Some((number, item, scalar)) => {
                    format!(
                        "item {number} of the list, {item}, is not a value of type {scalar}; {}",
                        hint(scalar.into())
                    )
                }
                None => {
                    let cell = cells.get(row).map(ToString::to_string).unwrap_or_default();
                    format!("{cell} is not a value of type {value_type}; {}", hint(value_type))
                }
            };
            self.wrong(row, name, &what)
        })
    }

    fn converted(&self, name: &str, array: &ArrayRef, value_type: ValueType) -> Outcome<ArrayRef> {
        let found = array.data_type();
        if !columns::can_convert(found, value_type) {
            return Err(Failure::wrong(format!(
                "{}: column {name} has the type {}, which does not fit into {value_type}",
                self.file,
                columns::name_of(found)
            )));
        }
        let wrong = |error: ArrowError| {
            let ArrowError::CastError(why) = &error else {
                return Failure::wrong(format!("{}: column {name} as {value_type}: {error}", self.file));
            };
            let value = why.strip_prefix("Can't cast value ").and_then(|rest| Some(rest.rsplit_once(" to type ")?.0));
            let why = value.map_or_else(|| why.clone(), |value| format!("{value} is beyond it"));
            Failure::wrong(format!("{}: column {name} as {value_type}: {why}", self.file))
        };
        columns::convert(array, value_type).map_err(wrong)
    }
}

/// How a value of the type is written.
pub(crate) fn hint(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Scalar(ScalarType::Bool) => "write true or false",
        ValueType::Scalar(ScalarType::Int32) => "write a whole number of 32 bits",
        ValueType::Scalar(ScalarType::Int64) => "write a whole number of 64 bits",
        ValueType::Scalar(ScalarType::Float32 | ScalarType::Float64) => "write a number such as 12.5, NaN or Infinity",
        ValueType::Scalar(ScalarType::String) => "write text; in JSON, in quotes",
        ValueType::Scalar(ScalarType::Bytes) => "write base64",
        ValueType::Scalar(ScalarType::Timestamp) => {
            "write RFC 3339, e.g. 2026-01-31T08:30:00Z, or microseconds since 1970"
        }
        ValueType::List(ScalarType::Bool) => "write a JSON list such as [true, false]",
        ValueType::List(ScalarType::Int32 | ScalarType::Int64) => "write a JSON list such as [1, 2]",
        ValueType::List(ScalarType::Float32 | ScalarType::Float64) => "write a JSON list such as [1.5, 2]",
        ValueType::List(ScalarType::String) => "write a JSON list such as [\"a\", \"b\"]",
        ValueType::List(ScalarType::Bytes) => "write a JSON list of base64 such as [\"AP8=\"]",
        ValueType::List(ScalarType::Timestamp) => "write a JSON list of times such as [\"2026-01-31T08:30:00Z\"]",
    }
}

/// A column of the cells, or the first one that is not a value of the type.
fn scalars(cells: &[Cell], scalar: ScalarType) -> Result<ArrayRef, usize> {
    Ok(match scalar {
        ScalarType::Bool => Arc::new(BooleanArray::from(all(cells, boolean)?)),
        ScalarType::Int32 => Arc::new(Int32Array::from(all(cells, |cell| digits(cell)?.parse().ok())?)),
        ScalarType::Int64 => Arc::new(Int64Array::from(all(cells, |cell| digits(cell)?.parse().ok())?)),
        ScalarType::Float32 => Arc::new(Float32Array::from(all(cells, |cell| float(cell, f32::is_finite))?)),
        ScalarType::Float64 => Arc::new(Float64Array::from(all(cells, |cell| float(cell, f64::is_finite))?)),
        ScalarType::String => Arc::new(StringArray::from(all(cells, text)?)),
        ScalarType::Bytes => Arc::new(BinaryArray::from_iter(all(cells, bytes)?)),
        ScalarType::Timestamp => Arc::new(TimestampMicrosecondArray::from(all(cells, instant)?).with_timezone("UTC")),
    })
}

/// The row that has no value of the type; of a list, the number of the item, which it is, and what it should be.
struct Unfit {
    row: usize,
    item: Option<(usize, String, ScalarType)>,
}

impl Unfit {
    fn at(row: usize) -> Self {
        Self { row, item: None }
    }
}

fn lists(cells: &[Cell], item: ScalarType) -> Result<ArrayRef, Unfit> {
    let lists = all(cells, |cell| match cell {
        Cell::List(items) => Some(items.clone()),
        Cell::Plain(text) => json::list(text),
        Cell::Null | Cell::Bool(_) | Cell::Number(_) | Cell::Text(_) => None,
    })
    .map_err(Unfit::at)?;
    let lengths = lists.iter().map(|list| list.as_ref().map_or(0, Vec::len));
    let offsets = OffsetBuffer::from_lengths(lengths);
    let nulls: NullBuffer = lists.iter().map(Option::is_some).collect();
    let items: Vec<Cell> = lists.into_iter().flatten().flatten().collect();
    let values = scalars(&items, item).map_err(|position| {
        let row = row_of(&offsets, position);
        let first = offsets.get(row).and_then(|first| usize::try_from(*first).ok()).unwrap_or(0);
        let wrong = items.get(position).map(ToString::to_string).unwrap_or_default();
        Unfit { row, item: Some((position + 1 - first, wrong, item)) }
    })?;
    let field = Arc::new(Field::new("item", item.arrow(), true));
    let nulls = (nulls.null_count() > 0).then_some(nulls);
    Ok(Arc::new(ListArray::new(field, offsets, values, nulls)))
}

/// The row whose list has the item at `position`.
fn row_of(offsets: &OffsetBuffer<i32>, position: usize) -> usize {
    offsets.partition_point(|offset| usize::try_from(*offset).unwrap_or(0) <= position).saturating_sub(1)
}

fn all<T>(cells: &[Cell], convert: impl Fn(&Cell) -> Option<T>) -> Result<Vec<Option<T>>, usize> {
    let one = |(row, cell): (usize, &Cell)| {
        if *cell == Cell::Null { Ok(None) } else { convert(cell).map(Some).ok_or(row) }
    };
    cells.iter().enumerate().map(one).collect()
}

fn boolean(cell: &Cell) -> Option<bool> {
    match cell {
        Cell::Bool(value) => Some(*value),
        Cell::Plain(text) => text.to_lowercase().parse().ok(),
        Cell::Null | Cell::Number(_) | Cell::Text(_) | Cell::List(_) => None,
    }
}

fn digits(cell: &Cell) -> Option<&str> {
    match cell {
        Cell::Number(text) | Cell::Plain(text) => Some(text),
        Cell::Null | Cell::Bool(_) | Cell::Text(_) | Cell::List(_) => None,
    }
}

/// The float nearest to what is written. Digits that are beyond all of them are not taken for infinity.
fn float<F: FromStr + Copy>(cell: &Cell, is_finite: fn(F) -> bool) -> Option<F> {
    let text = float_text(cell)?;
    let value: F = text.parse().ok()?;
    (is_finite(value) || !text.contains(|c: char| c.is_ascii_digit())).then_some(value)
}

/// The text of a float, with its names for what is no number.
fn float_text(cell: &Cell) -> Option<&str> {
    match cell {
        Cell::Number(text) | Cell::Plain(text) => Some(text),
        Cell::Text(text) if matches!(text.as_str(), "NaN" | "Infinity" | "-Infinity") => Some(text),
        Cell::Null | Cell::Bool(_) | Cell::Text(_) | Cell::List(_) => None,
    }
}

fn text(cell: &Cell) -> Option<String> {
    match cell {
        Cell::Text(text) | Cell::Plain(text) => Some(text.clone()),
        Cell::Null | Cell::Bool(_) | Cell::Number(_) | Cell::List(_) => None,
    }
}

fn bytes(cell: &Cell) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(text(cell)?).ok()
}

fn instant(cell: &Cell) -> Option<i64> {
    let micros = digits(cell).and_then(|text| text.parse().ok());
    micros.or_else(|| text(cell)?.parse::<Timestamp>().ok().map(Timestamp::as_micros))
}

#[cfg(test)]
mod tests {
    use larder_types::ScalarType::{Bool, Bytes, Float32, Float64, Int32, Int64, String as Text, Timestamp as Time};

    use super::*;
    use crate::{input::Column, render::values};

    fn rows(cells: Cells, len: usize) -> Rows {
        Rows { file: "events.csv".to_owned(), first: 5, len, columns: vec![Column { name: "x".to_owned(), cells }] }
    }

    fn typed(cell: Cell, value_type: ValueType) -> Outcome<ArrayRef> {
        rows(Cells::Untyped(vec![Cell::Null, cell]), 2).typed("x", value_type).map(Option::unwrap)
    }

    #[test]
    fn cells_become_values_of_the_type_or_an_error_with_their_place() {
        let (plain, number, quoted) = (
            |text: &str| Cell::Plain(text.to_owned()),
            |text: &str| Cell::Number(text.to_owned()),
            |text: &str| Cell::Text(text.to_owned()),
        );
        let good: Vec<(Cell, ValueType, &str)> = vec![
            (plain("True"), Bool.into(), "true"),
            (Cell::Bool(false), Bool.into(), "false"),
            (plain("-2147483648"), Int32.into(), "-2147483648"),
            (number("9223372036854775807"), Int64.into(), "9223372036854775807"),
            (number("0.12345678901234568"), Float64.into(), "0.12345678901234568"),
            (plain("-0.0"), Float64.into(), "-0.0"),
            (quoted("NaN"), Float64.into(), "NaN"),
            (number("-Infinity"), Float32.into(), "-inf"),
            (plain("a,b"), Text.into(), "a,b"),
            (quoted("/wA="), Bytes.into(), "/wA="),
            (plain("2026-01-31T08:30:00.000001Z"), Time.into(), "2026-01-31T08:30:00.000001Z"),
            (number("1"), Time.into(), "1970-01-01T00:00:00.000001Z"),
            (plain("[1, null]"), ValueType::List(Int32), "[1,null]"),
            (Cell::List(vec![quoted("a")]), ValueType::List(Text), "[\"a\"]"),
        ];
        for (cell, value_type, expected) in good {
            let array = typed(cell, value_type).unwrap();
            assert_eq!(array.data_type(), &value_type.arrow());
            assert!(array.is_null(0));
            assert_eq!(values::text(&array, 1), expected);
        }
        let bad: Vec<(Cell, ValueType)> = vec![
            (number("1"), Bool.into()),
            (plain("2147483648"), Int32.into()),
            (number("5.0"), Int64.into()),
            (quoted("5"), Int64.into()),
            (quoted("five"), Float64.into()),
            (number("1e309"), Float64.into()),
            (plain("-1e39"), Float32.into()),
            (number("5"), Text.into()),
            (plain("*"), Bytes.into()),
            (plain("yesterday"), Time.into()),
            (plain("1"), ValueType::List(Int64)),
            (Cell::List(vec![number("1")]), Int64.into()),
        ];
        for (cell, value_type) in bad {
            let message = typed(cell, value_type).unwrap_err().to_string();
            assert!(message.starts_with("error: events.csv: row 6, column x: "), "{message}");
            assert!(message.contains(&format!("not a value of type {value_type}; write ")), "{message}");
        }
    }

    #[test]
    fn a_column_with_a_type_that_does_not_fit_is_told_by_name() {
        let typed = |array: Int64Array, value_type: ValueType| {
            rows(Cells::Typed(Arc::new(array)), 1).typed("x", value_type).map(Option::unwrap)
        };
        assert_eq!(typed(vec![1].into(), Int32.into()).unwrap().data_type(), &Int32.arrow());
        for (value_type, message) in [
            (Text.into(), "error: events.csv: column x has the type int64, which does not fit into string"),
            (Int32.into(), "error: events.csv: column x as int32: 1099511627776 is beyond it"),
        ] {
            let error = typed(vec![1 << 40].into(), value_type).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn an_item_of_a_list_is_told_by_its_row() {
        let items = vec![Cell::Number("1".to_owned()), Cell::Text("a".to_owned())];
        let cells = vec![Cell::List(vec![]), Cell::List(vec![Cell::Null]), Cell::List(items)];
        for (item, wrong) in [
            (Int64, "item 2 of the list, \"a\", is not a value of type int64; write a whole number of 64 bits"),
            (Text, "item 1 of the list, 1, is not a value of type string; write text; in JSON, in quotes"),
        ] {
            let message =
                rows(Cells::Untyped(cells.clone()), 3).typed("x", ValueType::List(item)).unwrap_err().to_string();
            assert_eq!(message, format!("error: events.csv: row 7, column x: {wrong}"));
        }
    }
}
