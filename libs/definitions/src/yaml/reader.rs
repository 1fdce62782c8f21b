//! Reading a tree into the types of the language, with every problem on the way collected.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::node::{Key, Node, Place, Value};
use crate::{Location, Problem, validate::did_you_mean};

/// Where in a file the reader is, and what it found.
pub(super) struct Reader {
    file: Arc<str>,
    path: Vec<String>,
    pub(super) problems: Vec<Problem>,
}

/// What can be read from a value. None: a problem was told.
pub(super) trait FromNode: Sized {
    fn from_node(node: &Node, reader: &mut Reader) -> Option<Self>;
}

/// What can be read from a field that may be missing.
pub(super) trait Field: Sized {
    fn from_field(fields: &Fields<'_>, name: &'static str, reader: &mut Reader) -> Self;
}

/// A field that must be there; none where it is not, or cannot be read, and a problem was told.
#[derive(Debug, Clone)]
pub(super) struct Required<T>(pub(super) Option<T>);

/// The fields of a mapping.
pub(super) struct Fields<'a> {
    place: Place,
    what: &'static str,
    by_name: BTreeMap<&'a str, &'a Node>,
}

impl Reader {
    pub(super) fn new(file: Arc<str>) -> Self {
        Self { file, path: Vec::new(), problems: Vec::new() }
    }

    pub(super) fn location(&self, place: Place) -> Location {
        Location { file: self.file.clone(), line: place.line, column: place.column }
    }

    pub(super) fn problem(&mut self, place: Place, message: impl Into<String>) {
        let path = self.path.iter().fold(String::new(), |path, step| join(&path, step));
        self.problems.push(Problem::at(self.location(place), path, message));
    }

    /// A value of another kind than wanted.
    pub(super) fn wrong<T>(&mut self, node: &Node, wanted: &str) -> Option<T> {
        self.problem(node.place, format!("{wanted} is wanted here, not {}", node.value.describe()));
        None
    }

    /// Reads one step deeper.
    pub(super) fn within<T>(&mut self, step: impl Into<String>, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step.into());
        let result = read(self);
        self.path.pop();
        result
    }

    /// The fields of a mapping; unknown ones, and those that are there twice, are problems.
    pub(super) fn fields<'a>(
        &mut self,
        node: &'a Node,
        what: &'static str,
        known: &[&'static str],
    ) -> Option<Fields<'a>> {
        let Value::Map(entries) = &node.value else { return self.wrong(node, what) };
        let mut by_name = BTreeMap::new();
        for (key, value) in entries {
            let text = key.text.as_str();
            if !known.contains(&text) {
                self.unknown_field(key, what, known);
            } else if by_name.insert(text, value).is_some() {
                self.within(text, |reader| reader.problem(key.place, format!("`{text}` is there twice")));
            }
        }
        Some(Fields { place: node.place, what, by_name })
    }

    fn unknown_field(&mut self, key: &Key, what: &str, known: &[&'static str]) {
        let hint = match did_you_mean(&key.text, known.iter().copied()) {
            _ if known.is_empty() => ": it has no fields".to_owned(),
            near if near.is_empty() => format!("; its fields are {}", known.join(", ")),
            near => near,
        };
        let text: String = key.text.chars().take(64).collect();
        self.problem(key.place, format!("{what} has no field `{text}`{hint}"));
    }
}

/// What an item of a list is called in paths: the text of its field `name`, or its position.
pub(super) fn step_into(position: usize, item: &Node) -> String {
    name_of(item).map_or_else(|| format!("[{position}]"), str::to_owned)
}

/// `path.step`, or `path[0]`.
pub(super) fn join(path: &str, step: &str) -> String {
    if path.is_empty() || step.starts_with('[') { format!("{path}{step}") } else { format!("{path}.{step}") }
}

