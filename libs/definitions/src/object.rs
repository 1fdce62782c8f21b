//! What users declare, as it is kept and sent: plain data without positions in files and without resolved references.
//!
//! These types are written into revisions as JSON (see [`crate::revision`]) and therefore only ever gain optional fields.

use std::{collections::BTreeMap, fmt, time::Duration};

use larder_types::{KeyType, Name, ValueType};
use serde::{Deserialize, Serialize};

/// What every object may carry besides its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metadata {
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Who answers for it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// For search and for people.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Bytes by name that a client keeps here: given back unchanged, never looked at.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, Vec<u8>>,
}

/// A named column of an entity key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinKey {
    /// The column's name in sources, requests and spines.
    pub name: Name,
    /// Its type.
    #[serde(rename = "type")]
    pub key_type: KeyType,
}

/// What features are about: a customer, a pair of customer and merchant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entity {
    /// Unique among entities of the project.
    pub name: Name,
    /// At least one.
    pub join_keys: Vec<JoinKey>,
    /// Description, owner, tags.
    #[serde(default)]
    pub metadata: Metadata,
}

/// Where rows come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Unique among sources of the project.
    pub name: Name,
    /// What is read and how.
    #[serde(flatten)]
    pub kind: SourceKind,
    /// Description, owner, tags.
    #[serde(default)]
    pub metadata: Metadata,
}

/// The kinds of source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// Parquet in a file, a folder or a glob, local or on an object store.
    Parquet(ParquetSource),
    /// A table or query of a PostgreSQL server.
    Postgres(PostgresSource),
    /// Fed by the push API; its history is the push log.
    Push(PushSource),
}

/// Parquet files.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParquetSource {
    /// A path or URL. `larder` makes relative paths absolute before they are sent.
    pub path: String,
    /// The column with the event time.
    pub event_time: String,
    /// The column with the created time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_time: Option<String>,
}

/// Rows of a PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresSource {
    /// The name of a connection of the materializer's configuration.
    pub connection: String,
    /// What is read.
    pub relation: Relation,
    /// The column with the event time.
    pub event_time: String,
    /// The column with the created time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_time: Option<String>,
}

/// A table by name, or a query.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// `table` or `schema.table`.
    Table(String),
    /// A SELECT.
    Query(String),
}

/// The push API.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushSource {}

/// A value that a view gives for an entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// Unique in its view.
    pub name: Name,
    /// The source's name for it, where it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// The name it had in the revision before: its numbered column is kept, and of a pushed view its source's column too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<Name>,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// For search and for people.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl Feature {
    /// The column of the source that has it.
    pub fn source_column(&self) -> &str {
        self.column.as_deref().unwrap_or(self.name.as_str())
    }
}

/// When the materializer runs a view by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Five fields: minute, hour, day of month, month, day of week.
    pub cron: String,
    /// An IANA time zone.
    #[serde(default = "utc")]
    pub time_zone: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

fn yes() -> bool {
    true
}

/// Features of the same entities from the same source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureView {
    /// Unique among feature views and on-demand feature views of the project.
    pub name: Name,
    /// Zero or more entities; without any, the view has one row for all.
    pub entities: Vec<Name>,
    /// A batch source, or a push source.
    pub source: Name,
    /// A push source beside a batch source: the history is the union of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push_source: Option<Name>,
    /// How old a row may be; none: no limit. Kept in microseconds.
    #[serde(default, with = "span", skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
    /// Whether it is served.
    #[serde(default = "yes")]
    pub online: bool,
    /// Whether it is in training sets.
    #[serde(default = "yes")]
    pub offline: bool,
    /// When the materializer runs it by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// How late a row may arrive in a source that can only be read by event time. Kept in microseconds.
    #[serde(default, with = "span", skip_serializing_if = "Option::is_none")]
    pub allowed_lateness: Option<Duration>,
    /// At least one.
    pub features: Vec<Feature>,
    /// Description, owner, tags.
    #[serde(default)]
    pub metadata: Metadata,
}

/// A value of the request that on-demand features use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestField {
    /// Unique in its view.
    pub name: Name,
    /// Its type.
    #[serde(rename = "type")]
    pub value_type: ValueType,
}

/// A feature computed when it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnDemandFeature {
    /// Unique in its view.
    pub name: Name,
    /// Its type; the expression's own must be it or widen to it.
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// What computes it.
    #[serde(flatten)]
    pub engine: Engine,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// What computes an on-demand feature. Others may come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// A SQL scalar expression over one row.
    Sql(String),
}

