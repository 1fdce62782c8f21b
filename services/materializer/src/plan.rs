//! What a materialization is to read, decided from what it was asked for, what there is and what was read before. Pure:
//! tested without a store.

use std::{cmp::Reverse, collections::BTreeMap};

use larder_definitions::{
    ResolvedSource, ResolvedView, SourceKind,
    run::{EventTimes, Part, PartKind, Position, RowSetRecord, RunPlan, Scope, Watermark, WatermarkKey, overlapping},
};
use larder_offline_store::history::{ReadBefore, TimeRange, ViewParts};
use larder_online_store::WriteMode;
use larder_types::{Name, Revision, RowSetNumber, Timestamp};

/// What of the view was read before, by what is known of its row set; a row set, source, query or schema that is new has no
/// watermark.
pub fn read_before(view: &ResolvedView, scope: Scope, record: &RowSetRecord) -> ReadBefore {
    let known = |source: &ResolvedSource| {
        let key = watermark_key(view, view.row_set, source);
        let found = record.watermarks.iter().find(|watermark| watermark.key == key)?;
        Some((key.source, found.position.clone()))
    };
    let again = match scope {
        Scope::Full | Scope::Range { .. } => true,
        Scope::Incremental => false,
    };
    ReadBefore { positions: sources(view).filter_map(known).collect(), leftovers: record.leftovers.clone(), again }
}

/// What the run fixes: the parts, and the watermarks that a success moves.
///
/// A range of event times says nothing of what arrived, so it moves no watermark of a source that is read by arrival.
pub fn run_plan(
    view: &ResolvedView,
    row_set: RowSetNumber,
    scope: Scope,
    (revision, started_at): (Revision, Timestamp),
    found: ViewParts,
    before: &ReadBefore,
) -> RunPlan {
    let ViewParts { parts, positions, gone } = found;
    let watermark = |(source, position): (Name, Position)| {
        let source = sources(view).find(|known| known.definition.name == source)?;
        Some(Watermark { key: watermark_key(view, row_set, source), position: position.without_files() })
    };
    let watermarks = match scope {
        Scope::Full | Scope::Incremental => positions.into_iter().filter_map(watermark).collect(),
        Scope::Range { .. } => Vec::new(),
    };
    let meets = before.leftovers.iter().map(|leftover| leftover.number).max().unwrap_or(0);
    RunPlan { revision, started_at, row_set: Some(row_set), parts, watermarks, spine: None, gone, meets }
}

/// Parts that are read together before the rows of any are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// By position in the plan.
    pub parts: Vec<usize>,
    /// How their rows are written.
    pub mode: WriteMode,
}

/// In which order parts are worked on, and which of them together, each batch of at least `bytes` of files but the last.
///
/// Rows that replace stored ones of equal times are written as the last one says, so parts of them that can have rows of
/// equal times are read together. They come before the others, of which the greater row stays, whichever comes first. The
/// latest parts come first: most rows of the others are older than what is there, and need not be written.
///
/// The same for the same parts, so that a resumed run does what is left of the same batches.
pub fn batches(view: &ResolvedView, parts: &[Part], bytes: u64) -> Vec<Batch> {
    let (replacing, adding): (Vec<usize>, Vec<usize>) = (0..parts.len()).partition(|part| parts[*part].replaces);
    // A log that replaces is read up to its end, which may be another by then.
    let times_of = |part: &Part| match part.what {
        PartKind::Log { .. } if part.replaces => None,
        PartKind::Log { .. } | PartKind::File(_) | PartKind::TimeRange { .. } => part.event_times,
    };
    let times = |chosen: &[usize]| chosen.iter().map(|part| times_of(&parts[*part])).collect::<Vec<_>>();
    let mut tied: Vec<Vec<usize>> = Vec::new();
    for chosen in by_ties(view, parts, replacing) {
        let groups = overlapping(&times(&chosen)).into_iter();
        tied.extend(groups.map(|group| group.into_iter().map(|part| chosen[part]).collect::<Vec<_>>()));
    }
    let mut latest_first = adding;
    latest_first.sort_by_key(|part| Reverse(parts[*part].event_times.map(|times| times.last)));
    let single = latest_first.into_iter().map(|part| vec![part]).collect();
    let mut batches = joined(parts, tied, bytes, WriteMode::Materialization);
    batches.extend(joined(parts, single, bytes, WriteMode::Newest));
    batches
}

