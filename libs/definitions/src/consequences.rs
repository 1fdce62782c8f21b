//! What a change of definitions means for what is stored: said by Plan before it is applied.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use larder_types::{ColumnNumber, Name, ValueType, format_duration};

use crate::{
    Feature, FeatureView, JoinKey, Object, ObjectId, ObjectKind,
    numbering::{Before, Column, Objects, push_source_of, source, view_keys},
    revision::Assigned,
    state::ProjectState,
};

/// What should be done because of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConsequenceKind {
    /// Nothing of the view is online: it must be materialized.
    MustMaterialize,
    /// What is online stays right and is not complete until a full materialization has run.
    FullRunNeeded,
    /// Rows are left behind, which nothing reads any more.
    Retires,
    /// Good to know.
    Note,
}

/// What a change means for an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consequence {
    /// Which object.
    pub object: ObjectId,
    /// What should be done.
    pub kind: ConsequenceKind,
    /// In words.
    pub message: String,
}

/// `feature view customer_features: …`
impl fmt::Display for Consequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.message)
    }
}

/// The consequences of having `objects`, with the numbers `assigned`, after `state`.
pub(crate) fn consequences(state: &ProjectState, objects: &Objects<'_>, assigned: &Assigned) -> Vec<Consequence> {
    let mut all = Vec::new();
    let old_objects = state.by_id();
    for object in objects.values() {
        let Object::FeatureView(view) = object else { continue };
        let mut view_consequences = ViewConsequences { view, all: &mut all };
        match (state.feature_view(&view.name), Before::of(state, &view.name)) {
            (Some(old), Some(before)) => {
                let new = assigned.views.get(&view.name);
                let other = new.filter(|new| new.row_set != before.assignment.row_set);
                if other.is_some_and(|new| state.numbers.row_sets.contains_key(&new.row_set)) {
                    view_consequences.earlier_row_set();
                } else if other.is_some() {
                    view_consequences.new_row_set(&before, &old_objects, objects);
                } else {
                    let schemas = state.numbers.row_sets.get(&before.assignment.row_set).map(|set| &set.schemas);
                    let columns = schemas.into_iter().flat_map(BTreeMap::values).flat_map(BTreeMap::keys);
                    let had = columns.copied().collect();
                    view_consequences.columns(
                        &before,
                        new.map_or(&before.assignment.columns, |new| &new.columns),
                        &had,
                    );
                    view_consequences.settings(old);
                    view_consequences.sources(old, &old_objects, objects);
                }
            }
            (_, _) => {
                let row_set = assigned.views.get(&view.name).map(|new| new.row_set);
                if row_set.is_some_and(|row_set| state.numbers.row_sets.contains_key(&row_set)) {
                    view_consequences.earlier_row_set();
                } else {
                    view_consequences.created(push_source_of(view, objects) == Some(&view.source));
                }
            }
        }
    }
    let removed = state.objects.keys().filter(|id| id.kind == ObjectKind::FeatureView && !objects.contains_key(id));
    all.extend(removed.map(|id| Consequence {
        object: id.clone(),
        kind: ConsequenceKind::Retires,
        message: "its online rows are no longer read and may be purged".to_owned(),
    }));
    all
}

struct ViewConsequences<'a> {
    view: &'a FeatureView,
    all: &'a mut Vec<Consequence>,
}

