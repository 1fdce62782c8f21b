//! Texts of the language that mean something: names, types, spans of time.

use std::{borrow::Cow, time::Duration};

use larder_types::{KeyType, Name, ScalarType, ValueType, parse_duration};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{
    node::{Node, Value},
    reader::{FromNode, Reader},
};
use crate::validate::did_you_mean;

/// A name.
#[derive(Debug, Clone)]
pub(super) struct NameText(pub(super) Name);

/// A type of a feature or of request data.
#[derive(Debug, Clone, Copy)]
pub(super) struct TypeText(pub(super) ValueType);

/// A type of a join key.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyTypeText(pub(super) KeyType);

/// A span of time.
#[derive(Debug, Clone, Copy)]
pub(super) struct SpanText(pub(super) Duration);

/// A span of time, or `none`.
#[derive(Debug, Clone, Copy)]
pub(super) struct TtlText(pub(super) Option<Duration>);

/// Reads a text and what it means; why it does not is told at its place.
fn read<T>(node: &Node, reader: &mut Reader, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
    let text = match &node.value {
        Value::Number(number) => in_quotes(number, node, reader, &parse)?,
        Value::Bool(value) => in_quotes(&value.to_string(), node, reader, &parse)?,
        Value::Null | Value::Text(_) | Value::List(_) | Value::Map(_) => String::from_node(node, reader)?,
    };
    parse(&text).map_err(|message| reader.problem(node.place, message)).ok()
}

/// What YAML reads as something else than text: quotes help only where the text would be right.
fn in_quotes<T>(
    text: &str,
    node: &Node,
    reader: &mut Reader,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Option<String> {
    if let Err(message) = parse(text) {
        reader.problem(node.place, message);
        return None;
    }
    String::from_node(node, reader)
}

impl FromNode for NameText {
    fn from_node(node: &Node, reader: &mut Reader) -> Option<Self> {
        read(node, reader, |text| Name::new(text).map(Self).map_err(|error| error.to_string()))
    }
}

impl FromNode for TypeText {
    fn from_node(node: &Node, reader: &mut Reader) -> Option<Self> {
        read(node, reader, |text| parse_type(text).map(Self))
    }
}

impl FromNode for KeyTypeText {
    fn from_node(node: &Node, reader: &mut Reader) -> Option<Self> {
        read(node, reader, |text| {
            let value_type = parse_type(text)?;
            let why = match value_type {
                ValueType::Scalar(ScalarType::Float32 | ScalarType::Float64) => {
                    "equal floats are no ground to find a row by"
                }
                ValueType::Scalar(_) | ValueType::List(_) => "a join key is one value",
            };
            KeyType::of(value_type).map(Self).ok_or_else(|| {
                format!(
                    "`{value_type}` cannot be a join key's type ({why}): use bool, int32, int64, string, bytes or timestamp"
                )
            })
        })
    }
}

fn parse_type(text: &str) -> Result<ValueType, String> {
    text.parse().map_err(|error| format!("{error}{}", did_you_mean(text, ScalarType::ALL.map(ScalarType::as_str))))
}

impl FromNode for SpanText {
    fn from_node(node: &Node, reader: &mut Reader) -> Option<Self> {
        read(node, reader, |text| parse_span(text).map(Self))
    }
}

impl FromNode for TtlText {
    fn from_node(node: &Node, reader: &mut Reader) -> Option<Self> {
        read(node, reader, |text| match text {
            "none" => Ok(Self(None)),
            span => match parse_span(span) {
                Ok(Duration::ZERO) => Err("a ttl is above zero, e.g. 5d; `none` means no limit".to_owned()),
                Ok(span) => Ok(Self(Some(span))),
                Err(message) => Err(format!("{message}; `none` means no limit")),
            },
        })
    }
}

fn parse_span(text: &str) -> Result<Duration, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match parse_duration(text) {
        Ok(span) => Ok(span),
        Err(_) if is_number && text.bytes().all(|byte| byte == b'0') => Ok(Duration::ZERO),
        Err(_) if is_number => Err(format!("`{text}` says no unit: write {text}d, {text}h, {text}m or {text}s")),
        Err(error) => Err(error.to_string()),
    }
}

macro_rules! text_schema {
    ($($type:ident $name:literal $schema:tt),* $(,)?) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

text_schema! {
    NameText "Name" {
        "type": "string",
        "description": "A letter or underscore, then letters, digits and underscores",
        "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,127}$",
    },
    TypeText "Type" {
        "type": "string",
        "description": "bool, int32, int64, float32, float64, string, bytes, timestamp, or list<…> of one of them",
        "pattern": "^(list< *)?(bool|int32|int64|float32|float64|string|bytes|timestamp)( *>)?$",
        "examples": ["int64", "float64", "string", "bool", "timestamp", "list<float32>"],
    },
    KeyTypeText "KeyType" {
        "type": "string",
        "enum": ["bool", "int32", "int64", "string", "bytes", "timestamp"],
    },
    SpanText "Span" {
        "type": "string",
        "description": "A whole number and s, m, h or d",
        "pattern": "^[0-9]+[smhd]$",
        "examples": ["90d", "12h", "15m", "30s"],
    },
    TtlText "Ttl" {
        "type": "string",
        "description": "A whole number above zero and s, m, h or d; none: no limit",
        "pattern": "^([0-9]*[1-9][0-9]*[smhd]|none)$",
        "examples": ["90d", "12h", "15m", "30s", "none"],
    },
}
