//! A YAML document as a tree in which every value knows its place.
//!
//! The parser stops at the first value of another type than the target's; a tree takes any value, so that all of them can
//! be looked at and every problem be told.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

/// A line and a column, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// A key of a mapping and where it stands.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) text: String,
}

/// What YAML can say.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// As it would be written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

impl Value {
    /// For messages: `a list`.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool(value) => format!("`{value}`"),
            Self::Number(number) => format!("the number {number}"),
            Self::Text(text) => format!("`{}`", text.chars().take(64).collect::<String>()),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a mapping".to_owned(),
        }
    }
}

/// Why a text is not YAML.
pub(super) struct NotYaml {
    pub(super) place: Place,
    pub(super) message: String,
}

/// Every document of a text. Keys that are there twice are kept.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, NotYaml> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 2_000_000,
            max_nodes: 1_000_000,
            // Each level takes some of the stack.
            max_depth: 32,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        // A feature may be called `y`, `no` or `on`.
        strict_booleans: true,
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let place = error.location().map_or(Place { line: 1, column: 1 }, place);
        let message = error.without_snippet().to_string();
        let line = message.lines().next().unwrap_or_default();
        NotYaml { place, message: in_words(line.split(" at line ").next().unwrap_or(line)) }
    })
}

/// The parser's limits in the words of who writes definitions.
fn in_words(message: &str) -> String {
    let too_deep = "it is nested deeper than definitions ever are";
    let limits = [
        ("budget breached: Depth", too_deep),
        (
            "budget breached",
            "it is larger than a file of definitions may be: make it several, or repeat less with `*name`",
        ),
        (
            "alias replay limit",
            "it repeats its parts with `*name` more often than a file of definitions may: write them out",
        ),
        ("recursion limit", too_deep),
    ];
    let known = limits.iter().find(|(start, _)| message.starts_with(start));
    known.map_or_else(|| message.to_owned(), |(_, words)| (*words).to_owned())
}

/// The most items of one list: more than any project declares, and soon told.
const MOST_ITEMS: usize = 50_000;

fn place(location: serde_saphyr::Location) -> Place {
    let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).max(1);
    Place { line: number(location.line()), column: number(location.column()) }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { place: place(referenced), value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Text(String::from_utf8_lossy(bytes).into_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            if list.len() == MOST_ITEMS {
                return Err(A::Error::custom(format!("a list has more than {MOST_ITEMS} items")));
            }
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Spanned<String>, Node>()? {
            map.push((Key { place: place(key.referenced), text: key.value }, value));
        }
        Ok(Value::Map(map))
    }
}
