//! Numbers: `+ - * / %`, negation, and functions of one or two floats.
//!
//! Integers, instants and durations are checked: what does not fit is null. Floats follow IEEE 754, and a result that is
//! not a number is always the same NaN: which bits the machine would give depends on its kind and on how a loop over
//! many rows was compiled.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray},
    buffer::{BooleanBuffer, NullBuffer},
    datatypes::{
        DataType, DurationMicrosecondType, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
    },
    error::ArrowError,
};
use datafusion_expr::ColumnarValue;

use crate::call::Kernel;

/// An operator on two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operator {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

/// Types whose sums and products may not fit.
trait Checked: ArrowPrimitiveType {
    fn apply(operator: Operator, left: Self::Native, right: Self::Native) -> Option<Self::Native>;
}

macro_rules! checked {
    ($($arrow:ty),*) => {$(
        impl Checked for $arrow {
            fn apply(operator: Operator, left: Self::Native, right: Self::Native) -> Option<Self::Native> {
                match operator {
                    Operator::Add => left.checked_add(right),
                    Operator::Subtract => left.checked_sub(right),
                    Operator::Multiply => left.checked_mul(right),
                    Operator::Divide => left.checked_div(right),
                    // The least integer modulo -1 is 0; only the division on the way does not fit.
                    Operator::Remainder => (right != 0).then(|| left.wrapping_rem(right)),
                }
            }
        }
    )*};
}

macro_rules! ieee {
    ($($arrow:ty),*) => {$(
        impl Checked for $arrow {
            fn apply(operator: Operator, left: Self::Native, right: Self::Native) -> Option<Self::Native> {
                let result = match operator {
                    Operator::Add => left + right,
                    Operator::Subtract => left - right,
                    Operator::Multiply => left * right,
                    Operator::Divide => left / right,
                    Operator::Remainder => left % right,
                };
                Some(if result.is_nan() { Self::Native::NAN } else { result })
            }
        }
    )*};
}

checked!(Int32Type, Int64Type);
ieee!(Float32Type, Float64Type);

/// `operator` on two values of `data_type`, one of int32, int64, float32, float64.
#[expect(clippy::wildcard_enum_match_arm, reason = "Arrow's enum: the planner gives numbers alone")]
pub(crate) fn arithmetic(operator: Operator, data_type: &DataType) -> Kernel {
    match data_type {
        DataType::Int32 => typed::<Int32Type>(operator),
        DataType::Int64 => typed::<Int64Type>(operator),
        DataType::Float32 => typed::<Float32Type>(operator),
        _ => typed::<Float64Type>(operator),
    }
}

fn typed<T: Checked>(operator: Operator) -> Kernel {
    // One closure per operator, so that each loop is compiled for its own.
    match operator {
        Operator::Add => binary::<T, T, T>(|left, right| T::apply(Operator::Add, left, right)),
        Operator::Subtract => binary::<T, T, T>(|left, right| T::apply(Operator::Subtract, left, right)),
        Operator::Multiply => binary::<T, T, T>(|left, right| T::apply(Operator::Multiply, left, right)),
        Operator::Divide => binary::<T, T, T>(|left, right| T::apply(Operator::Divide, left, right)),
        Operator::Remainder => binary::<T, T, T>(|left, right| T::apply(Operator::Remainder, left, right)),
    }
}

/// An instant and a duration: the instant that much later or, for [`Operator::Subtract`], earlier.
pub(crate) fn shift(operator: Operator) -> Kernel {
    match operator {
        Operator::Subtract => {
            binary::<TimestampMicrosecondType, DurationMicrosecondType, TimestampMicrosecondType>(i64::checked_sub)
        }
        Operator::Add | Operator::Multiply | Operator::Divide | Operator::Remainder => {
            binary::<TimestampMicrosecondType, DurationMicrosecondType, TimestampMicrosecondType>(i64::checked_add)
        }
    }
}

/// The duration between two instants.
pub(crate) fn between_instants() -> Kernel {
    binary::<TimestampMicrosecondType, TimestampMicrosecondType, DurationMicrosecondType>(i64::checked_sub)
}

/// Two durations added or, for [`Operator::Subtract`], subtracted.
pub(crate) fn durations(operator: Operator) -> Kernel {
    match operator {
        Operator::Subtract => {
            binary::<DurationMicrosecondType, DurationMicrosecondType, DurationMicrosecondType>(i64::checked_sub)
        }
        Operator::Add | Operator::Multiply | Operator::Divide | Operator::Remainder => {
            binary::<DurationMicrosecondType, DurationMicrosecondType, DurationMicrosecondType>(i64::checked_add)
        }
    }
}

/// Unary minus on a value of `data_type`.
#[expect(clippy::wildcard_enum_match_arm, reason = "Arrow's enum: the planner gives numbers alone")]
pub(crate) fn negate(data_type: &DataType) -> Kernel {
    match data_type {
        DataType::Int32 => unary::<Int32Type, Int32Type>(i32::checked_neg),
        DataType::Int64 => unary::<Int64Type, Int64Type>(i64::checked_neg),
        DataType::Float32 => unary::<Float32Type, Float32Type>(|x| Some(quiet32(-x))),
        DataType::Duration(_) => unary::<DurationMicrosecondType, DurationMicrosecondType>(i64::checked_neg),
        _ => unary::<Float64Type, Float64Type>(|x| Some(quiet(-x))),
    }
}

