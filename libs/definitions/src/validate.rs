//! Validation: every problem of a project's definitions at once, whether they come from files or from a request.
//!
//! A problem names its field by path; who knows the files (see [`crate::yaml`]) adds file, line and column.

mod broken;
mod feature_view;
mod on_demand;
mod push;
mod service;

use std::collections::{BTreeMap, BTreeSet};

use larder_types::{KeyType, Name, ValueType, near_names};

use crate::{
    Entity, Feature, FeatureService, FeatureView, JoinKey, Object, ObjectKind, OnDemandFeatureView, Problem, Source,
    SourceKind,
};

pub(crate) use self::broken::{Broken, object_of};

/// Everything that is wrong with `objects`, which are all objects of a project.
pub fn validate<'a>(objects: impl IntoIterator<Item = &'a Object>) -> Vec<Problem> {
    validate_since(objects, std::iter::empty())
}

/// As [`validate`], but expressions of on-demand views that are in `valid`, a set of objects that was found valid, with
/// all their inputs as they are now, are not compiled again.
pub fn validate_since<'a>(
    objects: impl IntoIterator<Item = &'a Object>,
    valid: impl IntoIterator<Item = &'a Object>,
) -> Vec<Problem> {
    check(objects, valid, &Broken::default(), References::Here)
}

/// Where an object stands that others refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum References {
    /// Among those that are checked: there are no others.
    Here,
    /// Maybe elsewhere, where another origin declares it: who knows all of them says which names there are.
    Anywhere,
}

/// As [`validate_since`]; of `broken` objects, which could not be read completely, only what could be read is trusted.
pub(crate) fn check<'a>(
    objects: impl IntoIterator<Item = &'a Object>,
    valid: impl IntoIterator<Item = &'a Object>,
    broken: &Broken,
    references: References,
) -> Vec<Problem> {
    let index = Index::new(objects);
    let valid = Index::new(valid);
    let mut checker = Checker { index: &index, valid: &valid, broken, references, problems: Vec::new() };
    for entity in index.entities.values() {
        checker.entity(entity);
    }
    for source in index.sources.values() {
        checker.source(source);
    }
    for view in index.feature_views.values() {
        checker.feature_view(view);
    }
    checker.push_sources();
    for view in index.on_demand_feature_views.values() {
        checker.on_demand_feature_view(view);
    }
    for service in index.feature_services.values() {
        checker.feature_service(service);
    }
    checker.problems
}

/// Objects by kind and name.
#[derive(Default)]
struct Index<'a> {
    entities: BTreeMap<&'a str, &'a Entity>,
    sources: BTreeMap<&'a str, &'a Source>,
    feature_views: BTreeMap<&'a str, &'a FeatureView>,
    on_demand_feature_views: BTreeMap<&'a str, &'a OnDemandFeatureView>,
    feature_services: BTreeMap<&'a str, &'a FeatureService>,
}

impl<'a> Index<'a> {
    fn new(objects: impl IntoIterator<Item = &'a Object>) -> Self {
        let mut index = Self::default();
        for object in objects {
            index.add(object);
        }
        index
    }

    fn add(&mut self, object: &'a Object) {
        match object {
            Object::Entity(entity) => drop(self.entities.insert(entity.name.as_str(), entity)),
            Object::Source(source) => drop(self.sources.insert(source.name.as_str(), source)),
            Object::FeatureView(view) => drop(self.feature_views.insert(view.name.as_str(), view)),
            Object::OnDemandFeatureView(view) => drop(self.on_demand_feature_views.insert(view.name.as_str(), view)),
            Object::FeatureService(service) => drop(self.feature_services.insert(service.name.as_str(), service)),
        }
    }

    /// Every view's name, of both kinds.
    fn view_names(&self) -> impl Iterator<Item = &'a str> {
        self.feature_views.keys().chain(self.on_demand_feature_views.keys()).copied()
    }
}

struct Checker<'a> {
    index: &'a Index<'a>,
    valid: &'a Index<'a>,
    broken: &'a Broken,
    references: References,
    problems: Vec<Problem>,
}

