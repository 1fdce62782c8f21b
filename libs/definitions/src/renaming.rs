//! Renaming features: what `renamed_from` may say, seen from the state before a change.
//!
//! A renamed feature keeps its column online. In a push log values stand under the name of the event's column, so there a
//! renamed feature must go on reading that column, or training would not see what serving does.

use std::collections::BTreeMap;

use larder_types::Name;

use crate::{
    Feature, FeatureView, Object, Problem,
    numbering::{Before, Objects, push_source_of},
    state::ProjectState,
    validate::did_you_mean,
};

/// What is wrong with the renamings of a change that makes `objects` of `state`.
pub(crate) fn renaming_problems(state: &ProjectState, objects: &Objects<'_>) -> Vec<Problem> {
    let old_objects = state.by_id();
    let mut problems = Vec::new();
    for object in objects.values() {
        let Object::FeatureView(view) = object else { continue };
        let Some(before) = Before::of(state, &view.name) else { continue };
        let pushed = push_source_of(view, objects);
        let pushed = pushed.filter(|source| push_source_of(before.definition, &old_objects) == Some(source));
        let renaming = Renaming { view, before, pushed };
        problems.extend(renaming.claims());
        problems.extend(view.features.iter().filter_map(|feature| renaming.nobody(feature)));
        problems.extend(view.features.iter().filter_map(|feature| renaming.of_pushed(feature)));
    }
    problems
}

struct Renaming<'a> {
    view: &'a FeatureView,
    before: Before<'a>,
    /// The push source that feeds the view, now as before.
    pushed: Option<&'a Name>,
}

impl Renaming<'_> {
    fn problem(&self, feature: &Feature, message: String) -> Problem {
        Problem::new(format!("feature_views.{}.features.{}.renamed_from", self.view.name, feature.name), message)
    }

    /// A feature takes the column of another that was there and is still declared: which of the two is to have it?
    fn claims(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut taken: BTreeMap<&Name, &Name> = BTreeMap::new();
        for feature in &self.view.features {
            let Some(old) = self.before.name_of(feature) else { continue };
            if let Some(other) = taken.insert(old, &feature.name) {
                let message = format!(
                    "`{other}` and `{}` would both have the column of `{old}`: drop `renamed_from` or the feature `{old}`",
                    feature.name
                );
                problems.push(self.problem(feature, message));
            }
        }
        problems
    }

    /// A new feature that is renamed from one that the view does not have. Where the feature is there already, the
    /// renaming was done, and its `renamed_from` may stand for ever.
    fn nobody(&self, feature: &Feature) -> Option<Problem> {
        let from = feature.renamed_from.as_ref()?;
        if *from == feature.name || self.before.name_of(feature).is_some() {
            return None;
        }
        let hint = did_you_mean(from, self.before.assignment.columns.keys().map(Name::as_str));
        let or = if hint.is_empty() { "; drop `renamed_from`, and it is a new feature" } else { "" };
        Some(self.problem(
            feature,
            format!(
                "view `{}` has no feature `{from}` that `{}` could be renamed from{hint}{or}",
                self.view.name, feature.name
            ),
        ))
    }

    /// A renamed feature of a pushed view that would read another column of its events.
    fn of_pushed(&self, feature: &Feature) -> Option<Problem> {
        let source = self.pushed?;
        let old = self.before.feature(feature)?;
        let (was, is) = (old.source_column(), feature.source_column());
        if old.name == feature.name || was == is {
            return None;
        }
        Some(self.problem(
            feature,
            format!(
                "`{}` would read column `{is}` of push source `{source}` in place of `{was}`: add `column: {was}`, its values \
                 stand in the push log under that name and are pushed under it",
                feature.name
            ),
        ))
    }
}
