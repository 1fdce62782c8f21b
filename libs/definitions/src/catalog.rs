//! The catalog: an immutable, resolved snapshot of a project at a revision. What services work from.
//!
//! Everything a name can stand for is looked up once, when the catalog is built; readers share it by `Arc`.

mod build;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use larder_codec::RowSchema;
use larder_types::{
    ColumnNumber, Error, KeySpaceNumber, Name, ProjectNumber, Revision, RowSetNumber, SchemaNumber, Timestamp,
    ValueType, did_you_mean, near_names,
};

pub use self::build::share;
use crate::{
    Entity, FeatureService, FeatureView, JoinKey, Object, ObjectId, ObjectKind, OnDemandFeatureView, Source, SourceKind,
};

/// A project at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    /// The project's name.
    pub project: Name,
    /// The project's number.
    pub project_number: ProjectNumber,
    /// The revision it shows.
    pub revision: Revision,
    /// When that revision was made.
    pub created_at: Timestamp,
    /// Entities by name.
    pub entities: BTreeMap<Name, Arc<Entity>>,
    /// Sources by name.
    pub sources: BTreeMap<Name, Arc<ResolvedSource>>,
    /// Feature views by name.
    pub feature_views: BTreeMap<Name, Arc<ResolvedView>>,
    /// On-demand feature views by name.
    pub on_demand_feature_views: BTreeMap<Name, Arc<OnDemandFeatureView>>,
    /// Feature services by name.
    pub feature_services: BTreeMap<Name, Arc<FeatureService>>,
    /// Which origin declared each object.
    pub origins: BTreeMap<ObjectId, String>,
    /// Objects that this release does not understand: left out above, answered UNIMPLEMENTED.
    pub not_understood: BTreeMap<Name, String>,
}

/// A source and, of a push source, the columns its events have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedSource {
    /// As declared.
    pub definition: Source,
    /// Of a push source: what a pushed row consists of; the union of what its views read.
    pub push_schema: Option<Arc<PushSchema>>,
}

/// The columns of a push source's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushSchema {
    /// Written with every row of the push log.
    pub number: SchemaNumber,
    /// Join keys of any of its views: every pushed row has them, not null.
    pub keys: Vec<JoinKey>,
    /// Feature columns by the source's name for them.
    pub columns: Vec<(String, ValueType)>,
}

/// The sorted join keys that views with the same entities share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySpace {
    /// Second part of every online key.
    pub number: KeySpaceNumber,
    /// Sorted by name; none for a view without entities.
    pub keys: Vec<JoinKey>,
}

/// A feature view with its key space, row set, schemas and sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedView {
    /// As declared.
    pub definition: FeatureView,
    /// Where its entities' rows lie.
    pub key_space: Arc<KeySpace>,
    /// Which row set is read.
    pub row_set: RowSetNumber,
    /// Which row sets pushes and materializations write to. One, until generations are published under load.
    pub write_row_sets: Vec<RowSetNumber>,
    /// The column of each feature, in the order of the definition.
    pub columns: Vec<ColumnNumber>,
    /// What rows are written with.
    pub schema: Arc<RowSchema>,
    /// Every schema that live rows may name, `schema` among them.
    pub schemas: BTreeMap<SchemaNumber, Arc<RowSchema>>,
    /// The revision since which pushed rows are written as they are now: what was pushed before may be online in another way.
    pub pushed_since: Revision,
    /// The batch source, if it has one.
    pub batch_source: Option<Arc<ResolvedSource>>,
    /// The push source, if it has one.
    pub push_source: Option<Arc<ResolvedSource>>,
}

impl ResolvedView {
    /// The view's name.
    pub fn name(&self) -> &Name {
        &self.definition.name
    }

    /// The position and column of a feature.
    pub fn feature(&self, name: &str) -> Option<(usize, ColumnNumber)> {
        let position = self.definition.features.iter().position(|feature| feature.name == *name)?;
        self.columns.get(position).map(|column| (position, *column))
    }
}

