//! Random objects, catalogs and runs for property tests.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use larder_codec::{RowSchema, SchemaColumn};
use larder_definitions::{
    Catalog, Engine, Entity, Feature, FeatureService, FeatureView, JoinKey, KeySpace, Metadata, Object, ObjectId,
    OnDemandFeature, OnDemandFeatureView, ParquetSource, PostgresSource, PushSchema, PushSource, Relation,
    RequestField, ResolvedSource, ResolvedView, Schedule, Source, SourceKind, ViewUse,
    run::{
        EventTimes, FileVersion, GoneFile, MaterializeRequest, Outcome, Part, PartKind, Position, Progress, ReadFile,
        ReadFiles, Run, RunPlan, RunRequest, RunState, Scope, SpineDigest, TrainingSetRequest, Watermark, WatermarkKey,
    },
};
use larder_types::{
    ColumnNumber, KeySpaceNumber, KeyType, LeaseNumber, Name, ProjectNumber, Revision, RowSetNumber, ScalarType,
    SchemaNumber, Timestamp, ValueType,
};
use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::select,
};

pub(crate) fn name() -> impl Strategy<Value = Name> + Clone {
    "[a-zA-Z_][a-zA-Z0-9_]{0,9}".prop_map(|text| Name::new(&text).unwrap())
}

fn some_text() -> impl Strategy<Value = String> + Clone {
    ".{1,8}"
}

fn text() -> impl Strategy<Value = String> + Clone {
    ".{0,8}"
}

pub(crate) fn value_type() -> impl Strategy<Value = ValueType> + Clone {
    (select(&ScalarType::ALL[..]), any::<bool>())
        .prop_map(|(scalar, list)| if list { ValueType::List(scalar) } else { ValueType::Scalar(scalar) })
}

fn key_type() -> impl Strategy<Value = KeyType> + Clone {
    select(vec![KeyType::Bool, KeyType::Int32, KeyType::Int64, KeyType::String, KeyType::Bytes, KeyType::Timestamp])
}

fn time() -> impl Strategy<Value = Timestamp> + Clone {
    any::<i64>().prop_map(Timestamp::from_micros)
}

fn span() -> impl Strategy<Value = Duration> + Clone {
    (0..1_u64 << 50).prop_map(Duration::from_micros)
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let bytes = vec(any::<u8>(), 0..4);
    (text(), text(), btree_map(text(), text(), 0..3), btree_map(text(), bytes, 0..3))
        .prop_map(|(description, owner, tags, annotations)| Metadata { description, owner, tags, annotations })
}

fn join_key() -> impl Strategy<Value = JoinKey> {
    (name(), key_type()).prop_map(|(name, key_type)| JoinKey { name, key_type })
}

fn entity() -> impl Strategy<Value = Entity> {
    (name(), vec(join_key(), 1..4), metadata()).prop_map(|(name, join_keys, metadata)| Entity {
        name,
        join_keys,
        metadata,
    })
}

fn source_kind() -> impl Strategy<Value = SourceKind> {
    let parquet = (text(), text(), option::of(some_text()))
        .prop_map(|(path, event_time, created_time)| ParquetSource { path, event_time, created_time });
    let relation = prop_oneof![text().prop_map(Relation::Table), text().prop_map(Relation::Query)];
    let postgres = (text(), relation, text(), option::of(some_text())).prop_map(
        |(connection, relation, event_time, created_time)| PostgresSource {
            connection,
            relation,
            event_time,
            created_time,
        },
    );
    prop_oneof![
        parquet.prop_map(SourceKind::Parquet),
        postgres.prop_map(SourceKind::Postgres),
        Just(SourceKind::Push(PushSource {})),
    ]
}

fn source() -> impl Strategy<Value = Source> {
    (name(), source_kind(), metadata()).prop_map(|(name, kind, metadata)| Source { name, kind, metadata })
}

fn feature() -> impl Strategy<Value = Feature> {
    (name(), option::of(some_text()), value_type(), option::of(name()), text(), btree_map(text(), text(), 0..3))
        .prop_map(|(name, column, value_type, renamed_from, description, tags)| Feature {
            name,
            column,
            value_type,
            renamed_from,
            description,
            tags,
        })
}

