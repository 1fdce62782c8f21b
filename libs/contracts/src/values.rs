//! Value types, key types, instants and row versions.

use larder_types::{KeyType, Result, RowVersion, ScalarType, Timestamp, ValueType};

use crate::{
    types::v1 as api,
    wire::{Path, Wire},
};

/// The kind of a scalar type.
pub(crate) fn kind_of(scalar: ScalarType) -> api::TypeKind {
    match scalar {
        ScalarType::Bool => api::TypeKind::Bool,
        ScalarType::Int32 => api::TypeKind::Int32,
        ScalarType::Int64 => api::TypeKind::Int64,
        ScalarType::Float32 => api::TypeKind::Float32,
        ScalarType::Float64 => api::TypeKind::Float64,
        ScalarType::String => api::TypeKind::String,
        ScalarType::Bytes => api::TypeKind::Bytes,
        ScalarType::Timestamp => api::TypeKind::Timestamp,
    }
}

/// What a kind stands for.
pub(crate) enum Kind {
    Scalar(ScalarType),
    List,
}

/// Reads a kind; UNIMPLEMENTED for one of a later release.
pub(crate) fn read_kind(kind: i32, at: &Path<'_>) -> Result<Kind> {
    let known = api::TypeKind::try_from(kind)
        .map_err(|_| at.field("kind").not_understood(format!("type kind {kind} (known are 1 to 9, BOOL to LIST)")))?;
    Ok(match known {
        api::TypeKind::Unspecified => return Err(at.field("kind").invalid("is missing")),
        api::TypeKind::Bool => Kind::Scalar(ScalarType::Bool),
        api::TypeKind::Int32 => Kind::Scalar(ScalarType::Int32),
        api::TypeKind::Int64 => Kind::Scalar(ScalarType::Int64),
        api::TypeKind::Float32 => Kind::Scalar(ScalarType::Float32),
        api::TypeKind::Float64 => Kind::Scalar(ScalarType::Float64),
        api::TypeKind::String => Kind::Scalar(ScalarType::String),
        api::TypeKind::Bytes => Kind::Scalar(ScalarType::Bytes),
        api::TypeKind::Timestamp => Kind::Scalar(ScalarType::Timestamp),
        api::TypeKind::List => Kind::List,
    })
}

impl Wire for ValueType {
    type Message = api::ValueType;

    fn to_wire(&self) -> api::ValueType {
        match *self {
            Self::Scalar(scalar) => api::ValueType { kind: kind_of(scalar).into(), item: None },
            Self::List(item) => {
                let item = api::ValueType { kind: kind_of(item).into(), item: None };
                api::ValueType { kind: api::TypeKind::List.into(), item: Some(Box::new(item)) }
            }
        }
    }

    fn from_wire(message: api::ValueType, at: &Path<'_>) -> Result<Self> {
        let api::ValueType { kind, item } = message;
        match (read_kind(kind, at)?, item) {
            (Kind::Scalar(scalar), None) => Ok(Self::Scalar(scalar)),
            (Kind::Scalar(_), Some(_)) => Err(at.field("item").invalid("only a list has an item type")),
            (Kind::List, None) => Err(at.field("item").invalid("is missing: a list has the type of its items")),
            (Kind::List, Some(item)) => match Self::from_wire(*item, &at.field("item"))? {
                Self::Scalar(scalar) => Ok(Self::List(scalar)),
                Self::List(_) => Err(at.field("item").not_understood("a list of lists")),
            },
        }
    }
}

impl Wire for KeyType {
    type Message = api::ValueType;

    fn to_wire(&self) -> api::ValueType {
        ValueType::Scalar(self.scalar()).to_wire()
    }

    fn from_wire(message: api::ValueType, at: &Path<'_>) -> Result<Self> {
        let value_type = ValueType::from_wire(message, at)?;
        Self::of(value_type).ok_or_else(|| {
            at.invalid(format!(
                "{value_type} cannot be a join key's type: it may be bool, int32, int64, string, bytes or timestamp"
            ))
        })
    }
}

impl Wire for Timestamp {
    type Message = i64;

    fn to_wire(&self) -> i64 {
        self.as_micros()
    }

    fn from_wire(message: i64, _at: &Path<'_>) -> Result<Self> {
        Ok(Self::from_micros(message))
    }
}

impl Wire for RowVersion {
    type Message = api::RowVersion;

    fn to_wire(&self) -> api::RowVersion {
        api::RowVersion { event_time: self.event_time.as_micros(), created_time: self.created_time.as_micros() }
    }

    fn from_wire(message: api::RowVersion, _at: &Path<'_>) -> Result<Self> {
        let api::RowVersion { event_time, created_time } = message;
        Ok(Self { event_time: Timestamp::from_micros(event_time), created_time: Timestamp::from_micros(created_time) })
    }
}

#[cfg(test)]
mod tests {
    use larder_types::ErrorCode;

    use super::*;

    fn message(kind: i32, item: Option<api::ValueType>) -> api::ValueType {
        api::ValueType { kind, item: item.map(Box::new) }
    }

    #[test]
    fn every_type_is_read_back() {
        for scalar in ScalarType::ALL {
            for value_type in [ValueType::Scalar(scalar), ValueType::List(scalar)] {
                assert_eq!(ValueType::from_wire(value_type.to_wire(), &Path::ROOT).unwrap(), value_type);
                if let Some(key_type) = KeyType::of(value_type) {
                    assert_eq!(KeyType::from_wire(key_type.to_wire(), &Path::ROOT).unwrap(), key_type);
                }
            }
        }
    }

    #[test]
    fn what_is_wrong_is_told_from_what_is_new() {
        let at = Path::ROOT.field("type");
        let cases = [
            (message(0, None), ErrorCode::InvalidArgument, "type.kind: is missing"),
            (message(9, None), ErrorCode::InvalidArgument, "type.item: is missing"),
            (message(1, Some(message(1, None))), ErrorCode::InvalidArgument, "only a list"),
            (message(99, None), ErrorCode::Unimplemented, "type.kind: type kind 99"),
            (message(9, Some(message(99, None))), ErrorCode::Unimplemented, "type.item.kind: type kind 99"),
            (message(9, Some(message(9, Some(message(1, None))))), ErrorCode::Unimplemented, "list of lists"),
        ];
        for (message, code, text) in cases {
            let error = ValueType::from_wire(message, &at).unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            assert!(error.message().contains(text), "{error}");
        }
        let error = KeyType::from_wire(ValueType::Scalar(ScalarType::Float32).to_wire(), &at).unwrap_err();
        assert!(error.message().contains("float32 cannot be a join key's type"), "{error}");
    }
}
