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
            facts.push(format!("materialized at {} {}", code(&schedule.cron), text(&schedule.time_zone)));
        }
        if let Some(lateness) = definition.allowed_lateness {
            facts.push(format!("allowed lateness: {}", format_duration(lateness)));
        }
        self.list(&facts);
        let has_tags = definition.features.iter().any(|feature| !feature.tags.is_empty());
        let headings = ["Feature", "Type", "Description", "Tags"];
        self.table(
            if has_tags { &headings } else { &headings[..3] },
            definition.features.iter().map(|feature| {
                let tags = feature.tags.iter().map(|(tag, value)| format!("{}: {}", text(tag), text(value)));
                let tags = has_tags.then(|| tags.collect::<Vec<_>>().join(", "));
                let cells = [text(&feature.name), code(&feature.value_type.to_string()), text(&feature.description)];
                cells.into_iter().chain(tags).collect()
            }),
        );
    }

    fn on_demand_view(&mut self, view: &OnDemandFeatureView) {
        self.heading(&view.name, &view.metadata);
        let inputs: Vec<_> = view.inputs.iter().map(ToString::to_string).collect();
        let request: Vec<_> = view.request.iter().map(|field| typed(&field.name, field.value_type)).collect();
        let facts = [("computed from", inputs), ("request data", request)];
        let facts = facts.into_iter().filter(|(_, what)| !what.is_empty());
        self.list(&facts.map(|(label, what)| format!("{label}: {}", what.join(", "))).collect::<Vec<_>>());
        self.table(
            &["Feature", "Type", "Description", "SQL"],
            view.features.iter().map(|feature| {
                let Engine::Sql(sql) = &feature.engine;
                let value_type = code(&feature.value_type.to_string());
                vec![text(&feature.name), value_type, text(&feature.description), code(sql)]
            }),
        );
    }

    fn entity(&mut self, entity: &Entity) {
        self.heading(&entity.name, &entity.metadata);
        let keys = entity.join_keys.iter().map(|key| vec![text(&key.name), code(&key.key_type.to_string())]);
        self.table(&["Join key", "Type"], keys);
    }

    fn source(&mut self, source: &ResolvedSource) {
        self.heading(&source.definition.name, &source.definition.metadata);
        let times = |event_time: &str, created_time: &Option<String>| {
            let created_time = created_time.iter().map(|column| format!("created time: {}", code(column)));
            std::iter::once(format!("event time: {}", code(event_time))).chain(created_time).collect::<Vec<_>>()
        };
        let (reads, times) = match &source.definition.kind {
            SourceKind::Parquet(parquet) => {
                (format!("Parquet: {}", code(&parquet.path)), times(&parquet.event_time, &parquet.created_time))
            }
            SourceKind::Postgres(postgres) => {
                let relation = match &postgres.relation {
                    Relation::Table(table) => format!("table {}", code(table)),
                    Relation::Query(query) => format!("query {}", code(query)),
                };
                let reads = format!("PostgreSQL {}: {relation}", code(&postgres.connection));
                (reads, times(&postgres.event_time, &postgres.created_time))
            }
            SourceKind::Push(_) => ("pushed".to_owned(), Vec::new()),
        };
        self.list(&[vec![reads], times].concat());
    }

    fn heading(&mut self, name: &larder_types::Name, metadata: &Metadata) {
        self.line(&format!("### {}", text(name)));
        if !metadata.description.is_empty() {
            self.line(&text(&metadata.description));
        }
        let mut about = Vec::new();
        if !metadata.owner.is_empty() {
            about.push(format!("owner: {}", text(&metadata.owner)));
        }
        about.extend(metadata.tags.iter().map(|(tag, value)| format!("{}: {}", text(tag), text(value))));
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
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// Text as it was written: nothing in it is a mark or a tag. Lines stay lines.
fn text(text: impl AsRef<str>) -> String {
    text.as_ref().trim().lines().map(line).collect::<Vec<_>>().join("\n")
}

fn line(text: &str) -> String {
    let text = text.trim();
    let mut escaped = String::with_capacity(text.len());
    let marks = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
    let mut before = ' ';
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        let after = characters.peek().map_or(' ', |(_, c)| *c);
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '_' if before.is_alphanumeric() && after.is_alphanumeric() => escaped.push('_'),
            '\\' | '`' | '*' | '_' | '[' | ']' | '~' => escaped.extend(['\\', c]),
            // What begins a heading, a list or a rule.
            '#' | '-' | '+' | '=' if at == 0 => escaped.extend(['\\', c]),
            '.' | ')' if at > 0 && at == marks => escaped.extend(['\\', c]),
            c if c.is_control() => escaped.extend(c.escape_default()),
            c => escaped.push(c),
        }
        before = c;
    }
    escaped
}

/// Code on one line, between as many backticks as it takes.
fn code(text: &str) -> String {
    let text = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let space = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

fn typed(name: &larder_types::Name, value_type: impl ToString) -> String {
    format!("{} ({})", text(name), code(&value_type.to_string()))
}

fn keys(key_space: &KeySpace) -> String {
    let keys: Vec<_> = key_space.keys.iter().map(|key| typed(&key.name, key.key_type)).collect();
    if keys.is_empty() { "none: one row for all".to_owned() } else { keys.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shown_as_it_was_written() {
        for (written, escaped) in [
            ("spent_30d of C1", "spent_30d of C1"),
            ("_all_ *of* `it` [a](b) ~~c~~", "\\_all\\_ \\*of\\* \\`it\\` \\[a\\](b) \\~\\~c\\~\\~"),
            ("<script>a && b</script>", "&lt;script&gt;a &amp;&amp; b&lt;/script&gt;"),
            ("# a\n- b\n1. c\nd - 2. e", "\\# a\n\\- b\n1\\. c\nd - 2. e"),
            ("a\u{1b}[31mb\\", "a\\u{1b}\\[31mb\\\\"),
            ("", ""),
        ] {
            assert_eq!(text(written), escaped, "{written}");
        }
    }

    #[test]
    fn code_is_closed_by_its_own_backticks_alone() {
        for (written, shown) in [
            ("list<int32>", "`list<int32>`"),
            ("CASE WHEN a > 0\n  THEN 'b  c' END", "`CASE WHEN a > 0 THEN 'b  c' END`"),
            ("concat(a, '`')", "``concat(a, '`')``"),
            ("``a`", "``` ``a` ```"),
        ] {
            assert_eq!(code(written), shown, "{written}");
        }
        assert_eq!(cell(&code("a || '<b>'\n|| c")), "`a \\|\\| '<b>' \\|\\| c`");
    }
}
