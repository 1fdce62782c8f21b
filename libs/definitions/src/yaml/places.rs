//! Where every field of the objects stands, by its path.

use std::collections::BTreeMap;

use super::{
    node::{Node, Place, Value},
    reader::{Reader, join, step_into},
};
use crate::Location;

/// Places by path, e.g. `feature_views.customer_features.ttl`.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(BTreeMap<String, Location>);

impl Places {
    /// Where the field stands: itself, or the nearest that it is within.
    pub(super) fn locate(&self, path: &str) -> Option<&Location> {
        let mut path = path;
        loop {
            if let Some(location) = self.0.get(path) {
                return Some(location);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    /// Keeps the places of a document. An object that was declared before is a problem, and keeps its first places.
    pub(super) fn remember(&mut self, document: &Node, reader: &mut Reader) {
        let Value::Map(sections) = &document.value else { return };
        for (section, node) in sections {
            let Value::List(items) = &node.value else {
                self.keep(&section.text, node.place, reader);
                continue;
            };
            for (position, item) in items.iter().enumerate() {
                let path = join(&section.text, &step_into(position, item));
                if let Some(first) = self.0.get(&path) {
                    let message = format!("`{path}` is declared twice, first at {first}: give each a name of its own");
                    reader.problem_of(path, item.place, message);
                } else {
                    self.remember_within(item, &path, reader);
                }
            }
        }
    }

    fn remember_within(&mut self, node: &Node, path: &str, reader: &Reader) {
        self.keep(path, node.place, reader);
        match &node.value {
            Value::Map(entries) => {
                for (key, value) in entries {
                    self.remember_within(value, &join(path, &key.text), reader);
                }
            }
            Value::List(items) => {
                for (position, item) in items.iter().enumerate() {
                    self.remember_within(item, &join(path, &step_into(position, item)), reader);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
        }
    }

    fn keep(&mut self, path: &str, place: Place, reader: &Reader) {
        self.0.entry(path.to_owned()).or_insert_with(|| reader.location(place));
    }
}

/// Where a field of the document itself stands.
pub(super) fn place_of(document: &Node, field: &str) -> Place {
    let Value::Map(entries) = &document.value else { return document.place };
    entries.iter().find(|(key, _)| key.text == field).map_or(document.place, |(_, node)| node.place)
}