/// What of the push log is read beside the parts of a batch: all that can have rows of times equal to those of files that
/// replace. Of rows that tie the greatest has to stay, though the log be no part of the run, or a part of another batch.
///
/// Nothing more of it: what else has event times in common with a file that replaces is of the same batch, but beyond those
/// times a row of the log would replace what nobody reads again.
pub fn beside(view: &ResolvedView, batch: &[&Part]) -> Vec<(Part, TimeRange)> {
    let Some(push_source) = view.push_source.as_ref().filter(|_| may_tie(view)) else { return Vec::new() };
    let source = &push_source.definition.name;
    if batch.iter().any(|part| part.source == *source) {
        return Vec::new();
    }
    let files: Vec<&&Part> = batch.iter().filter(|part| part.replaces).collect();
    let times: Vec<_> = files.iter().map(|part| part.event_times).collect();
    let stretch = |group: Vec<usize>| {
        let event_times =
            group.into_iter().map(|file| times[file].unwrap_or(EventTimes::ALL)).reduce(EventTimes::with)?;
        let what = PartKind::Log { from: BTreeMap::new(), to: BTreeMap::new() };
        let part = Part { source: source.clone(), what, event_times: Some(event_times), replaces: true };
        Some((part, TimeRange::of(event_times)))
    };
    overlapping(&times).into_iter().filter_map(stretch).collect()
}

/// Parts apart whose rows never tie.
fn by_ties(view: &ResolvedView, parts: &[Part], chosen: Vec<usize>) -> Vec<Vec<usize>> {
    if may_tie(view) {
        return vec![chosen];
    }
    let pushed = view.push_source.as_ref().map(|source| &source.definition.name);
    let (log, files) = chosen.into_iter().partition(|part| pushed == Some(&parts[*part].source));
    vec![log, files]
}

/// Whether a pushed row may tie with one of the batch source: pushed rows have a created time, the rows of a source without
/// one have the lowest.
fn may_tie(view: &ResolvedView) -> bool {
    view.batch_source.as_ref().is_some_and(|source| match &source.definition.kind {
        SourceKind::Parquet(parquet) => parquet.created_time.is_some(),
        SourceKind::Postgres(postgres) => postgres.created_time.is_some(),
        SourceKind::Push(_) => true,
    })
}

