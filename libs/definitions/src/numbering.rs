//! Which numbers a change gives: decided here once, written into the revision, and never again computed.

use std::collections::BTreeMap;

use larder_types::{ColumnNumber, Error, KeySpaceNumber, Name, Result, RowSetNumber, SchemaNumber};

use crate::{
    Entity, Feature, FeatureView, JoinKey, Object, ObjectId, ObjectKind, Source, SourceKind,
    feeds::feeds,
    revision::{Assigned, AssignedPush, AssignedView},
    state::{ProjectState, PushColumns, RowSet, SchemaColumns, ViewAssignment},
};

/// The objects of a project by id.
pub(crate) type Objects<'a> = BTreeMap<ObjectId, &'a Object>;

/// The numbers for `objects`, which are valid, after `state`: only what differs from what it has.
pub(crate) fn assign(state: &ProjectState, objects: &Objects<'_>) -> Result<Assigned> {
    let mut numbering = Numbering {
        state,
        objects_before: state.by_id(),
        objects,
        next_key_space: state.numbers.next_key_space,
        next_row_set: state.numbers.next_row_set,
        assigned: Assigned::default(),
    };
    for object in objects.values() {
        if let Object::FeatureView(view) = object {
            numbering.assign_view(view)?;
        }
    }
    numbering.assign_push_sources();
    Ok(numbering.assigned)
}

/// The numbers that give every view and push source of `state` the columns it had in `target`, an earlier state of the project.
///
/// A view keeps the row set it has, where that has these columns and no rows that its history then does not have; else it gets
/// back the one it had then, unless that has got such rows since: then a new one.
pub(crate) fn restore(state: &ProjectState, target: &ProjectState) -> Result<Assigned> {
    let mut assigned = Assigned::default();
    let (objects, mut next_row_set) = (target.by_id(), state.numbers.next_row_set);
    for (view, numbers) in &target.numbers.views {
        let Some(then) = &numbers.current else { continue };
        let Some(mut restored) = assigned_view(target, then) else { continue };
        let now = state.numbers.views.get(view).and_then(|numbers| numbers.current.as_ref());
        let feeds = target.feature_view(view).map(|view| feeds(view, &objects)).unwrap_or_default();
        let has_no_others = |row_set: &RowSet| row_set.feeds.is_subset(&feeds);
        let is_as_good = |row_set: &RowSet| {
            let has = |column| row_set.schemas.values().any(|schema| schema.contains_key(column));
            has_no_others(row_set) && row_set.key_space == restored.key_space && restored.schema_columns.keys().all(has)
        };
        let row_set = |number: RowSetNumber| state.numbers.row_sets.get(&number);
        restored.row_set = match now.map(|now| now.row_set) {
            Some(now) if row_set(now).is_some_and(is_as_good) => now,
            Some(_) | None if row_set(then.row_set).is_none_or(has_no_others) => then.row_set,
            Some(_) | None => take(&mut next_row_set, |n| n.0, RowSetNumber)?,
        };
        if let Some(now) = now.filter(|now| now.row_set == restored.row_set)
            && row_set(now.row_set).and_then(|row_set| row_set.schemas.get(&now.schema))
                == Some(&restored.schema_columns)
        {
            restored.schema = now.schema;
        }
        let is_so = |now: &ViewAssignment| {
            (now.row_set, now.schema, &now.columns) == (restored.row_set, restored.schema, &restored.columns)
        };
        if !now.is_some_and(is_so) {
            assigned.views.insert(view.clone(), restored);
        }
    }
    for (source, now) in &state.numbers.push_sources {
        let then = target.numbers.push_sources.get(source).and_then(|numbers| numbers.current);
        if now.current != then {
            let columns = then.and_then(|schema| now.schemas.get(&schema).map(|columns| (schema, columns.clone())));
            let restored = columns.map(|(schema, columns)| AssignedPush { schema, columns });
            assigned.push_sources.insert(source.clone(), restored);
        }
    }
    Ok(assigned)
}

fn assigned_view(state: &ProjectState, current: &ViewAssignment) -> Option<AssignedView> {
    let row_set = state.numbers.row_sets.get(&current.row_set)?;
    Some(AssignedView {
        key_space: row_set.key_space,
        row_set: current.row_set,
        schema: current.schema,
        schema_columns: row_set.schemas.get(&current.schema)?.clone(),
        columns: current.columns.clone(),
    })
}

/// The join keys of a view's entities, sorted by name, each once. Entities that are not there have none.
pub(crate) fn view_keys(view: &FeatureView, objects: &Objects<'_>) -> Vec<JoinKey> {
    let entities = view.entities.iter().filter_map(|name| entity(objects, name));
    let mut keys: Vec<JoinKey> = entities.flat_map(|entity| entity.join_keys.iter().cloned()).collect();
    keys.sort();
    keys.dedup();
    keys
}

