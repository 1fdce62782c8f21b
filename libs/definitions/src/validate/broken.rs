//! Objects that could not be read completely: what of them can be trusted nevertheless.

use std::collections::{BTreeMap, BTreeSet};

use larder_types::Name;

use crate::{ObjectId, ObjectKind};

/// What a reader told problems of.
#[derive(Debug, Default)]
pub(crate) struct Broken {
    /// By object, the rest of each problem's path, e.g. `.features.age.type`.
    told: BTreeMap<ObjectId, BTreeSet<String>>,
    /// Objects that are declared more than once: what is meant of them is not known.
    twice: BTreeSet<ObjectId>,
}

/// What is known of a list of named things within an object.
#[derive(Debug)]
pub(super) struct Unread<'a> {
    /// Whether things of it may be missing, or have other names.
    pub(super) names: bool,
    /// Whether all of them may be others.
    all: bool,
    /// The fields of a thing that could not be read; an empty one: something of it, which may be meant for any field that
    /// it does not have.
    fields: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl Broken {
    /// Of the paths of problems.
    pub(crate) fn of<'a>(paths: impl IntoIterator<Item = &'a str>) -> Self {
        let mut told: BTreeMap<ObjectId, BTreeSet<String>> = BTreeMap::new();
        for path in paths {
            if let Some((id, rest)) = object_of(path) {
                told.entry(id).or_default().insert(rest.to_owned());
            }
        }
        Self { told, twice: BTreeSet::new() }
    }

    /// The same with these objects that are declared more than once.
    pub(crate) fn and_twice(self, twice: impl IntoIterator<Item = ObjectId>) -> Self {
        Self { twice: twice.into_iter().collect(), ..self }
    }

    fn is_twice(&self, kind: ObjectKind, name: &Name) -> bool {
        !self.twice.is_empty() && self.twice.contains(&ObjectId { kind, name: name.clone() })
    }

    fn rests(&self, kind: ObjectKind, name: &Name) -> impl Iterator<Item = &str> {
        let found = if self.told.is_empty() { None } else { self.told.get(&ObjectId { kind, name: name.clone() }) };
        found.into_iter().flatten().map(String::as_str)
    }

    /// Whether the object has something that is none of its fields, or lacks what makes it of one kind.
    pub(super) fn has_strange(&self, kind: ObjectKind, name: &Name) -> bool {
        self.is_twice(kind, name) || self.rests(kind, name).any(str::is_empty)
    }

    /// Whether that field of the object, e.g. `parquet.path`, was told of, or something in it, or what it is in.
    pub(super) fn has_field(&self, kind: ObjectKind, name: &Name, field: &str) -> bool {
        let within = |path: &str, of: &str| {
            path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.rests(kind, name)
            .filter_map(|rest| rest.strip_prefix('.'))
            .any(|told| within(told, field) || within(field, told))
    }

    /// Of the things in `list` of an object, e.g. `features`.
    pub(super) fn unread(&self, kind: ObjectKind, name: &Name, list: &str) -> Unread<'_> {
        let all = self.is_twice(kind, name);
        let mut unread = Unread { names: all, all, fields: BTreeMap::new() };
        for rest in self.rests(kind, name) {
            let within = rest.strip_prefix('.').and_then(|rest| rest.strip_prefix(list));
            match within.and_then(|within| within.strip_prefix('.')).map(|thing| thing.split_once('.')) {
                Some(Some((_, "name"))) => unread.names = true,
                Some(Some((thing, field))) => drop(unread.fields.entry(thing).or_default().insert(field)),
                Some(None) => {
                    let thing = within.unwrap_or_default().trim_start_matches('.');
                    unread.fields.entry(thing).or_default().insert("");
                }
                // The whole list, or a thing in it without a name.
                None => unread.names |= within.is_some_and(|within| within.is_empty() || within.starts_with('[')),
            }
        }
        unread
    }

    /// As [`Broken::unread`] of a list that may be left out: where it is, something strange in the object may be it.
    pub(super) fn unread_optional(&self, kind: ObjectKind, name: &Name, list: &str, is_empty: bool) -> Unread<'_> {
        let mut unread = self.unread(kind, name, list);
        unread.names |= is_empty && self.has_strange(kind, name);
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
        self.all || self.fields.get(thing.as_str()).is_some_and(|fields| fields.contains(field))
    }

    /// As [`Unread::may_differ`] of a field that may be left out, where it is.
    pub(super) fn may_be_there(&self, thing: &Name, field: &str) -> bool {
        self.all || self.fields.get(thing.as_str()).is_some_and(|fields| fields.contains(field) || fields.contains(""))
    }
}
