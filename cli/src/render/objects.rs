//! What is declared: lists by kind, one object in full, what a search found.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use larder_client::{Project, SearchHit};
use larder_definitions::{
    Catalog, Engine, FeatureService, FeatureView, Metadata, Object, ObjectId, ObjectKind, Relation, Source, SourceKind,
    ViewUse,
    schedule::Ticks,
    selection::{Asked, Selection},
};
use larder_types::{Clock, Name, Result, SystemClock, format_duration};
use serde_json::{Value, json};

use super::{
    Ink, Paint, on_one_line,
    table::{Cell, table},
};
use crate::console::Report;

/// All projects.
#[derive(Debug)]
pub(crate) struct Projects(pub(crate) Vec<Project>);

impl Report for Projects {
    fn json(&self) -> Value {
        let project = |project: &Project| json!({ "name": project.name, "number": project.number.0, "revision": project.revision.0 });
        json!({ "projects": self.0.iter().map(project).collect::<Vec<_>>() })
    }

    fn text(&self, paint: Paint) -> String {
        let row = |project: &Project| vec![project.name.to_string().into(), Cell::number(project.revision)];
        table(paint, &["PROJECT", "REVISION"], self.0.iter().map(row).collect())
    }
}

/// The objects of one kind.
#[derive(Debug)]
pub(crate) struct Objects<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) kind: ObjectKind,
}

impl Objects<'_> {
    fn objects(&self) -> impl Iterator<Item = Object> + '_ {
        self.catalog.objects().filter(|object| object.id().kind == self.kind)
    }
}

impl Report for Objects<'_> {
    fn json(&self) -> Value {
        let objects: Vec<Value> = self.objects().map(|object| object_json(self.catalog, &object)).collect();
        json!({ "project": self.catalog.project, "revision": self.catalog.revision, "objects": objects })
    }

    fn text(&self, paint: Paint) -> String {
        let row = |object: Object| {
            let Metadata { description: about_it, owner, .. } = object.metadata();
            vec![
                object.id().name.to_string().into(),
                about(&object).into(),
                owner.clone().into(),
                description(about_it),
            ]
        };
        table(paint, &["NAME", about_heading(self.kind), "OWNER", "DESCRIPTION"], self.objects().map(row).collect())
    }
}

/// Every feature of every view, of both kinds.
#[derive(Debug)]
pub(crate) struct Features<'a>(pub(crate) &'a Catalog);

/// A feature and the view that has it.
struct FeatureLine {
    view: String,
    name: String,
    value_type: String,
    description: String,
}

impl Features<'_> {
    fn lines(&self) -> Vec<FeatureLine> {
        let stored = self.0.feature_views.values().flat_map(|view| {
            view.definition.features.iter().map(|feature| FeatureLine {
                view: view.name().to_string(),
                name: feature.name.to_string(),
                value_type: feature.value_type.to_string(),
                description: feature.description.clone(),
            })
        });
        let computed = self.0.on_demand_feature_views.values().flat_map(|view| {
            view.features.iter().map(|feature| FeatureLine {
                view: view.name.to_string(),
                name: feature.name.to_string(),
                value_type: feature.value_type.to_string(),
                description: feature.description.clone(),
            })
        });
        stored.chain(computed).collect()
    }
}

impl Report for Features<'_> {
    fn json(&self) -> Value {
        let line = |line: FeatureLine| {
            let FeatureLine { view, name, value_type, description } = line;
            json!({ "view": view, "name": name, "type": value_type, "description": description })
        };
        let features: Vec<Value> = self.lines().into_iter().map(line).collect();
        json!({ "project": self.0.project, "revision": self.0.revision, "features": features })
    }

    fn text(&self, paint: Paint) -> String {
        let row = |line: FeatureLine| {
            let name = format!("{}.{}", line.view, line.name);
            vec![name.into(), line.value_type.into(), description(&line.description)]
        };
        table(paint, &["FEATURE", "TYPE", "DESCRIPTION"], self.lines().into_iter().map(row).collect())
    }
}

/// Objects of one name, in full.
#[derive(Debug)]
pub(crate) struct Described<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) objects: Vec<Object>,
}

impl Report for Described<'_> {
    fn json(&self) -> Value {
        let objects: Vec<Value> = self.objects.iter().map(|object| object_json(self.catalog, object)).collect();
        json!({ "project": self.catalog.project, "revision": self.catalog.revision, "objects": objects })
    }

    fn text(&self, paint: Paint) -> String {
        let texts: Vec<String> = self.objects.iter().map(|object| describe(self.catalog, object, paint)).collect();
        texts.join("\n\n")
    }
}

/// What a search found, best first.
#[derive(Debug)]
pub(crate) struct Hits(pub(crate) Vec<SearchHit>);

impl Report for Hits {
    fn json(&self) -> Value {
        let hit = |hit: &SearchHit| {
            let SearchHit { id, feature, description, owner } = hit;
            json!({ "kind": id.kind, "name": id.name, "feature": feature, "description": description, "owner": owner })
        };
        json!({ "hits": self.0.iter().map(hit).collect::<Vec<_>>() })
    }