fn feature_view() -> impl Strategy<Value = FeatureView> {
    let schedule = (text(), some_text()).prop_map(|(cron, time_zone)| Schedule { cron, time_zone });
    let first = (name(), vec(name(), 0..3), name(), option::of(name()), option::of(span()));
    let second = (any::<(bool, bool)>(), option::of(schedule), option::of(span()), vec(feature(), 1..6), metadata());
    (first, second).prop_map(
        |((name, entities, source, push_source, ttl), ((online, offline), schedule, lateness, features, metadata))| {
            FeatureView {
                name,
                entities,
                source,
                push_source,
                ttl,
                online,
                offline,
                schedule,
                allowed_lateness: lateness,
                features,
                metadata,
            }
        },
    )
}

fn on_demand_feature_view() -> impl Strategy<Value = OnDemandFeatureView> {
    let feature = (name(), value_type(), text(), text()).prop_map(|(name, value_type, sql, description)| {
        OnDemandFeature { name, value_type, engine: Engine::Sql(sql), description }
    });
    let request = (name(), value_type()).prop_map(|(name, value_type)| RequestField { name, value_type });
    (name(), vec(name(), 0..3), vec(request, 0..3), vec(feature, 1..4), metadata()).prop_map(
        |(name, inputs, request, features, metadata)| OnDemandFeatureView { name, inputs, request, features, metadata },
    )
}

fn feature_service() -> impl Strategy<Value = FeatureService> {
    let view_use = (name(), vec(name(), 0..3), option::of(name()), btree_map(name(), name(), 0..3))
        .prop_map(|(view, select, alias, join_keys)| ViewUse { view, select, alias, join_keys });
    (name(), vec(view_use, 0..4), metadata()).prop_map(|(name, features, metadata)| FeatureService {
        name,
        features,
        metadata,
    })
}

pub(crate) fn object() -> impl Strategy<Value = Object> {
    prop_oneof![
        entity().prop_map(Object::Entity),
        source().prop_map(Object::Source),
        feature_view().prop_map(Object::FeatureView),
        on_demand_feature_view().prop_map(Object::OnDemandFeatureView),
        feature_service().prop_map(Object::FeatureService),
    ]
}

fn files() -> impl Strategy<Value = FileVersion> {
    (text(), any::<u64>(), option::of(some_text())).prop_map(|(path, size, etag)| FileVersion { path, size, etag })
}

fn segments() -> impl Strategy<Value = BTreeMap<String, u64>> {
    btree_map(text(), any::<u64>(), 0..3)
}

fn range() -> impl Strategy<Value = (Timestamp, Timestamp)> {
    (time(), time()).prop_map(|(a, b)| (a.min(b), a.max(b)))
}

fn run_request() -> impl Strategy<Value = RunRequest> {
    let scope = prop_oneof![
        Just(Scope::Full),
        Just(Scope::Incremental),
        range().prop_map(|(start, end)| Scope::Range { start, end }),
    ];
    let materialize =
        (name(), scope, option::of(time())).prop_map(|(view, scope, tick)| MaterializeRequest { view, scope, tick });
    let training = (option::of(name()), vec(text(), 0..3), text(), text(), text(), any::<bool>()).prop_map(
        |(feature_service, references, spine, event_time, output, full_names)| TrainingSetRequest {
            feature_service,
            references,
            spine,
            event_time,
            output,
            full_names,
        },
    );
    prop_oneof![materialize.prop_map(RunRequest::Materialize), training.prop_map(RunRequest::TrainingSet)]
}