impl ViewConsequences<'_> {
    fn push(&mut self, kind: ConsequenceKind, message: impl Into<String>) {
        let object = ObjectId { kind: ObjectKind::FeatureView, name: self.view.name.clone() };
        self.all.push(Consequence { object, kind, message: message.into() });
    }

    fn created(&mut self, is_only_pushed: bool) {
        if !self.view.online {
            return;
        }
        if is_only_pushed {
            self.push(
                ConsequenceKind::Note,
                "new view: it fills as events are pushed; a materialization brings in what was pushed before",
            );
        } else {
            self.push(ConsequenceKind::MustMaterialize, "new view: it must be materialized before it is served");
        }
    }

    fn earlier_row_set(&mut self) {
        self.push(
            ConsequenceKind::FullRunNeeded,
            "an earlier row set is read again: what came since is not in it until a materialization has run",
        );
    }

    fn new_row_set(&mut self, before: &Before<'_>, old: &Objects<'_>, new: &Objects<'_>) {
        let mut why = Vec::new();
        let old_keys = before.keys(old);
        if old_keys != view_keys(self.view, new) {
            why.push("its join keys change".to_owned());
        }
        let retyped = self.view.features.iter().filter(|feature| matches!(before.column(feature), Column::Retyped));
        why.extend(retyped.map(|feature| format!("the type of {} changes", feature.name)));
        why.extend(before.other_rows(old, self.view, new));
        if why.is_empty() {
            why.push("the earlier one has got rows from where the view does not read".to_owned());
        }
        self.push(
            ConsequenceKind::MustMaterialize,
            format!(
                "new row set ({}): the view must be materialized; until then its features are NOT_FOUND",
                why.join(", ")
            ),
        );
        if push_source_of(self.view, new).is_some() {
            self.events_of_before(before, &old_keys, new);
        }
    }

    /// The push log keeps what was pushed as it was then.
    fn events_of_before(&mut self, before: &Before<'_>, old_keys: &[JoinKey], new: &Objects<'_>) {
        let keys = view_keys(self.view, new);
        let has_key = |key: &JoinKey| {
            old_keys.iter().any(|old| {
                old.name == key.name && ValueType::from(old.key_type.scalar()).widens_to(key.key_type.scalar().into())
            })
        };
        if !keys.iter().all(has_key) {
            self.push(
                ConsequenceKind::Note,
                "events that were pushed before have other join keys and are left out from now on",
            );
        }
        for feature in &self.view.features {
            let old = before.definition.features.iter().find(|old| old.source_column() == feature.source_column());
            let Some(old) = old.filter(|old| !old.value_type.widens_to(feature.value_type)) else { continue };
            self.push(
                ConsequenceKind::Note,
                format!(
                    "events that were pushed before have {} as {}: its values of before count as null from now on",
                    feature.source_column(),
                    old.value_type
                ),
            );
        }
    }

    /// Told by the columns' numbers, so that it is true of a rollback too: `columns` are those that features get, `had`
    /// those that rows of the view may have.
    fn columns(&mut self, before: &Before<'_>, columns: &BTreeMap<Name, ColumnNumber>, had: &BTreeSet<ColumnNumber>) {
        let names: BTreeMap<ColumnNumber, &Name> =
            before.assignment.columns.iter().map(|(name, number)| (*number, name)).collect();
        let view = self.view;
        for feature in &view.features {
            let Some(number) = columns.get(&feature.name) else { continue };
            match names.get(number) {
                Some(old) => self.kept(feature, *number, old, before),
                None if had.contains(number) => self.push(
                    ConsequenceKind::FullRunNeeded,
                    format!(
                        "{} has its column {number} again: rows written since it was removed have no value for it until a full \
                         materialization has run",
                        feature.name
                    ),
                ),
                None => self.push(
                    ConsequenceKind::FullRunNeeded,
                    format!("{} is a new column: NOT_FOUND until a full materialization has run", feature.name),
                ),
            }
        }
    }

    fn kept(&mut self, feature: &Feature, number: ColumnNumber, old: &Name, before: &Before<'_>) {
        if *old != feature.name {
            self.push(
                ConsequenceKind::Note,
                format!("{old} is renamed to {}: it keeps its column {number} and its values", feature.name),
            );
        }
        let old = before.definition.features.iter().find(|known| known.name == *old);
        if let Some(old) = old.filter(|old| old.source_column() != feature.source_column()) {
            self.reads_another_column(feature, old);
        }
    }

    fn reads_another_column(&mut self, feature: &Feature, old: &Feature) {
        let (was, is) = (old.source_column(), feature.source_column());
        self.push(
            ConsequenceKind::FullRunNeeded,
            format!(
                "{} reads column {is} in place of {was}: the watermark starts anew, run a full materialization",
                feature.name
            ),
        );
    }

    fn settings(&mut self, old: &FeatureView) {
        let view = self.view;
        if view.online && !old.online {
            self.push(ConsequenceKind::FullRunNeeded, "the view is served now: run a full materialization");
        }
        if old.online && !view.online {
            self.push(ConsequenceKind::Note, "the view is served no more: requests for it are refused");
        }
        let is_longer = match (old.ttl, view.ttl) {
            (Some(old), Some(new)) => new > old,
            (Some(_), None) => true,
            (None, Some(_) | None) => false,
        };
        if is_longer && let Some(ttl) = old.ttl {
            self.push(
                ConsequenceKind::FullRunNeeded,
                format!(
                    "longer ttl: rows older than {} were not kept online, run a full materialization",
                    format_duration(ttl)
                ),
            );
        }
    }

    fn sources(&mut self, old: &FeatureView, old_objects: &Objects<'_>, new_objects: &Objects<'_>) {
        let view = self.view;
        let read = [(Some(&old.source), Some(&view.source)), (old.push_source.as_ref(), view.push_source.as_ref())];
        for (was, is) in read {
            let Some(is) = is else { continue };
            let changed =
                was != Some(is) || source(old_objects, is).map(|s| &s.kind) != source(new_objects, is).map(|s| &s.kind);
            if !changed {
                continue;
            }
            let mut message =
                format!("source {is} is new to it or changed: the watermark starts anew, run a full materialization");
            if was.is_some() {
                message += "; rows that the history has no longer stay online until their ttl is over";
            }
            self.push(ConsequenceKind::FullRunNeeded, message);
        }
    }
}