    fn text(&self, paint: Paint) -> String {
        let row = |hit: &SearchHit| {
            let name = match &hit.feature {
                Some(feature) => format!("{}.{feature}", hit.id.name),
                None => hit.id.name.to_string(),
            };
            let kind = if hit.feature.is_some() { "feature" } else { hit.id.kind.as_str() };
            vec![name.into(), kind.into(), hit.owner.clone().into(), description(&hit.description)]
        };
        table(paint, &["NAME", "KIND", "OWNER", "DESCRIPTION"], self.0.iter().map(row).collect())
    }
}

/// An object as it is declared, and what the registry knows of it besides.
fn object_json(catalog: &Catalog, object: &Object) -> Value {
    let id = object.id();
    let definition = serde_json::to_value(object).unwrap_or_default();
    let Value::Object(tagged) = definition else { return Value::Null };
    let mut definition = tagged.into_values().next().unwrap_or_default();
    // Spans of time as the language writes them.
    if let (Object::FeatureView(view), Value::Object(fields)) = (object, &mut definition) {
        for (field, span) in [("ttl", view.ttl), ("allowed_lateness", view.allowed_lateness)] {
            if let Some(value) = fields.get_mut(field) {
                *value = span.map(format_duration).into();
            }
        }
    }
    let origin = catalog.origins.get(&id);
    let mut json = json!({ "kind": id.kind, "name": id.name, "origin": origin, "definition": definition });
    if let Object::FeatureService(service) = object
        && let Ok(needed) = needed(catalog, service)
    {
        let column = |(name, of): (&Name, String)| json!({ "name": name, "type": of });
        let keys = needed.entity_columns.iter().map(|(name, of)| column((name, of.to_string())));
        json["join_keys"] = keys.collect();
        let request = needed.request_columns.iter().map(|(name, of)| column((name, of.to_string())));
        json["request_data"] = request.collect();
    }
    json
}

/// What requests of the service have; full names, since a service may need them.
fn needed(catalog: &Catalog, service: &FeatureService) -> Result<Selection> {
    Selection::resolve(catalog, &Asked::Service(service.name.clone()), true)
}

fn about_heading(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Entity => "JOIN KEYS",
        ObjectKind::Source => "READS",
        ObjectKind::FeatureView => "FEATURES",
        ObjectKind::OnDemandFeatureView => "COMPUTES",
        ObjectKind::FeatureService => "SELECTS",
    }
}

/// The most telling thing of an object, in short.
fn about(object: &Object) -> String {
    match object {
        Object::Entity(entity) => listed(entity.join_keys.iter().map(|key| format!("{} {}", key.name, key.key_type))),
        Object::Source(source) => reads(source),
        Object::FeatureView(view) => {
            let entities = if view.entities.is_empty() { "nothing".to_owned() } else { listed(&view.entities) };
            format!("{} of {entities}, ttl {}", view.features.len(), ttl(view))
        }
        Object::OnDemandFeatureView(view) => listed(view.features.iter().map(|feature| &feature.name)),
        Object::FeatureService(service) => listed(service.features.iter().map(view_use)),
    }
}

fn reads(source: &Source) -> String {
    match &source.kind {
        SourceKind::Parquet(parquet) => parquet.path.clone(),
        SourceKind::Postgres(postgres) => match &postgres.relation {
            Relation::Table(table) => format!("{}: {table}", postgres.connection),
            Relation::Query(query) => format!("{}: {query}", postgres.connection),
        },
        SourceKind::Push(_) => "pushed events".to_owned(),
    }
}

fn ttl(view: &FeatureView) -> String {
    view.ttl.map_or("none".to_owned(), format_duration)
}

fn view_use(used: &ViewUse) -> String {
    let mut text = match &used.alias {
        Some(alias) => format!("{} as {alias}", used.view),
        None => used.view.to_string(),
    };
    if !used.select.is_empty() {
        let _ = write!(text, " ({})", listed(&used.select));
    }
    text
}

