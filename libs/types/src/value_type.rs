//! The types a feature, a join key or request data can have.
//!
//! The set is open: a new type touches this crate, the codec, the contracts, casts of expressions, and the files that are read
//! and written. There is no catch-all arm over these enums, so the compiler finds each of these places; a test finds the
//! pattern of the JSON Schema (`libs/definitions/src/yaml/text.rs`).

use std::{fmt, str::FromStr, sync::Arc};

use arrow::datatypes::{DataType, Field, TimeUnit};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A type of single values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScalarType {
    /// True or false.
    Bool,
    /// 32-bit signed integer.
    Int32,
    /// 64-bit signed integer.
    Int64,
    /// IEEE 754 single precision; values pass bit for bit.
    Float32,
    /// IEEE 754 double precision; values pass bit for bit.
    Float64,
    /// UTF-8 text.
    String,
    /// Any bytes.
    Bytes,
    /// Microseconds since the epoch, UTC.
    Timestamp,
}

/// The type of a feature: a scalar, or a list of scalars whose items may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ValueType {
    /// One value.
    Scalar(ScalarType),
    /// Any number of values.
    List(ScalarType),
}

/// Why a text is not a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a type: a type is one of bool, int32, int64, float32, float64, string, bytes, timestamp, or list<…> of one of them"
)]
pub struct ValueTypeError(String);

impl ScalarType {
    /// Every scalar type.
    pub const ALL: [Self; 8] = [
        Self::Bool,
        Self::Int32,
        Self::Int64,
        Self::Float32,
        Self::Float64,
        Self::String,
        Self::Bytes,
        Self::Timestamp,
    ];

    /// The name in definitions.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "timestamp",
        }
    }

    /// The Arrow type of a column of it, the same everywhere between the edges.
    pub fn arrow(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::String => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }

    /// Bytes of a value where all have the same size.
    pub fn fixed_width(self) -> Option<usize> {
        match self {
            Self::Bool => Some(1),
            Self::Int32 | Self::Float32 => Some(4),
            Self::Int64 | Self::Float64 | Self::Timestamp => Some(8),
            Self::String | Self::Bytes => None,
        }
    }
}

impl ValueType {
    /// The Arrow type of a column of it. A list's child is the nullable field `item`.
    pub fn arrow(self) -> DataType {
        match self {
            Self::Scalar(scalar) => scalar.arrow(),
            Self::List(item) => DataType::List(Arc::new(Field::new("item", item.arrow(), true))),
        }
    }

    /// Whether every value of this type is one of `wanted`.
    pub fn widens_to(self, wanted: Self) -> bool {
        match (self, wanted) {
            (Self::Scalar(found), Self::Scalar(wanted)) | (Self::List(found), Self::List(wanted)) => {
                found == wanted
                    || matches!(
                        (found, wanted),
                        (ScalarType::Int32, ScalarType::Int64) | (ScalarType::Float32, ScalarType::Float64)
                    )
            }
            (Self::Scalar(_), Self::List(_)) | (Self::List(_), Self::Scalar(_)) => false,
        }
    }

    /// Our type for exactly this Arrow type, if it is one of those [`ValueType::arrow`] gives.
    pub fn from_arrow(data_type: &DataType) -> Option<Self> {
        let scalars = ScalarType::ALL.into_iter().map(Self::Scalar);
        let lists = ScalarType::ALL.into_iter().map(Self::List);
        scalars.chain(lists).find(|candidate| candidate.arrow() == *data_type)
    }
}

impl fmt::Display for ScalarType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(scalar) => scalar.fmt(f),
            Self::List(item) => f.pad(&format!("list<{item}>")),
        }
    }
}

impl FromStr for ScalarType {
    type Err = ValueTypeError;

    fn from_str(text: &str) -> Result<Self, ValueTypeError> {
        Self::ALL
            .into_iter()
            .find(|scalar| scalar.as_str() == text)
            .ok_or_else(|| ValueTypeError(text.chars().take(64).collect()))
    }
}

impl FromStr for ValueType {
    type Err = ValueTypeError;

    fn from_str(text: &str) -> Result<Self, ValueTypeError> {
        match text.strip_prefix("list<").and_then(|rest| rest.strip_suffix('>')) {
            Some(item) => match item.trim().parse() {
                Ok(item) => Ok(Self::List(item)),
                Err(ValueTypeError(_)) => Err(ValueTypeError(text.chars().take(64).collect())),
            },
            None => text.parse().map(Self::Scalar),
        }
    }
}

impl From<ScalarType> for ValueType {
    fn from(scalar: ScalarType) -> Self {
        Self::Scalar(scalar)
    }
}

impl Serialize for ValueType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ValueType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_back_from_its_name_and_its_arrow_type() {
        for scalar in ScalarType::ALL {
            for value_type in [ValueType::Scalar(scalar), ValueType::List(scalar)] {
                assert_eq!(value_type.to_string().parse(), Ok(value_type));
                assert_eq!(ValueType::from_arrow(&value_type.arrow()), Some(value_type));
            }
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_whole_text() {
        for bad in ["", "int", "List<int32>", "list<list<int32>>", "list<int>", "INT64"] {
            let error = bad.parse::<ValueType>().unwrap_err();
            assert!(error.to_string().contains(&format!("`{bad}`")), "{error}");
        }
    }
}
