//! A value as it was written down, before it has a type.

use std::fmt;

/// What stands in a place of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// Nothing.
    Null,
    /// JSON's own.
    Bool(bool),
    /// A JSON number, as written.
    Number(String),
    /// JSON text.
    Text(String),
    /// A JSON list.
    List(Vec<Cell>),
    /// Of CSV or an argument: whatever type is wanted.
    Plain(String),
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Number(text) => f.write_str(text),
            Self::Text(text) | Self::Plain(text) => {
                let shown: String = text.chars().take(60).collect();
                let more = if shown.len() < text.len() { "…" } else { "" };
                write!(f, "\"{shown}{more}\"")
            }
            Self::List(items) => {
                let shown: Vec<String> = items.iter().take(5).map(ToString::to_string).collect();
                let more = if shown.len() < items.len() { ", …" } else { "" };
                write!(f, "[{}{more}]", shown.join(", "))
            }
        }
    }
}