impl<'a> Checker<'a> {
    fn problem(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(path, message));
    }

    /// Whether no feature of a view is missing here because it could not be read.
    fn features_are_known(&self, kind: ObjectKind, view: &Name) -> bool {
        !self.broken.unread(kind, view, "features").names
    }

    /// Whether all entities of the view are known, and all their join keys.
    fn keys_are_known(&self, view: &FeatureView) -> bool {
        let (list, is_empty) = ("entities", view.entities.is_empty());
        !self.broken.unread_optional(ObjectKind::FeatureView, &view.name, list, is_empty).names
            && view.entities.iter().all(|entity| {
                self.index.entities.contains_key(entity.as_str())
                    && !self.broken.unread(ObjectKind::Entity, entity, "join_keys").names
            })
    }

    /// The type of the entity's join key; none where it could not be read.
    fn type_of_key(&self, entity: &Entity, key: &JoinKey) -> Option<KeyType> {
        let unread = self.broken.unread(ObjectKind::Entity, &entity.name, "join_keys");
        (!unread.may_differ(&key.name, "type")).then_some(key.key_type)
    }

    /// The type of the view's feature; none where it could not be read.
    fn type_of_feature(&self, view: &FeatureView, feature: &Feature) -> Option<ValueType> {
        let unread = self.broken.unread(ObjectKind::FeatureView, &view.name, "features");
        (!unread.may_differ(&feature.name, "type")).then_some(feature.value_type)
    }

    /// Whether the source is a push source; none where it is not known, or not there.
    fn source_is_push(&self, name: &Name) -> Option<bool> {
        let source = self.index.sources.get(name.as_str())?;
        if self.broken.has_strange(ObjectKind::Source, name) {
            return None;
        }
        Some(match source.kind {
            SourceKind::Push(_) => true,
            SourceKind::Parquet(_) | SourceKind::Postgres(_) => false,
        })
    }

    /// Names that start with two underscores are Larder's own.
    fn check_name(&mut self, path: &str, name: &Name) {
        if name.as_str().starts_with("__") {
            self.problem(path, kept_for_larder(name));
        }
    }

    /// Reports each name that is there twice, at `path.name`.
    fn check_distinct<'n>(&mut self, path: &str, what: &str, names: impl IntoIterator<Item = &'n Name>) {
        let mut seen = BTreeSet::new();
        let mut reported = BTreeSet::new();
        for name in names {
            if !seen.insert(name) && reported.insert(name) {
                self.problem(
                    format!("{path}.{name}"),
                    format!("{what} `{name}` is there twice: give each a name of its own"),
                );
            }
        }
    }

    fn unknown<'n>(
        &mut self,
        path: impl Into<String>,
        what: &str,
        name: &Name,
        known: impl IntoIterator<Item = &'n str>,
    ) {
        match self.references {
            References::Here => self.problem(path, format!("there is no {what} `{name}`{}", did_you_mean(name, known))),
            References::Anywhere => {}
        }
    }

    fn entity(&mut self, entity: &Entity) {
        let path = path(ObjectKind::Entity, &entity.name);
        self.check_name(&path, &entity.name);
        if entity.join_keys.is_empty() && !self.broken.has_field(ObjectKind::Entity, &entity.name, "join_keys") {
            self.problem(format!("{path}.join_keys"), "an entity has at least one join key");
        }
        self.check_distinct(&format!("{path}.join_keys"), "join key", entity.join_keys.iter().map(|key| &key.name));
        for key in &entity.join_keys {
            self.check_name(&format!("{path}.join_keys.{}", key.name), &key.name);
        }
    }

    fn source(&mut self, source: &Source) {
        let path = path(ObjectKind::Source, &source.name);
        self.check_name(&path, &source.name);
        // What is a stand-in, was told when it was read.
        let is_told = |field: &str| self.broken.has_field(ObjectKind::Source, &source.name, field);
        let mut filled: Vec<(&str, &str)> = Vec::new();
        let (event_time, created_time) = match &source.kind {
            SourceKind::Parquet(parquet) => {
                filled.push(("parquet.path", &parquet.path));
                (&parquet.event_time, &parquet.created_time)
            }
            SourceKind::Postgres(postgres) => {
                filled.push(("postgres.connection", &postgres.connection));
                filled.push(match &postgres.relation {
                    crate::Relation::Table(table) => ("postgres.table", table),
                    crate::Relation::Query(query) => ("postgres.query", query),
                });
                (&postgres.event_time, &postgres.created_time)
            }
            SourceKind::Push(_) => return,
        };
        filled.push(("event_time", event_time));
        filled.extend(created_time.iter().map(|created_time| ("created_time", created_time.as_str())));
        filled.retain(|(field, _)| !is_told(field));
        for (field, text) in filled {
            let path = format!("{path}.{field}");
            self.check_filled(&path, text);
            if field == "parquet.path" {
                self.check_absolute(&path, text);
            }
        }
    }

    fn check_absolute(&mut self, path: &str, text: &str) {
        if !text.trim().is_empty() && !is_absolute(text) {
            let message =
                format!("`{text}` is a relative path: write an absolute one, or a URL such as file:///data/prefix/");
            self.problem(path, message);
        }
    }

    fn check_filled(&mut self, path: &str, text: &str) {
        if text.trim().is_empty() {
            self.problem(path, "is empty");
        }
    }
}

/// What is said of a name that begins with two underscores.
pub(crate) fn kept_for_larder(name: &Name) -> String {
    format!("`{name}`: names that start with two underscores are kept for Larder itself")
}

/// Whether a path means the same wherever it is opened; files of definitions have it made so when they are read.
fn is_absolute(path: &str) -> bool {
    let local = path.strip_prefix("file://").unwrap_or(path);
    local.starts_with('/') || (local.len() == path.len() && path.contains("://"))
}

/// `feature_views.customer_features`
fn path(kind: ObjectKind, name: &Name) -> String {
    format!("{}.{name}", kind.section())
}

/// `: did you mean …?`, or nothing where nothing is near.
pub(crate) fn did_you_mean<'n>(wrong: impl AsRef<str>, known: impl IntoIterator<Item = &'n str>) -> String {
    let near: Vec<_> = near_names(wrong.as_ref(), known).into_iter().map(|name| format!("`{name}`")).collect();
    if near.is_empty() { String::new() } else { format!(": did you mean {}?", near.join(" or ")) }
}
