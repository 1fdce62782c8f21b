//! From what a file says to objects.
//!
//! A problem was told for everything that is missing here. An object whose name is known is made nevertheless, with
//! stand-ins for what could not be read, so that references to it are not called unknown.

use std::{collections::BTreeMap, path::Path};

use larder_types::{KeyType, Name, ScalarType, ValueType};

use super::{
    UNREAD,
    language::{
        EntityText, FeatureServiceText, FeatureText, FeatureViewText, OnDemandFeatureViewText, PostgresText,
        SourceText, ViewUseText,
    },
    paths,
    reader::Required,
    text::NameText,
};
use crate::{
    Engine, Entity, Feature, FeatureService, FeatureView, JoinKey, Metadata, Object, OnDemandFeature,
    OnDemandFeatureView, ParquetSource, PostgresSource, PushSource, Relation, RequestField, Schedule, Source,
    SourceKind, ViewUse,
};

/// What a section's items become. None where there is no name to make an object of.
pub(super) trait IntoObject {
    /// `base` is the folder of the file. Tells of what it misses by field and message.
    fn into_object(self, base: &Path, tell: &mut dyn FnMut(&str, String)) -> Option<Object>;
}

fn unread() -> Option<Name> {
    Name::new(UNREAD).ok()
}

fn name(text: Required<NameText>) -> Option<Name> {
    text.0.map(|NameText(name)| name)
}

fn names(texts: Option<Vec<NameText>>) -> Vec<Name> {
    texts.unwrap_or_default().into_iter().map(|NameText(name)| name).collect()
}

fn metadata(description: Option<String>, owner: Option<String>, tags: Option<BTreeMap<String, String>>) -> Metadata {
    Metadata {
        description: description.unwrap_or_default(),
        owner: owner.unwrap_or_default(),
        tags: tags.unwrap_or_default(),
        annotations: BTreeMap::new(),
    }
}

impl IntoObject for EntityText {
    fn into_object(self, _: &Path, _: &mut dyn FnMut(&str, String)) -> Option<Object> {
        let Self { name: entity_name, join_keys, description, owner, tags } = self;
        let join_keys = join_keys.0.unwrap_or_default().into_iter().filter_map(|key| {
            let key_type = key.r#type.0.map_or(KeyType::String, |key_type| key_type.0);
            Some(JoinKey { name: name(key.name)?, key_type })
        });
        Some(Object::Entity(Entity {
            name: name(entity_name)?,
            join_keys: join_keys.collect(),
            metadata: metadata(description, owner, tags),
        }))
    }
}

impl IntoObject for SourceText {
    fn into_object(self, base: &Path, tell: &mut dyn FnMut(&str, String)) -> Option<Object> {
        let Self { name: source_name, parquet, postgres, push, event_time, created_time, description, owner, tags } =
            self;
        let kinds =
            [parquet.is_some(), postgres.is_some(), push.is_some()].into_iter().filter(|is_there| *is_there).count();
        if kinds != 1 {
            tell("", "a source has exactly one of `parquet`, `postgres` and `push: {}`".to_owned());
        }
        let wants_times = push.is_none() && kinds > 0;
        if wants_times && event_time.is_none() {
            tell("event_time", "a source that is read needs `event_time`, the column with the event time".to_owned());
        }
        if push.is_some() && kinds == 1 {
            for (field, _) in
                [("event_time", &event_time), ("created_time", &created_time)].iter().filter(|f| f.1.is_some())
            {
                tell(field, format!("a push source has no `{field}`: times come with each event"));
            }
        }
        let event_time = event_time.unwrap_or_default();
        let kind = match (parquet, postgres) {
            (Some(parquet), _) => {
                let path = parquet.path.0.unwrap_or_default();
                if let Some((folder, wildcard)) = paths::wildcard_in_base(base, &path) {
                    let message = format!(
                        "`{path}` lies below the folder {}, and the `{wildcard}` in its name would be a wildcard: have these \
                         files in a folder without one, or write an absolute path or a URL without it",
                        folder.display()
                    );
                    tell("parquet.path", message);
                }
                let path = paths::absolute(base, &path);
                SourceKind::Parquet(ParquetSource { path, event_time, created_time })
            }
            (None, Some(PostgresText { connection, table, query })) => {
                let relation = match (table, query) {
                    (Some(table), None) => Relation::Table(table),
                    (None, Some(query)) => Relation::Query(query),
                    (table, query) => {
                        tell("postgres", "a PostgreSQL source has either `table` or `query`".to_owned());
                        Relation::Table(table.or(query).unwrap_or_default())
                    }
                };
                let connection = connection.0.unwrap_or_default();
                SourceKind::Postgres(PostgresSource { connection, relation, event_time, created_time })
            }
            (None, None) => SourceKind::Push(PushSource {}),
        };
        Some(Object::Source(Source { name: name(source_name)?, kind, metadata: metadata(description, owner, tags) }))
    }
}

