//! One column of each type, with usual values, edges and nulls.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array,
        ListBuilder, PrimitiveBuilder, StringArray, StringBuilder, TimestampMicrosecondArray, UInt32Array,
    },
    datatypes::{ArrowPrimitiveType, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
};
use larder_expressions::{Expression, Input, RequestTime};
use larder_types::{Name, ScalarType, Timestamp, ValueType};

/// The instant of requests in these tests.
pub(crate) const REQUEST_TIME: &str = "2026-02-01T00:00:00.5Z";

/// Columns over the same rows. The last row is null throughout.
pub(crate) struct Sample {
    pub(crate) inputs: Vec<Input>,
    pub(crate) columns: Vec<ArrayRef>,
    pub(crate) rows: usize,
}

pub(crate) fn input(view: Option<&str>, name: &str, value_type: impl Into<ValueType>) -> Input {
    Input {
        view: view.map(|view| Name::new(view).unwrap()),
        name: Name::new(name).unwrap(),
        value_type: value_type.into(),
    }
}

pub(crate) fn request_time() -> RequestTime {
    RequestTime::One(REQUEST_TIME.parse().unwrap())
}

/// A NaN that no arithmetic makes.
pub(crate) fn odd_nan() -> f64 {
    f64::from_bits(0xfff8_0000_0000_1234)
}

pub(crate) fn sample() -> Sample {
    let instant = |text: &str| text.parse::<Timestamp>().unwrap().as_micros();
    let instants = |values: [Option<i64>; 4]| -> ArrayRef {
        let array = TimestampMicrosecondArray::from(values.to_vec());
        Arc::new(array.with_data_type(ScalarType::Timestamp.arrow()))
    };
    let columns: Vec<(&str, ValueType, ArrayRef)> = vec![
        ("b", ScalarType::Bool.into(), Arc::new(BooleanArray::from(vec![Some(true), Some(false), Some(true), None]))),
        ("i", ScalarType::Int32.into(), Arc::new(Int32Array::from(vec![Some(7), Some(i32::MIN), Some(-1), None]))),
        (
            "n",
            ScalarType::Int64.into(),
            Arc::new(Int64Array::from(vec![Some(42), Some(i64::MIN), Some(i64::MAX), None])),
        ),
        (
            "f",
            ScalarType::Float32.into(),
            Arc::new(Float32Array::from(vec![Some(1.5), Some(-0.0), Some(f32::INFINITY), None])),
        ),
        (
            "x",
            ScalarType::Float64.into(),
            Arc::new(Float64Array::from(vec![Some(2.25), Some(-0.0), Some(1e308), None])),
        ),
        (
            "y",
            ScalarType::Float64.into(),
            Arc::new(Float64Array::from(vec![Some(-3.5), Some(odd_nan()), Some(0.0), None])),
        ),
        (
            "s",
            ScalarType::String.into(),
            Arc::new(StringArray::from(vec![Some("Hello, Wörld"), Some(""), Some(" ßIİ  "), None])),
        ),
        ("p", ScalarType::String.into(), Arc::new(StringArray::from(vec![Some("l"), Some(""), Some(" "), None]))),
        (
            "d",
            ScalarType::Bytes.into(),
            Arc::new(BinaryArray::from(vec![Some(&b"\x00\xffa"[..]), Some(b""), Some(b"ab"), None])),
        ),
        (
            "t",
            ScalarType::Timestamp.into(),
            instants([Some(instant("2026-01-31T08:30:15.123456Z")), Some(i64::MIN), Some(0), None]),
        ),
        (
            "u",
            ScalarType::Timestamp.into(),
            instants([Some(instant("2025-12-25T00:00:00Z")), Some(i64::MAX), Some(-1), None]),
        ),
        (
            "li",
            ValueType::List(ScalarType::Int32),
            numbers::<Int32Type>(&[
                Some(&[Some(3), Some(1), None, Some(2)]),
                Some(&[]),
                Some(&[Some(i32::MIN), Some(i32::MAX)]),
                None,
            ]),
        ),
        (
            "ln",
            ValueType::List(ScalarType::Int64),
            numbers::<Int64Type>(&[
                Some(&[Some(42), Some(1)]),
                Some(&[None]),
                Some(&[Some(i64::MIN), Some(i64::MAX)]),
                None,
            ]),
        ),
        (
            "lf",
            ValueType::List(ScalarType::Float64),
            numbers::<Float64Type>(&[
                Some(&[Some(0.5), Some(odd_nan()), Some(-1.0)]),
                Some(&[None]),
                Some(&[Some(-0.0), Some(0.0)]),
                None,
            ]),
        ),
        (
            "ls",
            ValueType::List(ScalarType::String),
            texts(&[Some(&[Some("b"), Some("l")]), Some(&[]), Some(&[Some(""), None]), None]),
        ),
    ];
    let inputs = columns.iter().map(|(name, value_type, _)| input(Some("v"), name, *value_type)).collect();
    Sample { inputs, columns: columns.into_iter().map(|(_, _, column)| column).collect(), rows: 4 }
}

