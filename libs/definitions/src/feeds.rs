//! Where the online rows of views come from. It is remembered of row sets and views, since rows stay when definitions change
//! and come back.

use std::collections::{BTreeMap, BTreeSet};

use larder_types::{ColumnNumber, Name, Revision, RowSetNumber, SchemaNumber};

use crate::{
    Feature, FeatureView, Object, ObjectId, ObjectKind,
    numbering::{Objects, push_source_of, times_of},
    revision::RevisionRecord,
    state::{ProjectState, ViewAssignment},
};

/// What writes rows of a view, in words. Rows of one feed may win for ever against those of another, so a row set with rows
/// of a feed that a view does not have is none for it.
pub(crate) fn feeds(view: &FeatureView, objects: &Objects<'_>) -> BTreeSet<String> {
    let pushed = push_source_of(view, objects).map(|source| format!("pushed to {source}"));
    let times = times_of(view, objects).map(|(event_time, created_time)| {
        let created_time = created_time.map(|column| format!(" and {column}")).unwrap_or_default();
        format!("from a batch source with times in {event_time}{created_time}")
    });
    pushed.into_iter().chain(times).collect()
}

/// How pushed rows of a view are written online: from where, where to, as what, and each column out of which. What features
/// are called does not matter.
#[derive(Debug, PartialEq, Eq)]
struct Pushed {
    source: Name,
    row_set: RowSetNumber,
    schema: SchemaNumber,
    columns: BTreeMap<ColumnNumber, String>,
}

/// The views that a revision may change, as they were before it.
pub(crate) struct Touched(BTreeMap<Name, Option<Pushed>>);

impl Touched {
    /// By the state that `record` follows.
    pub(crate) fn by(record: &RevisionRecord, state: &ProjectState) -> Self {
        let put = record.puts.iter().map(|put| put.object.id());
        let changed: BTreeSet<ObjectId> = put.chain(record.removes.iter().cloned()).collect();
        let sources = changed.iter().filter(|id| id.kind == ObjectKind::Source);
        let sources: BTreeSet<&Name> = sources.map(|id| &id.name).collect();
        let objects = state.by_id();
        let reads = |view: &FeatureView| {
            sources.contains(&view.source) || view.push_source.as_ref().is_some_and(|source| sources.contains(source))
        };
        let readers = state.all_objects().filter(|_| !sources.is_empty()).filter_map(|object| match object {
            Object::FeatureView(view) => reads(view).then(|| view.name.clone()),
            Object::Entity(_) | Object::Source(_) | Object::OnDemandFeatureView(_) | Object::FeatureService(_) => None,
        });
        let views = changed.iter().filter(|id| id.kind == ObjectKind::FeatureView).map(|id| id.name.clone());
        let views = views.chain(record.numbers.views.keys().cloned()).chain(readers);
        Self(views.map(|view| (view.clone(), pushed(state, &objects, &view))).collect())
    }

    /// Remembers in `state`, which follows, what writes their rows from now on.
    pub(crate) fn remember(self, state: &mut ProjectState, revision: Revision) {
        let objects = state.by_id();
        let found: Vec<_> = self
            .0
            .into_iter()
            .filter_map(|(name, before)| {
                let feeds = feeds(state.feature_view(&name)?, &objects);
                let now = pushed(state, &objects, &name);
                Some((name, feeds, now.is_some() && now != before))
            })
            .collect();
        for (name, feeds, is_pushed_anew) in found {
            let Some(numbers) = state.numbers.views.get_mut(&name) else { continue };
            if is_pushed_anew {
                numbers.pushed_since = revision;
            }
            let row_set = numbers.current.as_ref().map(|current| current.row_set);
            if let Some(row_set) = row_set.and_then(|row_set| state.numbers.row_sets.get_mut(&row_set)) {
                row_set.feeds.extend(feeds);
            }
        }
    }
}

fn pushed(state: &ProjectState, objects: &Objects<'_>, view: &Name) -> Option<Pushed> {
    let definition = state.feature_view(view)?;
    let source = push_source_of(definition, objects)?.clone();
    let ViewAssignment { row_set, schema, columns } = state.numbers.views.get(view)?.current.as_ref()?;
    let column = |feature: &Feature| Some((*columns.get(&feature.name)?, feature.source_column().to_owned()));
    let columns = definition.features.iter().filter_map(column).collect();
    Some(Pushed { source, row_set: *row_set, schema: *schema, columns })
}