fn run_plan() -> impl Strategy<Value = RunPlan> {
    let what = prop_oneof![
        files().prop_map(PartKind::File),
        range().prop_map(|(start, end)| PartKind::TimeRange { start, end }),
        (segments(), segments()).prop_map(|(from, to)| PartKind::Log { from, to }),
    ];
    let event_times = || range().prop_map(|(first, last)| EventTimes { first, last });
    let part = (name(), what, option::of(event_times()), any::<bool>())
        .prop_map(|(source, what, event_times, replaces)| Part { source, what, event_times, replaces });
    let key = (any::<u32>(), name(), text(), any::<u32>()).prop_map(|(row_set, source, query, schema)| WatermarkKey {
        row_set: RowSetNumber(row_set),
        source,
        query,
        schema: SchemaNumber(schema),
    });
    let read = (files(), option::of(event_times()), any::<bool>())
        .prop_map(|(version, event_times, in_part)| ReadFile { version, event_times, in_part });
    let gone = (name(), text(), option::of(event_times())).prop_map(|(source, path, event_times)| GoneFile {
        source,
        path,
        event_times,
    });
    let position = prop_oneof![
        vec(read, 0..3).prop_map(|files| Position::Files(ReadFiles { files })),
        segments().prop_map(Position::Log),
        time().prop_map(Position::Time),
    ];
    let watermark = (key, position).prop_map(|(key, position)| Watermark { key, position });
    let spine = (text(), any::<u64>()).prop_map(|(sha256, rows)| SpineDigest { sha256, rows });
    let numbers = (any::<u64>(), time(), option::of(any::<u32>()), any::<u64>());
    (numbers, vec(part, 0..4), vec(watermark, 0..3), option::of(spine), vec(gone, 0..2)).prop_map(
        |((revision, started_at, row_set, meets), parts, watermarks, spine, gone)| RunPlan {
            revision: Revision(revision),
            started_at,
            row_set: row_set.map(RowSetNumber),
            parts,
            watermarks,
            spine,
            gone,
            meets,
        },
    )
}

fn progress() -> impl Strategy<Value = Progress> {
    any::<[u64; 8]>().prop_map(|[read, written, older, expired, refused, future, parts_done, parts]| Progress {
        read,
        written,
        older,
        expired,
        refused,
        future,
        parts_done,
        parts,
    })
}

pub(crate) fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        (progress(), option::of(some_text())).prop_map(|(progress, result)| Outcome::Succeeded { progress, result }),
        text().prop_map(|error| Outcome::Failed { error }),
        Just(Outcome::Cancelled),
    ]
}

pub(crate) fn run() -> impl Strategy<Value = Run> {
    let states = [RunState::Pending, RunState::Running, RunState::Succeeded, RunState::Failed, RunState::Cancelled];
    let lease = option::of((1..u64::MAX, text()).prop_map(|(number, holder)| (LeaseNumber(number), holder)));
    let first = (text(), run_request(), text(), select(states.to_vec()), time(), option::of(time()), lease);
    let second = (option::of(run_plan()), vec(any::<bool>(), 0..4), progress(), any::<bool>());
    let texts = [(); 3].map(|()| option::of(some_text()));
    (first, second, texts).prop_map(|(first, second, [traceparent, error, result])| {
        let (id, request, principal, state, created_at, ended_at, lease) = first;
        let (plan, parts_done, progress, cancel_requested) = second;
        Run {
            id,
            request,
            principal,
            traceparent,
            state,
            created_at,
            ended_at,
            lease,
            plan: plan.map(Arc::new),
            parts_done,
            progress,
            cancel_requested,
            error,
            result,
        }
    })
}

/// A catalog without objects.
pub(crate) fn empty_catalog(revision: u64) -> Catalog {
    let created_at = Timestamp::from_micros(i64::try_from(revision).unwrap());
    Catalog::empty(Name::new("payments").unwrap(), ProjectNumber(7), Revision(revision), created_at)
}

/// A catalog of random objects at a revision, consistent as the registry would make it.
pub(crate) fn catalog(revision: u64) -> impl Strategy<Value = Catalog> {
    let sources = vec((source(), vec(join_key(), 0..3), vec((text(), value_type()), 0..3)), 1..4);
    let views = vec((feature_view(), any::<(u8, u8)>(), 0..3_u32), 0..5);
    let others = (vec(entity(), 0..3), vec(on_demand_feature_view(), 0..3), vec(feature_service(), 0..3));
    (sources, views, others, option::of(name())).prop_map(move |(sources, views, others, unknown)| {
        let mut catalog = empty_catalog(revision);
        for (source, keys, columns) in sources {
            add_source(&mut catalog, source, keys, columns);
        }
        for (view, sources, key_space) in views {
            add_view(&mut catalog, view, sources, key_space);
        }
        let (entities, computed, services) = others;
        catalog.entities = entities.into_iter().map(|entity| (entity.name.clone(), Arc::new(entity))).collect();
        catalog.on_demand_feature_views =
            computed.into_iter().map(|view| (view.name.clone(), Arc::new(view))).collect();
        catalog.feature_services =
            services.into_iter().map(|service| (service.name.clone(), Arc::new(service))).collect();
        let ids: Vec<ObjectId> = catalog.objects().map(|object| object.id()).collect();
        if let Some(name) = unknown.filter(|name| ids.iter().all(|id| id.name != *name)) {
            catalog.not_understood.insert(name, String::new());
        }
        catalog.origins = ids.into_iter().map(|id| (id, "a repository".to_owned())).collect();
        catalog
    })
}