fn entity<'a>(objects: &Objects<'a>, name: &Name) -> Option<&'a Entity> {
    match objects.get(&ObjectId { kind: ObjectKind::Entity, name: name.clone() })? {
        Object::Entity(entity) => Some(entity),
        Object::Source(_) | Object::FeatureView(_) | Object::OnDemandFeatureView(_) | Object::FeatureService(_) => None,
    }
}

pub(crate) fn source<'a>(objects: &Objects<'a>, name: &Name) -> Option<&'a Source> {
    match objects.get(&ObjectId { kind: ObjectKind::Source, name: name.clone() })? {
        Object::Source(source) => Some(source),
        Object::Entity(_) | Object::FeatureView(_) | Object::OnDemandFeatureView(_) | Object::FeatureService(_) => None,
    }
}

/// The push source of a view, whether it stands alone or beside a batch source.
pub(crate) fn push_source_of<'a>(view: &'a FeatureView, objects: &Objects<'_>) -> Option<&'a Name> {
    let is_push = |name: &Name| source(objects, name).is_some_and(|source| matches!(source.kind, SourceKind::Push(_)));
    view.push_source.as_ref().or(Some(&view.source)).filter(|name| is_push(name))
}

/// The columns of a view's batch source with event time and created time; none: it has no batch source.
pub(crate) fn times_of<'a>(view: &FeatureView, objects: &Objects<'a>) -> Option<(&'a str, Option<&'a str>)> {
    match &source(objects, &view.source)?.kind {
        SourceKind::Parquet(parquet) => Some((&parquet.event_time, parquet.created_time.as_deref())),
        SourceKind::Postgres(postgres) => Some((&postgres.event_time, postgres.created_time.as_deref())),
        SourceKind::Push(_) => None,
    }
}

/// Where a feature's column comes from, seen from the view's state before.
pub(crate) enum Column {
    /// It has this column already, maybe under another name.
    Kept(ColumnNumber),
    /// It had this column with another type: the row set must be another.
    Retyped,
    /// It had none.
    New,
}

/// A view as it was before a change: its definition, its assignment and its columns' types.
pub(crate) struct Before<'a> {
    pub(crate) definition: &'a FeatureView,
    pub(crate) assignment: &'a ViewAssignment,
    pub(crate) schema: &'a SchemaColumns,
    pub(crate) key_space: KeySpaceNumber,
}

impl<'a> Before<'a> {
    pub(crate) fn of(state: &'a ProjectState, view: &Name) -> Option<Self> {
        let definition = state.feature_view(view)?;
        let assignment = state.numbers.views.get(view)?.current.as_ref()?;
        let row_set = state.numbers.row_sets.get(&assignment.row_set)?;
        let schema = row_set.schemas.get(&assignment.schema)?;
        Some(Self { definition, assignment, schema, key_space: row_set.key_space })
    }

    /// The name that `feature` had before, if it was there. `renamed_from` counts once: where the feature already had that
    /// `renamed_from`, the renaming is done.
    pub(crate) fn name_of<'f>(&self, feature: &'f Feature) -> Option<&'f Name> {
        let known = self.definition.features.iter().find(|known| known.name == feature.name);
        let renamed = feature.renamed_from.as_ref().filter(|from| {
            let is_done = known.is_some_and(|known| known.renamed_from.as_ref() == Some(from));
            !is_done && self.assignment.columns.contains_key(from.as_str())
        });
        renamed.or_else(|| known.map(|_| &feature.name))
    }

    /// The feature as it was, if it was there.
    pub(crate) fn feature(&self, feature: &Feature) -> Option<&'a Feature> {
        let old = self.name_of(feature)?;
        self.definition.features.iter().find(|known| known.name == *old)
    }

    /// The join keys it had.
    pub(crate) fn keys(&self, objects: &Objects<'_>) -> Vec<JoinKey> {
        view_keys(self.definition, objects)
    }

    /// Why rows that the view has may win, for ever, against those that its history has from now on: what is newer among rows
    /// of one row set has to be newer in its history.
    pub(crate) fn other_rows(
        &self,
        old: &Objects<'_>,
        view: &FeatureView,
        new: &Objects<'_>,
    ) -> impl Iterator<Item = String> {
        let pushed = push_source_of(self.definition, old);
        let pushed = pushed.filter(|was| push_source_of(view, new) != Some(was));
        let gone = pushed.map(|was| format!("{was} is no longer pushed to it"));
        let (was, is) = (times_of(self.definition, old), times_of(view, new));
        let retimed = was.filter(|was| is != Some(*was)).map(|_| "its times come from other columns".to_owned());
        gone.into_iter().chain(retimed)
    }

    pub(crate) fn column(&self, feature: &Feature) -> Column {
        let number = self.name_of(feature).and_then(|name| self.assignment.columns.get(name));
        match number {
            Some(number) if self.schema.get(number) == Some(&feature.value_type) => Column::Kept(*number),
            Some(_) => Column::Retyped,
            None => Column::New,
        }
    }
}

struct Numbering<'a> {
    state: &'a ProjectState,
    objects_before: Objects<'a>,
    objects: &'a Objects<'a>,
    next_key_space: KeySpaceNumber,
    next_row_set: RowSetNumber,
    assigned: Assigned,
}