impl IntoObject for FeatureViewText {
    fn into_object(self, _: &Path, _: &mut dyn FnMut(&str, String)) -> Option<Object> {
        let Self {
            name: view_name,
            entities,
            source,
            push_source,
            ttl,
            online,
            offline,
            schedule,
            allowed_lateness,
            features,
            description,
            owner,
            tags,
        } = self;
        let schedule = schedule.and_then(|schedule| {
            let time_zone = schedule.time_zone.unwrap_or_else(|| "UTC".to_owned());
            Some(Schedule { cron: schedule.cron.0?, time_zone })
        });
        Some(Object::FeatureView(FeatureView {
            name: name(view_name)?,
            entities: names(entities),
            source: name(source).or_else(unread)?,
            push_source: push_source.map(|NameText(name)| name),
            ttl: ttl.and_then(|ttl| ttl.0),
            online: online.unwrap_or(true),
            offline: offline.unwrap_or(true),
            schedule,
            allowed_lateness: allowed_lateness.map(|span| span.0),
            features: features.0.unwrap_or_default().into_iter().filter_map(feature).collect(),
            metadata: metadata(description, owner, tags),
        }))
    }
}

fn feature(text: FeatureText) -> Option<Feature> {
    let FeatureText { name: feature_name, r#type, column, renamed_from, description, tags } = text;
    Some(Feature {
        name: name(feature_name)?,
        column,
        value_type: r#type.0.map_or(STAND_IN_TYPE, |value_type| value_type.0),
        renamed_from: renamed_from.map(|NameText(name)| name),
        description: description.unwrap_or_default(),
        tags: tags.unwrap_or_default(),
    })
}

/// Of a feature whose type could not be read: its view is known to be broken, and types in it are not compared.
const STAND_IN_TYPE: ValueType = ValueType::Scalar(ScalarType::String);

impl IntoObject for OnDemandFeatureViewText {
    fn into_object(self, _: &Path, _: &mut dyn FnMut(&str, String)) -> Option<Object> {
        let Self { name: view_name, inputs, request, features, description, owner, tags } = self;
        let request = request.unwrap_or_default().into_iter().filter_map(|field| {
            let value_type = field.r#type.0.map_or(STAND_IN_TYPE, |value_type| value_type.0);
            Some(RequestField { name: name(field.name)?, value_type })
        });
        let features = features.0.unwrap_or_default().into_iter().filter_map(|feature| {
            Some(OnDemandFeature {
                name: name(feature.name)?,
                value_type: feature.r#type.0.map_or(STAND_IN_TYPE, |value_type| value_type.0),
                engine: Engine::Sql(feature.sql.0.unwrap_or_default()),
                description: feature.description.unwrap_or_default(),
            })
        });
        Some(Object::OnDemandFeatureView(OnDemandFeatureView {
            name: name(view_name)?,
            inputs: names(inputs),
            request: request.collect(),
            features: features.collect(),
            metadata: metadata(description, owner, tags),
        }))
    }
}

impl IntoObject for FeatureServiceText {
    fn into_object(self, _: &Path, tell: &mut dyn FnMut(&str, String)) -> Option<Object> {
        let Self { name: service_name, features, description, owner, tags } = self;
        let uses = features.0.unwrap_or_default().into_iter().enumerate();
        let features = uses.filter_map(|(position, view_use)| {
            self::view_use(view_use, &mut |field, message| tell(&format!("features[{position}]{field}"), message))
        });
        Some(Object::FeatureService(FeatureService {
            features: features.collect(),
            name: name(service_name)?,
            metadata: metadata(description, owner, tags),
        }))
    }
}

fn view_use(text: ViewUseText, tell: &mut dyn FnMut(&str, String)) -> Option<ViewUse> {
    let ViewUseText { view, select, r#as, join_keys } = text;
    if select.as_ref().is_some_and(Vec::is_empty) {
        tell(".select", "selects nothing: leave `select` out for all features of the view".to_owned());
    }
    let mut mapping = BTreeMap::new();
    for (key, NameText(column)) in join_keys.unwrap_or_default() {
        match Name::new(&key) {
            Ok(key) => drop(mapping.insert(key, column)),
            Err(error) => tell(&format!(".join_keys.{key}"), error.to_string()),
        }
    }
    let alias = r#as.map(|NameText(name)| name);
    Some(ViewUse { view: name(view)?, select: names(select), alias, join_keys: mapping })
}
