//! Entity keys: the values of a view's join keys, in the order of the key space.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{ScalarType, ValueType};

/// A type a join key may have: every scalar but the floats, whose equality is no ground to find a row by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyType {
    /// True or false.
    Bool,
    /// 32-bit signed integer; the same key as an [`KeyType::Int64`] of the same value.
    Int32,
    /// 64-bit signed integer.
    Int64,
    /// UTF-8 text.
    String,
    /// Any bytes.
    Bytes,
    /// Microseconds since the epoch, UTC.
    Timestamp,
}

impl KeyType {
    /// The scalar type of it.
    pub fn scalar(self) -> ScalarType {
        match self {
            Self::Bool => ScalarType::Bool,
            Self::Int32 => ScalarType::Int32,
            Self::Int64 => ScalarType::Int64,
            Self::String => ScalarType::String,
            Self::Bytes => ScalarType::Bytes,
            Self::Timestamp => ScalarType::Timestamp,
        }
    }

    /// The key type of `value_type`, where keys may have it.
    pub fn of(value_type: ValueType) -> Option<Self> {
        match value_type {
            ValueType::Scalar(ScalarType::Bool) => Some(Self::Bool),
            ValueType::Scalar(ScalarType::Int32) => Some(Self::Int32),
            ValueType::Scalar(ScalarType::Int64) => Some(Self::Int64),
            ValueType::Scalar(ScalarType::String) => Some(Self::String),
            ValueType::Scalar(ScalarType::Bytes) => Some(Self::Bytes),
            ValueType::Scalar(ScalarType::Timestamp) => Some(Self::Timestamp),
            ValueType::Scalar(ScalarType::Float32 | ScalarType::Float64) | ValueType::List(_) => None,
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.scalar().fmt(f)
    }
}

impl Serialize for KeyType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value_type = ValueType::deserialize(deserializer)?;
        Self::of(value_type)
            .ok_or_else(|| serde::de::Error::custom(format!("{value_type} cannot be a join key's type")))
    }
}

/// One value of an entity key. Integers are kept by value, whatever their width.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyPart {
    /// True or false.
    Bool(bool),
    /// An int32 or int64.
    Int(i64),
    /// UTF-8 text.
    String(String),
    /// Any bytes.
    Bytes(Vec<u8>),
    /// Microseconds since the epoch, UTC.
    Timestamp(i64),
}

/// The values of a key space's join keys, in its order; without parts for a view without entities.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct EntityKey(pub Vec<KeyPart>);
