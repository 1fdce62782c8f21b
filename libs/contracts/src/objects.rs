//! Entities, sources, views and services.

use larder_definitions::{
    Engine, Entity, Feature, FeatureService, FeatureView, JoinKey, Metadata, Object, ObjectId, ObjectKind,
    OnDemandFeature, OnDemandFeatureView, ParquetSource, PostgresSource, PushSource, Relation, RequestField, Schedule,
    Source, SourceKind, ViewUse,
};
use larder_types::Result;

use crate::{
    registry::v1 as api,
    wire::{Path, Wire, all_to_wire, optional_text, span_to_wire, text},
};

/// What [`api::Object`] can be.
const KINDS_OF_OBJECT: [&str; 5] = ["entity", "source", "feature_view", "on_demand_feature_view", "feature_service"];

impl Wire for Object {
    type Message = api::Object;

    fn to_wire(&self) -> api::Object {
        let object = match self {
            Self::Entity(entity) => api::object::Object::Entity(entity.to_wire()),
            Self::Source(source) => api::object::Object::Source(source.to_wire()),
            Self::FeatureView(view) => api::object::Object::FeatureView(view.to_wire()),
            Self::OnDemandFeatureView(view) => api::object::Object::OnDemandFeatureView(view.to_wire()),
            Self::FeatureService(service) => api::object::Object::FeatureService(service.to_wire()),
        };
        api::Object { object: Some(object) }
    }

    fn from_wire(message: api::Object, at: &Path<'_>) -> Result<Self> {
        let api::Object { object } = message;
        match object.ok_or_else(|| at.none_known("its kind of object", &KINDS_OF_OBJECT))? {
            api::object::Object::Entity(entity) => Entity::from_wire(entity, at).map(Self::Entity),
            api::object::Object::Source(source) => Source::from_wire(source, at).map(Self::Source),
            api::object::Object::FeatureView(view) => FeatureView::from_wire(view, at).map(Self::FeatureView),
            api::object::Object::OnDemandFeatureView(view) => {
                OnDemandFeatureView::from_wire(view, at).map(Self::OnDemandFeatureView)
            }
            api::object::Object::FeatureService(service) => {
                FeatureService::from_wire(service, at).map(Self::FeatureService)
            }
        }
    }
}

impl Wire for ObjectKind {
    type Message = i32;

    fn to_wire(&self) -> i32 {
        match self {
            Self::Entity => api::ObjectKind::Entity,
            Self::Source => api::ObjectKind::Source,
            Self::FeatureView => api::ObjectKind::FeatureView,
            Self::OnDemandFeatureView => api::ObjectKind::OnDemandFeatureView,
            Self::FeatureService => api::ObjectKind::FeatureService,
        }
        .into()
    }

    fn from_wire(message: i32, at: &Path<'_>) -> Result<Self> {
        match api::ObjectKind::try_from(message) {
            Ok(api::ObjectKind::Unspecified) => Err(at.invalid("is missing")),
            Ok(api::ObjectKind::Entity) => Ok(Self::Entity),
            Ok(api::ObjectKind::Source) => Ok(Self::Source),
            Ok(api::ObjectKind::FeatureView) => Ok(Self::FeatureView),
            Ok(api::ObjectKind::OnDemandFeatureView) => Ok(Self::OnDemandFeatureView),
            Ok(api::ObjectKind::FeatureService) => Ok(Self::FeatureService),
            Err(_) => Err(at.not_understood(format_args!("object kind {message}"))),
        }
    }
}

impl Wire for ObjectId {
    type Message = api::ObjectId;

    fn to_wire(&self) -> api::ObjectId {
        api::ObjectId { kind: self.kind.to_wire(), name: self.name.to_string() }
    }

    fn from_wire(message: api::ObjectId, at: &Path<'_>) -> Result<Self> {
        let api::ObjectId { kind, name } = message;
        Ok(Self { kind: ObjectKind::from_wire(kind, &at.field("kind"))?, name: at.name("name", &name)? })
    }
}

impl Wire for Metadata {
    type Message = api::Metadata;

    fn to_wire(&self) -> api::Metadata {
        let annotation = |(name, bytes): (&String, &Vec<u8>)| (name.clone(), bytes.clone().into());
        api::Metadata {
            description: self.description.clone(),
            owner: self.owner.clone(),
            tags: self.tags.clone(),
            annotations: self.annotations.iter().map(annotation).collect(),
        }
    }

    fn from_wire(message: api::Metadata, _at: &Path<'_>) -> Result<Self> {
        let api::Metadata { description, owner, tags, annotations } = message;
        let annotations = annotations.into_iter().map(|(name, bytes)| (name, bytes.into())).collect();
        Ok(Self { description, owner, tags, annotations })
    }
}

