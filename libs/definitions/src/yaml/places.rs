//! Where every field of the objects stands, by its path.

use std::collections::BTreeMap;

use super::{
    node::{Node, Place, Value},
    reader::{Reader, join, step_into},
};
use crate::{Location, Problem};

/// The most declarations of one object that are looked at: each but the first is a problem in itself.
pub(super) const MOST_DECLARATIONS: usize = 20;

/// Places by path, e.g. `feature_views.customer_features.ttl`.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    /// Of each object's first declaration, then of the second declarations, and so on.
    declarations: Vec<BTreeMap<String, Location>>,
    /// How often each object was declared.
    declared: BTreeMap<String, usize>,
}

impl Places {
    /// Where the field stands: itself, or the nearest that it is within.
    pub(super) fn locate(&self, path: &str) -> Option<&Location> {
        self.locate_in(0, path)
    }

    /// As [`Places::locate`] in that declaration of the object, from 0; in its first one, if there is no such.
    pub(super) fn locate_in(&self, declaration: usize, path: &str) -> Option<&Location> {
        [declaration, 0].into_iter().find_map(|declaration| nearest(self.declarations.get(declaration)?, path))
    }

    /// Which declaration of the object, from 0, a problem is about that was told where it stands: the last that begins
    /// before it.
    pub(super) fn declaration_of(&self, problem: &Problem, object: &str) -> usize {
        let begins_before = |places: &BTreeMap<String, Location>| {
            let (Some(begin), Some(at)) = (places.get(object), &problem.location) else { return false };
            begin.file == at.file && (begin.line, begin.column) <= (at.line, at.column)
        };
        self.declarations.iter().rposition(begins_before).unwrap_or(0)
    }

    /// Keeps the places of a document, and gives a problem for each object that was declared before.
    pub(super) fn remember(&mut self, document: &Node, reader: &Reader) -> Vec<Problem> {
        let mut twice = Vec::new();
        let Value::Map(sections) = &document.value else { return twice };
        for (section, node) in sections {
            let Value::List(items) = &node.value else {
                self.keep(0, &section.text, node.place, reader);
                continue;
            };
            for (position, item) in items.iter().enumerate() {
                let step = step_into(position, item);
                let path = join(&section.text, &step);
                let declared = self.declared.entry(path.clone()).or_default();
                let declaration = *declared;
                *declared += 1;
                if let Some(first) = self.locate(&path).filter(|_| declaration > 0 && !step.starts_with('[')) {
                    let message = format!("`{path}` is declared twice, first at {first}: give each a name of its own");
                    twice.push(Problem::at(reader.location(item.place), path.clone(), message));
                }
                if declaration < MOST_DECLARATIONS {
                    self.remember_within(declaration, item, &path, reader);
                }
            }
        }
        twice
    }

    fn remember_within(&mut self, declaration: usize, node: &Node, path: &str, reader: &Reader) {
        self.keep(declaration, path, node.place, reader);
        match &node.value {
            Value::Map(entries) => {
                for (key, value) in entries {
                    self.remember_within(declaration, value, &join(path, &key.text), reader);
                }
            }
            Value::List(items) => {
                for (position, item) in items.iter().enumerate() {
                    self.remember_within(declaration, item, &join(path, &step_into(position, item)), reader);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
        }
    }

    fn keep(&mut self, declaration: usize, path: &str, place: Place, reader: &Reader) {
        if self.declarations.len() <= declaration {
            self.declarations.resize_with(declaration + 1, BTreeMap::new);
        }
        if let Some(places) = self.declarations.get_mut(declaration) {
            places.entry(path.to_owned()).or_insert_with(|| reader.location(place));
        }
    }
}

fn nearest<'p>(places: &'p BTreeMap<String, Location>, path: &str) -> Option<&'p Location> {
    let mut path = path;
    loop {
        if let Some(location) = places.get(path) {
            return Some(location);
        }
        path = &path[..path.rfind(['.', '['])?];
    }
}

/// Where a field of the document itself stands.
pub(super) fn place_of(document: &Node, field: &str) -> Place {
    let Value::Map(entries) = &document.value else { return document.place };
    entries.iter().find(|(key, _)| key.text == field).map_or(document.place, |(_, node)| node.place)
}