/// A view of either kind.
#[derive(Debug, Clone, Copy)]
pub enum AnyView<'a> {
    /// Stored.
    Feature(&'a Arc<ResolvedView>),
    /// Computed.
    OnDemand(&'a Arc<OnDemandFeatureView>),
}

impl Catalog {
    /// The feature view of that name, or an error with near names.
    pub fn feature_view(&self, name: &str) -> Result<&Arc<ResolvedView>, Error> {
        self.feature_views.get(name).ok_or_else(|| self.unknown(ObjectKind::FeatureView, name))
    }

    /// The feature view of that name if it is served: FAILED_PRECONDITION for one that is not, which has no rows online.
    pub fn served_view(&self, name: &str) -> Result<&Arc<ResolvedView>, Error> {
        let view = self.feature_view(name)?;
        if !view.definition.online {
            return Err(Error::failed_precondition(format!("view {name} is not served (`online: false`)")));
        }
        Ok(view)
    }

    /// The feature service of that name, or an error with near names.
    pub fn feature_service(&self, name: &str) -> Result<&Arc<FeatureService>, Error> {
        self.feature_services.get(name).ok_or_else(|| self.unknown(ObjectKind::FeatureService, name))
    }

    /// The source of that name, or an error with near names.
    pub fn source(&self, name: &str) -> Result<&Arc<ResolvedSource>, Error> {
        self.sources.get(name).ok_or_else(|| self.unknown(ObjectKind::Source, name))
    }

    /// The view of either kind of that name, or an error with near names.
    pub fn view(&self, name: &str) -> Result<AnyView<'_>, Error> {
        let stored = self.feature_views.get(name).map(AnyView::Feature);
        let computed = || self.on_demand_feature_views.get(name).map(AnyView::OnDemand);
        stored.or_else(computed).ok_or_else(|| self.unknown(ObjectKind::OnDemandFeatureView, name))
    }

    /// The views that a push source feeds.
    pub fn views_of_push_source<'a>(&'a self, source: &'a str) -> impl Iterator<Item = &'a Arc<ResolvedView>> {
        self.feature_views
            .values()
            .filter(move |view| view.push_source.as_ref().is_some_and(|push| push.definition.name == *source))
    }

    /// Every object, in the order of [`ObjectKind::ALL`], by name.
    pub fn objects(&self) -> impl Iterator<Item = Object> + '_ {
        let entities = self.entities.values().map(|entity| Object::Entity((**entity).clone()));
        let sources = self.sources.values().map(|source| Object::Source(source.definition.clone()));
        let views = self.feature_views.values().map(|view| Object::FeatureView(view.definition.clone()));
        let computed = self.on_demand_feature_views.values().map(|view| Object::OnDemandFeatureView((**view).clone()));
        let services = self.feature_services.values().map(|service| Object::FeatureService((**service).clone()));
        entities.chain(sources).chain(views).chain(computed).chain(services)
    }

    /// Of an on-demand feature view: where a view of either kind would do.
    fn unknown(&self, kind: ObjectKind, name: &str) -> Error {
        let of_either_kind = kind == ObjectKind::OnDemandFeatureView;
        let kind = if of_either_kind { ObjectKind::FeatureView } else { kind };
        if let Some(why) = self.not_understood.get(name) {
            return Error::unimplemented(format!("{kind} `{name}` of project {}: {why}", self.project));
        }
        let place = format!("project {} at revision {}", self.project, self.revision);
        if kind == ObjectKind::FeatureView && self.on_demand_feature_views.contains_key(name) {
            let what = "it is an on-demand feature view, computed when it is asked for and never materialized";
            return Error::not_found(format!("{place} has no feature view `{name}`: {what}"));
        }
        if kind == ObjectKind::FeatureView
            && let Some(service) = self.feature_services.get(name)
        {
            let views: BTreeSet<&str> = service.features.iter().map(|used| used.view.as_str()).collect();
            let views = views.into_iter().filter(|view| of_either_kind || self.feature_views.contains_key(*view));
            let views = views.collect::<Vec<_>>().join(", ");
            let of = if views.is_empty() { String::new() } else { format!(", of {views}") };
            return Error::not_found(format!("{place} has no feature view `{name}`: it is a feature service{of}"));
        }
        let known: Vec<&str> = match kind {
            ObjectKind::Entity => self.entities.keys().map(Name::as_str).collect(),
            ObjectKind::Source => self.sources.keys().map(Name::as_str).collect(),
            ObjectKind::FeatureView | ObjectKind::OnDemandFeatureView => {
                let computed = self.on_demand_feature_views.keys().filter(|_| of_either_kind);
                self.feature_views.keys().chain(computed).map(Name::as_str).collect()
            }
            ObjectKind::FeatureService => self.feature_services.keys().map(Name::as_str).collect(),
        };
        unknown_name(&place, kind.as_str(), name, &known)
    }
}

impl ResolvedSource {
    /// Whether it is fed by the push API.
    pub fn is_push(&self) -> bool {
        match self.definition.kind {
            SourceKind::Push(_) => true,
            SourceKind::Parquet(_) | SourceKind::Postgres(_) => false,
        }
    }
}

/// So many names are told where none is near.
const MAX_TOLD: usize = 12;

/// As [`unknown_name`]; where nothing is near, it is told what there is.
pub fn unknown_name_among(place: &str, kind: &str, name: &str, known: &[&str]) -> Error {
    if known.is_empty() || !near_names(name, known.iter().copied()).is_empty() {
        return unknown_name(place, kind, name, known);
    }
    let more = if known.len() > MAX_TOLD { ", …" } else { "" };
    let told = known.iter().take(MAX_TOLD).copied().collect::<Vec<_>>().join(", ");
    Error::not_found(format!("{place} has no {kind} `{name}`; there is {told}{more}"))
}

/// `place has no kind `name`; did you mean …?`
pub fn unknown_name(place: &str, kind: &str, name: &str, known: &[&str]) -> Error {
    let near = near_names(name, known.iter().copied());
    let hint = did_you_mean(&near);
    Error::not_found(format!("{place} has no {kind} `{name}`{hint}"))
}
