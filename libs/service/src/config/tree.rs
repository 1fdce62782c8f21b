//! The merged tree of all layers. Each value knows where it came from.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde_json::Value;

/// Where a value was set. Later ones win.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    Default,
    File { path: Arc<str>, line: u64, column: u64 },
    Variable(Arc<str>),
    Flag(Arc<str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One value and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) origin: Origin,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    /// From the environment or a flag: takes the type that is asked for.
    Loose(String),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl Content {
    /// Text, whoever wrote it.
    pub(super) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) | Self::Loose(text) = self { Some(text) } else { None }
    }

    /// Text that takes the type which is asked for.
    pub(super) fn as_loose(&self) -> Option<&str> {
        if let Self::Loose(text) = self { Some(text) } else { None }
    }

    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Text(_) | Self::Loose(_) => "text",
            Self::List(_) => "a list",
            Self::Table(_) => "a table of keys",
        }
    }
}

/// A key of a table or a position in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// The way from the root to a value.
pub(super) type Path = Vec<Step>;

/// `server.listen`, `connections.warehouse.hosts[1]`.
pub(super) fn format_path(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text.extend([".", key]),
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

impl Node {
    pub(super) fn new(content: Content, origin: Origin) -> Self {
        Self { content, origin }
    }

    pub(super) fn empty_table(origin: Origin) -> Self {
        Self::new(Content::Table(BTreeMap::new()), origin)
    }

    /// Nothing but one value, in the tables on the way to it.
    pub(super) fn alone(path: &[&str], node: Self) -> Self {
        path.iter().rev().fold(node, |node, key| {
            let origin = node.origin.clone();
            Self::new(Content::Table(BTreeMap::from([((*key).to_owned(), node)])), origin)
        })
    }

    /// The tree of a type's defaults.
    pub(super) fn of_defaults(value: Value) -> Self {
        let content = match value {
            Value::Null => Content::Null,
            Value::Bool(truth) => Content::Bool(truth),
            Value::Number(number) => match number.as_i64().map(i128::from).or(number.as_u64().map(i128::from)) {
                Some(integer) => Content::Integer(integer),
                None => Content::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Content::Text(text),
            Value::Array(items) => Content::List(items.into_iter().map(Self::of_defaults).collect()),
            Value::Object(entries) => {
                Content::Table(entries.into_iter().map(|(key, value)| (key, Self::of_defaults(value))).collect())
            }
        };
        Self::new(content, Origin::Default)
    }

    /// Lays `upper` over this: tables are merged, everything else is replaced.
    pub(super) fn overlay(&mut self, upper: Self) {
        let Self { content, origin } = upper;
        match (&mut self.content, content) {
            (Content::Table(mine), Content::Table(theirs)) => {
                for (key, node) in theirs {
                    match mine.get_mut(&key) {
                        Some(under) => under.overlay(node),
                        None => {
                            mine.insert(key, node);
                        }
                    }
                }
                self.origin = origin;
            }
            (mine, content) => {
                *mine = content;
                self.origin = origin;
            }
        }
    }

    /// Takes out what is of a shape that nothing can be laid over: a table of keys where `defaults` has a value, a value
    /// where that has a table. An empty place of a table sets nothing, and is gone.
    pub(super) fn take_misshapen(&mut self, defaults: &Self) -> Vec<(Path, Self)> {
        let mut taken = Vec::new();
        self.take_misshapen_below(defaults, &mut Vec::new(), &mut taken);
        taken
    }

    fn take_misshapen_below(&mut self, defaults: &Self, path: &mut Path, taken: &mut Vec<(Path, Self)>) {
        let (Content::Table(entries), Content::Table(defaults)) = (&mut self.content, &defaults.content) else {
            return;
        };
        for (key, default) in defaults {
            let Some(node) = entries.get_mut(key) else { continue };
            path.push(Step::Key(key.clone()));
            match (&node.content, &default.content) {
                (Content::Table(_), Content::Table(_)) => node.take_misshapen_below(default, path, taken),
                (Content::Null, Content::Table(_)) => _ = entries.remove(key),
                // What is nothing by default may be anything.
                (Content::Table(_), Content::Null) => {}
                (Content::Table(_), _) | (_, Content::Table(_)) => {
                    taken.extend(entries.remove(key).map(|node| (path.clone(), node)));
                }
                _ => {}
            }
            path.pop();
        }
    }

    /// Puts `node` in the place of what is at `path`.
    pub(super) fn replace(&mut self, path: &[Step], node: Self) {
        if let Some(place) = self.get_mut(path) {
            *place = node;
        }
    }

    /// The value at `path`.
    pub(super) fn get(&self, path: &[Step]) -> Option<&Self> {
        path.iter().try_fold(self, |node, step| match (&node.content, step) {
            (Content::Table(entries), Step::Key(key)) => entries.get(key),
            (Content::List(items), Step::Index(index)) => items.get(*index),
            _ => None,
        })
    }

    /// Where the value at `path` came from, or else the nearest one around it.
    pub(super) fn origin_at(&self, path: &[Step]) -> &Origin {
        let known = (0..=path.len()).rev().find_map(|end| self.get(&path[..end]));
        known.map_or(&self.origin, |node| &node.origin)
    }

    /// Puts back what `defaults` has at `path`, or takes the value out. Says whether anything changed.
    pub(super) fn restore(&mut self, path: &[Step], defaults: &Self) -> bool {
        let Some((last, around)) = path.split_last() else { return false };
        let default = defaults.get(path).cloned();
        let Some(parent) = self.get_mut(around) else { return false };
        match (&mut parent.content, last) {
            (Content::Table(entries), Step::Key(key)) => {
                let before = entries.remove(key);
                if let Some(default) = default.clone() {
                    entries.insert(key.clone(), default);
                }
                before.is_some() && before != default
            }
            (Content::List(items), Step::Index(index)) if *index < items.len() => {
                items.remove(*index);
                true
            }
            _ => false,
        }
    }

    fn get_mut(&mut self, path: &[Step]) -> Option<&mut Self> {
        path.iter().try_fold(self, |node, step| match (&mut node.content, step) {
            (Content::Table(entries), Step::Key(key)) => entries.get_mut(key),
            (Content::List(items), Step::Index(index)) => items.get_mut(*index),
            _ => None,
        })
    }
}
