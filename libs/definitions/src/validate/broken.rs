//! Objects that could not be read completely: what of them can be trusted nevertheless.

use std::collections::{BTreeMap, BTreeSet};

use larder_types::Name;

use crate::{ObjectId, ObjectKind};

/// What a reader told problems of, by object: the rest of each problem's path, e.g. `.features.age.type`.
#[derive(Debug, Default)]
pub(crate) struct Broken(BTreeMap<ObjectId, BTreeSet<String>>);

/// What is known of a list of named things within an object.
#[derive(Debug, Default)]
pub(super) struct Unread<'a> {
    /// Whether things of it may be missing, or have other names.
    pub(super) names: bool,
    /// The fields of a thing that could not be read; an empty one: which, is not known.
    fields: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl Broken {
    /// Of the paths of problems.
    pub(crate) fn of<'a>(paths: impl IntoIterator<Item = &'a str>) -> Self {
        let mut broken: BTreeMap<ObjectId, BTreeSet<String>> = BTreeMap::new();
        for path in paths {
            if let Some((id, rest)) = object_of(path) {
                broken.entry(id).or_default().insert(rest.to_owned());
            }
        }
        Self(broken)
    }

    pub(super) fn has(&self, kind: ObjectKind, name: &Name) -> bool {
        !self.0.is_empty() && self.0.contains_key(&ObjectId { kind, name: name.clone() })
    }

    /// Of the things in `list` of an object, e.g. `features`.
    pub(super) fn unread(&self, kind: ObjectKind, name: &Name, list: &str) -> Unread<'_> {
        let mut unread = Unread::default();
        if self.0.is_empty() {
            return unread;
        }
        for rest in self.0.get(&ObjectId { kind, name: name.clone() }).into_iter().flatten() {
            let within = rest.strip_prefix('.').and_then(|rest| rest.strip_prefix(list));
            match within.and_then(|within| within.strip_prefix('.')).map(|thing| thing.split_once('.')) {
                Some(Some((_, "name"))) => unread.names = true,
                Some(Some((thing, field))) => drop(unread.fields.entry(thing).or_default().insert(field)),
                Some(None) => {
                    let thing = within.unwrap_or_default().trim_start_matches('.');
                    unread.fields.entry(thing).or_default().insert("");
                }
                // The whole object, the whole list, or a thing in it without a name.
                None => unread.names |= rest.is_empty() || within.is_some_and(|w| w.is_empty() || w.starts_with('[')),
            }
        }
        unread
    }
}

/// The object that a path is within, and the rest of the path.
pub(crate) fn object_of(path: &str) -> Option<(ObjectId, &str)> {
    let (section, path) = path.split_once('.')?;
    let kind = ObjectKind::ALL.into_iter().find(|kind| kind.section() == section)?;
    let (name, rest) = path.split_at(path.find(['.', '[']).unwrap_or(path.len()));
    Some((ObjectId { kind, name: Name::new(name).ok()? }, rest))
}

impl Unread<'_> {
    /// Whether that field of a thing may be another than the one that is there.
    pub(super) fn may_differ(&self, thing: &Name, field: &str) -> bool {
        self.fields.get(thing.as_str()).is_some_and(|fields| fields.contains("") || fields.contains(field))
    }
}
