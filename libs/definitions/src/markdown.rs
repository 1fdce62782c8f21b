//! The feature catalogue as Markdown: what `larder docs` writes.

use larder_types::format_duration;

use crate::{
    Catalog, Engine, Entity, FeatureService, KeySpace, Metadata, OnDemandFeatureView, Relation, ResolvedSource,
    ResolvedView, SourceKind,
};

/// Everything a project declares, for people.
pub fn catalogue(catalog: &Catalog) -> String {
    let mut page = Page::default();
    page.line(&format!("# Features of {}", catalog.project));
    page.line(&format!("Revision {}, made at {}.", catalog.revision, catalog.created_at));
    page.section("Feature services", catalog.feature_services.values(), |page, service| page.service(service));
    page.section("Feature views", catalog.feature_views.values(), |page, view| page.feature_view(view));
    page.section("On-demand feature views", catalog.on_demand_feature_views.values(), |page, view| {
        page.on_demand_view(view);
    });
    page.section("Entities", catalog.entities.values(), |page, entity| page.entity(entity));
    page.section("Sources", catalog.sources.values(), |page, source| page.source(source));
    page.0
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn section<T>(&mut self, title: &str, items: impl Iterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        let mut items = items.peekable();
        if items.peek().is_some() {
            self.line(&format!("## {title}"));
            items.for_each(|item| write(self, item));
        }
    }

    fn service(&mut self, service: &FeatureService) {
        self.heading(&service.name, &service.metadata);
        self.table(
            &["View", "Features", "As", "Join keys"],
            service.features.iter().map(|view_use| {
                let select: Vec<&str> = view_use.select.iter().map(AsRef::as_ref).collect();
                let mapping = view_use.join_keys.iter().map(|(key, column)| format!("{key} from {column}"));
                vec![
                    view_use.view.to_string(),
                    if select.is_empty() { "all".to_owned() } else { select.join(", ") },
                    view_use.alias.as_ref().map(ToString::to_string).unwrap_or_default(),
                    mapping.collect::<Vec<_>>().join(", "),
                ]
            }),
        );
    }

    fn feature_view(&mut self, view: &ResolvedView) {
        let definition = &view.definition;
        self.heading(&definition.name, &definition.metadata);
        let sources = [&view.batch_source, &view.push_source].into_iter().flatten();
        let sources: Vec<_> = sources.map(|source| source.definition.name.to_string()).collect();
        let ttl = definition.ttl.map_or_else(|| "no limit".to_owned(), format_duration);
        let uses = match (definition.online, definition.offline) {
            (true, true) => "served, in training sets",
            (true, false) => "served",
            (false, true) => "in training sets",
            (false, false) => "neither served nor in training sets",
        };
        let mut facts = vec![
            format!("keys: {}", keys(&view.key_space)),
            format!("source: {}", sources.join(" and ")),
            format!("ttl: {ttl}"),
            uses.to_owned(),
        ];
        if let Some(schedule) = &definition.schedule {
            facts.push(format!("materialized at `{}` {}", schedule.cron, schedule.time_zone));
        }
        self.list(&facts);
        self.table(
            &["Feature", "Type", "Description"],
            definition.features.iter().map(|feature| {
                vec![feature.name.to_string(), feature.value_type.to_string(), feature.description.clone()]
            }),
        );
    }

    fn on_demand_view(&mut self, view: &OnDemandFeatureView) {
        self.heading(&view.name, &view.metadata);
        let inputs: Vec<_> = view.inputs.iter().map(ToString::to_string).collect();
        let request: Vec<_> =
            view.request.iter().map(|field| format!("{} ({})", field.name, field.value_type)).collect();
        let facts = [("computed from", inputs), ("request data", request)];
        let facts = facts.into_iter().filter(|(_, what)| !what.is_empty());
        self.list(&facts.map(|(label, what)| format!("{label}: {}", what.join(", "))).collect::<Vec<_>>());
        self.table(
            &["Feature", "Type", "Description", "SQL"],
            view.features.iter().map(|feature| {
                let Engine::Sql(sql) = &feature.engine;
                let sql = format!("`{}`", sql.split_whitespace().collect::<Vec<_>>().join(" "));
                vec![feature.name.to_string(), feature.value_type.to_string(), feature.description.clone(), sql]
            }),
        );
    }

    fn entity(&mut self, entity: &Entity) {
        self.heading(&entity.name, &entity.metadata);
        let keys = entity.join_keys.iter().map(|key| vec![key.name.to_string(), key.key_type.to_string()]);
        self.table(&["Join key", "Type"], keys);
    }

    fn source(&mut self, source: &ResolvedSource) {
        self.heading(&source.definition.name, &source.definition.metadata);
        let fact = match &source.definition.kind {
            SourceKind::Parquet(parquet) => format!("Parquet: `{}`, event time `{}`", parquet.path, parquet.event_time),
            SourceKind::Postgres(postgres) => {
                let relation = match &postgres.relation {
                    Relation::Table(table) => format!("table `{table}`"),
                    Relation::Query(query) => format!("query `{query}`"),
                };
                format!("PostgreSQL `{}`: {relation}, event time `{}`", postgres.connection, postgres.event_time)
            }
            SourceKind::Push(_) => "pushed".to_owned(),
        };
        self.list(&[fact]);
    }

    fn heading(&mut self, name: &larder_types::Name, metadata: &Metadata) {
        self.line(&format!("### {name}"));
        if !metadata.description.is_empty() {
            self.line(&metadata.description);
        }
        let mut about = Vec::new();
        if !metadata.owner.is_empty() {
            about.push(format!("owner: {}", metadata.owner));
        }
        about.extend(metadata.tags.iter().map(|(tag, value)| format!("{tag}: {value}")));
        if !about.is_empty() {
            self.list(&about);
        }
    }

    fn line(&mut self, text: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn list(&mut self, items: &[String]) {
        if !items.is_empty() {
            self.line(&items.iter().map(|item| format!("- {item}")).collect::<Vec<_>>().join("\n"));
        }
    }

    fn table(&mut self, columns: &[&str], rows: impl Iterator<Item = Vec<String>>) {
        let row = |cells: &[String]| format!("| {} |", cells.iter().map(|c| cell(c)).collect::<Vec<_>>().join(" | "));
        let header: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
        let rule = format!("|{}", "---|".repeat(columns.len()));
        let rows: Vec<String> = rows.map(|cells| row(&cells)).collect();
        self.line(&[row(&header), rule].into_iter().chain(rows).collect::<Vec<_>>().join("\n"));
    }
}

/// A cell is one line, and a bar in it would end it.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn keys(key_space: &KeySpace) -> String {
    let keys: Vec<_> = key_space.keys.iter().map(|key| format!("{} ({})", key.name, key.key_type)).collect();
    if keys.is_empty() { "none: one row for all".to_owned() } else { keys.join(", ") }
}
