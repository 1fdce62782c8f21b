//! Validation: every problem of a project's definitions at once, whether they come from files or from a request.
//!
//! A problem names its field by path; who knows the files (see [`crate::yaml`]) adds file, line and column.

mod broken;
mod feature_view;
mod on_demand;
mod push;
mod service;

use std::collections::{BTreeMap, BTreeSet};

use larder_types::{Name, near_names};

use crate::{
    Entity, FeatureService, FeatureView, Object, ObjectKind, OnDemandFeatureView, Problem, Source, SourceKind,
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

    fn source_is_push(&self, name: &Name) -> Option<bool> {
        self.sources.get(name.as_str()).map(|source| match source.kind {
            SourceKind::Push(_) => true,
            SourceKind::Parquet(_) | SourceKind::Postgres(_) => false,
        })
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

    fn is_broken(&self, kind: ObjectKind, name: &Name) -> bool {
        self.broken.has(kind, name)
    }

    /// Whether the view, or one of its entities, could not be read completely.
    fn is_view_broken(&self, view: &FeatureView) -> bool {
        self.is_broken(ObjectKind::FeatureView, &view.name)
            || view.entities.iter().any(|entity| self.is_broken(ObjectKind::Entity, entity))
    }

    /// Names that start with two underscores are Larder's own.
    fn check_name(&mut self, path: &str, name: &Name) {
        if name.as_str().starts_with("__") {
            self.problem(path, format!("`{name}`: names that start with two underscores are kept for Larder itself"));
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
        if entity.join_keys.is_empty() && !self.is_broken(ObjectKind::Entity, &entity.name) {
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
        if self.is_broken(ObjectKind::Source, &source.name) {
            return;
        }
        let (event_time, created_time) = match &source.kind {
            SourceKind::Parquet(parquet) => {
                let path = format!("{path}.parquet.path");
                self.check_filled(&path, &parquet.path);
                self.check_absolute(&path, &parquet.path);
                (&parquet.event_time, &parquet.created_time)
            }
            SourceKind::Postgres(postgres) => {
                self.check_filled(&format!("{path}.postgres.connection"), &postgres.connection);
                match &postgres.relation {
                    crate::Relation::Table(table) => self.check_filled(&format!("{path}.postgres.table"), table),
                    crate::Relation::Query(query) => self.check_filled(&format!("{path}.postgres.query"), query),
                }
                (&postgres.event_time, &postgres.created_time)
            }
            SourceKind::Push(_) => return,
        };
        self.check_filled(&format!("{path}.event_time"), event_time);
        if let Some(created_time) = created_time {
            self.check_filled(&format!("{path}.created_time"), created_time);
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