/// Features computed from other views' features and from request data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnDemandFeatureView {
    /// Unique among feature views and on-demand feature views of the project.
    pub name: Name,
    /// Feature views whose features the expressions may use.
    #[serde(default)]
    pub inputs: Vec<Name>,
    /// Request data that the expressions may use.
    #[serde(default)]
    pub request: Vec<RequestField>,
    /// At least one.
    pub features: Vec<OnDemandFeature>,
    /// Description, owner, tags.
    #[serde(default)]
    pub metadata: Metadata,
}

/// A use of a view in a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewUse {
    /// A feature view or on-demand feature view.
    pub view: Name,
    /// The chosen features; empty: all, in the order of the view.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub select: Vec<Name>,
    /// The name its features carry here: under an alias they are always named `alias.feature`.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub alias: Option<Name>,
    /// Join key → the request's column that has it. Of an on-demand view: applies to all its input views.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub join_keys: BTreeMap<Name, Name>,
}

/// What a model reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureService {
    /// Unique among feature services of the project.
    pub name: Name,
    /// In the order of the answer.
    pub features: Vec<ViewUse>,
    /// Description, owner, tags.
    #[serde(default)]
    pub metadata: Metadata,
}

/// The kinds of object. Names are unique within a kind; the two kinds of view share one space of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    /// [`Entity`]
    Entity,
    /// [`Source`]
    Source,
    /// [`FeatureView`]
    FeatureView,
    /// [`OnDemandFeatureView`]
    OnDemandFeatureView,
    /// [`FeatureService`]
    FeatureService,
}

impl ObjectKind {
    /// Every kind, in the order in which one may refer to those before it.
    pub const ALL: [Self; 5] =
        [Self::Entity, Self::Source, Self::FeatureView, Self::OnDemandFeatureView, Self::FeatureService];

    /// For people: `feature view`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Entity => "entity",
            Self::Source => "source",
            Self::FeatureView => "feature view",
            Self::OnDemandFeatureView => "on-demand feature view",
            Self::FeatureService => "feature service",
        }
    }

    /// For people: `feature views`.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Entity => "entities",
            Self::Source => "sources",
            Self::FeatureView => "feature views",
            Self::OnDemandFeatureView => "on-demand feature views",
            Self::FeatureService => "feature services",
        }
    }

    /// The section of a definition file that has them: `feature_views`.
    pub fn section(self) -> &'static str {
        match self {
            Self::Entity => "entities",
            Self::Source => "sources",
            Self::FeatureView => "feature_views",
            Self::OnDemandFeatureView => "on_demand_feature_views",
            Self::FeatureService => "feature_services",
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An object of any kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Object {
    /// An entity.
    Entity(Entity),
    /// A source.
    Source(Source),
    /// A feature view.
    FeatureView(FeatureView),
    /// An on-demand feature view.
    OnDemandFeatureView(OnDemandFeatureView),
    /// A feature service.
    FeatureService(FeatureService),
}

/// Names one object of a project.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectId {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its name.
    pub name: Name,
}

impl ObjectId {
    /// Where it stands in definitions: `feature_views.customer_features`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.kind.section(), self.name)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

impl Object {
    /// Kind and name.
    pub fn id(&self) -> ObjectId {
        let (kind, name) = match self {
            Self::Entity(entity) => (ObjectKind::Entity, &entity.name),
            Self::Source(source) => (ObjectKind::Source, &source.name),
            Self::FeatureView(view) => (ObjectKind::FeatureView, &view.name),
            Self::OnDemandFeatureView(view) => (ObjectKind::OnDemandFeatureView, &view.name),
            Self::FeatureService(service) => (ObjectKind::FeatureService, &service.name),
        };
        ObjectId { kind, name: name.clone() }
    }

    /// Description, owner, tags, annotations.
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::Entity(entity) => &entity.metadata,
            Self::Source(source) => &source.metadata,
            Self::FeatureView(view) => &view.metadata,
            Self::OnDemandFeatureView(view) => &view.metadata,
            Self::FeatureService(service) => &service.metadata,
        }
    }
}

/// Spans of time in JSON: whole microseconds.
mod span {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "the signature serde asks for")]
    pub(super) fn serialize<S: Serializer>(span: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => serializer.serialize_u64(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_micros))
    }
}
