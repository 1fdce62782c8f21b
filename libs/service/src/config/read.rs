//! Makes a type of the merged tree with serde, and goes on after a mistake: what is wrong is noted and replaced by its
//! default, until all the rest has been read too.

use std::{cell::RefCell, collections::BTreeMap, fmt};

use larder_types::near_names;
use serde::{
    Deserializer,
    de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};

use super::{
    Problem,
    tree::{Content, Node, Path, Step, format_path},
};

/// Reads `tree`, adding what is wrong to `problems`; `None` when a value is wrong that has no default.
pub(super) fn read<T: DeserializeOwned>(tree: &mut Node, defaults: &Node, problems: &mut Vec<Problem>) -> Option<T> {
    let unknown = RefCell::new(BTreeMap::new());
    let config = loop {
        let error = match T::deserialize(Reader { node: tree, path: Vec::new(), unknown: &unknown }) {
            Ok(config) => break Some(config),
            Err(error) => error,
        };
        let path = error.path.unwrap_or_default();
        let origin = tree.origin_at(&path).to_string();
        problems.push(Problem { path: format_path(&path), origin, message: error.message });
        if !tree.restore(&path, defaults) {
            break None;
        }
    };
    problems.extend(unknown.into_inner().into_values());
    config
}

/// Why a value cannot be read, and which one.
#[derive(Debug)]
struct ReadError {
    path: Option<Path>,
    message: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<M: fmt::Display>(message: M) -> Self {
        Self { path: None, message: message.to_string() }
    }

    /// Numbers are refused in words that a person knows, not in those of types.
    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let number = if let de::Unexpected::Signed(number) = found {
            Some(number.to_string())
        } else if let de::Unexpected::Unsigned(number) = found {
            Some(number.to_string())
        } else {
            None
        };
        let range = match expected.to_string().as_str() {
            "u8" => Some(format!("from 0 to {}", u8::MAX)),
            "u16" => Some(format!("from 0 to {}", u16::MAX)),
            "u32" => Some(format!("from 0 to {}", u32::MAX)),
            "u64" | "usize" => Some("from 0 on".to_owned()),
            _ => None,
        };
        match (number, range) {
            (Some(number), Some(range)) => Self::custom(format!("`{number}` is not a whole number {range}")),
            _ => Self::custom(format!("invalid value: {found}, expected {expected}")),
        }
    }
}

impl ReadError {
    fn at(mut self, path: &Path) -> Self {
        self.path.get_or_insert_with(|| path.clone());
        self
    }
}

type Unknown = RefCell<BTreeMap<String, Problem>>;

/// Reads one node. Errors that its visitor raises get its path.
struct Reader<'t> {
    node: &'t Node,
    path: Path,
    unknown: &'t Unknown,
}

impl<'t> Reader<'t> {
    fn inner(&self, node: &'t Node, step: Step) -> Self {
        let path = self.path.iter().cloned().chain([step]).collect();
        Self { node, path, unknown: self.unknown }
    }

    fn wrong(&self, expected: &str) -> ReadError {
        let content = &self.node.content;
        let message = match content.as_text() {
            // A word in the place of a number or a truth value helps to find the mistake.
            Some(text) => format!("`{text}` is not {expected}"),
            None => format!("must be {expected}, not {}", content.kind()),
        };
        ReadError { path: Some(self.path.clone()), message }
    }

    /// Notes the keys that are not among `fields`.
    fn refuse_unknown(&self, entries: &BTreeMap<String, Node>, fields: &[&str]) {
        for (key, node) in entries.iter().filter(|(key, _)| !fields.contains(&key.as_str())) {
            let path = format_path(&self.inner(node, Step::Key(key.clone())).path);
            let near = near_names(key, fields.iter().copied());
            let hint = match near.as_slice() {
                [] => format!("the keys here are {}", fields.join(", ")),
                near => format!("did you mean {}?", near.join(" or ")),
            };
            let message = format!("there is no key `{key}`: {hint}");
            let problem = Problem { path: path.clone(), origin: node.origin.to_string(), message };
            self.unknown.borrow_mut().insert(path, problem);
        }
    }