impl Numbering<'_> {
    fn assign_view(&mut self, view: &FeatureView) -> Result<()> {
        let key_space = self.key_space(view_keys(view, self.objects))?;
        let before = Before::of(self.state, &view.name);
        let counters = self.state.numbers.views.get(&view.name).cloned().unwrap_or_default();

        let mut next_column = counters.next_column;
        let mut is_retyped = false;
        let mut columns = BTreeMap::new();
        let mut schema_columns = SchemaColumns::new();
        for feature in &view.features {
            let found = before.as_ref().map_or(Column::New, |before| before.column(feature));
            is_retyped |= matches!(found, Column::Retyped);
            let number = match found {
                Column::Kept(number) => number,
                Column::Retyped | Column::New => take(&mut next_column, |n| n.0, ColumnNumber)?,
            };
            columns.insert(feature.name.clone(), number);
            schema_columns.insert(number, feature.value_type);
        }

        let kept = before.as_ref().filter(|before| {
            let has_others = before.other_rows(&self.objects_before, view, self.objects).next().is_some();
            before.key_space == key_space && !is_retyped && !has_others
        });
        let row_set = match kept {
            Some(before) => before.assignment.row_set,
            None => take(&mut self.next_row_set, |n| n.0, RowSetNumber)?,
        };
        let known_schema = kept.and_then(|before| self.schema_of(before.assignment, &schema_columns));
        let schema = known_schema.unwrap_or(counters.next_schema);

        let assignment = ViewAssignment { row_set, schema, columns };
        if before.is_none_or(|before| *before.assignment != assignment) {
            let ViewAssignment { row_set, schema, columns } = assignment;
            let assigned = AssignedView { key_space, row_set, schema, schema_columns, columns };
            self.assigned.views.insert(view.name.clone(), assigned);
        }
        Ok(())
    }

    /// The schema of the view's row set that has exactly these columns; the present one, if it is among them.
    fn schema_of(&self, assignment: &ViewAssignment, columns: &SchemaColumns) -> Option<SchemaNumber> {
        let schemas = &self.state.numbers.row_sets.get(&assignment.row_set)?.schemas;
        let has_them = |schema: &SchemaNumber| schemas.get(schema) == Some(columns);
        Some(assignment.schema).filter(has_them).or_else(|| schemas.keys().copied().rfind(has_them))
    }

    /// The key space of these keys: the same keys are the same key space for ever.
    fn key_space(&mut self, keys: Vec<JoinKey>) -> Result<KeySpaceNumber> {
        let known = self.state.numbers.key_spaces.iter().chain(&self.assigned.key_spaces);
        if let Some((number, _)) = known.into_iter().find(|(_, known)| **known == keys) {
            return Ok(*number);
        }
        let number = take(&mut self.next_key_space, |n| n.0, KeySpaceNumber)?;
        self.assigned.key_spaces.insert(number, keys);
        Ok(number)
    }

    fn assign_push_sources(&mut self) {
        let wanted = push_columns(self.objects);
        for (source, columns) in &wanted {
            let known = self.state.numbers.push_sources.get(source);
            let current = known.and_then(|numbers| numbers.schemas.get(&numbers.current?));
            if current == Some(columns) {
                continue;
            }
            let same = known.and_then(|numbers| numbers.schemas.iter().find(|(_, known)| *known == columns));
            let next = known.map_or(SchemaNumber(1), |numbers| numbers.next_schema);
            let schema = same.map_or(next, |(number, _)| *number);
            let assigned = AssignedPush { schema, columns: columns.clone() };
            self.assigned.push_sources.insert(source.clone(), Some(assigned));
        }
        let unread = self
            .state
            .numbers
            .push_sources
            .iter()
            .filter(|(source, numbers)| numbers.current.is_some() && !wanted.contains_key(source.as_str()));
        self.assigned.push_sources.extend(unread.map(|(source, _)| (source.clone(), None)));
    }
}

/// What the events of each push source that has views consist of: the union over its views.
pub(crate) fn push_columns(objects: &Objects<'_>) -> BTreeMap<Name, PushColumns> {
    let mut sources: BTreeMap<Name, PushColumns> = BTreeMap::new();
    for object in objects.values() {
        let Object::FeatureView(view) = object else { continue };
        let Some(source) = push_source_of(view, objects) else { continue };
        let columns = sources.entry(source.clone()).or_default();
        columns.keys.extend(view_keys(view, objects));
        let features = view.features.iter().map(|feature| (feature.source_column().to_owned(), feature.value_type));
        columns.columns.extend(features);
    }
    for columns in sources.values_mut() {
        columns.keys.sort();
        columns.keys.dedup();
    }
    sources
}

fn take<N: Copy>(next: &mut N, inner: impl Fn(N) -> u32, number: impl Fn(u32) -> N) -> Result<N> {
    let taken = *next;
    let after = inner(taken).checked_add(1);
    *next = after.map(number).ok_or_else(|| Error::resource_exhausted("all numbers of this project are given"))?;
    Ok(taken)
}