fn joined(parts: &[Part], groups: Vec<Vec<usize>>, bytes: u64, mode: WriteMode) -> Vec<Batch> {
    let size = |part: &usize| match &parts[*part].what {
        PartKind::File(version) => version.size,
        PartKind::Log { .. } | PartKind::TimeRange { .. } => 0,
    };
    let mut batches: Vec<(u64, Batch)> = Vec::new();
    for group in groups {
        let more: u64 = group.iter().map(size).sum();
        match batches.last_mut() {
            Some((held, batch)) if *held < bytes => {
                *held += more;
                batch.parts.extend(group);
            }
            Some(_) | None => batches.push((more, Batch { parts: group, mode })),
        }
    }
    batches.into_iter().map(|(_, batch)| batch).collect()
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

/// What is read of the source, in words: another text is another query. Features are told by their columns' numbers, which
/// rows are written with; in which order they are declared is nobody's business.
fn query(view: &ResolvedView, source: &ResolvedSource) -> String {
    let features = view.columns.iter().zip(&view.definition.features);
    let mut columns: Vec<_> = features.map(|(number, feature)| (*number, feature.source_column())).collect();
    columns.sort_unstable();
    let columns: Vec<String> = columns.into_iter().map(|(number, column)| format!("{number}={column:?}")).collect();
    let columns = columns.join(",");
    let created = |created: &Option<String>| created.clone().unwrap_or_default();
    match &source.definition.kind {
        SourceKind::Parquet(parquet) => format!(
            "parquet {} event={:?} created={:?} columns={columns}",
            parquet.path,
            parquet.event_time,
            created(&parquet.created_time)
        ),
        SourceKind::Postgres(postgres) => format!(
            "postgres {} {:?} event={:?} created={:?} columns={columns}",
            postgres.connection,
            postgres.relation,
            postgres.event_time,
            created(&postgres.created_time)
        ),
        SourceKind::Push(_) => format!("push since={} columns={columns}", view.pushed_since),
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use larder_definitions::{Catalog, ChangeSet, ProjectState, RevisionMeta, apply, run::ReadFiles, yaml::read_text};
    use larder_types::ProjectNumber;

    use super::*;

    const PROJECT: &str = "project: shop
entities:
  - { name: customer, join_keys: [{ name: id, type: int64 }] }
sources:
  - { name: files, parquet: { path: /history }, event_time: at }
  - { name: events, push: {} }
feature_views:
  - { name: profile, entities: [customer], source: files, push_source: events, features: FEATURES }
";

    /// The view with features of a revision after another.
    fn view(before: Option<&ProjectState>, features: &str) -> (ProjectState, Arc<ResolvedView>) {
        let project = Name::new("shop").unwrap();
        let empty = ProjectState::empty(project, ProjectNumber(1));
        let before = before.unwrap_or(&empty);
        let text = PROJECT.replace("FEATURES", features);
        let objects = read_text("larder.yaml", Path::new("/"), &text).unwrap().into_objects();
        let at = Timestamp::from_micros(0);
        let meta = RevisionMeta { at, principal: "ada".to_owned(), address: "here".to_owned() };
        let (_, state) = apply(before, &ChangeSet::whole(before, "test", objects), meta).unwrap().unwrap();
        let view = Arc::clone(Catalog::build(&state).unwrap().feature_view("profile").unwrap());
        (state, view)
    }

    #[test]
    fn what_was_read_counts_as_long_as_every_column_is_read_from_where_it_was() {
        let first = "[{ name: a, column: x, type: int64 }, { name: b, column: y, type: int64 }]";
        let (state, before) = view(None, first);
        let positions = [("files", Position::Files(ReadFiles::default())), ("events", Position::Log(BTreeMap::new()))];
        let positions = positions.map(|(source, position)| (Name::new(source).unwrap(), position)).to_vec();
        let at = (Revision(1), Timestamp::from_micros(0));
        let found = ViewParts { positions, ..ViewParts::default() };
        let plan = run_plan(&before, before.row_set, Scope::Full, at, found, &ReadBefore::default());
        let record = RowSetRecord { watermarks: plan.watermarks, leftovers: Vec::new() };
        for (features, is_known) in [
            ("[{ name: b, column: y, type: int64 }, { name: a, column: x, type: int64 }]", true),
            ("[{ name: c, column: x, type: int64, renamed_from: a }, { name: b, column: y, type: int64 }]", true),
            ("[{ name: b, column: x, type: int64 }, { name: a, column: y, type: int64 }]", false),
            ("[{ name: a, column: y, type: int64 }, { name: b, column: x, type: int64 }]", false),
            ("[{ name: a, column: x, type: int64 }, { name: b, column: x, type: int64 }]", false),
        ] {
            let (_, view) = view(Some(&state), features);
            assert_eq!((view.row_set, view.schema.number()), (before.row_set, before.schema.number()));
            let known = read_before(&view, Scope::Incremental, &record).positions.len();
            assert_eq!(known, if is_known { 2 } else { 0 }, "{features}");
        }
    }
}