/// The absolute value of a number of `data_type`.
#[expect(clippy::wildcard_enum_match_arm, reason = "Arrow's enum: the planner gives numbers alone")]
pub(crate) fn absolute(data_type: &DataType) -> Kernel {
    match data_type {
        DataType::Int32 => unary::<Int32Type, Int32Type>(i32::checked_abs),
        DataType::Int64 => unary::<Int64Type, Int64Type>(i64::checked_abs),
        DataType::Float32 => unary::<Float32Type, Float32Type>(|x| Some(quiet32(x.abs()))),
        _ => unary::<Float64Type, Float64Type>(|x| Some(quiet(x.abs()))),
    }
}

/// A function of one float.
pub(crate) fn float(f: fn(f64) -> f64) -> Kernel {
    unary::<Float64Type, Float64Type>(move |x| Some(quiet(f(x))))
}

/// A function of two floats.
pub(crate) fn float2(f: fn(f64, f64) -> f64) -> Kernel {
    binary::<Float64Type, Float64Type, Float64Type>(move |x, y| Some(quiet(f(x, y))))
}

/// A question about one float.
pub(crate) fn float_test(f: fn(f64) -> bool) -> Kernel {
    Arc::new(move |arguments, _| {
        let array = length_of_one_or_all(&arguments[0])?;
        Ok(Arc::new(BooleanArray::from_unary(array.as_primitive::<Float64Type>(), f)))
    })
}

/// The same NaN for every NaN.
pub(crate) fn quiet(x: f64) -> f64 {
    if x.is_nan() { f64::NAN } else { x }
}

fn quiet32(x: f32) -> f32 {
    if x.is_nan() { f32::NAN } else { x }
}

/// An array of all rows, or of one where the value is the same for all.
fn length_of_one_or_all(value: &ColumnarValue) -> Result<ArrayRef, ArrowError> {
    match value {
        ColumnarValue::Array(array) => Ok(Arc::clone(array)),
        ColumnarValue::Scalar(value) => value.to_array().map_err(ArrowError::from),
    }
}

/// Applies `f` to each row; null where the argument is, or where `f` gives nothing.
pub(crate) fn unary<A, O>(f: impl Fn(A::Native) -> Option<O::Native> + Send + Sync + 'static) -> Kernel
where
    A: ArrowPrimitiveType,
    O: ArrowPrimitiveType,
{
    Arc::new(move |arguments, _| {
        let array = length_of_one_or_all(&arguments[0])?;
        let values = array.as_primitive::<A>().values();
        Ok(collect::<O>(values.len(), array.nulls().cloned(), |row| f(values[row])))
    })
}

/// Applies `f` to each row of two arguments; null where either is, or where `f` gives nothing.
fn binary<A, B, O>(f: impl Fn(A::Native, B::Native) -> Option<O::Native> + Send + Sync + 'static) -> Kernel
where
    A: ArrowPrimitiveType,
    B: ArrowPrimitiveType,
    O: ArrowPrimitiveType,
{
    Arc::new(move |arguments, rows| {
        let (left, right) = (length_of_one_or_all(&arguments[0])?, length_of_one_or_all(&arguments[1])?);
        let same = |value: &ColumnarValue| matches!(value, ColumnarValue::Scalar(_));
        let (a, b) = (left.as_primitive::<A>(), right.as_primitive::<B>());
        Ok(match (same(&arguments[0]), same(&arguments[1])) {
            (true, _) if a.is_null(0) => Arc::new(PrimitiveArray::<O>::new_null(rows)),
            (_, true) if b.is_null(0) => Arc::new(PrimitiveArray::<O>::new_null(rows)),
            (true, true) => collect::<O>(rows, None, |_| f(a.value(0), b.value(0))),
            (true, false) => {
                let (left, values) = (a.value(0), b.values());
                collect::<O>(rows, b.nulls().cloned(), |row| f(left, values[row]))
            }
            (false, true) => {
                let (values, right) = (a.values(), b.value(0));
                collect::<O>(rows, a.nulls().cloned(), |row| f(values[row], right))
            }
            (false, false) => {
                let (left, right) = (a.values(), b.values());
                collect::<O>(rows, NullBuffer::union(a.nulls(), b.nulls()), |row| f(left[row], right[row]))
            }
        })
    })
}

/// The results of all rows, without branches in the loop but for the rows that have none.
#[expect(clippy::wildcard_enum_match_arm, reason = "Arrow's enum: one type differs")]
fn collect<O: ArrowPrimitiveType>(
    rows: usize,
    nulls: Option<NullBuffer>,
    result: impl Fn(usize) -> Option<O::Native>,
) -> ArrayRef {
    let mut failed = Vec::new();
    let values: Vec<O::Native> = (0..rows)
        .map(|row| {
            result(row).unwrap_or_else(|| {
                failed.push(row);
                O::default_value()
            })
        })
        .collect();
    let nulls = if failed.is_empty() { nulls } else { Some(without(rows, nulls.as_ref(), &failed)) };
    let array = PrimitiveArray::<O>::new(values.into(), nulls);
    // The only primitive type with more to it than its Rust type is the instant, which is in UTC here.
    match array.data_type() {
        DataType::Timestamp(_, None) => Arc::new(array.with_data_type(crate::kind::Kind::TIMESTAMP.arrow())),
        _ => Arc::new(array),
    }
}

fn without(rows: usize, nulls: Option<&NullBuffer>, failed: &[usize]) -> NullBuffer {
    let mut valid: Vec<bool> = (0..rows).map(|row| nulls.is_none_or(|nulls| nulls.is_valid(row))).collect();
    for row in failed {
        valid[*row] = false;
    }
    NullBuffer::new(BooleanBuffer::from(valid))
}