fn name_of(node: &Node) -> Option<&str> {
    let Value::Map(entries) = &node.value else { return None };
    let (_, name) = entries.iter().find(|(key, _)| key.text == "name")?;
    match &name.value {
        Value::Text(text) => Some(text.as_str()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => None,
    }
}

impl<T: FromNode> Field for Required<T> {
    fn from_field(fields: &Fields<'_>, name: &'static str, reader: &mut Reader) -> Self {
        let Some(node) = fields.by_name.get(name) else {
            let message = format!("{} needs the field `{name}`", fields.what);
            reader.within(name, |reader| reader.problem(fields.place, message));
            return Self(None);
        };
        Self(reader.within(name, |reader| T::from_node(node, reader)))
    }
}

/// A field without a value is as one that is not there.
impl<T: FromNode> Field for Option<T> {
    fn from_field(fields: &Fields<'_>, name: &'static str, reader: &mut Reader) -> Self {
        let node = fields.by_name.get(name)?;
        if matches!(node.value, Value::Null) {
            return None;
        }
        reader.within(name, |reader| T::from_node(node, reader))
    }
}

/// Items that cannot be read are left out.
impl<T: FromNode> FromNode for Vec<T> {
    fn from_node(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Value::List(items) = &node.value else { return reader.wrong(node, "a list") };
        let items = items.iter().enumerate().filter_map(|(position, item)| {
            reader.within(step_into(position, item), |reader| T::from_node(item, reader))
        });
        Some(items.collect())
    }
}

/// Entries that cannot be read are left out.
impl<T: FromNode> FromNode for BTreeMap<String, T> {
    fn from_node(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Value::Map(entries) = &node.value else { return reader.wrong(node, "a mapping") };
        let mut map = Self::new();
        for (key, value) in entries {
            let value = reader.within(key.text.clone(), |reader| T::from_node(value, reader));
            if let Some(value) = value
                && map.insert(key.text.clone(), value).is_some()
            {
                reader.problem(key.place, format!("`{}` is there twice", key.text));
            }
        }
        Some(map)
    }
}

impl FromNode for String {
    fn from_node(node: &Node, reader: &mut Reader) -> Option<Self> {
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            Value::Bool(_) | Value::Number(_) => {
                let message = format!("text is wanted here, not {}: put it in quotes", node.value.describe());
                reader.problem(node.place, message);
                None
            }
            Value::Null | Value::List(_) | Value::Map(_) => reader.wrong(node, "text"),
        }
    }
}

impl FromNode for bool {
    fn from_node(node: &Node, reader: &mut Reader) -> Option<Self> {
        match &node.value {
            Value::Bool(value) => Some(*value),
            Value::Null | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                reader.wrong(node, "`true` or `false`")
            }
        }
    }
}

/// In the schema as a `T`; a field of this type is required.
impl<T: JsonSchema> JsonSchema for Required<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Declares a type of the language: what reads it and what the JSON Schema says of it are the same list of fields.
macro_rules! language {
    ($(
        $(#[$attribute:meta])*
        struct $type:ident: $what:literal {
            $($(#[$field_attribute:meta])* $field:ident: $field_type:ty,)*
        }
    )*) => {$(
        #[derive(Debug, schemars::JsonSchema)]
        $(#[$attribute])*
        #[schemars(deny_unknown_fields)]
        pub(super) struct $type {
            $($(#[$field_attribute])* pub(super) $field: $field_type,)*
        }

        impl $crate::yaml::reader::FromNode for $type {
            fn from_node(
                node: &$crate::yaml::node::Node,
                reader: &mut $crate::yaml::reader::Reader,
            ) -> Option<Self> {
                let known = [$(stringify!($field).trim_start_matches("r#")),*];
                let fields = reader.fields(node, $what, &known)?;
                Some(Self {
                    $($field: $crate::yaml::reader::Field::from_field(
                        &fields,
                        stringify!($field).trim_start_matches("r#"),
                        reader,
                    ),)*
                })
            }
        }
    )*};
}

pub(super) use language;