fn add_source(catalog: &mut Catalog, definition: Source, keys: Vec<JoinKey>, columns: Vec<(String, ValueType)>) {
    let push_schema = match definition.kind {
        SourceKind::Push(_) => Some(Arc::new(PushSchema { number: SchemaNumber(3), keys, columns })),
        SourceKind::Parquet(_) | SourceKind::Postgres(_) => None,
    };
    let name = definition.name.clone();
    catalog.sources.insert(name, Arc::new(ResolvedSource { definition, push_schema }));
}

/// Its sources are some of those that are there.
pub(crate) fn add_view(catalog: &mut Catalog, mut view: FeatureView, sources: (u8, u8), key_space: u32) {
    let pick = |number: u8| catalog.sources.values().nth(usize::from(number) % catalog.sources.len()).unwrap().clone();
    let (named, beside) = (pick(sources.0), Some(pick(sources.1)).filter(|source| source.is_push()));
    view.source = named.definition.name.clone();
    let beside = if named.is_push() { None } else { beside };
    view.push_source = beside.as_ref().map(|source| source.definition.name.clone());
    let (batch_source, push_source) = if named.is_push() { (None, Some(named)) } else { (Some(named), beside) };
    let columns: Vec<ColumnNumber> = (1..).map(ColumnNumber).take(view.features.len()).collect();
    let schema_columns = view.features.iter().zip(&columns);
    let schema_columns = schema_columns
        .map(|(feature, number)| SchemaColumn { number: *number, value_type: feature.value_type })
        .collect();
    let schema = Arc::new(RowSchema::new(SchemaNumber(2), schema_columns).unwrap());
    let older = Arc::new(RowSchema::new(SchemaNumber(1), vec![schema.columns()[0]]).unwrap());
    let keys =
        (0..key_space).map(|key| JoinKey { name: Name::new(&format!("k{key}")).unwrap(), key_type: KeyType::Int64 });
    let known = catalog.feature_views.values().find(|view| view.key_space.number.0 == key_space);
    let key_space = known.map_or_else(
        || Arc::new(KeySpace { number: KeySpaceNumber(key_space), keys: keys.collect() }),
        |view| view.key_space.clone(),
    );
    let resolved = ResolvedView {
        key_space,
        row_set: RowSetNumber(11),
        write_row_sets: vec![RowSetNumber(11)],
        columns,
        schemas: [older, schema.clone()].into_iter().map(|schema| (schema.number(), schema)).collect(),
        schema,
        pushed_since: Revision(3),
        batch_source,
        push_source,
        definition: view,
    };
    catalog.feature_views.insert(resolved.definition.name.clone(), Arc::new(resolved));
}

/// A catalog of `views` views with 20 features each.
pub(crate) fn great_catalog(views: usize) -> Catalog {
    let mut catalog = empty_catalog(1);
    let name = |text: String| Name::new(&text).unwrap();
    let kind = SourceKind::Push(PushSource {});
    let source = Source { name: name("events".into()), kind, metadata: Metadata::default() };
    add_source(&mut catalog, source, Vec::new(), Vec::new());
    for view in 0..views {
        let feature = |number| Feature {
            name: name(format!("feature_{view}_{number}")),
            column: None,
            value_type: ValueType::Scalar(ScalarType::Float64),
            renamed_from: None,
            description: "What it means, in a sentence or two of about the usual length. ".repeat(3),
            tags: BTreeMap::new(),
        };
        let definition = FeatureView {
            name: name(format!("view_{view}")),
            entities: Vec::new(),
            source: name("events".into()),
            push_source: None,
            ttl: None,
            online: true,
            offline: true,
            schedule: None,
            allowed_lateness: None,
            features: (0..20).map(feature).collect(),
            metadata: Metadata::default(),
        };
        add_view(&mut catalog, definition, (0, 0), 1);
    }
    catalog.origins = catalog.objects().map(|object| (object.id(), "a repository".to_owned())).collect();
    catalog
}
