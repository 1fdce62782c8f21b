//! The types that parts of an expression can have, and how they meet.

use std::fmt;

use arrow::datatypes::{DataType, TimeUnit};
use larder_types::{ScalarType, ValueType};

/// The type of a part: a value type, the difference of two timestamps, or nothing but null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The literal NULL: takes any type.
    Null,
    /// One of ours.
    Value(ValueType),
    /// Microseconds between two instants. Not a result: `date_part('epoch', …)` makes seconds of it.
    Duration,
}

impl Kind {
    pub(crate) const BOOL: Self = Self::scalar(ScalarType::Bool);
    pub(crate) const INT64: Self = Self::scalar(ScalarType::Int64);
    pub(crate) const FLOAT64: Self = Self::scalar(ScalarType::Float64);
    pub(crate) const STRING: Self = Self::scalar(ScalarType::String);
    pub(crate) const TIMESTAMP: Self = Self::scalar(ScalarType::Timestamp);

    pub(crate) const fn scalar(scalar: ScalarType) -> Self {
        Self::Value(ValueType::Scalar(scalar))
    }

    pub(crate) fn arrow(self) -> DataType {
        match self {
            Self::Null => DataType::Null,
            Self::Value(value_type) => value_type.arrow(),
            Self::Duration => DataType::Duration(TimeUnit::Microsecond),
        }
    }

    /// The scalar type, if it is one of ours and no list.
    pub(crate) fn as_scalar(self) -> Option<ScalarType> {
        match self {
            Self::Value(ValueType::Scalar(scalar)) => Some(scalar),
            Self::Value(ValueType::List(_)) | Self::Null | Self::Duration => None,
        }
    }

    pub(crate) fn is_integer(self) -> bool {
        matches!(self.as_scalar(), Some(ScalarType::Int32 | ScalarType::Int64))
    }

    pub(crate) fn is_float(self) -> bool {
        matches!(self.as_scalar(), Some(ScalarType::Float32 | ScalarType::Float64))
    }

    pub(crate) fn is_number(self) -> bool {
        self.is_integer() || self.is_float()
    }

    /// The type in which values of both can be compared and mixed: equal ones; integers as int64; an integer and a
    /// float, or floats of two sizes, as float64.
    pub(crate) fn meet(self, other: Self) -> Option<Self> {
        match (self, other) {
            (a, b) if a == b => Some(a),
            (Self::Null, b) => Some(b),
            (a, Self::Null) => Some(a),
            (a, b) if a.is_integer() && b.is_integer() => Some(Self::INT64),
            (a, b) if a.is_number() && b.is_number() => Some(Self::FLOAT64),
            _ => None,
        }
    }

    /// Whether a result of this type may stand where `declared` was promised.
    pub(crate) fn widens_to(self, declared: ValueType) -> bool {
        let target = Self::Value(declared);
        self == Self::Null || (self.is_number() && target == Self::FLOAT64) || self.meet(target) == Some(target)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Value(value_type) => value_type.fmt(f),
            Self::Duration => f.write_str("duration"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair that widens, and no other.
    #[test]
    fn widening_is_to_the_same_type_to_wider_integers_and_to_float64() {
        let widens: Vec<_> = ScalarType::ALL
            .iter()
            .flat_map(|from| ScalarType::ALL.iter().map(move |to| (*from, *to)))
            .filter(|(from, to)| from != to && Kind::scalar(*from).widens_to(ValueType::Scalar(*to)))
            .collect();
        use ScalarType::{Float32, Float64, Int32, Int64};
        assert_eq!(widens, [(Int32, Int64), (Int32, Float64), (Int64, Float64), (Float32, Float64)]);
        assert!(!Kind::Value(ValueType::List(Int32)).widens_to(ValueType::List(Int64)));
        assert!(!Kind::Duration.widens_to(ValueType::Scalar(Int64)));
    }
}