fn listed<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// An object in full, for people.
fn describe(catalog: &Catalog, object: &Object, paint: Paint) -> String {
    let id = object.id();
    let mut facts = metadata_facts(catalog, &id, object.metadata());
    let mut details = String::new();
    match object {
        Object::Entity(_) => facts.push(("join keys", about(object))),
        Object::Source(source) => facts.extend(source_facts(catalog, source)),
        Object::FeatureView(view) => {
            facts.extend(view_facts(catalog, view));
            let has_tags = view.features.iter().any(|feature| !feature.tags.is_empty());
            let row = |feature: &larder_definitions::Feature| {
                let tags = has_tags.then(|| tags(&feature.tags).into());
                let cells = vec![
                    feature.name.to_string().into(),
                    feature.value_type.to_string().into(),
                    feature.source_column().into(),
                    description(&feature.description),
                ];
                cells.into_iter().chain(tags).collect()
            };
            let rows = view.features.iter().map(row).collect();
            let headings = ["FEATURE", "TYPE", "COLUMN", "DESCRIPTION", "TAGS"];
            details = table(paint, if has_tags { &headings } else { &headings[..4] }, rows);
        }
        Object::OnDemandFeatureView(view) => {
            facts.push(("inputs", listed(&view.inputs)));
            facts.push((
                "request data",
                listed(view.request.iter().map(|field| format!("{} {}", field.name, field.value_type))),
            ));
            let row = |feature: &larder_definitions::OnDemandFeature| {
                let Engine::Sql(sql) = &feature.engine;
                vec![
                    feature.name.to_string().into(),
                    feature.value_type.to_string().into(),
                    Cell::lines(sql),
                    description(&feature.description),
                ]
            };
            details = table(paint, &["FEATURE", "TYPE", "SQL", "DESCRIPTION"], view.features.iter().map(row).collect());
        }
        Object::FeatureService(service) => {
            facts.extend(service_facts(catalog, service));
            details = service_table(service, paint);
        }
    }
    let mut text = paint.ink(Ink::Bold, &id.to_string());
    for (fact, value) in facts.into_iter().filter(|(_, value)| !value.is_empty()) {
        let _ = write!(text, "\n  {fact:<16} {}", on_one_line(value.trim_end()));
    }
    if !details.is_empty() {
        let _ = write!(text, "\n\n{details}");
    }
    text
}

/// A text of several lines ends with a line break in YAML.
fn description(text: &str) -> Cell {
    Cell::inked(text.trim_end(), Ink::Dim)
}

fn tags(tags: &BTreeMap<String, String>) -> String {
    listed(tags.iter().map(|(tag, value)| format!("{tag}={value}")))
}

fn metadata_facts(catalog: &Catalog, id: &ObjectId, metadata: &Metadata) -> Vec<(&'static str, String)> {
    vec![
        ("description", metadata.description.clone()),
        ("owner", metadata.owner.clone()),
        ("tags", tags(&metadata.tags)),
        ("origin", catalog.origins.get(id).cloned().unwrap_or_default()),
    ]
}

fn source_facts(catalog: &Catalog, source: &Source) -> Vec<(&'static str, String)> {
    let (event_time, created_time) = match &source.kind {
        SourceKind::Parquet(parquet) => (parquet.event_time.clone(), parquet.created_time.clone()),
        SourceKind::Postgres(postgres) => (postgres.event_time.clone(), postgres.created_time.clone()),
        SourceKind::Push(_) => (String::new(), None),
    };
    let push = catalog.sources.get(&source.name).and_then(|source| source.push_schema.clone());
    let keys = push.iter().flat_map(|push| push.keys.iter().map(|key| format!("{} {}", key.name, key.key_type)));
    let columns = push.iter().flat_map(|push| push.columns.iter().map(|(name, of)| format!("{name} {of}")));
    vec![
        ("reads", reads(source)),
        ("event time", event_time),
        ("created time", created_time.unwrap_or_default()),
        ("event keys", listed(keys)),
        ("event columns", listed(columns)),
    ]
}

fn view_facts(catalog: &Catalog, view: &FeatureView) -> Vec<(&'static str, String)> {
    let schedule = view.schedule.as_ref().map(|schedule| {
        let next = Ticks::new(schedule).ok().and_then(|ticks| ticks.next_after(SystemClock.now()));
        let next = next.map(|next| format!(", next at {next}")).unwrap_or_default();
        format!("{} ({}){next}", schedule.cron, schedule.time_zone)
    });
    let resolved = catalog.feature_views.get(&view.name);
    let storage = resolved.map(|view| {
        format!("key space {}, row set {}, schema {}", view.key_space.number, view.row_set, view.schema.number())
    });
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    vec![
        ("entities", listed(&view.entities)),
        ("source", view.source.to_string()),
        ("push source", view.push_source.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("ttl", ttl(view)),
        ("online", yes(view.online)),
        ("offline", yes(view.offline)),
        ("schedule", schedule.unwrap_or_default()),
        ("allowed lateness", view.allowed_lateness.map(|span: Duration| format_duration(span)).unwrap_or_default()),
        ("stored as", storage.unwrap_or_default()),
    ]
}

fn service_facts(catalog: &Catalog, service: &FeatureService) -> Vec<(&'static str, String)> {
    let Ok(needed) = needed(catalog, service) else { return Vec::new() };
    vec![
        ("join keys", listed(needed.entity_columns.iter().map(|(name, of)| format!("{name} {of}")))),
        ("request data", listed(needed.request_columns.iter().map(|(name, of)| format!("{name} {of}")))),
    ]
}

fn service_table(service: &FeatureService, paint: Paint) -> String {
    let row = |used: &ViewUse| {
        let features = if used.select.is_empty() { "all".to_owned() } else { listed(&used.select) };
        let keys = listed(used.join_keys.iter().map(|(key, column)| format!("{key} from {column}")));
        vec![
            used.view.to_string().into(),
            used.alias.as_ref().map(ToString::to_string).unwrap_or_default().into(),
            features.into(),
            keys.into(),
        ]
    };
    table(paint, &["VIEW", "AS", "FEATURES", "JOIN KEYS"], service.features.iter().map(row).collect())
}
