//! A YAML file as a tree that knows the line and column of each value.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

use super::tree::{Content, Node, Origin};

/// Reads `text`, which came from the file at `path`. An empty file is an empty table. The error is for a person.
pub(super) fn parse(text: &str, path: &str) -> Result<Node, String> {
    let path: Arc<str> = path.into();
    // Without the lines around the mistake: a problem is one line.
    let options = serde_saphyr::options! { with_snippet: false };
    let document: Option<Spanned<Yaml>> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| in_words(&error.to_string()))?;
    Ok(match document {
        Some(document) => to_node(document, &path),
        None => Node::empty_table(Origin::File { path, line: 1, column: 1 }),
    })
}

/// What the parser says to who writes programs, in the words of who writes files. The place, at the end, stays.
fn in_words(message: &str) -> String {
    let said = [
        ("cannot deserialize null into string; use Option<String>", "a key is missing before `:`"),
        ("expected string scalar", "a key must be text"),
        (
            "multiple YAML documents detected; use from_str_multiple or from_str_multiple_with_options",
            "there is a second document: a file has one",
        ),
        (", set DuplicateKeyPolicy in Options if acceptable", "` is there twice"),
        ("duplicate mapping key: ", "the key `"),
    ];
    said.iter().fold(message.to_owned(), |message, (said, words)| message.replacen(said, words, 1))
}

enum Yaml {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Yaml>>),
    Table(Vec<(String, Spanned<Yaml>)>),
}

fn to_node(value: Spanned<Yaml>, path: &Arc<str>) -> Node {
    let (line, column) = (value.referenced.line(), value.referenced.column());
    let origin = Origin::File { path: Arc::clone(path), line, column };
    let content = match value.value {
        Yaml::Null => Content::Null,
        Yaml::Bool(truth) => Content::Bool(truth),
        Yaml::Integer(number) => Content::Integer(number),
        Yaml::Float(number) => Content::Float(number),
        Yaml::Text(text) => Content::Text(text),
        Yaml::List(items) => Content::List(items.into_iter().map(|item| to_node(item, path)).collect()),
        Yaml::Table(entries) => {
            let entries: BTreeMap<_, _> = entries.into_iter().map(|(key, value)| (key, to_node(value, path))).collect();
            Content::Table(entries)
        }
    };
    Node::new(content, origin)
}

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(YamlVisitor)
    }
}

struct YamlVisitor;

impl<'de> Visitor<'de> for YamlVisitor {
    type Value = Yaml;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: Error>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Yaml, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Yaml, E> {
        Ok(Yaml::Bool(truth))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Yaml, E> {
        Ok(Yaml::Integer(number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Yaml, E> {
        Ok(Yaml::Integer(number.into()))
    }

    fn visit_i128<E: Error>(self, number: i128) -> Result<Yaml, E> {
        Ok(Yaml::Integer(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Yaml, E> {
        Ok(Yaml::Float(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Yaml, E> {
        Ok(Yaml::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Yaml, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Yaml::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Yaml, A::Error> {
        let mut table = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            table.push(entry);
        }
        Ok(Yaml::Table(table))
    }
}
