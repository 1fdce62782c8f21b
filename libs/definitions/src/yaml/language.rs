//! The language: what a definition file may say. The JSON Schema for editors is made from these types.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::{
    node::Node,
    reader::{FromNode, Reader, Required, language},
    text::{KeyTypeText, NameText, SpanText, TtlText, TypeText},
};

language! {
    /// Definitions of a Larder project: one file, or one of many in a folder.
    struct FileText: "a definition file" {
        /// The project that the definitions belong to. Files of one folder agree on it; one of them must say it.
        project: Option<NameText>,
        /// What features are about.
        entities: Option<Vec<EntityText>>,
        /// Where rows come from.
        sources: Option<Vec<SourceText>>,
        /// Features of the same entities from the same source.
        feature_views: Option<Vec<FeatureViewText>>,
        /// Features computed from other views' features and from request data.
        on_demand_feature_views: Option<Vec<OnDemandFeatureViewText>>,
        /// What models read.
        feature_services: Option<Vec<FeatureServiceText>>,
    }

    /// What features are about: a customer, a pair of customer and merchant.
    struct EntityText: "an entity" {
        /// Unique among entities.
        name: Required<NameText>,
        /// One or more columns that together name one of them.
        #[schemars(extend("minItems" = 1))]
        join_keys: Required<Vec<JoinKeyText>>,
        /// For people.
        description: Option<String>,
        /// Who answers for it.
        owner: Option<String>,
        /// For search and for people.
        tags: Option<BTreeMap<String, String>>,
    }

    /// A named column of an entity key.
    struct JoinKeyText: "a join key" {
        /// The column's name in sources, requests and spines.
        name: Required<NameText>,
        /// Floats and lists cannot be keys.
        r#type: Required<KeyTypeText>,
    }

    /// Where rows come from: one of `parquet`, `postgres` and `push`.
    #[schemars(extend("oneOf" = [
        { "required": ["parquet", "event_time"] },
        { "required": ["postgres", "event_time"] },
        { "required": ["push"] },
    ]))]
    struct SourceText: "a source" {
        /// Unique among sources.
        name: Required<NameText>,
        /// Parquet files.
        parquet: Option<ParquetText>,
        /// A table or query of a PostgreSQL server.
        postgres: Option<PostgresText>,
        /// Fed by the push API; its history is the push log.
        push: Option<PushText>,
        /// The column with the event time.
        event_time: Option<String>,
        /// The column with the created time.
        created_time: Option<String>,
        /// For people.
        description: Option<String>,
        /// Who answers for it.
        owner: Option<String>,
        /// For search and for people.
        tags: Option<BTreeMap<String, String>>,
    }

    /// Parquet files.
    struct ParquetText: "a Parquet source" {
        /// A file, folder or glob, relative to this file, or a URL such as file:///data/prefix/.
        path: Required<String>,
    }

    /// Rows of a PostgreSQL server: either `table` or `query`.
    #[schemars(extend("oneOf" = [{ "required": ["table"] }, { "required": ["query"] }]))]
    struct PostgresText: "a PostgreSQL source" {
        /// The name of a connection of the materializer's configuration.
        connection: Required<String>,
        /// `table` or `schema.table`.
        table: Option<String>,
        /// A SELECT.
        query: Option<String>,
    }

    /// Features of the same entities from the same source.
    struct FeatureViewText: "a feature view" {
        /// Unique among feature views and on-demand feature views.
        name: Required<NameText>,
        /// Entities; a view without any has one row for all.
        entities: Option<Vec<NameText>>,
        /// A source.
        source: Required<NameText>,
        /// A push source beside a batch source: the history is the union of both.
        push_source: Option<NameText>,
        /// How old a row may be; none: no limit, as where it is left out.
        ttl: Option<TtlText>,
        /// Whether it is served; true where it is left out.
        online: Option<bool>,
        /// Whether it is in training sets; true where it is left out.
        offline: Option<bool>,
        /// When the materializer runs it by itself.
        schedule: Option<ScheduleText>,
        /// How late a row may arrive in a source that can only be read by event time.
        allowed_lateness: Option<SpanText>,
        /// At least one.
        #[schemars(extend("minItems" = 1))]
        features: Required<Vec<FeatureText>>,
        /// For people.
        description: Option<String>,
        /// Who answers for it.
        owner: Option<String>,
        /// For search and for people.
        tags: Option<BTreeMap<String, String>>,
    }

    /// When the materializer runs a view by itself.
    struct ScheduleText: "a schedule" {
        /// Five fields: minute, hour, day of month, month, day of week.
        cron: Required<String>,
        /// An IANA time zone; UTC where it is left out.
        time_zone: Option<String>,
    }

    /// A value that a view gives for an entity.
    struct FeatureText: "a feature" {
        /// Unique in its view.
        name: Required<NameText>,
        /// Its type.
        r#type: Required<TypeText>,
        /// The source's name for it, where it differs.
        column: Option<String>,
        /// The name it had before: its online values are kept. In a view that is pushed to, say the `column` it had, too.
        renamed_from: Option<NameText>,
        /// For people.
        description: Option<String>,
        /// For search and for people.
        tags: Option<BTreeMap<String, String>>,
    }

    /// Features computed from other views' features and from request data.
    struct OnDemandFeatureViewText: "an on-demand feature view" {
        /// Unique among feature views and on-demand feature views.
        name: Required<NameText>,
        /// Feature views whose features the expressions may use.
        inputs: Option<Vec<NameText>>,
        /// Request data that the expressions may use.
        request: Option<Vec<RequestText>>,
        /// At least one.
        #[schemars(extend("minItems" = 1))]
        features: Required<Vec<OnDemandFeatureText>>,
        /// For people.
        description: Option<String>,
        /// Who answers for it.
        owner: Option<String>,
        /// For search and for people.
        tags: Option<BTreeMap<String, String>>,
    }

    /// A value of the request that on-demand features use.
    struct RequestText: "request data" {
        /// Unique in its view.
        name: Required<NameText>,
        /// Its type.
        r#type: Required<TypeText>,
    }

    /// A feature computed when it is asked for.
    struct OnDemandFeatureText: "an on-demand feature" {
        /// Unique in its view.
        name: Required<NameText>,
        /// Its type; the expression's own must be it or widen to it.
        r#type: Required<TypeText>,
        /// A SQL scalar expression over one row.
        sql: Required<String>,
        /// For people.
        description: Option<String>,
    }

    /// What a model reads.
    struct FeatureServiceText: "a feature service" {
        /// Unique among feature services.
        name: Required<NameText>,
        /// Views, in the order of the answer.
        #[schemars(extend("minItems" = 1))]
        features: Required<Vec<ViewUseText>>,
        /// For people.
        description: Option<String>,
        /// Who answers for it.
        owner: Option<String>,
        /// For search and for people.
        tags: Option<BTreeMap<String, String>>,
    }

    /// A use of a view in a service.
    struct ViewUseText: "a use of a view" {
        /// A feature view or on-demand feature view.
        view: Required<NameText>,
        /// The chosen features; all where it is left out.
        #[schemars(extend("minItems" = 1))]
        select: Option<Vec<NameText>>,
        /// The name its features carry here: they are named `alias.feature`.
        r#as: Option<NameText>,
        /// Join key: the request's column that has it.
        join_keys: Option<BTreeMap<String, NameText>>,
    }
}

/// The push API.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct PushText {}

impl FromNode for PushText {
    fn from_node(node: &Node, reader: &mut Reader) -> Option<Self> {
        reader.fields(node, "`push: {}`", &[]).map(|_| Self {})
    }
}
