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
pub(crate) struct Touched(Vec<Standing>);

struct Standing {
    view: Name,
    row_set: Option<RowSetNumber>,
    feeds: BTreeSet<String>,
    pushed: Option<Pushed>,
}

impl Touched {
    /// By the state that `record` follows.
    pub(crate) fn by(record: &RevisionRecord, state: &ProjectState) -> Self {
        let put = record.puts.iter().map(|put| put.object.id());
        let changed: BTreeSet<ObjectId> = put.chain(record.removes.iter().cloned()).collect();
        let of_kind = |kind| changed.iter().filter(move |id| id.kind == kind).map(|id| &id.name);
        let sources: BTreeSet<&Name> = of_kind(ObjectKind::Source).collect();
        let reads = |view: &FeatureView| {
            sources.contains(&view.source) || view.push_source.as_ref().is_some_and(|source| sources.contains(source))
        };
        let readers = state.all_objects().filter(|_| !sources.is_empty()).filter_map(|object| match object {
            Object::FeatureView(view) => reads(view).then_some(&view.name),
            Object::Entity(_) | Object::Source(_) | Object::OnDemandFeatureView(_) | Object::FeatureService(_) => None,
        });
        let views = of_kind(ObjectKind::FeatureView).chain(record.numbers.views.keys()).chain(readers);
        let views: BTreeSet<Name> = views.cloned().collect();
        Self(views.into_iter().map(|view| standing(state, view)).collect())
    }

    /// Remembers in `state`, which follows, what wrote their rows, and what does from now on.
    pub(crate) fn remember(self, state: &mut ProjectState, revision: Revision) {
        for was in self.0 {
            let is = standing(state, was.view.clone());
            if let Some(numbers) = state.numbers.views.get_mut(&was.view)
                && is.pushed.is_some()
                && is.pushed != was.pushed
            {
                numbers.pushed_since = revision;
            }
            for Standing { row_set, feeds, .. } in [was, is] {
                if let Some(row_set) = row_set.and_then(|row_set| state.numbers.row_sets.get_mut(&row_set)) {
                    row_set.feeds.extend(feeds);
                }
            }
        }
    }
}

fn standing(state: &ProjectState, view: Name) -> Standing {
    let row_set = state.numbers.views.get(&view).and_then(|numbers| Some(numbers.current.as_ref()?.row_set));
    let definition = state.feature_view(&view);
    let objects = definition.map(|view| sources_of(state, view)).unwrap_or_default();
    let feeds = definition.map(|view| feeds(view, &objects)).unwrap_or_default();
    let pushed = definition.and_then(|definition| pushed(state, &objects, definition));
    Standing { view, row_set, feeds, pushed }
}

/// All that [`feeds`] looks at.
fn sources_of<'a>(state: &'a ProjectState, view: &FeatureView) -> Objects<'a> {
    let sources = [Some(&view.source), view.push_source.as_ref()].into_iter().flatten();
    let ids = sources.map(|name| ObjectId { kind: ObjectKind::Source, name: name.clone() });
    ids.filter_map(|id| state.object(&id).map(|object| (id, &**object))).collect()
}

fn pushed(state: &ProjectState, objects: &Objects<'_>, definition: &FeatureView) -> Option<Pushed> {
    let source = push_source_of(definition, objects)?.clone();
    let ViewAssignment { row_set, schema, columns } = state.numbers.views.get(&definition.name)?.current.as_ref()?;
    let column = |feature: &Feature| Some((*columns.get(&feature.name)?, feature.source_column().to_owned()));
    let columns = definition.features.iter().filter_map(column).collect();
    Some(Pushed { source, row_set: *row_set, schema: *schema, columns })
}
