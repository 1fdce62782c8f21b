//! Comparisons, in one order for all of them: `=`, `<`, IN, CASE, `least` and the rest agree.
//!
//! Floats: -0.0 equals 0.0; NaN equals NaN and is greater than every number. Text and bytes: byte by byte.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Datum, Scalar, new_null_array},
    compute::kernels::cmp,
    datatypes::{DataType, Float32Type, Float64Type},
    error::ArrowError,
};
use datafusion_expr::ColumnarValue;

use crate::call::Kernel;

/// A question about two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// As [`Comparison::NotEqual`], with null a value like others.
    Distinct,
    /// As [`Comparison::Equal`], with null a value like others.
    NotDistinct,
}

impl Comparison {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Distinct => "IS DISTINCT FROM",
            Self::NotDistinct => "IS NOT DISTINCT FROM",
        }
    }

    fn apply(self, left: &dyn Datum, right: &dyn Datum) -> Result<BooleanArray, ArrowError> {
        match self {
            Self::Equal => cmp::eq(left, right),
            Self::NotEqual => cmp::neq(left, right),
            Self::Less => cmp::lt(left, right),
            Self::LessOrEqual => cmp::lt_eq(left, right),
            Self::Greater => cmp::gt(left, right),
            Self::GreaterOrEqual => cmp::gt_eq(left, right),
            Self::Distinct => cmp::distinct(left, right),
            Self::NotDistinct => cmp::not_distinct(left, right),
        }
    }
}

/// Compares two values of the same type.
pub(crate) fn compare(comparison: Comparison) -> Kernel {
    Arc::new(move |arguments, _| {
        let (left, right) = (datum(&arguments[0])?, datum(&arguments[1])?);
        Ok(Arc::new(comparison.apply(&*left, &*right)?))
    })
}

/// `x BETWEEN low AND high`.
pub(crate) fn between() -> Kernel {
    Arc::new(|arguments, _| {
        let [value, low, high] = [datum(&arguments[0])?, datum(&arguments[1])?, datum(&arguments[2])?];
        let (above, below) = (cmp::gt_eq(&*value, &*low)?, cmp::lt_eq(&*value, &*high)?);
        and(&above, &below)
    })
}

/// `x IN (…)`: whether it equals one of the others; null where only a null could be it.
pub(crate) fn is_in() -> Kernel {
    Arc::new(|arguments, rows| {
        let Some((value, list)) = arguments.split_first() else { return Ok(new_null_array(&DataType::Boolean, rows)) };
        let value = datum(value)?;
        let none: BooleanArray = std::iter::repeat_n(Some(false), rows).collect();
        let answer = list.iter().try_fold(none, |found, item| {
            let equal = spread(&cmp::eq(&*value, &*datum(item)?)?, rows);
            arrow::compute::or_kleene(&found, &equal)
        });
        Ok(Arc::new(answer?))
    })
}

/// AND of two answers, of which one may be one value for all rows.
fn and(left: &BooleanArray, right: &BooleanArray) -> Result<ArrayRef, ArrowError> {
    let rows = left.len().max(right.len());
    Ok(Arc::new(arrow::compute::and_kleene(&spread(left, rows), &spread(right, rows))?))
}

/// Answers for all rows, where they may be one for all of them.
fn spread(answers: &BooleanArray, rows: usize) -> BooleanArray {
    if answers.len() == rows {
        return answers.clone();
    }
    std::iter::repeat_n(answers.iter().next().flatten(), rows).collect()
}

/// Values that Arrow's total order sorts as ours: floats without -0.0 and with one NaN, all others as they are.
#[expect(clippy::wildcard_enum_match_arm, reason = "Arrow's enum: floats alone differ")]
pub(crate) fn ordered(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float64 => Arc::new(array.as_primitive::<Float64Type>().unary::<_, Float64Type>(|x| {
            // -0.0 + 0.0 is 0.0
            if x.is_nan() { f64::NAN } else { x + 0.0 }
        })),
        DataType::Float32 => Arc::new(
            array
                .as_primitive::<Float32Type>()
                .unary::<_, Float32Type>(|x| if x.is_nan() { f32::NAN } else { x + 0.0 }),
        ),
        _ => Arc::clone(array),
    }
}

/// [`ordered`] as a part of an expression, for those that compare by themselves.
pub(crate) fn order_key() -> Kernel {
    Arc::new(|arguments, rows| Ok(ordered(&super::to_array(&arguments[0], rows)?)))
}

fn datum(value: &ColumnarValue) -> Result<Box<dyn Datum>, ArrowError> {
    Ok(match value {
        ColumnarValue::Array(array) => Box::new(ordered(array)),
        ColumnarValue::Scalar(value) => Box::new(Scalar::new(ordered(&value.to_array()?))),
    })
}