fn numbers<T: ArrowPrimitiveType>(lists: &[Option<&[Option<T::Native>]>]) -> ArrayRef {
    let mut builder = ListBuilder::new(PrimitiveBuilder::<T>::new());
    for list in lists {
        for item in list.unwrap_or_default() {
            builder.values().append_option(*item);
        }
        builder.append(list.is_some());
    }
    Arc::new(builder.finish())
}

fn texts(lists: &[Option<&[Option<&str>]>]) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for list in lists {
        for item in list.unwrap_or_default() {
            builder.values().append_option(*item);
        }
        builder.append(list.is_some());
    }
    Arc::new(builder.finish())
}

/// Evaluates over the given rows of the columns, in that order.
pub(crate) fn evaluate(expression: &Expression, columns: &[ArrayRef], rows: &[usize]) -> ArrayRef {
    let indexes = UInt32Array::from_iter_values(rows.iter().map(|row| u32::try_from(*row).unwrap()));
    let used = expression.inputs_used().iter();
    let columns: Vec<_> = used.map(|input| arrow::compute::take(&columns[*input], &indexes, None).unwrap()).collect();
    expression.evaluate(&columns, &request_time(), rows.len()).unwrap()
}

/// A value as text in which every bit shows.
pub(crate) fn show(array: &dyn Array, row: usize) -> String {
    if array.is_null(row) {
        return "NULL".to_owned();
    }
    let float = |x: f64, bits: String, usual: bool| {
        if x.is_nan() && !usual { format!("NaN({bits})") } else { format!("{x:?}") }
    };
    match ValueType::from_arrow(array.data_type()).unwrap() {
        ValueType::Scalar(ScalarType::Bool) => array.as_boolean().value(row).to_string(),
        ValueType::Scalar(ScalarType::Int32) => array.as_primitive::<Int32Type>().value(row).to_string(),
        ValueType::Scalar(ScalarType::Int64) => array.as_primitive::<Int64Type>().value(row).to_string(),
        ValueType::Scalar(ScalarType::Float32) => {
            let x = array.as_primitive::<Float32Type>().value(row);
            let bits = x.to_bits();
            if x.is_nan() {
                float(x.into(), format!("{bits:08x}"), bits == f32::NAN.to_bits())
            } else {
                format!("{x:?}")
            }
        }
        ValueType::Scalar(ScalarType::Float64) => {
            let x = array.as_primitive::<Float64Type>().value(row);
            float(x, format!("{:016x}", x.to_bits()), x.to_bits() == f64::NAN.to_bits())
        }
        ValueType::Scalar(ScalarType::String) => format!("{:?}", array.as_string::<i32>().value(row)),
        ValueType::Scalar(ScalarType::Bytes) => format!("{:02x?}", array.as_binary::<i32>().value(row)),
        ValueType::Scalar(ScalarType::Timestamp) => {
            Timestamp::from_micros(array.as_primitive::<TimestampMicrosecondType>().value(row)).to_string()
        }
        ValueType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            let items: Vec<_> = (0..items.len()).map(|item| show(&items, item)).collect();
            format!("[{}]", items.join(" "))
        }
    }
}
