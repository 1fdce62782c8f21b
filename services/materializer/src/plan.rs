//! What a materialization is to read, decided from what it was asked for, what there is and what was read before. Pure:
//! tested without a store.

use std::collections::BTreeMap;

use larder_definitions::{
    ResolvedSource, ResolvedView, SourceKind,
    run::{Part, Position, RunPlan, Scope, Watermark, WatermarkKey},
};
use larder_types::{Name, Revision, RowSetNumber, Timestamp};

/// What the parts of a run are worked out from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since(pub BTreeMap<Name, Position>);

/// After which position each source of the view is read: all of it for a full run, for a range by hand, and for a source
/// without a watermark (a row set, source, query or schema that is new).
pub fn since(view: &ResolvedView, row_set: RowSetNumber, scope: Scope, watermarks: &[Watermark]) -> Since {
    let known = |source: &ResolvedSource| {
        let key = watermark_key(view, row_set, source);
        let found = watermarks.iter().find(|watermark| watermark.key == key)?;
        Some((key.source, found.position.clone()))
    };
    match scope {
        Scope::Full | Scope::Range { .. } => Since(BTreeMap::new()),
        Scope::Incremental => Since(sources(view).filter_map(known).collect()),
    }
}

/// What the run fixes: the parts, and the watermarks that a success moves.
///
/// A range of event times says nothing of what arrived, so it moves no watermark of a source that is read by arrival.
pub fn run_plan(
    view: &ResolvedView,
    row_set: RowSetNumber,
    scope: Scope,
    (revision, started_at): (Revision, Timestamp),
    parts: Vec<Part>,
    positions: Vec<(Name, Position)>,
) -> RunPlan {
    let watermark = |(source, position): (Name, Position)| {
        let source = sources(view).find(|known| known.definition.name == source)?;
        Some(Watermark { key: watermark_key(view, row_set, source), position })
    };
    let watermarks = match scope {
        Scope::Full | Scope::Incremental => positions.into_iter().filter_map(watermark).collect(),
        Scope::Range { .. } => Vec::new(),
    };
    RunPlan { revision, started_at, row_set: Some(row_set), parts, watermarks, spine: None }
}

fn sources(view: &ResolvedView) -> impl Iterator<Item = &ResolvedSource> {
    view.batch_source.iter().chain(&view.push_source).map(|source| &**source)
}

fn watermark_key(view: &ResolvedView, row_set: RowSetNumber, source: &ResolvedSource) -> WatermarkKey {
    WatermarkKey {
        row_set,
        source: source.definition.name.clone(),
        query: query(view, source),
        schema: view.schema.number(),
    }
}

/// What is read of the source, in words: another text is another query.
fn query(view: &ResolvedView, source: &ResolvedSource) -> String {
    let columns: Vec<&str> = view.definition.features.iter().map(|feature| feature.source_column()).collect();
    let columns = columns.join(",");
    let created = |created: &Option<String>| created.clone().unwrap_or_default();
    match &source.definition.kind {
        SourceKind::Parquet(parquet) => format!(
            "parquet {} event={} created={} columns={columns}",
            parquet.path,
            parquet.event_time,
            created(&parquet.created_time)
        ),
        SourceKind::Postgres(postgres) => format!(
            "postgres {} {:?} event={} created={} columns={columns}",
            postgres.connection,
            postgres.relation,
            postgres.event_time,
            created(&postgres.created_time)
        ),
        SourceKind::Push(_) => format!("push columns={columns}"),
    }
}