    fn integer<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let integer = if let Content::Integer(integer) = self.node.content {
            Some(integer)
        } else {
            self.node.content.as_loose().and_then(|text| text.trim().parse().ok())
        };
        let Some(integer) = integer else { return Err(self.wrong("a whole number")) };
        match (u64::try_from(integer), i64::try_from(integer)) {
            (Ok(number), _) => visitor.visit_u64(number),
            (Err(_), Ok(number)) => visitor.visit_i64(number),
            (Err(_), Err(_)) => visitor.visit_i128(integer),
        }
        .map_err(|error: ReadError| error.at(&self.path))
    }

    fn text<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node.content.as_text() {
            Some(text) => visitor.visit_str(text).map_err(|error: ReadError| error.at(&self.path)),
            None => {
                let is_no_scalar = matches!(self.node.content, Content::Null | Content::List(_) | Content::Table(_));
                let hint = if is_no_scalar { "" } else { ": put it in quotes" };
                let message = format!("must be text, not {}{hint}", self.node.content.kind());
                Err(ReadError { path: Some(self.path), message })
            }
        }
    }

    fn table<'de, V: Visitor<'de>>(
        self,
        entries: &'t BTreeMap<String, Node>,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let path = self.path.clone();
        let entries = Entries { reader: self, entries: entries.iter().collect(), value: None };
        visitor.visit_map(entries).map_err(|error| error.at(&path))
    }

    fn list<'de, V: Visitor<'de>>(self, items: Vec<Node>, visitor: V) -> Result<V::Value, ReadError> {
        let path = self.path.clone();
        let items = Items { path: self.path, unknown: self.unknown, items: items.into_iter().enumerate() };
        visitor.visit_seq(items).map_err(|error| error.at(&path))
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let path = self.path.clone();
        match &self.node.content {
            Content::Null => visitor.visit_unit().map_err(|error: ReadError| error.at(&path)),
            Content::Bool(truth) => visitor.visit_bool(*truth).map_err(|error: ReadError| error.at(&path)),
            Content::Integer(_) => self.integer(visitor),
            Content::Float(float) => visitor.visit_f64(*float).map_err(|error: ReadError| error.at(&path)),
            Content::Text(_) | Content::Loose(_) => self.text(visitor),
            Content::List(items) => {
                let items = items.clone();
                self.list(items, visitor)
            }
            Content::Table(entries) => self.table(entries, visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let truth = if let Content::Bool(truth) = self.node.content {
            Some(truth)
        } else {
            self.node.content.as_loose().and_then(|text| text.trim().parse().ok())
        };
        let truth = truth.ok_or_else(|| self.wrong("true or false"))?;
        visitor.visit_bool(truth)
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.integer(visitor)
    }

    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.integer(visitor)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.integer(visitor)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.integer(visitor)
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.integer(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.integer(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.integer(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.integer(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.text(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.text(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let is_nothing = self.node.content == Content::Null || self.node.content.as_loose().is_some_and(str::is_empty);
        if is_nothing { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if let Content::List(items) = &self.node.content {
            return self.list(items.clone(), visitor);
        }
        let text = self.node.content.as_loose().ok_or_else(|| self.wrong("a list"))?;
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let items = words.map(|word| Node::new(Content::Loose(word.to_owned()), self.node.origin.clone())).collect();
        self.list(items, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let Content::Table(entries) = &self.node.content else { return Err(self.wrong("a table of keys")) };
        self.refuse_unknown(entries, fields);
        let path = self.path.clone();
        let known = entries.iter().filter(|(key, _)| fields.contains(&key.as_str())).collect();
        visitor.visit_map(Entries { reader: self, entries: known, value: None }).map_err(|error| error.at(&path))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let variant = self.node.content.as_text().filter(|text| variants.contains(text));
        let variant = variant.ok_or_else(|| self.wrong(&format!("one of {}", variants.join(", "))))?;
        visitor.visit_enum(variant.into_deserializer()).map_err(|error: ReadError| error.at(&self.path))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        f32 f64 char bytes byte_buf unit unit_struct newtype_struct tuple tuple_struct map identifier
    }
}

struct Entries<'t> {
    reader: Reader<'t>,
    entries: std::collections::VecDeque<(&'t String, &'t Node)>,
    value: Option<(&'t String, &'t Node)>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some((key, node)) = self.entries.pop_front() else { return Ok(None) };
        self.value = Some((key, node));
        let key_path = self.reader.inner(node, Step::Key(key.clone())).path;
        seed.deserialize(key.as_str().into_deserializer()).map(Some).map_err(|error: ReadError| error.at(&key_path))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some((key, node)) = self.value.take() else { return Err(de::Error::custom("a value without its key")) };
        let reader = self.reader.inner(node, Step::Key(key.clone()));
        let path = reader.path.clone();
        seed.deserialize(reader).map_err(|error| error.at(&path))
    }
}

struct Items<'t> {
    path: Path,
    unknown: &'t Unknown,
    items: std::iter::Enumerate<std::vec::IntoIter<Node>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        let path: Path = self.path.iter().cloned().chain([Step::Index(index)]).collect();
        let reader = Reader { node: &node, path: path.clone(), unknown: self.unknown };
        seed.deserialize(reader).map(Some).map_err(|error| error.at(&path))
    }
}