/// Metadata that nobody wrote is not sent.
fn metadata_to_wire(metadata: &Metadata) -> Option<api::Metadata> {
    (*metadata != Metadata::default()).then(|| metadata.to_wire())
}

fn metadata_from_wire(message: Option<api::Metadata>, at: &Path<'_>) -> Result<Metadata> {
    Ok(at.read_optional("metadata", message)?.unwrap_or_default())
}

impl Wire for JoinKey {
    type Message = api::JoinKey;

    fn to_wire(&self) -> api::JoinKey {
        api::JoinKey { name: self.name.to_string(), r#type: Some(self.key_type.to_wire()) }
    }

    fn from_wire(message: api::JoinKey, at: &Path<'_>) -> Result<Self> {
        let api::JoinKey { name, r#type } = message;
        Ok(Self { name: at.name("name", &name)?, key_type: at.read("type", r#type)? })
    }
}

impl Wire for Entity {
    type Message = api::Entity;

    fn to_wire(&self) -> api::Entity {
        api::Entity {
            name: self.name.to_string(),
            join_keys: all_to_wire(&self.join_keys),
            metadata: metadata_to_wire(&self.metadata),
        }
    }

    fn from_wire(message: api::Entity, at: &Path<'_>) -> Result<Self> {
        let api::Entity { name, join_keys, metadata } = message;
        Ok(Self {
            name: at.name("name", &name)?,
            join_keys: at.read_all("join_keys", join_keys)?,
            metadata: metadata_from_wire(metadata, at)?,
        })
    }
}

impl Wire for Source {
    type Message = api::Source;

    fn to_wire(&self) -> api::Source {
        let kind = match &self.kind {
            SourceKind::Parquet(source) => api::source::Kind::Parquet(source.to_wire()),
            SourceKind::Postgres(source) => api::source::Kind::Postgres(source.to_wire()),
            SourceKind::Push(PushSource {}) => api::source::Kind::Push(api::PushSource {}),
        };
        api::Source { name: self.name.to_string(), kind: Some(kind), metadata: metadata_to_wire(&self.metadata) }
    }

    fn from_wire(message: api::Source, at: &Path<'_>) -> Result<Self> {
        let api::Source { name, kind, metadata } = message;
        let kind = match kind.ok_or_else(|| at.none_known("its kind of source", &["parquet", "postgres", "push"]))? {
            api::source::Kind::Parquet(source) => {
                SourceKind::Parquet(ParquetSource::from_wire(source, &at.field("parquet"))?)
            }
            api::source::Kind::Postgres(source) => {
                SourceKind::Postgres(PostgresSource::from_wire(source, &at.field("postgres"))?)
            }
            api::source::Kind::Push(api::PushSource {}) => SourceKind::Push(PushSource {}),
        };
        Ok(Self { name: at.name("name", &name)?, kind, metadata: metadata_from_wire(metadata, at)? })
    }
}

impl Wire for ParquetSource {
    type Message = api::ParquetSource;

    fn to_wire(&self) -> api::ParquetSource {
        api::ParquetSource {
            path: self.path.clone(),
            event_time: self.event_time.clone(),
            created_time: text(self.created_time.as_ref()),
        }
    }

    fn from_wire(message: api::ParquetSource, _at: &Path<'_>) -> Result<Self> {
        let api::ParquetSource { path, event_time, created_time } = message;
        Ok(Self { path, event_time, created_time: optional_text(created_time) })
    }
}

impl Wire for PostgresSource {
    type Message = api::PostgresSource;

    fn to_wire(&self) -> api::PostgresSource {
        let relation = match &self.relation {
            Relation::Table(table) => api::postgres_source::Relation::Table(table.clone()),
            Relation::Query(query) => api::postgres_source::Relation::Query(query.clone()),
        };
        api::PostgresSource {
            connection: self.connection.clone(),
            relation: Some(relation),
            event_time: self.event_time.clone(),
            created_time: text(self.created_time.as_ref()),
        }
    }

    fn from_wire(message: api::PostgresSource, at: &Path<'_>) -> Result<Self> {
        let api::PostgresSource { connection, relation, event_time, created_time } = message;
        let relation = match relation.ok_or_else(|| at.not_understood("what it reads (neither table nor query)"))? {
            api::postgres_source::Relation::Table(table) => Relation::Table(table),
            api::postgres_source::Relation::Query(query) => Relation::Query(query),
        };
        Ok(Self { connection, relation, event_time, created_time: optional_text(created_time) })
    }
}

impl Wire for Feature {
    type Message = api::FeatureDefinition;

    fn to_wire(&self) -> api::FeatureDefinition {
        api::FeatureDefinition {
            name: self.name.to_string(),
            column: text(self.column.as_ref()),
            r#type: Some(self.value_type.to_wire()),
            renamed_from: text(self.renamed_from.as_ref()),
            description: self.description.clone(),
            tags: self.tags.clone(),
        }
    }

    fn from_wire(message: api::FeatureDefinition, at: &Path<'_>) -> Result<Self> {
        let api::FeatureDefinition { name, column, r#type, renamed_from, description, tags } = message;
        Ok(Self {
            name: at.name("name", &name)?,
            column: optional_text(column),
            value_type: at.read("type", r#type)?,
            renamed_from: at.optional_name("renamed_from", &renamed_from)?,
            description,
            tags,
        })
    }
}

impl Wire for Schedule {
    type Message = api::Schedule;

    fn to_wire(&self) -> api::Schedule {
        api::Schedule { cron: self.cron.clone(), time_zone: self.time_zone.clone() }
    }

    fn from_wire(message: api::Schedule, _at: &Path<'_>) -> Result<Self> {
        let api::Schedule { cron, time_zone } = message;
        Ok(Self { cron, time_zone: if time_zone.is_empty() { "UTC".to_owned() } else { time_zone } })
    }
}

impl Wire for FeatureView {
    type Message = api::FeatureView;

    fn to_wire(&self) -> api::FeatureView {
        api::FeatureView {
            name: self.name.to_string(),
            entities: self.entities.iter().map(ToString::to_string).collect(),
            source: self.source.to_string(),
            push_source: text(self.push_source.as_ref()),
            ttl: self.ttl.map(span_to_wire),
            online: self.online,
            offline: self.offline,
            schedule: self.schedule.as_ref().map(Schedule::to_wire),
            allowed_lateness: self.allowed_lateness.map(span_to_wire),
            features: all_to_wire(&self.features),
            metadata: metadata_to_wire(&self.metadata),
        }
    }

    fn from_wire(message: api::FeatureView, at: &Path<'_>) -> Result<Self> {
        let api::FeatureView {
            name,
            entities,
            source,
            push_source,
            ttl,
            online,
            offline,
            schedule,
            allowed_lateness,
            features,
            metadata,
        } = message;
        Ok(Self {
            name: at.name("name", &name)?,
            entities: at.names("entities", &entities)?,
            source: at.name("source", &source)?,
            push_source: at.optional_name("push_source", &push_source)?,
            ttl: at.span("ttl", ttl)?,
            online,
            offline,
            schedule: at.read_optional("schedule", schedule)?,
            allowed_lateness: at.span("allowed_lateness", allowed_lateness)?,
            features: at.read_all("features", features)?,
            metadata: metadata_from_wire(metadata, at)?,
        })
    }
}

impl Wire for RequestField {
    type Message = api::RequestField;

    fn to_wire(&self) -> api::RequestField {
        api::RequestField { name: self.name.to_string(), r#type: Some(self.value_type.to_wire()) }
    }

    fn from_wire(message: api::RequestField, at: &Path<'_>) -> Result<Self> {
        let api::RequestField { name, r#type } = message;
        Ok(Self { name: at.name("name", &name)?, value_type: at.read("type", r#type)? })
    }
}

impl Wire for OnDemandFeature {
    type Message = api::OnDemandFeature;

    fn to_wire(&self) -> api::OnDemandFeature {
        let engine = match &self.engine {
            Engine::Sql(sql) => api::on_demand_feature::Engine::Sql(sql.clone()),
        };
        api::OnDemandFeature {
            name: self.name.to_string(),
            r#type: Some(self.value_type.to_wire()),
            engine: Some(engine),
            description: self.description.clone(),
        }
    }

    fn from_wire(message: api::OnDemandFeature, at: &Path<'_>) -> Result<Self> {
        let api::OnDemandFeature { name, r#type, engine, description } = message;
        let engine = match engine.ok_or_else(|| at.none_known("its engine", &["sql"]))? {
            api::on_demand_feature::Engine::Sql(sql) => Engine::Sql(sql),
        };
        Ok(Self { name: at.name("name", &name)?, value_type: at.read("type", r#type)?, engine, description })
    }
}

impl Wire for OnDemandFeatureView {
    type Message = api::OnDemandFeatureView;

    fn to_wire(&self) -> api::OnDemandFeatureView {
        api::OnDemandFeatureView {
            name: self.name.to_string(),
            inputs: self.inputs.iter().map(ToString::to_string).collect(),
            request: all_to_wire(&self.request),
            features: all_to_wire(&self.features),
            metadata: metadata_to_wire(&self.metadata),
        }
    }

    fn from_wire(message: api::OnDemandFeatureView, at: &Path<'_>) -> Result<Self> {
        let api::OnDemandFeatureView { name, inputs, request, features, metadata } = message;
        Ok(Self {
            name: at.name("name", &name)?,
            inputs: at.names("inputs", &inputs)?,
            request: at.read_all("request", request)?,
            features: at.read_all("features", features)?,
            metadata: metadata_from_wire(metadata, at)?,
        })
    }
}

impl Wire for ViewUse {
    type Message = api::ViewUse;

    fn to_wire(&self) -> api::ViewUse {
        api::ViewUse {
            view: self.view.to_string(),
            select: self.select.iter().map(ToString::to_string).collect(),
            alias: text(self.alias.as_ref()),
            join_keys: self.join_keys.iter().map(|(key, column)| (key.to_string(), column.to_string())).collect(),
        }
    }

    fn from_wire(message: api::ViewUse, at: &Path<'_>) -> Result<Self> {
        let api::ViewUse { view, select, alias, join_keys } = message;
        Ok(Self {
            view: at.name("view", &view)?,
            select: at.names("select", &select)?,
            alias: at.optional_name("alias", &alias)?,
            join_keys: at.name_map("join_keys", &join_keys)?,
        })
    }
}

impl Wire for FeatureService {
    type Message = api::FeatureService;

    fn to_wire(&self) -> api::FeatureService {
        api::FeatureService {
            name: self.name.to_string(),
            features: all_to_wire(&self.features),
            metadata: metadata_to_wire(&self.metadata),
        }
    }

    fn from_wire(message: api::FeatureService, at: &Path<'_>) -> Result<Self> {
        let api::FeatureService { name, features, metadata } = message;
        Ok(Self {
            name: at.name("name", &name)?,
            features: at.read_all("features", features)?,
            metadata: metadata_from_wire(metadata, at)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use larder_types::ErrorCode;
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::samples;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_object_comes_back(object in samples::object()) {
            let bytes = object.to_wire().encode_to_vec();
            let back = Object::from_wire(api::Object::decode(&*bytes).unwrap(), &Path::ROOT).unwrap();
            prop_assert_eq!(&back, &object);
            let id = object.id();
            prop_assert_eq!(ObjectId::from_wire(id.to_wire(), &Path::ROOT).unwrap(), id);
        }

        #[test]
        fn any_bytes_are_answered_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(message) = api::Object::decode(&*bytes) {
                let _ = Object::from_wire(message, &Path::ROOT);
            }
        }
    }

    #[test]
    fn errors_name_the_field() {
        let feature = |name: &str, kind| api::FeatureDefinition {
            name: name.into(),
            r#type: Some(crate::types::v1::ValueType { kind, item: None }),
            ..Default::default()
        };
        let view = |features| api::FeatureView { name: "v".into(), source: "s".into(), features, ..Default::default() };
        let cases = [
            (
                view(vec![feature("ok", 1), feature("not ok", 1)]),
                ErrorCode::InvalidArgument,
                "puts[2].features[1].name",
            ),
            (view(vec![feature("ok", 77)]), ErrorCode::Unimplemented, "puts[2].features[0].type.kind"),
            (api::FeatureView::default(), ErrorCode::InvalidArgument, "puts[2].name"),
        ];
        for (view, code, field) in cases {
            let object = api::Object { object: Some(api::object::Object::FeatureView(view)) };
            let root = Path::ROOT;
            let puts = root.field("puts");
            let error = Object::from_wire(object, &puts.index(2)).unwrap_err();
            assert_eq!((error.code(), &*error.violations()[0].field), (code, field), "{error}");
        }
    }

    #[test]
    fn kinds_sources_and_engines_of_a_later_release_are_not_understood() {
        let root = Path::ROOT;
        let unknown = [
            Object::from_wire(api::Object { object: None }, &root).unwrap_err(),
            Source::from_wire(api::Source { name: "s".into(), ..Default::default() }, &root).unwrap_err(),
            ObjectKind::from_wire(9, &root).unwrap_err(),
            OnDemandFeature::from_wire(api::OnDemandFeature { name: "f".into(), ..Default::default() }, &root)
                .unwrap_err(),
        ];
        for error in &unknown {
            assert_eq!(error.code(), ErrorCode::Unimplemented, "{error}");
        }
        assert!(unknown[3].message().contains("its engine is missing, or not known to this release, which knows sql"));
    }
}
